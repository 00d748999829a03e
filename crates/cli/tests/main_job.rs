//! The main job on real input: what is above the threshold comes out upstream, all of it, in order, once.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Folder, Process, Row, above, arrived, input, rows, template};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary folder's name is text")
}

/// `isotherm up` over the whole file; its upstream events and its summary.
fn replay(folder: &Folder, file: &Path, speed: Option<&str>, transport: &str) -> Process {
    let (state, template) = (folder.join("state"), template(folder, 20.0));
    let mut words = vec!["up", "--json", "--state", text(&state), "--template", text(&template)];
    words.extend(["--replay", text(file), "--unit", "f", "--until-end"]);
    words.extend(speed.iter().flat_map(|speed| ["--speed", speed]));
    Process::start(&words, &[("TransportType", transport)])
}

/// What an operator does.
fn patch(state: &Path, module: &str, desired: &str) {
    let words = ["twin", "patch", module, desired, "--json", "--state", text(state)];
    assert_eq!(Process::start(&words, &[]).next().expect("the twin")["moduleId"], module);
}

#[test]
fn exactly_the_readings_above_the_threshold_arrive_in_order_and_once() {
    exactly_above_the_threshold("Mqtt_Tcp_Only");
}

#[test]
fn over_amqp_too() {
    exactly_above_the_threshold("Amqp_Tcp_Only");
}

#[test]
fn over_amqp_and_websocket_too() {
    exactly_above_the_threshold("Amqp_WebSocket_Only");
}

#[test]
fn over_mqtt_and_websocket_too() {
    exactly_above_the_threshold("Mqtt_WebSocket_Only");
}

fn exactly_above_the_threshold(transport: &str) {
    let folder = Folder::new(&format!("exact-{transport}"));
    let file = input(&folder);
    let rows = rows(&file);
    let mut up = replay(&folder, &file, Some("max"), transport);
    let mut upstream = Vec::new();
    let summary = loop {
        let line = up.next().expect("a summary comes last");
        match line["event"].as_str() {
            Some("upstream") => {
                assert_eq!(line["properties"]["MessageType"], "Alert", "{line}");
                assert_eq!(
                    (&line["from"], &line["output"]),
                    (&"edge/filter".into(), &"alert".into()),
                    "{line}"
                );
                upstream.push(arrived(&line));
            }
            Some("summary") => break line,
            _ => {}
        }
    };
    let wanted = above(&rows, 20.0);
    assert_eq!(upstream, wanted);
    if file.ends_with("seattle-temps.csv") {
        assert_eq!(wanted.len(), 640, "as the file's own description says");
    }
    let count = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
    assert_eq!((count("sensed"), count("elsewhere")), (rows.len() as u64, 0));
    assert_eq!(
        (count("delivered"), count("held"), count("refused")),
        (wanted.len() as u64, 0, 0),
        "{summary}"
    );
    assert_eq!(count("below"), (rows.len() - wanted.len()) as u64);
    assert_eq!(up.code(), Some(0));
}

/// The part of the file in which the thresholds of the test part the readings.
fn summer(folder: &Folder, file: &Path) -> PathBuf {
    let text = std::fs::read_to_string(file).expect("the input is readable");
    let mut lines = text.lines();
    let kept: Vec<&str> = lines.next().into_iter().chain(lines.skip(4000).take(900)).collect();
    let path = folder.join("summer.csv");
    std::fs::write(&path, kept.join("\n")).expect("the temporary folder can be written");
    path
}

#[test]
fn a_threshold_patched_midway_rules_from_one_message_on() {
    patched_midway("Mqtt_Tcp_Only");
}

#[test]
fn a_threshold_patched_midway_rules_over_amqp_too() {
    patched_midway("Amqp_Tcp_Only");
}

