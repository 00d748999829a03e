//! RabbitMQ, by MQTT and by AMQP 1.0.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Receiver, Session};
use fe2o3_amqp_types::messaging::Body;
use fe2o3_amqp_types::primitives::Value;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::Folder;
use crate::world::{Cable, Edge, Process, free_port, open};
use crate::{LONG, have, number, skipped, subscriber, until};

/// What its user declares: RabbitMQ is told at its start, as its documentation has it.
const DECLARED: &str = "declared";

/// A node of RabbitMQ with its plugins for MQTT and AMQP 1.0, a durable queue, and a port mapper of its own.
struct Rabbit {
    folder: PathBuf,
    amqp: u16,
    mqtt: u16,
    distribution: u16,
    mapper: u16,
    _mapper: Process,
}

impl Rabbit {
    fn new(folder: &Path) -> Self {
        let [amqp, mqtt, distribution, mapper] = std::array::from_fn(|_| free_port());
        let definitions = folder.join("definitions.json");
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}\nmqtt.allow_anonymous = true\n\
             load_definitions = {}\n",
            definitions.display()
        );
        let all = ".*";
        let text = json!({
            "vhosts": [{"name": "/"}],
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "permissions": [{"user": "guest", "vhost": "/", "configure": all, "write": all, "read": all}],
            "queues": [{"name": DECLARED, "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}],
        });
        std::fs::write(definitions, text.to_string()).unwrap();
        std::fs::write(folder.join("rabbitmq.conf"), config).unwrap();
        std::fs::write(folder.join("plugins"), "[rabbitmq_amqp1_0,rabbitmq_mqtt].\n").unwrap();
        let _mapper = Process::start(Command::new("epmd").args(["-port", &mapper.to_string()]));
        Self { folder: folder.to_owned(), amqp, mqtt, distribution, mapper, _mapper }
    }

    async fn start(&self) -> Process {
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        command
            .env("HOME", &self.folder)
            .env("ERL_EPMD_PORT", self.mapper.to_string())
            .env("RABBITMQ_NODENAME", format!("isotherm{}@localhost", self.amqp))
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", self.folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.folder.join("log"))
            .env("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.join("plugins"));
        let node = Process::start(&mut command);
        open(self.amqp).await;
        open(self.mqtt).await;
        node
    }
}

/// What the declared queue holds, read to this number of different messages, in the order in which each came first.
async fn read_queue(port: u16, count: u64) {
    let reading = async {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
        let mut connection = Connection::builder()
            .container_id("counter")
            .sasl_profile(SaslProfile::Plain { username: "guest".into(), password: "guest".into() })
            .open_with_stream(stream)
            .await
            .unwrap();
        let mut session = Session::begin(&mut connection).await.unwrap();
        let address = format!("/amq/queue/{DECLARED}");
        let mut receiver = Receiver::attach(&mut session, "counter", address).await.unwrap();
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        while (seen.len() as u64) < count {
            let delivery = receiver.recv::<Body<Value>>().await.unwrap();
            let Body::Data(pieces) = delivery.body() else { panic!("data") };
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.0.to_vec()).collect();
            let number = number(&bytes);
            if seen.insert(number) {
                order.push(number);
            }
            receiver.accept(&delivery).await.unwrap();
        }
        assert_eq!(order, (0..count).collect::<Vec<_>>(), "in order, after dropping repeats");
        let _ = connection.close().await;
    };
    timeout(LONG, reading).await.expect("all of them are in the queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_killed_cut_and_started_again_misses_nothing_by_amqp_and_by_mqtt() {
    if !Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() || !have("epmd") {
        return skipped("RabbitMQ is not here; .ci/strangers gets it");
    }
    let folder = Folder::new("rabbitmq");
    let rabbit = Rabbit::new(folder.path());
    let node = rabbit.start().await;
    let seen = subscriber(rabbit.mqtt).await;
    let (amqp, mqtt) = (Cable::to(rabbit.amqp).await, Cable::to(rabbit.mqtt).await);
    let by_amqp = |address: &str| Edge::to(format!("amqp://guest:guest@127.0.0.1:{}/{address}", amqp.port));
    let declared = by_amqp(&format!("/amq/queue/{DECLARED}")).await;
    let mut edges = [Edge::to(format!("mqtt://127.0.0.1:{}", mqtt.port)).await, declared];
    for edge in &mut edges {
        edge.send(300).await;
    }
    until(&seen, 100).await;
    node.signal("-STOP");
    for edge in &mut edges {
        edge.send(200).await;
    }
    node.signal("-CONT");
    until(&seen, 400).await;
    amqp.cut();
    mqtt.cut();
    for edge in &mut edges {
        edge.send(200).await;
    }
    node.end("-KILL");
    for edge in &mut edges {
        edge.send(100).await;
    }
    let again = rabbit.start().await;
    until(&seen, edges[0].sent).await;
    edges[1].all_upstream().await;
    read_queue(rabbit.amqp, edges[1].sent).await;
    for edge in edges {
        edge.site.stop().await;
    }
    again.end("-KILL");
}
