use std::sync::Arc;

use isotherm_host::{Disk as _, MemoryDisk};

use super::*;
use crate::url::{self, Scheme};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn read(variables: &[(&str, &str)]) -> Result<Wiring, ConnectError> {
    let host =
        Host::real().with_env(Env::of(variables.iter().copied())).with_disk(Arc::new(MemoryDisk::new()));
    Wiring::from_env(&host)
}

fn options(variables: &[(&str, &str)]) -> Options {
    match read(variables) {
        Ok(Wiring::Hub(options)) => *options,
        Ok(Wiring::Broker(_)) => panic!("a hub was named"),
        Err(error) => panic!("{error}"),
    }
}

fn refusal(variables: &[(&str, &str)]) -> String {
    match read(variables) {
        Ok(_) => panic!("should have been refused"),
        Err(error) => error.to_string(),
    }
}

fn connection_string() -> String {
    format!(
        "HostName=hub;DeviceId=edge;ModuleId=filter;SharedAccessKey={KEY};GatewayHostName=localhost:18883"
    )
}

#[test]
fn a_connection_string_says_who_and_where() {
    let text = connection_string();
    let options = options(&[("EdgeHubConnectionString", &text), ("ISOTHERM_STATE", "/state")]);
    assert_eq!(options.identity.as_str(), "edge/filter");
    assert_eq!(options.gateway.as_deref().map(peer), Some(("localhost", 18883)));
    assert_eq!(options.state_dir, Path::new("/state/edge-filter"));
    assert_eq!(options.transport, Transport::Mqtt);
    assert!(matches!(options.credentials, Credentials::Key(_)));
}

#[test]
fn in_a_container_the_workload_api_signs() {
    let edge = [
        ("IOTEDGE_WORKLOADURI", "unix:///run/w.sock"),
        ("IOTEDGE_DEVICEID", "edge"),
        ("IOTEDGE_MODULEID", "filter"),
        ("IOTEDGE_MODULEGENERATIONID", "7"),
        ("IOTEDGE_IOTHUBHOSTNAME", "hub"),
        ("IOTEDGE_GATEWAYHOSTNAME", "gateway"),
        ("IOTEDGE_AUTHSCHEME", "sasToken"),
    ];
    let options = options(&edge);
    assert!(matches!(options.credentials, Credentials::Workload(_)));
    assert_eq!(options.gateway.as_deref(), Some("gateway"));
    for missing in 1..5 {
        let mut edge = edge.to_vec();
        let (name, _) = edge.remove(missing);
        assert!(refusal(&edge).starts_with(name), "{name}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_its_variable_s_name() {
    let text = connection_string();
    let hub = ("EdgeHubConnectionString", text.as_str());
    for (variable, value, words) in [
        ("EdgeHubAmqpsPort", "-1", "-1"),
        ("TransportType", "carrier pigeon", "Mqtt_Tcp_Only"),
        ("EdgeHubHttpsPort", "70000", "70000"),
        ("OUTBOX_BYTES_MAX", "much", "much"),
        ("OUTBOX_BYTES_MAX", "0", "room"),
        ("OUTBOX_WHEN_FULL", "panic", "drop-oldest"),
        ("OUTBOX", "cloud", "hand-to-hand"),
        ("EdgeModuleCACertificateFile", "/nowhere.pem", "/nowhere.pem"),
    ] {
        let why = refusal(&[hub, (variable, value)]);
        assert!(why.starts_with(variable) && why.contains(words), "{why}");
    }
    assert!(refusal(&[]).contains("BROKER_URL"));
    assert!(refusal(&[("EdgeHubConnectionString", "HostName=h")]).starts_with("EdgeHubConnectionString"));
    assert!(
        refusal(&[("EdgeHubConnectionString", "HostName=h;DeviceId=d;x509=true")]).starts_with("X509_CERT")
    );
}

#[test]
fn certificates_come_from_the_files_that_are_named() {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/c")).unwrap();
    disk.write_atomic(Path::new("/c/chain"), b"chain").unwrap();
    disk.write_atomic(Path::new("/c/key"), b"key").unwrap();
    let env = Env::of([
        ("EdgeHubConnectionString", "HostName=h;DeviceId=d;x509=true"),
        ("X509_CERTIFICATE_FILE", "/c/chain"),
        ("X509_KEY_FILE", "/c/key"),
        ("EdgeModuleCACertificateFile", "/c/chain"),
    ]);
    let host = Host::real().with_env(env).with_disk(Arc::new(disk));
    let Ok(Wiring::Hub(options)) = Wiring::from_env(&host) else { panic!("a hub") };
    let Credentials::Certificate(identity) = options.credentials else { panic!("a certificate") };
    assert_eq!((identity.chain_pem.as_str(), identity.key_pem.as_str()), ("chain", "key"));
    assert_eq!(options.roots.as_deref(), Some("chain"));
}

#[test]
fn a_broker_is_named_by_its_url() {
    let url = |text| url::parse(text, Scheme::Mqtt).unwrap();
    let plain = url("mqtt://broker");
    assert_eq!((plain.tls, plain.peer.as_str(), plain.port), (false, "broker", 1883));
    let full = url("mqtts://us%40er:k%3Aey@[::1]:9/");
    assert_eq!((full.user.as_str(), full.key.as_deref()), ("us@er", Some("k:ey")));
    assert_eq!((full.tls, full.peer.as_str(), full.port), (true, "[::1]", 9));
    for wrong in ["broker", "http://broker", "mqtt://", "mqtt://host:port", "mqtt://host/path"] {
        assert!(url::parse(wrong, Scheme::Mqtt).unwrap_err().contains("mqtt://host:1883"), "{wrong}");
    }
}

#[test]
fn a_broker_needs_a_topic_and_settings_that_are_json() {
    let url = ("BROKER_URL", "mqtt://b");
    assert!(refusal(&[url]).starts_with("OUTPUT_TOPIC"));
    assert!(refusal(&[url, ("OUTPUT_TOPIC", "a/#")]).contains("wildcard"));
    assert!(refusal(&[url, ("OUTPUT_TOPIC", "a"), ("MODULE_SETTINGS", "[]")]).contains("JSON object"));
    let Ok(Wiring::Broker(options)) = read(&[
        url,
        ("INPUT_TOPIC", "plant/+/temp"),
        ("OUTPUT_TOPIC", "alerts"),
        ("MODULE_SETTINGS", "{\"TemperatureThreshold\": 30}"),
    ]) else {
        panic!("a broker")
    };
    assert_eq!(options.desired, Some(serde_json::json!({"TemperatureThreshold": 30, "$version": 1})));
    assert_eq!(options.kept.state_dir, Path::new(".isotherm/isotherm-plant---temp-alerts"));
}

#[test]
fn a_name_may_carry_a_port() {
    assert_eq!(split_port("hub", 1), ("hub", 1));
    assert_eq!(split_port("hub:2", 1), ("hub", 2));
    assert_eq!(split_port("[::1]:2", 1), ("[::1]", 2));
    assert_eq!(split_port("[::1]", 1), ("[::1]", 1));
    assert_eq!(split_port("::1", 1), ("::1", 1));
}
