//! A hub on loopback, and the strangers who talk to it: rumqttc, raw bytes, HTTP.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses the part it needs")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isotherm_host::tls::ClientTls;
use isotherm_host::{BoxStream, Host, http};
use isotherm_hub::{Hub, Options, Ready};
use isotherm_iothub::{ConnectionString, Token};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, TlsConfiguration, Transport,
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const HUB: &str = "localhub.azure-devices.net";

/// A deployment with both modules and one route.
pub const TEMPLATE: &str = r#"{"modulesContent": {
  "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
    "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
    "systemModules": {
      "edgeAgent": {"type": "docker", "settings": {"image": "agent:1", "createOptions": ""}},
      "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": "hub:1", "createOptions": ""}}},
    "modules": {
      "sensor": {"type": "docker", "status": "running", "restartPolicy": "always", "version": "1.0", "settings": {"image": "sensor:1", "createOptions": ""}},
      "filter": {"type": "docker", "status": "running", "restartPolicy": "always", "version": "1.0", "settings": {"image": "filter:1", "createOptions": ""}}}}},
  "$edgeHub": {"properties.desired": {"schemaVersion": "1.1",
    "routes": {"readings": "FROM /messages/modules/sensor/outputs/* INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")"},
    "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
  "filter": {"properties.desired": {"TemperatureThreshold": 25}}
}}"#;

/// A hub, running.
pub struct Site {
    pub host: Host,
    pub hub: Option<Hub>,
    pub ready: Ready,
    pub ca: String,
}

pub fn ephemeral() -> Options {
    Options { ephemeral: true, mqtts: 0, amqps: 0, https: 0, ..Options::default() }
}

