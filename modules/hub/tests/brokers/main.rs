//! Other people's brokers as upstream, each stopped, cut off and started again under load: counted by sequence
//! number, nothing is missing. One that is not installed is skipped, and said so.

#[path = "../../../../crates/client/tests/strangers/mod.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod entities;
mod rabbitmq;
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isotherm_host::Host;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use support::Folder;
use tokio::time::timeout;
use world::{Cable, Edge, Process, free_port, open};

/// Nothing here takes this long unless it is broken, on a busy machine too.
const LONG: Duration = Duration::from_secs(120);
/// The topic and body that people write by hand.
const TOPIC: &str = "/pi2mqtt/temp";
const BODY: &str = r#"{"temp": {reading}, "n": {sequence}}"#;

/// Says what could not run here and why, past the test harness.
fn skipped(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The sequence number of a body such as `{"temp": 21.5, "n": 7}`.
fn number(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{body:?} is no JSON"));
    assert_eq!(body["temp"], 21.5);
    body["n"].as_u64().expect("a number")
}

type Seen = Arc<Mutex<BTreeSet<u64>>>;

/// Somebody who subscribes, however often the broker goes away.
async fn subscriber(port: u16) -> Seen {
    let mut options = MqttOptions::new("counter", "127.0.0.1", port);
    options.set_clean_session(false).set_max_packet_size(400 * 1024, 400 * 1024);
    let (client, mut events) = AsyncClient::new(options, 100);
    let seen = Seen::default();
    let (noted, ready) = (seen.clone(), Arc::new(tokio::sync::Notify::new()));
    let subscribed = ready.clone();
    tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    let _ = client.try_subscribe(TOPIC, QoS::AtLeastOnce); // again costs nothing
                }
                Ok(Event::Incoming(Packet::SubAck(_))) => subscribed.notify_one(),
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    noted.lock().unwrap().insert(number(&publish.payload));
                }
                Ok(_) => {}
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    timeout(LONG, ready.notified()).await.expect("it is subscribed in time");
    seen
}

async fn until(seen: &Seen, count: u64) {
    let counting = async {
        while (seen.lock().unwrap().len() as u64) < count {
            tokio::task::yield_now().await;
        }
    };
    let counted = timeout(LONG, counting).await;
    let missing: Vec<u64> = {
        let seen = seen.lock().unwrap();
        (0..count).filter(|number| !seen.contains(number)).take(10).collect()
    };
    assert!(counted.is_ok() && missing.is_empty(), "missing: {missing:?} …");
}

fn mosquitto(folder: &Path, port: u16) -> Process {
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         max_queued_messages 0\nuser root\n",
        folder.display()
    );
    std::fs::write(&config, text).unwrap();
    Process::start(Command::new("mosquitto").arg("-c").arg(config))
}

fn have(program: &str) -> bool {
    let host = Host::real();
    std::env::split_paths(host.env.get("PATH").unwrap_or_default())
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(program).exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_stopped_cut_and_started_again_misses_nothing() {
    if !have("mosquitto") {
        return skipped("mosquitto is not here; .ci/strangers gets it");
    }
    let (folder, port) = (Folder::new("mosquitto"), free_port());
    let broker = mosquitto(folder.path(), port);
    open(port).await;
    let seen = subscriber(port).await;
    let cable = Cable::to(port).await;
    let mut edge = Edge::to(format!("mqtt://127.0.0.1:{}", cable.port)).await;
    edge.send(300).await;
    until(&seen, 100).await;
    broker.signal("-STOP");
    edge.send(300).await;
    broker.signal("-CONT");
    until(&seen, 400).await;
    cable.cut();
    edge.send(300).await;
    broker.end("-TERM");
    edge.send(100).await;
    let _again = mosquitto(folder.path(), port);
    until(&seen, edge.sent).await;
    edge.site.stop().await;
}

/// Three nodes of NATS with JetStream, which keeps what MQTT publishes.
struct Nats {
    program: PathBuf,
    folder: PathBuf,
    mqtt: [u16; 3],
    clients: [u16; 3],
    routes: [u16; 3],
}

impl Nats {
    fn new(program: PathBuf, folder: &Path) -> Self {
        let ports = || std::array::from_fn(|_| free_port());
        Self { program, folder: folder.to_owned(), mqtt: ports(), clients: ports(), routes: ports() }
    }

    fn start(&self, node: usize) -> Process {
        let routes: Vec<String> = self.routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let store = self.folder.join(format!("n{node}"));
        let text = format!(
            "server_name: n{node}\nlisten: 127.0.0.1:{}\njetstream {{ store_dir: \"{}\" }}\n\
             cluster {{ name: isotherm, listen: 127.0.0.1:{}, routes: [{}] }}\n\
             mqtt {{ listen: 127.0.0.1:{}, stream_replicas: 3 }}\n",
            self.clients[node],
            store.display(),
            self.routes[node],
            routes.join(", "),
            self.mqtt[node]
        );
        let config = self.folder.join(format!("n{node}.conf"));
        std::fs::write(&config, text).unwrap();
        Process::start(Command::new(&self.program).arg("-c").arg(config))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_nats_loses_a_node_and_a_cable_and_misses_nothing() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/strangers/bin/nats-server");
    if !program.exists() {
        return skipped("nats-server is not in target/strangers; .ci/strangers gets it");
    }
    let folder = Folder::new("nats");
    let cluster = Nats::new(program, folder.path());
    let mut nodes: Vec<Option<Process>> = (0..3).map(|node| Some(cluster.start(node))).collect();
    for port in cluster.mqtt {
        open(port).await;
    }
    let seen = subscriber(cluster.mqtt[2]).await;
    let cable = Cable::to(cluster.mqtt[0]).await;
    let mut edge = Edge::to(format!("mqtt://127.0.0.1:{}", cable.port)).await;
    edge.send(300).await;
    until(&seen, 100).await;
    edge.send(200).await;
    nodes[0].take().unwrap().end("-KILL"); // the node that the edge speaks with
    *cable.to.lock().unwrap() = cluster.mqtt[1];
    edge.send(200).await;
    until(&seen, 600).await;
    nodes[0] = Some(cluster.start(0));
    nodes[1].as_ref().unwrap().signal("-STOP");
    edge.send(100).await;
    nodes[1].as_ref().unwrap().signal("-CONT");
    cable.cut();
    edge.send(100).await;
    until(&seen, edge.sent).await;
    edge.site.stop().await;
}
