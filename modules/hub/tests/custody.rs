//! Acknowledged means kept: a hub is killed, not ended, and what it had acknowledged is there when it is back.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use isotherm_host::Host;
use isotherm_hub::{READY_FILE, Ready};
use isotherm_iothub::{ConnectionString, Identity, Token};
use rumqttc::{MqttOptions, QoS, Transport};
use serde_json::json;
use support::{Folder, HUB, PATIENCE, Site, Stranger, stranger_tls, user_name};

const READINGS: u32 = 500;

/// The hub's own binary, as a container would run it.
struct Process(Child);

impl Process {
    fn start(state: &Path, template: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_hub"))
            .env("ISOTHERM_STATE", state)
            .env("HUB_TEMPLATE", template)
            .env("HUB_LISTEN", "127.0.0.1")
            .env("HUB_MQTTS_PORT", "0")
            .env("HUB_HTTPS_PORT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built for this test");
        Self(child)
    }

    /// Kills it as a power cut would.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn ready(state: &Path) -> Ready {
    let read = async {
        loop {
            let ready = std::fs::read(state.join(READY_FILE)).ok();
            if let Some(ready) = ready.and_then(|text| serde_json::from_slice(&text).ok()) {
                return ready;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the hub comes up in time")
}

fn options(ready: &Ready, module: &str) -> MqttOptions {
    let string: ConnectionString = ready.modules[module].parse().unwrap();
    let who = Identity::module("edge", module).unwrap();
    let expiry = Host::real().wall().as_second() + 3_600;
    let token = Token::mint(&string.key.unwrap(), &who.resource(HUB), expiry, None);
    let mut options = MqttOptions::new(who.as_str(), "localhost", ready.ports.mqtts);
    options
        .set_credentials(user_name(who.as_str()), token)
        .set_transport(Transport::tls_with_config(stranger_tls(&std::fs::read_to_string(&ready.ca).unwrap())))
        .set_clean_session(false)
        .set_inflight(100);
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_hub_was_killed() {
    let folder = Folder::new("killed");
    let (state, template) = (folder.path().join("state"), folder.path().join("deployment.template.json"));
    std::fs::write(&template, support::TEMPLATE).unwrap();
    let process = Process::start(&state, &template);
    let mut sensor = Stranger::connect(options(&ready(&state).await, "sensor")).await;
    let client = sensor.client.clone();
    tokio::spawn(async move {
        let topic = "devices/edge/modules/sensor/messages/events/%24.on=temperature";
        for number in 0..READINGS {
            let sent = client.publish(topic, QoS::AtLeastOnce, false, number.to_be_bytes()).await;
            if sent.is_err() {
                return;
            }
        }
    });
    for _ in 0..READINGS / 2 {
        sensor.puback().await;
    }
    process.kill();
    std::fs::remove_file(state.join(READY_FILE)).unwrap();

    let _process = Process::start(&state, &template);
    let mut filter = Stranger::connect(options(&ready(&state).await, "filter")).await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    for number in 0..READINGS / 2 {
        assert_eq!(filter.publish().await.payload[..], number.to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_ends_in_order_acknowledges_what_it_took_first() {
    let site = Site::start().await;
    let mut sensor = site.stranger("edge/sensor").await;
    let topic = "devices/edge/modules/sensor/messages/events/%24.on=temperature";
    for _ in 0..50 {
        sensor.client.publish(topic, QoS::AtLeastOnce, false, "x").await.unwrap();
    }
    // One acknowledgement back: the others are on the way or with the hub.
    sensor.puback().await;
    let taken =
        site.get("/isotherm/v1/status").await["counters"]["messages_received_total"].as_u64().unwrap();
    site.host.stop.stop();
    let mut acknowledged = 1;
    while let Some(packet) = sensor.try_next().await {
        acknowledged += u64::from(matches!(packet, rumqttc::Packet::PubAck(_)));
    }
    assert!(acknowledged >= taken, "{acknowledged} of at least {taken}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_does_not_acknowledge_holds_nobody_else_up() {
    let site = Site::start().await;
    let mut lazy = site.options("edge/filter").await;
    lazy.set_manual_acks(true);
    let mut lazy = Stranger::connect(lazy).await;
    lazy.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    let mut sensor = site.stranger("edge/sensor").await;
    let client = sensor.client.clone();
    tokio::spawn(async move {
        let topic = "devices/edge/modules/sensor/messages/events/%24.on=temperature";
        for _ in 0..2_000 {
            client.publish(topic, QoS::AtLeastOnce, false, vec![0; 1_000]).await.unwrap();
        }
    });
    for _ in 0..2_000 {
        sensor.puback().await;
    }
    let status = site.get("/isotherm/v1/status").await;
    assert_eq!(status["queued"], json!(2_000));
    site.stop().await;
}
