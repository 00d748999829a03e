//! Azure's own SDKs, unmodified: the service side, devices over every way that Node has, modules started as the
//! runtime starts them, certificates instead of keys.
//!
//! `.ci/strangers target/strangers` installs them; without them these tests print `skipped` and why.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Folder, ISOTHERM, Process, root, skipped, template};
use serde_json::Value;

/// A loopback address of this test's own: the SDKs have their ports wired in, so tests side by side differ by address.
fn address(test: u8) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{test}", 1 + (process >> 8) % 250, process % 250)
}

/// azure_iot_sdk in a program of its own, as `.ci/strangers` builds it.
const RUST: &str = "target/strangers/azure_iot_sdk/debug/azure-iot-sdk-stranger";

/// What a stranger's script runs with, or why it cannot.
fn interpreter(script: &str) -> Result<PathBuf, String> {
    let strangers = root().join("target/strangers");
    let (program, package) = if script.ends_with(".js") {
        (PathBuf::from("node"), strangers.join("node/node_modules/azure-iothub"))
    } else {
        (strangers.join("python/bin/python"), strangers.join("python"))
    };
    let runs = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
    if !runs.is_ok_and(|status| status.success()) || !package.exists() {
        return Err("the SDKs are not installed: .ci/strangers target/strangers".to_owned());
    }
    if script.ends_with(".js") {
        return Ok(program);
    }
    let hub = Command::new(&program).args(["-c", "import azure.iot.hub"]).stderr(Stdio::null()).status();
    if hub.is_ok_and(|status| status.success()) {
        return Ok(program);
    }
    Err("azure-iot-hub is not installed: .ci/strangers target/strangers".to_owned())
}

/// A hub on the ports that the SDKs expect, under its address as its name; or why there can be none.
fn hub(folder: &Folder, test: u8, flags: &[String]) -> Result<(Process, Value), String> {
    let address = address(test);
    for port in [8883, 5671, 443] {
        std::net::TcpListener::bind((address.as_str(), port))
            .map_err(|error| format!("port {port} on {address} is not to be had: {error}"))?;
    }
    let state = folder.join("state").display().to_string();
    let words = ["hub", "--json", "--host-name", &address, "--listen", &address, "--state", &state];
    let mut hub = Process::start(&[&words.map(str::to_owned)[..], flags].concat(), &[("LOG_LEVEL", "error")]);
    let ready = hub.event("ready");
    Ok((hub, ready))
}

/// Runs a script against a hub of its own; it says `ok` at its end.
fn run(script: &str, words: &[&str], test: u8, flags: impl FnOnce(&Folder) -> Result<Vec<String>, String>) {
    let folder = Folder::new(&format!("service-{test}"));
    let prepared = interpreter(script).and_then(|program| {
        let flags = flags(&folder)?;
        Ok((program, hub(&folder, test, &flags)?))
    });
    let (program, (_hub, ready)) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => return skipped!("{script}: {reason}"),
    };
    let ca = ready["ca"].as_str().expect("the ready object says whom to trust");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers");
    let done = Command::new(program)
        .arg(scripts.join(script))
        .args(words)
        .env("READY", ready.to_string())
        .env("ISOTHERM", ISOTHERM)
        .env("ISOTHERM_STATE", folder.join("state"))
        .env("CERTIFICATES", folder.join("certificates"))
        .env("STRANGER", root().join(RUST))
        .env("REQUESTS_CA_BUNDLE", ca)
        .env("NODE_EXTRA_CA_CERTS", ca)
        .env("NODE_PATH", root().join("target/strangers/node/node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the interpreter starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.trim_end().ends_with("ok"), "{script}:\n{out}\n{err}");
}

fn nothing_more(_: &Folder) -> Result<Vec<String>, String> {
    Ok(Vec::new())
}

fn with_modules(folder: &Folder) -> Result<Vec<String>, String> {
    Ok(vec!["--template".to_owned(), template(folder, 25.0).display().to_string()])
}

/// Certificates as the SDKs' guides have people make them: version 1, from openssl. Two that sign themselves, and one
/// under an authority that the hub trusts.
fn with_certificates(folder: &Folder) -> Result<Vec<String>, String> {
    let certificates = folder.join("certificates");
    std::fs::create_dir_all(&certificates).map_err(|error| error.to_string())?;
    let openssl = |words: &str| {
        let done = Command::new("openssl").args(words.split(' ')).current_dir(&certificates).output();
        match done {
            Ok(done) if done.status.success() => Ok(()),
            Ok(done) => Err(format!("openssl {words}: {}", String::from_utf8_lossy(&done.stderr))),
            Err(error) => Err(format!("openssl is not here: {error}")),
        }
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout ca.key -out ca.pem")?;
    for name in ["self", "other", "by-ca"] {
        openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"))?;
        let signer = if name == "by-ca" { "-CA ca.pem -CAkey ca.key -CAcreateserial" } else { "-signkey" };
        let signer = if name == "by-ca" { signer.to_owned() } else { format!("{signer} {name}.key") };
        openssl(&format!("x509 -req -days 2 -in {name}.csr -out {name}.pem {signer}"))?;
    }
    Ok(vec!["--device-ca".to_owned(), certificates.join("ca.pem").display().to_string()])
}

/// The program around azure_iot_sdk, or why it is not there.
fn with_azure_iot_sdk(_: &Folder) -> Result<Vec<String>, String> {
    let why = "azure_iot_sdk is not built, which needs OpenSSL's headers: .ci/strangers target/strangers";
    root().join(RUST).exists().then(Vec::new).ok_or_else(|| why.to_owned())
}

#[test]
fn azure_iot_sdk_for_rust_is_content_and_its_keep_alive_is_borne() {
    run("azure_iot_sdk.py", &[], 30, with_azure_iot_sdk);
}

#[test]
fn azure_iot_hub_for_python_is_content() {
    run("azure_service.py", &[], 21, nothing_more);
}

#[test]
fn azure_iothub_for_node_is_content() {
    run("azure_service.js", &[], 22, nothing_more);
}

#[test]
fn azure_iot_device_for_node_is_content_over_mqtt() {
    run("azure_device.js", &["mqtt"], 23, nothing_more);
}

#[test]
fn azure_iot_device_for_node_is_content_over_websockets() {
    run("azure_device.js", &["mqttws"], 24, nothing_more);
}

#[test]
fn azure_iot_device_for_node_is_content_over_https() {
    run("azure_device.js", &["http"], 25, nothing_more);
}

#[test]
fn azure_iot_device_for_python_finds_the_hub_as_a_module_does() {
    run("azure_edge.py", &[], 26, with_modules);
}

#[test]
fn azure_iot_device_for_node_finds_the_hub_as_a_module_does() {
    run("azure_edge.js", &["mqtt"], 27, with_modules);
}

#[test]
fn azure_iot_device_for_node_finds_the_hub_as_a_module_does_over_amqp() {
    run("azure_edge.js", &["amqp"], 44, with_modules);
}

#[test]
fn devices_for_python_come_in_by_certificate() {
    run("azure_x509.py", &[], 28, with_certificates);
}

#[test]
fn devices_for_node_come_in_by_certificate() {
    run("azure_x509.js", &[], 29, with_certificates);
}
