//! Other people's AMQP clients against our hub, unmodified: Azure's SDKs for devices, services and Event Hubs,
//! qpid-proton and rhea; and Azure's device SDK for Node through cuts, shut doors and renewed tokens, over every way it
//! has.
//!
//! `.ci/strangers target/strangers` installs them; without them these tests print `skipped` and why.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Folder, ISOTHERM, Process, root, skipped};
use serde_json::Value;

/// A loopback address of this test's own: Azure's SDKs have their ports wired in, so tests side by side differ by
/// address.
fn address(test: u8) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{test}", 1 + (process >> 8) % 250, process % 250)
}

/// A hub on the ports that the SDKs expect, under its own name or under its address as its name; or why there can be
/// none.
fn hub(folder: &Folder, test: u8, by_address: bool) -> Result<(Process, Value), String> {
    let address = address(test);
    for port in [8883, 5671, 443] {
        std::net::TcpListener::bind((address.as_str(), port))
            .map_err(|error| format!("port {port} on {address} is not to be had: {error}"))?;
    }
    let state = folder.join("state").display().to_string();
    let mut words = vec!["hub", "--json", "--listen", &address, "--state", &state];
    if by_address {
        words.extend(["--host-name", &address]);
    }
    let mut hub = Process::start(&words, &[]);
    let ready = hub.event("ready");
    Ok((hub, ready))
}

/// The interpreter of a script, with the packages that it needs; or why there is none.
fn interpreter(script: &str) -> Result<PathBuf, String> {
    let strangers = root().join("target/strangers");
    let (program, wanted) = if script.ends_with(".py") {
        let there = Command::new(strangers.join("python/bin/python"))
            .args(["-c", "import azure.eventhub, azure.iot.hub, proton"])
            .output()
            .is_ok_and(|done| done.status.success());
        (strangers.join("python/bin/python"), there)
    } else {
        let packages = ["azure-iot-device-amqp", "azure-iothub", "rhea", "ws", "@azure/event-hubs"];
        let there = |package: &&str| strangers.join("node/node_modules").join(package).exists();
        ("node".into(), packages.iter().all(there))
    };
    wanted
        .then_some(program)
        .ok_or_else(|| "its packages are not installed: .ci/strangers target/strangers".to_owned())
}

fn run(script: &str, arguments: &[&str], test: u8) {
    run_at(script, arguments, test, false);
}

fn run_at(script: &str, arguments: &[&str], test: u8, by_address: bool) {
    let folder = Folder::new(&format!("amqp-stranger-{test}"));
    let prepared = interpreter(script).and_then(|program| Ok((program, hub(&folder, test, by_address)?)));
    let (program, (_hub, ready)) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => return skipped!("{script}: {reason}"),
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers");
    let done = Command::new(program)
        .arg(scripts.join(script))
        .args(arguments)
        .env("READY", ready.to_string())
        .env("ISOTHERM", ISOTHERM)
        .env("ISOTHERM_STATE", folder.join("state"))
        .env("NODE_PATH", root().join("target/strangers/node/node_modules"))
        .env("NODE_EXTRA_CA_CERTS", ready["ca"].as_str().expect("a path"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the interpreter starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.trim_end().ends_with("ok"), "{script}:\n{out}\n{err}");
}

#[test]
fn azure_iot_device_of_node_is_content_over_amqp() {
    run("amqp_node.js", &[], 31);
}

#[test]
fn azure_iot_device_of_node_is_content_over_amqp_in_websockets() {
    run("amqp_node.js", &["websockets"], 32);
}

#[test]
fn azure_eventhub_reads_what_reached_upstream() {
    run("amqp_eventhub.py", &[], 33);
}

#[test]
fn azure_eventhub_reads_what_reached_upstream_in_websockets() {
    run("amqp_eventhub.py", &["websockets"], 34);
}

#[test]
fn event_hubs_of_node_reads_what_reached_upstream() {
    run_at("amqp_eventhubs.js", &[], 36, true);
}

#[test]
fn event_hubs_of_node_reads_what_reached_upstream_in_websockets() {
    run_at("amqp_eventhubs.js", &["websockets"], 37, true);
}

#[test]
fn rhea_is_content_as_a_device_and_is_refused_where_it_should_be() {
    run_at("rhea_device.js", &[], 38, true);
}

#[test]
fn rhea_is_content_as_a_device_in_websockets() {
    run_at("rhea_device.js", &["websockets"], 39, true);
}

#[test]
fn a_device_stays_through_cuts_and_renewed_tokens_over_mqtt() {
    run_at("azure_renewal.js", &["mqtt"], 40, true);
}

#[test]
fn a_device_stays_through_cuts_and_renewed_tokens_over_mqtt_in_websockets() {
    run_at("azure_renewal.js", &["mqttws"], 41, true);
}

#[test]
fn a_device_stays_through_cuts_and_renewed_tokens_over_amqp() {
    run_at("azure_renewal.js", &["amqp"], 42, true);
}

#[test]
fn a_device_stays_through_cuts_and_renewed_tokens_over_amqp_in_websockets() {
    run_at("azure_renewal.js", &["amqpws"], 43, true);
}

#[test]
fn azure_iot_hub_sends_and_qpid_proton_takes_gives_back_and_is_refused() {
    run("amqp_service.py", &[], 35);
}
