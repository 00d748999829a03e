//! A network in memory, with a hub on it that says what the test tells it to say.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use isotherm_client::{Client, Credentials, Options};
use isotherm_host::{
    BoxFuture, BoxListener, BoxStream, Chance, Clock, Disk, Env, Host, MemoryDisk, Network, Stop,
    tls::{ClientCertificates, ServerTls},
};
use isotherm_iothub::{Identity, Key, Message, ToHub};
use isotherm_pki::{Authority, Validity};
use isotherm_protocol::{
    Session as _,
    mqtt::{Connect, Limits, Qos, Server, ServerCommand, ServerEvent},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};

/// Longer than anything that a test waits for; in virtual time it costs nothing.
const LONG: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct VirtualClock(tokio::time::Instant);

impl Clock for VirtualClock {
    fn wall(&self) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        start + jiff::SignedDuration::try_from(self.0.elapsed()).unwrap()
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Cable {
    to_hub: mpsc::UnboundedSender<(u16, DuplexStream)>,
    dials: Arc<AtomicU32>,
    down: Arc<Mutex<bool>>,
}

impl Network for Cable {
    fn dial<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            self.dials.fetch_add(1, Ordering::Relaxed);
            if *self.down.lock().unwrap() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            self.to_hub.send((port, theirs)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn dial_unix<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { self.dial("unix", 0).await })
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<BoxListener>> {
        unreachable!("clients do not listen")
    }

    fn listen_unix<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, io::Result<BoxListener>> {
        unreachable!("clients do not listen")
    }
}

/// A host for the client, and the other end of its network.
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) disk: MemoryDisk,
    pub(crate) dials: Arc<AtomicU32>,
    pub(crate) down: Arc<Mutex<bool>>,
    from_client: mpsc::UnboundedReceiver<(u16, DuplexStream)>,
    tls: ServerTls,
    pub(crate) ca: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        let disk = MemoryDisk::new();
        Self::on(disk.clone(), Arc::new(disk))
    }

    /// With another disk under the client than a plain one.
    pub(crate) fn on(disk: MemoryDisk, under: Arc<dyn Disk>) -> Self {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (not_before, not_after) = (at("2025-01-01T00:00:00Z"), at("2035-01-01T00:00:00Z"));
        let authority = Authority::create("test", not_before, not_after).unwrap();
        let issued = authority.issue_server(&["hub".to_owned()], Validity { not_before, not_after }).unwrap();
        let tls = ServerTls::new(&issued.certificate_pem, &issued.key_pem, ClientCertificates::No).unwrap();
        let (to_hub, from_client) = mpsc::unbounded_channel();
        let (dials, down) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(false)));
        let network = Arc::new(Cable { to_hub, dials: dials.clone(), down: down.clone() });
        let host = Host {
            env: Env::of(BTreeMap::<String, String>::new()),
            network,
            disk: under,
            clock: Arc::new(VirtualClock(tokio::time::Instant::now())),
            chance: Chance::seeded(1),
            stop: Stop::new(),
            metrics: Default::default(),
            log: Default::default(),
        };
        Self { host, disk, dials, down, from_client, tls, ca: authority.certificate_pem().to_owned() }
    }

    pub(crate) fn options(&self) -> Options {
        let identity = Identity::module("edge", "filter").unwrap();
        let key = Key::from_bytes(&[7; 32]);
        Options { roots: Some(self.ca.clone()), ..Options::new(identity, "hub", Credentials::Key(key)) }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::with(&self.host, self.options()).await.unwrap()
    }

    /// The next stream that the client opens, and to which port.
    pub(crate) async fn stream(&mut self) -> (u16, BoxStream) {
        let next = tokio::time::timeout(LONG, self.from_client.recv()).await.expect("the client dials");
        let (port, stream) = next.unwrap();
        (port, Box::new(stream))
    }

    /// The next TLS stream that the client opens and does not give up again.
    pub(crate) async fn secured(&mut self) -> (u16, BoxStream) {
        loop {
            let (port, stream) = self.stream().await;
            if let Ok((stream, _)) = self.tls.accept(stream).await {
                return (port, stream);
            }
        }
    }

    /// The next connection, greeted as far as CONNECT.
    pub(crate) async fn greet(&mut self) -> (Peer, Box<Connect>) {
        let (_, stream) = self.secured().await;
        let mut peer = Peer::over(stream);
        match peer.event().await {
            Some(ServerEvent::Connect(connect)) => (peer, connect),
            other => panic!("CONNECT comes first, not {other:?}"),
        }
    }

    /// The next connection, accepted and subscribed, and its twin told.
    pub(crate) async fn accept(&mut self, twin: Value) -> Peer {
        let (mut peer, _) = self.greet().await;
        peer.say(ServerCommand::Accept { session_present: false }).await;
        let filters = peer.grant().await;
        let rid = peer.twin_get().await;
        peer.deliver(&format!("$iothub/twin/res/200/?$rid={rid}"), &twin.to_string(), Qos::AtMostOnce, 0)
            .await;
        if !filters.iter().any(|filter| filter.ends_with("/inputs/#")) {
            assert_eq!(peer.grant().await.len(), 1, "its inputs, now that it knows its twin");
        }
        peer
    }
}

