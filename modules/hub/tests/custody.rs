//! Acknowledged means kept: a hub is killed, not ended, and what it had acknowledged is there when it is back.

#[path = "support/gate.rs"]
mod gate;
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gate::Gate;
use isotherm_host::Host;
use isotherm_hub::{Options, READY_FILE, Ready};
use isotherm_iothub::{ConnectionString, Identity, Token};
use rumqttc::{MqttOptions, Packet, QoS, Transport};
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

const OUTPUT: &str = "devices/edge/modules/sensor/messages/events/%24.on=temperature";

/// A hub on a real folder whose syncs we hold in hand, with a sensor connected.
async fn gated(folder: &Folder) -> (Gate, Site, Stranger) {
    let template = folder.path().join("deployment.template.json");
    std::fs::write(&template, support::TEMPLATE).unwrap();
    let gate = Gate::new();
    let options = Options {
        ephemeral: false,
        state: folder.path().join("state"),
        template: Some(template),
        ..support::ephemeral()
    };
    let site = Site::on(Host::real().with_disk(Arc::new(gate.clone())), options).await;
    let sensor = site.stranger("edge/sensor").await;
    (gate, site, sensor)
}

/// Publishes, and says what the hub answers until it answers something that was asked later.
async fn answers(sensor: &mut Stranger, topic: &str) -> Vec<Packet> {
    sensor.client.publish(topic, QoS::AtLeastOnce, false, "x").await.unwrap();
    sensor.client.subscribe("$iothub/twin/res/#", QoS::AtMostOnce).await.unwrap();
    let mut answers = Vec::new();
    loop {
        match sensor.next().await {
            Packet::SubAck(_) => return answers,
            other => answers.push(other),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_the_disk_has_it() {
    let folder = Folder::new("gate");
    let (gate, site, mut sensor) = gated(&folder).await;
    gate.close();
    assert_eq!(answers(&mut sensor, OUTPUT).await, [], "no PUBACK yet");
    // Nobody wants this one, so nothing is to be kept; but acknowledgements leave in order.
    let unrouted = "devices/edge/modules/sensor/messages/events/";
    assert_eq!(answers(&mut sensor, unrouted).await, [], "not before the first");
    gate.open();
    let (first, second) = (sensor.puback().await, sensor.puback().await);
    assert!(first < second, "{first} {second}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_senders_wait_and_go_on_when_there_is_room() {
    let folder = Folder::new("full");
    let (gate, site, mut sensor) = gated(&folder).await;
    gate.fill();
    sensor.client.publish(OUTPUT, QoS::AtLeastOnce, false, "1").await.unwrap();
    let refusing = async {
        while site.get("/isotherm/v1/status").await["store"]["refusing"] != json!(true) {
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), sensor.events.poll()).await;
        }
    };
    tokio::time::timeout(PATIENCE, refusing).await.expect("the store notices");
    for text in ["2", "3"] {
        sensor.client.publish(OUTPUT, QoS::AtLeastOnce, false, text).await.unwrap();
    }
    for _ in 0..20 {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), sensor.events.poll()).await;
        let status = site.get("/isotherm/v1/status").await;
        let taken = status["counters"]["messages_received_total"].as_u64().unwrap();
        assert!(taken <= 1, "the others wait outside, and perhaps the first");
    }
    gate.open();
    assert_eq!([sensor.puback().await, sensor.puback().await, sensor.puback().await], [1, 2, 3]);
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    for text in ["1", "2", "3"] {
        assert_eq!(&filter.publish().await.payload[..], text.as_bytes());
    }
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
