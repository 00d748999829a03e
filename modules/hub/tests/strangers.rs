//! Programs that others wrote, as people use them: mosquitto's command-line clients. Skipped, and said so, where they
//! are not installed.

mod support;

use std::process::Stdio;

use rumqttc::QoS;
use support::{PATIENCE, Site, user_name};
use tokio::process::Command;

/// Says what could not run here and why, past the test harness, which keeps what a passing test prints to itself.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($why)*));
    }};
}

async fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .is_ok();
    if !found {
        skipped!("{program} is not installed (package mosquitto-clients)");
    }
    found
}

/// mosquitto's arguments for connecting as somebody.
async fn arguments(site: &Site, who: &str) -> Vec<String> {
    let port = site.ready.ports.mqtts.to_string();
    let (name, token) = (user_name(who), site.token(who).await);
    [
        "-h",
        "localhost",
        "-p",
        &port,
        "--cafile",
        &site.ready.ca,
        "-i",
        who,
        "-u",
        &name,
        "-P",
        &token,
        "-V",
        "mqttv311",
        "-q",
        "1",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_publishes_as_a_module() {
    if !installed("mosquitto_pub").await {
        return;
    }
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    let status = Command::new("mosquitto_pub")
        .args(arguments(&site, "edge/sensor").await)
        .args(["-t", "devices/edge/modules/sensor/messages/events/$.on=temperature&k=v", "-m", "21.5"])
        .status();
    assert!(tokio::time::timeout(PATIENCE, status).await.expect("in time").unwrap().success());
    assert_eq!(&filter.publish().await.payload[..], b"21.5");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_subscribes_as_a_module() {
    if !installed("mosquitto_sub").await {
        return;
    }
    let site = Site::start().await;
    let mut sensor = site.stranger("edge/sensor").await;
    sensor.send("devices/edge/modules/sensor/messages/events/%24.on=temperature&k=v", "21.5").await;
    let output = Command::new("mosquitto_sub")
        .args(arguments(&site, "edge/filter").await)
        .args(["-c", "-t", "devices/edge/modules/filter/inputs/#", "-C", "1", "-F", "%t %p"])
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("in time").unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (topic, payload) = said.trim().split_once(' ').expect("a topic and a payload");
    assert!(
        topic.starts_with("devices/edge/modules/filter/inputs/temperature/") && topic.contains("k=v"),
        "{topic}"
    );
    assert_eq!(payload, "21.5");
    site.stop().await;
}