fn patched_midway(transport: &str) {
    let folder = Folder::new(&format!("patched-{transport}"));
    let file = summer(&folder, &input(&folder));
    let rows = rows(&file);
    let mut up = replay(&folder, &file, None, transport);
    let mut upstream: Vec<Row> = Vec::new();
    let state = folder.join("state");
    up.event("ready");
    patch(&state, "sensor", r#"{"SamplingInterval": "50ms"}"#); // so slowly that the patch comes long before the end
    loop {
        let line = up.next().expect("a summary comes last");
        match line["event"].as_str() {
            Some("upstream") => {
                upstream.push(arrived(&line));
                if upstream.len() == 20 {
                    patch(&state, "filter", r#"{"TemperatureThreshold": 22.5}"#);
                }
            }
            Some("summary") => break,
            Some("twin") if line["reported"]["TemperatureThreshold"]["value"] == 22.5 => {
                patch(&state, "sensor", r#"{"SamplingInterval": "1ms"}"#); // the rest need not be waited for
            }
            _ => {}
        }
    }
    let (low, high) = (above(&rows, 20.0), above(&rows, 22.5));
    let fits = |cut: usize| {
        let cut = low.get(cut).map_or(u64::MAX, |row| row.0);
        let before = low.iter().filter(|row| row.0 < cut);
        upstream.iter().eq(before.chain(high.iter().filter(|row| row.0 >= cut)))
    };
    let counts = (upstream.len(), low.len(), high.len());
    assert!((20..low.len()).any(fits), "no point at which one threshold gave way to the other: {counts:?}");
}

/// Hub, sensor and filter as processes of their own, as on a device.
struct Device<'a> {
    folder: &'a Folder,
    file: &'a Path,
    ready: Value,
    transport: &'static str,
}

impl Device<'_> {
    fn hub(folder: &Folder, ports: Option<&Value>) -> (Process, Value) {
        let port = |name: &str| ports.map_or("0".to_owned(), |ports| ports[name].to_string());
        let (state, template) = (folder.join("hub"), template(folder, 20.0));
        let (mqtts, amqps, https) = (port("mqtts"), port("amqps"), port("https"));
        let mut hub = Process::start(
            &[
                "hub",
                "--json",
                "--state",
                text(&state),
                "--template",
                text(&template),
                "--mqtts",
                &mqtts,
                "--https",
                &https,
                "--amqps",
                &amqps,
            ],
            &[],
        );
        let ready = hub.event("ready");
        (hub, ready)
    }

    fn module(&self, name: &str) -> Process {
        let state = self.folder.join("modules");
        let module = self.ready["modules"][name].as_str().expect("the template has it");
        Process::start(
            &["run", name, "--state", text(&state)],
            &[
                ("EdgeHubConnectionString", module),
                ("EdgeModuleCACertificateFile", self.ready["ca"].as_str().expect("a path")),
                ("TransportType", self.transport),
                ("EdgeHubAmqpsPort", &self.ready["ports"]["amqps"].to_string()),
                ("EdgeHubHttpsPort", &self.ready["ports"]["https"].to_string()),
                ("SENSOR_CHIP", "replay"),
                ("SENSOR_ID", "seattle"),
                ("SENSOR_REPLAY", text(self.file)),
                ("SENSOR_REPLAY_UNIT", "f"),
                ("SENSOR_REPLAY_SPEED", "3000"),
            ],
        )
    }

    fn watch(&self) -> Process {
        let state = self.folder.join("hub");
        Process::start(&["watch", "upstream", "--from", "earliest", "--json", "--state", text(&state)], &[])
    }
}

/// Reads upstream until the last wanted reading is there, dropping repeats as `sequence` allows.
/// Fails when a reading comes for the first time after a later one.
struct Ledger {
    seen: BTreeMap<u64, f64>,
    repeats: u64,
}

impl Ledger {
    fn new() -> Self {
        Self { seen: BTreeMap::new(), repeats: 0 }
    }

    fn read_until(&mut self, watch: &mut Process, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let Some(line) = watch.next() else { return };
            if line["event"] != "upstream" {
                continue;
            }
            let (sequence, celsius) = arrived(&line);
            let newest = self.seen.last_key_value().map_or(0, |(sequence, _)| *sequence);
            if let Some(before) = self.seen.insert(sequence, celsius) {
                assert_eq!(before, celsius, "two readings share number {sequence}");
                self.repeats += 1;
            } else {
                assert!(sequence > newest, "{sequence} came after {newest}");
            }
        }
    }

    fn assert_is(&self, wanted: &[Row]) {
        let seen: Vec<Row> = self.seen.iter().map(|(sequence, celsius)| (*sequence, *celsius)).collect();
        assert_eq!(seen, wanted);
        eprintln!("{} readings, {} repeats dropped", seen.len(), self.repeats);
    }
}

