//! What an operator holds: metrics, the log's level in the twin, `doctor`, and the dashboard made of these names.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Folder, ISOTHERM, Process, root};
use serde_json::Value;

/// A port that was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has one").to_string()
}

/// A page of metrics as text, by a client that knows nothing of ours.
fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("metrics are served");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket takes a timeout");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

fn value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn isotherm(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(ISOTHERM);
    command.args(words).envs(variables.iter().copied()).current_dir(std::env::temp_dir());
    command.output().expect("the binary under test starts")
}

#[test]
fn a_site_says_in_numbers_what_it_did_and_the_dashboard_asks_for_nothing_else() {
    let folder = Folder::new("metrics");
    let csv = folder.join("temps.csv");
    std::fs::write(&csv, "temp\n20\nbroken\n30\n31\n24\n").expect("the folder can be written");
    let (state, csv, address) = (folder.join("state"), csv.display().to_string(), free_address());
    let state = state.display().to_string();
    let words = ["up", "--replay", &csv, "--speed", "max", "--state", &state, "--json"];
    let mut site = Process::start(&words, &[("METRICS_ADDRESS", &address)]);
    for _ in 0..2 {
        site.event("upstream");
    }
    let page = scrape(&address);
    for (name, wanted) in [
        ("isotherm_sensor_readings_total", 4.0),
        ("isotherm_sensor_chip_errors_total", 1.0),
        ("isotherm_filter_readings_forwarded_total", 2.0),
        ("isotherm_messages_sent_total{module=\"sensor\"}", 4.0),
        ("isotherm_connected{module=\"filter\"}", 1.0),
        ("isotherm_filter_threshold_celsius", 25.0),
        ("isotherm_hub_messages_upstream_total", 2.0),
        ("isotherm_hub_messages_dropped_no_route_total", 0.0),
        ("isotherm_hub_identities_connected", 2.0),
    ] {
        assert_eq!(value(&page, name), Some(wanted), "{name} in\n{page}");
    }
    assert!(page.ends_with("# EOF\n") && !page.contains("SharedAccessKey"));

    let dashboard =
        std::fs::read_to_string(root().join("docker/device/dashboard.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let mut asked = BTreeSet::new();
    names_in(&dashboard, &mut asked);
    assert!(asked.len() > 10, "{asked:?}");
    for name in &asked {
        let served = page
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{")));
        assert!(served, "the dashboard asks for {name}, which nobody serves");
    }
    site.interrupt();
    site.event("summary");
}

/// The names of metrics in the expressions of a dashboard.
fn names_in(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| match value {
            Value::String(text) if key == "expr" => {
                let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                into.extend(words.filter(|word| word.starts_with("isotherm_")).map(str::to_owned));
            }
            other => names_in(other, into),
        }),
        Value::Array(items) => items.iter().for_each(|item| names_in(item, into)),
        _ => {}
    }
}

#[test]
fn without_an_address_no_metrics_are_served_and_a_wrong_one_ends_the_start() {
    let folder = Folder::new("no-metrics");
    let state = folder.join("state").display().to_string();
    let wrong = isotherm(&["up", "--state", &state, "--json"], &[("METRICS_ADDRESS", "9600")]);
    assert_eq!(wrong.status.code(), Some(78));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("METRICS_ADDRESS: \"9600\" is no address"), "{said}");
}

