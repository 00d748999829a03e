//! Other people's brokers as upstream, each stopped, cut off and started again under load: counted by sequence
//! number, nothing is missing. One that is not installed is skipped, and said so.

mod support;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isotherm_client::{Client, Credentials, Options as ClientOptions};
use isotherm_host::{Host, MemoryDisk};
use isotherm_hub::{Options, Upstream};
use isotherm_iothub::{ConnectionString, Message};
use isotherm_proto::{Celsius, Reading};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use support::{Folder, Site, ephemeral};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

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

/// A port for a stranger that cannot choose one by itself; below those that the system gives away, to anybody and at any
/// time.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(20_000 + std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A stranger's process and all that it starts, ended with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.process_group(0).spawn().expect("it was there a moment ago"))
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    }

    fn end(mut self, signal: &str) {
        self.signal(signal);
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.0.wait();
    }
}

/// A cable that can be cut: what dials it reaches the port that it leads to at the moment.
#[derive(Clone)]
struct Cable {
    port: u16,
    lines: Arc<Mutex<JoinSet<()>>>,
    to: Arc<Mutex<u16>>,
}

impl Cable {
    async fn to(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Self {
            port: listener.local_addr().unwrap().port(),
            lines: Arc::default(),
            to: Arc::new(Mutex::new(port)),
        };
        let lines = cable.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let port = *lines.to.lock().unwrap();
                lines.lines.lock().unwrap().spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        cable
    }

    fn cut(&self) {
        self.lines.lock().unwrap().abort_all();
    }
}

async fn open(port: u16) {
    let opening = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, opening).await.expect("it opens its port in time");
}

/// An edge with a filter, whose alerts go to a broker.
struct Edge {
    site: Site,
    filter: Client,
    sent: u64,
}

impl Edge {
    async fn to(connection: String) -> Self {
        let upstream = Upstream { topic: TOPIC.into(), body: BODY.into(), ..Upstream::to(&connection) };
        let site = Site::with(Options { upstream: Some(upstream), ..ephemeral() }).await;
        let content = json!({"modulesContent": {
            "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {}}, "systemModules": {}, "modules": {}}},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1",
                "routes": {"all": "FROM /messages/* INTO $upstream"},
                "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
            "filter": {"properties.desired": {}},
        }});
        let answer = site.rest("POST", "/devices/edge/applyConfigurationContent", content).await;
        assert_eq!(answer.status, 204, "{:?}", answer.body);
        let hub: ConnectionString = site.ready.policies["device"].parse().unwrap();
        let key = Credentials::Key(site.key("edge/filter").await);
        let mut options = ClientOptions::new("edge/filter".parse().unwrap(), &hub.host_name, key);
        options.gateway = Some(format!("localhost:{}", site.ready.ports.mqtts));
        options.roots = Some(site.ca.clone());
        let host = Host::real().with_disk(Arc::new(MemoryDisk::new())).with_own_stop();
        let filter = Client::with(&host, options).await.unwrap();
        Self { site, filter, sent: 0 }
    }

    async fn send(&mut self, count: u64) {
        let reading = |sequence| {
            let at = "2026-01-01T00:00:00Z".parse().unwrap();
            let celsius = Celsius::new(21.5).unwrap();
            Message::new(Reading { sensor_id: "attic".to_owned(), sequence, celsius, at }.encode())
        };
        let messages = (self.sent..self.sent + count).map(reading).collect();
        self.sent += count;
        self.filter.send_all("alert", messages, None).await.unwrap();
        assert!(timeout(LONG, self.filter.flush(LONG)).await.unwrap(), "the edge takes them");
    }
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

/// A node of RabbitMQ with its plugin for MQTT, and a port mapper of its own.
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
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\nmqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}\nmqtt.allow_anonymous = true\n"
        );
        std::fs::write(folder.join("rabbitmq.conf"), config).unwrap();
        std::fs::write(folder.join("plugins"), "[rabbitmq_mqtt].\n").unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_killed_cut_and_started_again_misses_nothing_by_mqtt() {
    if !Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists() || !have("epmd") {
        return skipped("RabbitMQ is not here; .ci/strangers gets it");
    }
    let folder = Folder::new("rabbitmq");
    let rabbit = Rabbit::new(folder.path());
    let node = rabbit.start().await;
    let seen = subscriber(rabbit.mqtt).await;
    let cable = Cable::to(rabbit.mqtt).await;
    let mut edge = Edge::to(format!("mqtt://127.0.0.1:{}", cable.port)).await;
    edge.send(300).await;
    until(&seen, 100).await;
    node.signal("-STOP");
    edge.send(200).await;
    node.signal("-CONT");
    until(&seen, 400).await;
    cable.cut();
    edge.send(200).await;
    node.end("-KILL");
    edge.send(100).await;
    let _again = rabbit.start().await;
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
