//! What the tests of whole sites share: processes of ours, ended with the test, and the input by another way.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

/// Says what could not run here and why, past the test harness, which keeps what a passing test prints to itself.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($why)*));
    }};
}
#[allow(unused_imports, reason = "each test binary uses its own part of this")]
pub(crate) use skipped;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::Value;

/// The binary under test.
pub const ISOTHERM: &str = env!("CARGO_BIN_EXE_isotherm");

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder of this test alone, gone at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("isotherm-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a process prints next comes within this time, or never will: a test that waits for it fails then, and says so.
const LINE_WITHIN: Duration = Duration::from_secs(120);

/// A process of ours that prints JSON lines; killed when dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    pub fn start<S: AsRef<OsStr>>(words: &[S], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(ISOTHERM)
            .args(words)
            .envs(variables.iter().copied())
            .current_dir(std::env::temp_dir()) // no .env and no template of the repository's
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary under test starts");
        let lines = lines_of(child.stdout.take().expect("standard output is piped"));
        Self { child, lines }
    }

    /// The next line as JSON; none at the end.
    pub fn next(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(LINE_WITHIN) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the process printed nothing for {LINE_WITHIN:?}"),
        }
    }

    /// The next line with this event.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.next().unwrap_or_else(|| panic!("the process ended before `{name}`"));
            if line["event"] == name {
                return line;
            }
        }
    }

    /// The number that the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As kill -9 does it: no goodbye, no last sync.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it has ended");
    }

    /// As Ctrl-C does it.
    pub fn interrupt(&self) {
        let done = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(done.expect("kill is here").success());
    }

    pub fn code(mut self) -> Option<i32> {
        self.child.wait().expect("it has ended").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its lines as they come; one that nobody has taken yet holds it back.
fn lines_of(out: ChildStdout) -> Receiver<String> {
    let (tell, lines) = sync_channel(0);
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            if tell.send(line.expect("standard output is text")).is_err() {
                return; // the test is over
            }
        }
    });
    lines
}

/// A row of the input: its number from 1, and °C in the chip's sixteenths.
pub type Row = (u64, f64);

/// Real temperatures where they are, else a generated year with its summer in the same place; °F, columns `date,temp`.
pub fn input(folder: &Folder) -> PathBuf {
    let real = root().join("../shared/data/seattle-temps.csv");
    if real.exists() {
        return real;
    }
    skipped!("{} is not here; a generated year takes its place", real.display());
    let path = folder.join("year.csv");
    let row = |hour: u32| {
        let day = f64::from(hour) / 24.0;
        55.0 + 12.0 * ((day - 100.0) / 58.0).sin() + 8.0 * (day * std::f64::consts::TAU).sin()
    };
    let text: String = (0..8759).map(|hour| format!("2010/01/01 {hour},{:.1}\n", row(hour))).collect();
    std::fs::write(&path, format!("date,temp\n{text}")).expect("the temporary folder can be written");
    path
}

/// The file read by itself: what a TMP102 would have measured.
pub fn rows(file: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(file).expect("the input is readable");
    let fahrenheit =
        text.lines().skip(1).map(|line| line.split(',').nth(1).and_then(|f| f.parse::<f64>().ok()));
    fahrenheit
        .enumerate()
        .filter_map(|(row, fahrenheit)| {
            let celsius = (fahrenheit? - 32.0) / 1.8;
            Some((row as u64 + 1, (celsius * 16.0).round() / 16.0))
        })
        .collect()
}

/// What of it is above a threshold.
pub fn above(rows: &[Row], threshold: f64) -> Vec<Row> {
    rows.iter().copied().filter(|(_, celsius)| *celsius > threshold).collect()
}

/// Sequence and °C of an upstream event.
pub fn arrived(event: &Value) -> Row {
    let reading = &event["reading"];
    (reading["sequence"].as_u64().expect("a sequence"), reading["reading"].as_f64().expect("°C"))
}

/// The project's own template with another threshold.
pub fn template(folder: &Folder, threshold: f64) -> PathBuf {
    let text =
        std::fs::read_to_string(root().join("deployment.template.json")).expect("the template is there");
    let mut template: Value = serde_json::from_str(&text).expect("the template is JSON");
    template["modulesContent"]["filter"]["properties.desired"]["TemperatureThreshold"] = threshold.into();
    let path = folder.join("template.json");
    std::fs::write(&path, template.to_string()).expect("the temporary folder can be written");
    path
}