#[test]
fn the_doctor_says_what_is_wrong_and_its_exit_status_says_whether_something_is() {
    let folder = Folder::new("doctor");
    let state = folder.join("state");
    let shown = state.display().to_string();
    let free = [
        ("HUB_LISTEN", "127.0.0.1"),
        ("HUB_MQTTS_PORT", "0"),
        ("HUB_AMQPS_PORT", "0"),
        ("HUB_HTTPS_PORT", "0"),
    ];
    let well = isotherm(&["doctor", "--state", &shown, "--json"], &free);
    assert_eq!(well.status.code(), Some(0), "{well:?}");
    assert!(!state.exists(), "it changes nothing");

    std::fs::write(&state, "a file where a folder should be").expect("the folder can be written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it has one").port().to_string();
    let mut bad = free.to_vec();
    bad[1].1 = &port;
    bad.extend([("SENSOR_CHIP", "tmp102"), ("SENSOR_ID", "a"), ("SENSOR_I2C_BUS", "/dev/i2c-none")]);
    bad.push(("EdgeModuleCACertificateFile", "/nowhere/ca.pem"));
    let ill = isotherm(&["doctor", "--state", &shown, "--json"], &bad);
    assert_eq!(ill.status.code(), Some(1));
    let lines: Vec<Value> = String::from_utf8_lossy(&ill.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let of = |name: &str, verdict: &str| {
        lines.iter().filter(|line| line["name"] == name && line["verdict"] == verdict).count()
    };
    assert_eq!((of("state", "problem"), of("certificates", "problem"), of("bus", "problem")), (1, 1, 1));
    assert_eq!((of("ports", "problem"), of("ports", "ok")), (1, 2));
}

#[test]
fn the_doctor_sees_a_clock_that_was_never_set() {
    let Some(library) = ["x86_64", "aarch64"].iter().find_map(|machine| {
        let path = format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1");
        std::path::Path::new(&path).exists().then_some(path)
    }) else {
        common::skipped!("no libfaketime (Debian's package faketime)");
        return;
    };
    let folder = Folder::new("clock");
    let shown = folder.join("state").display().to_string();
    let variables = [("LD_PRELOAD", library.as_str()), ("FAKETIME", "@1970-01-01 00:01:00")];
    let ill = isotherm(&["doctor", "--state", &shown, "--json"], &variables);
    assert_eq!(ill.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ill.stdout).into_owned();
    assert!(said.contains("\"name\":\"clock\",\"verdict\":\"problem\""), "{said}");
}

/// Starts it with its errors alone logged, into a file; what it says when it is ready comes back too.
fn logging(words: &[&str], log: &Path) -> (Child, Value) {
    let mut child = Command::new(ISOTHERM)
        .args(words)
        .env("LOG_LEVEL", "error")
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(log).expect("the folder can be written"))
        .spawn()
        .expect("the binary under test starts");
    let mut line = String::new();
    let out = child.stdout.as_mut().expect("it is piped");
    BufReader::new(out).read_line(&mut line).expect("it is text");
    (child, serde_json::from_str(&line).expect("it is JSON"))
}