pub(crate) fn twin(version: u64) -> Value {
    json!({"desired": {"a": version, "$version": version}, "reported": {"$version": 1}})
}

/// The hub's end of one connection.
pub(crate) struct Peer {
    stream: BoxStream,
    server: Server,
    bytes: BytesMut,
    /// What was heard while something else was waited for.
    pub(crate) aside: Vec<ServerEvent>,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Peer {
    pub(crate) fn over(stream: BoxStream) -> Self {
        let server = Server::new(now(), Limits::default());
        Self { stream, server, bytes: BytesMut::new(), aside: Vec::new() }
    }

    /// What the client does next; `None` when it is gone.
    pub(crate) async fn event(&mut self) -> Option<ServerEvent> {
        tokio::time::timeout(LONG, self.next()).await.expect("the client says something")
    }

    /// What the client does within a time; `None` if it does nothing.
    pub(crate) async fn within(&mut self, limit: Duration) -> Option<ServerEvent> {
        tokio::time::timeout(limit, self.next()).await.ok().flatten()
    }

    async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.server.poll_event() {
                return Some(event);
            }
            self.flush().await;
            if self.stream.read_buf(&mut self.bytes).await.ok()? == 0 {
                return None;
            }
            self.server.handle_bytes(now(), &mut self.bytes).expect("the client speaks MQTT");
        }
    }

    pub(crate) async fn say(&mut self, command: ServerCommand) {
        self.server.handle_command(now(), command);
        self.flush().await;
    }

    async fn flush(&mut self) {
        let mut out = BytesMut::new();
        self.server.poll_transmit(&mut out);
        if !out.is_empty() {
            let _ = self.stream.write_all(&out).await; // the client may be gone
            let _ = self.stream.flush().await;
        }
    }

    /// Grants what the client subscribes to next, and says what that was.
    pub(crate) async fn grant(&mut self) -> Vec<String> {
        loop {
            match self.event().await {
                Some(ServerEvent::Subscribe { packet_id, filters }) => {
                    let codes = vec![1; filters.len()];
                    self.say(ServerCommand::Granted { packet_id, codes }).await;
                    return filters.into_iter().map(|(filter, _)| filter.to_string()).collect();
                }
                Some(other) => self.aside.push(other),
                None => panic!("the client went away before it subscribed"),
            }
        }
    }

    pub(crate) async fn deliver(&mut self, topic: &str, body: &str, qos: Qos, token: u64) {
        let topic = topic.try_into().unwrap();
        let payload = Bytes::copy_from_slice(body.as_bytes());
        self.say(ServerCommand::Deliver { token, topic, payload, qos, dup: false }).await;
    }

    /// The next publish that `pick` wants, all else is put aside.
    async fn publish<T>(&mut self, mut pick: impl FnMut(&str, &Bytes, u16) -> Option<T>) -> T {
        let mut pick = |event: &ServerEvent| match event {
            ServerEvent::Publish { topic, payload, packet_id, .. } => pick(topic, payload, *packet_id),
            _ => None,
        };
        for index in 0..self.aside.len() {
            if let Some(picked) = pick(&self.aside[index]) {
                self.aside.remove(index);
                return picked;
            }
        }
        loop {
            let event = self.event().await.expect("the client is there");
            match pick(&event) {
                Some(picked) => return picked,
                None => self.aside.push(event),
            }
        }
    }

    /// The next message from the client, with its packet id.
    pub(crate) async fn message(&mut self) -> (Message, u16) {
        self.publish(|topic, payload, packet_id| match ToHub::parse(topic) {
            Ok(ToHub::Telemetry { properties: (system, properties), .. }) => {
                Some((Message { body: payload.clone(), system, properties }, packet_id))
            }
            _ => None,
        })
        .await
    }

    /// The next message's body as text, acknowledged.
    pub(crate) async fn body(&mut self) -> String {
        let (message, packet_id) = self.message().await;
        self.say(ServerCommand::Acknowledge { packet_id }).await;
        String::from_utf8(message.body.to_vec()).unwrap()
    }

    /// The client asks for its twin.
    pub(crate) async fn twin_get(&mut self) -> String {
        self.publish(|topic, _, _| match ToHub::parse(topic) {
            Ok(ToHub::TwinGet { rid }) => Some(rid),
            _ => None,
        })
        .await
    }

    /// The client reports something.
    pub(crate) async fn reported(&mut self) -> (String, Value) {
        self.publish(|topic, payload, _| match ToHub::parse(topic) {
            Ok(ToHub::TwinPatch { rid }) => Some((rid.unwrap(), serde_json::from_slice(payload).unwrap())),
            _ => None,
        })
        .await
    }

    /// The client answers a method.
    pub(crate) async fn response(&mut self) -> (i32, String, Value, u16) {
        self.publish(|topic, payload, packet_id| match ToHub::parse(topic) {
            Ok(ToHub::MethodResponse { status, rid }) => {
                Some((status, rid, serde_json::from_slice(payload).unwrap(), packet_id))
            }
            _ => None,
        })
        .await
    }

    /// The cable is cut.
    pub(crate) fn cut(self) {}
}