#[test]
fn nothing_is_lost_when_the_filter_is_killed_and_started_again() {
    filter_killed("Mqtt_Tcp_Only");
}

#[test]
fn nothing_is_lost_when_the_filter_is_killed_and_started_again_over_amqp() {
    filter_killed("Amqp_Tcp_Only");
}

fn filter_killed(transport: &'static str) {
    let folder = Folder::new(&format!("filter-{transport}"));
    let file = input(&folder);
    let wanted = above(&rows(&file), 20.0);
    let (_hub, ready) = Device::hub(&folder, None);
    let device = Device { folder: &folder, file: &file, ready, transport };
    let mut watch = device.watch();
    let filter = device.module("filter");
    let _sensor = device.module("sensor");
    let mut ledger = Ledger::new();
    ledger.read_until(&mut watch, |ledger| ledger.seen.len() >= 150);
    filter.kill();
    let _filter = device.module("filter");
    ledger.read_until(&mut watch, |ledger| ledger.seen.len() >= wanted.len());
    ledger.assert_is(&wanted);
}

#[test]
fn nothing_is_lost_when_the_hub_is_killed_and_started_again() {
    hub_killed("Mqtt_Tcp_Only");
}

#[test]
fn nothing_is_lost_when_the_hub_is_killed_and_started_again_over_amqp() {
    hub_killed("Amqp_Tcp_Only");
}

fn hub_killed(transport: &'static str) {
    let folder = Folder::new(&format!("hub-{transport}"));
    let file = input(&folder);
    let wanted = above(&rows(&file), 20.0);
    let (hub, ready) = Device::hub(&folder, None);
    let ports = ready["ports"].clone();
    let device = Device { folder: &folder, file: &file, ready, transport };
    let mut watch = device.watch();
    let _filter = device.module("filter");
    let _sensor = device.module("sensor");
    let mut ledger = Ledger::new();
    ledger.read_until(&mut watch, |ledger| ledger.seen.len() >= 150);
    hub.kill();
    let (_hub, _) = Device::hub(&folder, Some(&ports));
    let mut ledger = Ledger::new(); // from the earliest on: what was there before must still be there
    ledger.read_until(&mut device.watch(), |ledger| ledger.seen.len() >= wanted.len());
    ledger.assert_is(&wanted);
}

#[test]
fn the_sensor_goes_on_after_the_last_row_it_sent_when_it_is_killed() {
    sensor_killed("Mqtt_Tcp_Only");
}

#[test]
fn the_sensor_goes_on_after_the_last_row_it_sent_when_it_is_killed_over_amqp() {
    sensor_killed("Amqp_Tcp_Only");
}

fn sensor_killed(transport: &'static str) {
    let folder = Folder::new(&format!("sensor-{transport}"));
    let file = input(&folder);
    let wanted = above(&rows(&file), 20.0);
    let (_hub, ready) = Device::hub(&folder, None);
    let device = Device { folder: &folder, file: &file, ready, transport };
    let mut watch = device.watch();
    let _filter = device.module("filter");
    let sensor = device.module("sensor");
    let mut ledger = Ledger::new();
    ledger.read_until(&mut watch, |ledger| ledger.seen.len() >= 150);
    sensor.kill();
    let _sensor = device.module("sensor");
    ledger.read_until(&mut watch, |ledger| ledger.seen.len() >= wanted.len());
    ledger.assert_is(&wanted);
}