impl Site {
    /// A hub in memory with the modules `sensor` and `filter`, `sensor`'s output routed to `filter`'s input and
    /// `filter`'s alerts upstream.
    pub async fn start() -> Self {
        let site = Self::with(ephemeral()).await;
        let content = json!({"modulesContent": {
            "$edgeAgent": {"properties.desired": {
                "schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {}},
                "systemModules": {},
                "modules": {},
            }},
            "$edgeHub": {"properties.desired": {
                "schemaVersion": "1.1",
                "routes": {
                    "readings": "FROM /messages/modules/sensor/outputs/* INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")",
                    "alerts": "FROM /messages/modules/filter/outputs/alert INTO $upstream",
                },
                "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
            }},
            "sensor": {"properties.desired": {}},
            "filter": {"properties.desired": {"TemperatureThreshold": 25}},
        }});
        let answer = site.rest("POST", "/devices/edge/applyConfigurationContent", content).await;
        assert_eq!(answer.status, 204, "{:?}", answer.body);
        site
    }

    pub async fn with(options: Options) -> Self {
        Self::on(Host::real(), options).await
    }

    pub async fn on(host: Host, options: Options) -> Self {
        let host = host.with_own_stop();
        let hub = Hub::start(host.clone(), options).await.expect("the hub starts");
        let ready = hub.ready().clone();
        let ca = std::fs::read_to_string(&ready.ca).expect("ca.pem is there");
        Self { host, hub: Some(hub), ready, ca }
    }

    /// Ends the hub in order.
    pub async fn stop(mut self) {
        self.host.stop.stop();
        let hub = self.hub.take().expect("it is running");
        timeout(PATIENCE, hub.closed()).await.expect("it ends in time").expect("it ends well");
    }

    /// A service call with the owner's token.
    pub async fn rest(&self, method: &str, path: &str, body: Value) -> http::Response {
        self.rest_with(method, path, &[], body.to_string()).await
    }

    pub async fn rest_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response {
        let owner: ConnectionString = self.ready.policies["iothubowner"].parse().unwrap();
        let token = Token::mint(&owner.key.unwrap(), HUB, self.in_an_hour(), Some("iothubowner"));
        let mut all = vec![("authorization", token.as_str())];
        all.extend_from_slice(headers);
        self.anonymous(method, path, &all, body).await
    }

    pub async fn anonymous(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response {
        let stream = self.tls(self.ready.ports.https).await;
        timeout(PATIENCE, http::request(stream, method, path, headers, body)).await.expect("in time").unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.rest_with("GET", path, &[], "").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// How often something happened at the doors.
    pub async fn door(&self, name: &str) -> u64 {
        self.get("/isotherm/v1/status").await["doors"][name].as_u64().unwrap_or_default()
    }

    pub fn in_an_hour(&self) -> i64 {
        self.host.wall().as_second() + 3_600
    }

    /// A TLS stream to one of the ports.
    pub async fn tls(&self, port: u16) -> BoxStream {
        let stream = self.host.network.dial("127.0.0.1", port).await.expect("the port is open");
        let tls = ClientTls::new(&self.host, Some(&self.ca), None).unwrap();
        timeout(PATIENCE, tls.connect(stream, "localhost")).await.expect("in time").expect("trusted")
    }

    /// The primary key of a device or module, asked of the registry.
    pub async fn key(&self, who: &str) -> isotherm_iothub::Key {
        let path = match who.split_once('/') {
            Some((device, module)) => format!("/devices/{device}/modules/{module}"),
            None => format!("/devices/{who}"),
        };
        let document = self.get(&path).await;
        let key = document["authentication"]["symmetricKey"]["primaryKey"].as_str().expect("a key");
        isotherm_iothub::Key::from_base64(key).unwrap()
    }

    pub async fn device(&self, name: &str) {
        let answer = self.rest("PUT", &format!("/devices/{name}"), json!({"deviceId": name})).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }

    pub async fn token(&self, who: &str) -> String {
        let identity: isotherm_iothub::Identity = who.parse().unwrap();
        Token::mint(&self.key(who).await, &identity.resource(HUB), self.in_an_hour(), None)
    }

    /// rumqttc's options for somebody.
    pub async fn options(&self, who: &str) -> MqttOptions {
        let mut options = MqttOptions::new(who, "localhost", self.ready.ports.mqtts);
        options
            .set_credentials(user_name(who), self.token(who).await)
            .set_transport(Transport::tls_with_config(stranger_tls(&self.ca)))
            .set_max_packet_size(400 * 1024, 400 * 1024)
            .set_clean_session(false);
        options
    }

    /// A stranger's client, connected.
    pub async fn stranger(&self, who: &str) -> Stranger {
        Stranger::connect(self.options(who).await).await
    }
}

pub fn user_name(who: &str) -> String {
    format!("{HUB}/{who}/?api-version=2021-04-12&DeviceClientType=stranger")
}

pub fn stranger_tls(ca: &str) -> TlsConfiguration {
    let mut roots = rustls::RootCertStore::empty();
    for der in isotherm_pki::certificates(ca).unwrap() {
        roots.add(der.into()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConfiguration::Rustls(Arc::new(config))
}

/// rumqttc, and what it has told so far.
pub struct Stranger {
    pub client: AsyncClient,
    pub events: EventLoop,
    pub session_present: bool,
    heard: std::collections::VecDeque<Packet>,
}

impl Stranger {
    pub async fn connect(options: MqttOptions) -> Self {
        let (client, events) = AsyncClient::new(options, 100);
        let mut stranger =
            Self { client, events, session_present: false, heard: std::collections::VecDeque::new() };
        match stranger.next().await {
            Packet::ConnAck(ack) => stranger.session_present = ack.session_present,
            other => panic!("not a CONNACK: {other:?}"),
        }
        stranger
    }

    async fn poll(&mut self) -> Result<Packet, rumqttc::ConnectionError> {
        loop {
            match timeout(PATIENCE, self.events.poll()).await.expect("something comes in time")? {
                Event::Incoming(packet) => return Ok(packet),
                Event::Outgoing(_) => {}
            }
        }
    }

    /// The next packet from the hub.
    pub async fn next(&mut self) -> Packet {
        match self.heard.pop_front() {
            Some(packet) => packet,
            None => self.poll().await.expect("the connection stands"),
        }
    }

    /// The next packet, or `None` once the connection has ended.
    pub async fn try_next(&mut self) -> Option<Packet> {
        match self.heard.pop_front() {
            Some(packet) => Some(packet),
            None => self.poll().await.ok(),
        }
    }

    /// Waits for a packet of some kind; others stay for later.
    pub async fn expect<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> T {
        for (place, packet) in self.heard.iter().enumerate() {
            if let Some(found) = wanted(packet) {
                self.heard.remove(place);
                return found;
            }
        }
        loop {
            let packet = self.poll().await.expect("the connection stands");
            match wanted(&packet) {
                Some(found) => return found,
                None => self.heard.push_back(packet),
            }
        }
    }

    pub async fn puback(&mut self) -> u16 {
        self.expect(|packet| if let Packet::PubAck(ack) = packet { Some(ack.pkid) } else { None }).await
    }

    pub async fn publish(&mut self) -> Publish {
        self.expect(|packet| if let Packet::Publish(publish) = packet { Some(publish.clone()) } else { None })
            .await
    }

    /// Subscribes and says what was granted: a QoS, or `None`.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> Option<QoS> {
        self.client.subscribe(filter, qos).await.unwrap();
        let code = self
            .expect(|packet| if let Packet::SubAck(ack) = packet { Some(ack.return_codes[0]) } else { None })
            .await;
        match code {
            rumqttc::SubscribeReasonCode::Success(qos) => Some(qos),
            rumqttc::SubscribeReasonCode::Failure => None,
        }
    }

    /// Publishes at QoS 1 and waits for the acknowledgement.
    pub async fn send(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.into()).await.unwrap();
        self.puback().await;
    }

    /// Waits until the hub has closed the connection.
    pub async fn closed(mut self) {
        while self.poll().await.is_ok() {}
    }
}

/// A folder that is gone at the end.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("isotherm-hub-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Site {
    /// A watch, as it goes on.
    pub async fn watch_lines(&self, query: &str) -> http::Lines {
        let owner: ConnectionString = self.ready.policies["iothubowner"].parse().unwrap();
        let token = Token::mint(&owner.key.unwrap(), HUB, self.in_an_hour(), Some("iothubowner"));
        let stream = self.tls(self.ready.ports.https).await;
        let path = format!("/isotherm/v1/watch?{query}");
        let lines =
            http::lines(stream, "GET", &path, &[("authorization", token.as_str())], "").await.unwrap();
        assert_eq!(lines.head.status, 200, "{:?}", lines.head.body);
        lines
    }

    /// The first `count` lines of a watch.
    pub async fn watch(&self, query: &str, count: usize) -> Vec<Value> {
        let mut lines = self.watch_lines(query).await;
        let mut seen = Vec::new();
        while seen.len() < count {
            let line = timeout(PATIENCE, lines.next()).await.expect("in time").unwrap().expect("more lines");
            if let Ok(line) = serde_json::from_str(&line) {
                seen.push(line);
            }
        }
        seen
    }
}
