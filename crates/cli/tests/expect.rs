//! `isotherm expect` and `isotherm fault` against a site that runs.

mod common;

use std::process::{Command, Output};

use common::{Folder, ISOTHERM, Process, template};
use serde_json::Value;

/// A site with the project's own modules, and a way to talk to it.
struct Site {
    folder: Folder,
    up: Process,
}

impl Site {
    fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let (state, template) = (folder.join("state"), template(&folder, 25.0));
        let words = [
            "up",
            "--json",
            "--state",
            &state.display().to_string(),
            "--template",
            &template.display().to_string(),
        ];
        let mut up = Process::start(&words, &[("SENSOR_CHIP", "simulated"), ("LOG_LEVEL", "error")]);
        up.event("ready");
        Self { folder, up }
    }

    fn isotherm(&self, words: &[&str]) -> Output {
        let state = self.folder.join("state");
        Command::new(ISOTHERM)
            .args(words)
            .arg("--state")
            .arg(state)
            .output()
            .expect("the binary under test starts")
    }

    /// `expect` on the filter; the exit status and what it said.
    fn expect(&self, sent: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let words = [
            "expect",
            "--json",
            "--module",
            "filter",
            "--input",
            "temperature",
            "--send",
            sent,
            "--output",
            "alert",
        ];
        let done = self.isotherm(&[&words[..], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    }
}

#[test]
fn an_expectation_is_met_or_missed_and_says_which() {
    let site = Site::start("expect");
    let (code, out, err) = site
        .expect(r#"{"reading":91.5}"#, &["--where", r#"{"reading":{"reading":91.5}}"#, "--within", "20s"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let line: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(line["from"], "edge/filter");
    assert_eq!(line["reading"]["sensorId"], "expect");

    let below = [r#"--where={"reading":{"sensorId":"cold"}}"#, "--within", "1s"];
    let cold = r#"{"reading":-12,"sensorId":"cold"}"#;
    let (code, _, err) = site.expect(cold, &below);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("nothing of the kind came from edge/filter.alert"), "{err}");
    let (code, out, _) = site.expect(cold, &[&below[..], &["--nothing"]].concat());
    assert_eq!(code, Some(0), "{out}");
    let hot = r#"{"reading":80,"sensorId":"hot"}"#;
    let (code, _, err) =
        site.expect(hot, &[r#"--where={"reading":{"sensorId":"hot"}}"#, "--within", "20s", "--nothing"]);
    assert_eq!(code, Some(1), "{err}");
    let (code, _, err) = site.expect("{}", &["--where", "{"]);
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn the_summary_adds_up_when_readings_were_sent_in_by_others_than_the_sensor() {
    let mut site = Site::start("sum");
    let hot = ["--send", r#"{"reading":92}"#, "--where", r#"{"reading":{"reading":92}}"#, "--within", "20s"];
    let (code, out, err) = site.expect(r#"{"reading":-12,"sensorId":"cold"}"#, &hot);
    assert_eq!(code, Some(0), "{out}{err}");
    site.up.interrupt();
    let summary = site.up.event("summary");
    let count = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
    assert_eq!(count("elsewhere"), 2, "{summary}");
    assert_eq!(
        count("sensed") + count("elsewhere"),
        count("delivered") + count("below") + count("held"),
        "{summary}"
    );
}

#[test]
fn a_fault_is_listed_strikes_and_is_cleared_and_the_module_comes_back() {
    let site = Site::start("fault");
    let lines = |done: &Output| -> Vec<Value> {
        let text = String::from_utf8_lossy(&done.stdout);
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let (code, _, err) = site.expect(r#"{"reading":91.5}"#, &["--within", "20s"]);
    assert_eq!(code, Some(0), "the filter is there: {err}");
    let cut = lines(&site.isotherm(&["fault", "disconnect", "filter", "--json"]));
    assert_eq!(cut[0]["disconnected"], serde_json::json!(["edge/filter"]), "{cut:?}");
    let (code, _, err) =
        site.expect(r#"{"reading":92}"#, &["--where", r#"{"reading":{"reading":92}}"#, "--within", "30s"]);
    assert_eq!(code, Some(0), "what was sent meanwhile is not lost: {err}");

    site.isotherm(&["fault", "delay", "edge/nobody", "--by", "250ms", "--json"]);
    let list = lines(&site.isotherm(&["fault", "list", "--json"]));
    assert_eq!(
        (list.len(), &list[0]["kind"], &list[0]["delayMs"]),
        (1, &"delay".into(), &250.into()),
        "{list:?}"
    );
    assert_eq!(site.isotherm(&["fault", "clear", "999"]).status.code(), Some(1));
    assert_eq!(lines(&site.isotherm(&["fault", "clear", "--json"]))[0]["cleared"], 1);
    assert!(lines(&site.isotherm(&["fault", "list", "--json"])).is_empty());
    assert_eq!(site.isotherm(&["fault", "rain"]).status.code(), Some(2));
}