#[test]
fn a_twin_turns_the_log_up_while_the_module_runs_and_down_again() {
    let folder = Folder::new("log-level");
    let log = folder.join("log");
    let state = folder.join("state").display().to_string();
    let (mut child, _) = logging(&["up", "--state", &state, "--json"], &log);
    let report = |desired: &str, wanted: &str| {
        let patched = isotherm(&["twin", "patch", "filter", desired, "--state", &state], &[]);
        assert_eq!(patched.status.code(), Some(0), "{patched:?}");
        for _ in 0..200 {
            let twin = isotherm(&["twin", "get", "filter", "--state", &state, "--json"], &[]);
            let twin: Value = serde_json::from_slice(&twin.stdout).expect("a twin is JSON");
            let level = &twin["properties"]["reported"]["LogLevel"];
            if level.to_string().contains(wanted) {
                return level.clone();
            }
        }
        panic!("{desired} was never reported");
    };
    assert_eq!(report(r#"{"LogLevel": "loud"}"#, "\"ac\":400")["value"], "default");
    let quiet = std::fs::read_to_string(&log).expect("it is there");
    assert!(!quiet.contains("isotherm_filter"), "{quiet}");
    assert_eq!(report(r#"{"LogLevel": "debug"}"#, "\"ac\":200")["value"], "debug");
    assert_eq!(report(r#"{"TemperatureThreshold": 21, "LogLevel": "debug"}"#, "\"av\":5")["value"], "debug");
    let loud = std::fs::read_to_string(&log).expect("it is there");
    assert!(loud.contains("INFO isotherm_filter: new settings"), "{loud}");
    child.kill().expect("it was running");
    child.wait().expect("it has ended");
}

#[test]
fn the_hub_is_told_how_much_to_log_while_it_runs_by_who_may_administer_it() {
    let folder = Folder::new("hub-log-level");
    let (log, state) = (folder.join("log"), folder.join("state").display().to_string());
    let words = ["hub", "--mqtts", "0", "--amqps", "0", "--https", "0", "--state", &state, "--json"];
    let (mut hub, ready) = logging(&words, &log);
    let say = |words: &[&str]| isotherm(&[&["log", "--state", &state], words].concat(), &[]);
    let shown = |output: &Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // A policy that may not: each try is refused, and the refusal is told of at `info`.
    let device = ready["policies"]["device"].as_str().expect("a policy of devices");
    let logged = || std::fs::read_to_string(&log).expect("it is there").matches("request refused").count();
    let refused = || {
        let output = say(&["trace", "--hub", device]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        logged()
    };

    assert_eq!(shown(&say(&[])), "error");
    assert_eq!(refused(), 0);
    assert_eq!(shown(&say(&["WARN,isotherm_hub=info"])), "isotherm_hub=info,warn");
    assert_eq!(refused(), 1);
    let wrong = say(&["loud"]);
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        wrong.status.code() == Some(1) && why.contains("\"loud\" is no level; write off, error"),
        "{why}"
    );
    assert_eq!(shown(&say(&["--json"])), r#"{"event":"log","level":"isotherm_hub=info,warn"}"#);
    assert_eq!(shown(&say(&["default"])), "error");
    assert_eq!(refused(), 1);
    hub.kill().expect("it was running");
    hub.wait().expect("it has ended");
}

/// A server's certificate that ends `hours` from now.
fn certificate(folder: &Folder, hours: i64) -> String {
    let now = isotherm_host::Host::real().wall();
    let hour = jiff::SignedDuration::from_hours(1);
    let validity =
        isotherm_pki::Validity { not_before: now - hour * 1000, not_after: now + hour * (hours as i32) };
    let authority = isotherm_pki::Authority::create("doctor", validity.not_before, validity.not_after)
        .expect("it is made");
    let path = folder.join(&format!("{hours}.pem"));
    let issued = authority.issue_server(&["localhost".to_owned()], validity).expect("it is made");
    std::fs::write(&path, issued.certificate_pem).expect("the folder can be written");
    path.display().to_string()
}

/// Variables, and what is then said of what, as what, in which words.
type Case = (Vec<(&'static str, String)>, &'static str, &'static str, &'static str);

#[test]
fn the_doctor_names_each_thing_that_is_wrong_and_what_would_be_right() {
    let folder = Folder::new("doctor-walk");
    let shown = folder.join("state").display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it has one").to_string();
    let nobody = free_address();
    let (_, nobody_port) = nobody.split_once(':').expect("an address has a port");
    let nowhere = folder.join("workload.sock").display().to_string();
    let (ended, soon) = (certificate(&folder, -1), certificate(&folder, 24));
    let string = |rest: &str| format!("HostName=127.0.0.1;DeviceId=d;ModuleId=m;{rest}");
    let listener = std::os::unix::net::UnixListener::bind(folder.join("not-http.sock")).expect("it binds");
    drop(listener); // its file stays, and nobody answers there
    let silent = folder.join("not-http.sock").display().to_string();
    let cases: Vec<Case> = vec![
        (vec![("METRICS_ADDRESS", "9600".into())], "metrics", "problem", "right would be 127.0.0.1:9600"),
        (vec![("METRICS_ADDRESS", taken.clone())], "metrics", "problem", "cannot be listened on"),
        (vec![("HUB_LISTEN", "everywhere".into())], "ports", "problem", "HUB_LISTEN"),
        (vec![("HUB_MQTTS_PORT", "70000".into())], "ports", "problem", "HUB_MQTTS_PORT"),
        (
            vec![("EdgeHubConnectionString", "HostName=x".into())],
            "hub",
            "problem",
            "EdgeHubConnectionString: ",
        ),
        (
            vec![(
                "EdgeHubConnectionString",
                string(&format!(
                    "SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==;GatewayHostName=127.0.0.1:{nobody_port}"
                )),
            )],
            "hub",
            "problem",
            "refused",
        ),
        (
            vec![("IOTEDGE_WORKLOADURI", format!("unix://{nowhere}"))],
            "workload",
            "problem",
            "IoT Edge, running?",
        ),
        (
            vec![("IOTEDGE_WORKLOADURI", format!("unix://{silent}"))],
            "workload",
            "problem",
            "IoT Edge, running?",
        ),
        (
            vec![("IOTEDGE_WORKLOADURI", "unix:///x".into())],
            "hub",
            "problem",
            "IOTEDGE_GATEWAYHOSTNAME is not set",
        ),
        (vec![("EdgeModuleCACertificateFile", ended)], "certificates", "problem", " ended on "),
        (vec![("EdgeModuleCACertificateFile", soon)], "certificates", "warning", " ends soon, on "),
        (vec![("SENSOR_CHIP", "tmp103".into())], "bus", "problem", "one of tmp102, hwmon"),
        (
            vec![("SENSOR_CHIP", "hwmon".into()), ("SENSOR_HWMON", "/nowhere".into())],
            "bus",
            "problem",
            "has the kernel a driver",
        ),
    ];
    for (variables, name, verdict, words) in cases {
        let variables: Vec<(&str, &str)> = [("HUB_LISTEN", "127.0.0.1"), ("HUB_MQTTS_PORT", "0")]
            .into_iter()
            .chain([("HUB_AMQPS_PORT", "0"), ("HUB_HTTPS_PORT", "0")])
            .chain(variables.iter().map(|(name, value)| (*name, value.as_str())))
            .collect();
        let done = isotherm(&["doctor", "--state", &shown, "--json"], &variables);
        let lines = String::from_utf8_lossy(&done.stdout).into_owned();
        let found =
            lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).any(|line| {
                let message = line["message"].as_str().expect("a sentence");
                line["name"] == name && line["verdict"] == verdict && message.contains(words)
            });
        assert!(found, "{variables:?} is not told of as {verdict} of {name} with {words:?}:\n{lines}");
        assert_eq!(done.status.code(), Some(i32::from(verdict == "problem")), "{variables:?}");
    }
}
