//! Other people's clients against our hub, unmodified: what they do, their documentation says.
//!
//! `.ci/strangers target/strangers` installs them; without them these tests print `skipped` and why.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Folder, ISOTHERM, Process, root, skipped, template};
use serde_json::Value;

/// A Python with the packages that `.ci/strangers` installs, or why there is none.
fn python() -> Result<PathBuf, String> {
    let python = root().join("target/strangers/python/bin/python");
    if python.exists() {
        Ok(python)
    } else {
        Err("the Python clients are not installed: .ci/strangers target/strangers".to_owned())
    }
}

/// A loopback address of this test's own: Azure's SDKs have port 8883 wired in, so tests side by side
/// differ by address.
fn address(test: u8) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{test}", 1 + (process >> 8) % 250, process % 250)
}

/// A hub on the ports that the SDKs expect, or why there can be none.
///
/// With the project's own template it has modules and routes; without one it keeps whatever devices send.
fn hub(folder: &Folder, test: u8, with_modules: bool) -> Result<(Process, Value), String> {
    let address = address(test);
    for port in [8883, 443] {
        std::net::TcpListener::bind((address.as_str(), port))
            .map_err(|error| format!("port {port} on {address} is not to be had: {error}"))?;
    }
    let (state, template) = (folder.join("state"), template(folder, 25.0));
    let words = ["hub", "--json", "--listen", &address, "--amqps", "0", "--state"].map(str::to_owned);
    let mut words = [&words[..], &[state.display().to_string()]].concat();
    if with_modules {
        words.extend(["--template".to_owned(), template.display().to_string()]);
    }
    let mut hub = Process::start(&words, &[]);
    let ready = hub.event("ready");
    Ok((hub, ready))
}

fn run(script: &str, arguments: &[&str], test: u8, with_modules: bool) {
    let folder = Folder::new(&format!("stranger-{test}"));
    let prepared = python().and_then(|python| Ok((python, hub(&folder, test, with_modules)?)));
    let (python, (_hub, ready)) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => return skipped!("{script}: {reason}"),
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers");
    let done = Command::new(python)
        .arg(scripts.join(script))
        .args(arguments)
        .env("READY", ready.to_string())
        .env("ISOTHERM", ISOTHERM)
        .env("ISOTHERM_STATE", folder.join("state"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.trim_end().ends_with("ok"), "{script}:\n{out}\n{err}");
}

#[test]
fn azure_iot_device_is_content_as_a_device() {
    run("azure_device.py", &[], 11, false);
}

#[test]
fn azure_iot_device_is_content_as_a_device_over_websockets() {
    run("azure_device.py", &["websockets"], 12, false);
}

#[test]
fn azure_iot_device_stays_through_cuts_and_renewed_tokens() {
    run("azure_renewal.py", &[], 15, false);
}

#[test]
fn azure_iot_device_stays_through_cuts_and_renewed_tokens_over_websockets() {
    run("azure_renewal.py", &["websockets"], 16, false);
}

#[test]
fn azure_iot_device_is_content_as_modules_behind_the_gateway() {
    run("azure_module.py", &[], 13, true);
}

#[test]
fn paho_is_content_and_what_must_be_refused_is() {
    run("paho_device.py", &[], 14, false);
}
