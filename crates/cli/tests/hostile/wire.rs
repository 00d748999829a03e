//! A connection in bare hands: bytes as one likes them, and packets where they are wanted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use isotherm_host::tls::ClientTls;
use isotherm_host::{BoxStream, Host};
use isotherm_iothub::{Identity, Key, Token};
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, Publish, decode, encode};
use isotherm_protocol::mqtt::{Connect, ConnectCode, Packet, Qos, Text};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

/// Nobody waits longer than this for anything in particular.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How often somebody who behaves comes again.
const TRIES: usize = 300;
/// How long they wait before.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// The hub's name.
pub(crate) const HUB: &str = "localhub.azure-devices.net";

/// Where the hub under attack is, and what its owner knows.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) mqtts: u16,
    pub(crate) https: u16,
    ca: Arc<str>,
    tls: Arc<ClientTls>,
    owner: Key,
}

impl Site {
    /// From the line that the hub says when it is ready.
    pub(crate) fn of(ready: &Value) -> Self {
        let host = Host::real();
        let ca = std::fs::read_to_string(ready["ca"].as_str().expect("a file")).expect("ca.pem is there");
        let tls = Arc::new(ClientTls::new(&host, Some(&ca), None).expect("the CA is one"));
        let port = |name: &str| ready["ports"][name].as_u64().and_then(|port| u16::try_from(port).ok());
        let owner = ready["policies"]["iothubowner"].as_str().expect("a connection string");
        let owner: isotherm_iothub::ConnectionString = owner.parse().expect("a connection string");
        Self {
            mqtts: port("mqtts").expect("a port"),
            https: port("https").expect("a port"),
            ca: ca.into(),
            tls,
            owner: owner.key.expect("a key"),
            host,
        }
    }

    /// A connection that has said nothing.
    pub(crate) async fn tcp(&self, port: u16) -> io::Result<BoxStream> {
        self.host.network.dial("127.0.0.1", port).await
    }

    /// The same behind TLS, where possible with the key of an earlier session.
    pub(crate) async fn tls(&self, port: u16) -> io::Result<Wire> {
        self.greet(&self.tls, port).await
    }

    /// Behind TLS with a whole handshake, which costs the hub most.
    pub(crate) async fn fresh_tls(&self, port: u16) -> io::Result<Wire> {
        let tls = ClientTls::new(&self.host, Some(&self.ca), None).map_err(io::Error::other)?;
        self.greet(&tls, port).await
    }

    async fn greet(&self, tls: &ClientTls, port: u16) -> io::Result<Wire> {
        let stream = self.tcp(port).await?;
        let stream = timeout(PATIENCE, tls.connect(stream, "localhost")).await??;
        Ok(Wire { stream, read: BytesMut::new() })
    }

    /// A connection that the hub has let in as `who`.
    pub(crate) async fn enter(&self, who: &Identity, key: &Key) -> io::Result<Wire> {
        self.enter_with(who, key, 0).await
    }

    /// The same with a keep-alive in seconds.
    pub(crate) async fn enter_with(&self, who: &Identity, key: &Key, keep_alive: u16) -> io::Result<Wire> {
        let mut wire = self.tls(self.mqtts).await?;
        let token = Token::mint(key, &who.resource(HUB), self.in_an_hour(), None);
        wire.say(&connect(who, &token, keep_alive)).await?;
        match wire.hear().await? {
            Packet::ConnAck { code: ConnectCode::Accepted, .. } => Ok(wire),
            other => Err(io::Error::other(format!("not let in: {other:?}"))),
        }
    }

    /// The same as [`enter`](Self::enter), as often as it takes: a door at which strangers queue turns some away, and
    /// who behaves comes again.
    pub(crate) async fn enter_at_last(&self, who: &Identity, key: &Key) -> io::Result<Wire> {
        let mut entered = self.enter(who, key).await;
        for _ in 0..TRIES {
            if entered.is_ok() {
                break;
            }
            sleep(BETWEEN_TRIES).await;
            entered = self.enter(who, key).await;
        }
        entered
    }

    pub(crate) fn in_an_hour(&self) -> i64 {
        self.host.wall().as_second() + 3_600
    }

    /// A request with the owner's token; the answer's status and body.
    pub(crate) async fn rest(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let token = Token::mint(&self.owner, HUB, self.in_an_hour(), Some("iothubowner"));
        let wire = self.tls(self.https).await?;
        let headers = [("authorization", token.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let asked = isotherm_host::http::request(wire.stream, method, path, &headers, body);
        let answer = timeout(PATIENCE, asked).await??;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// A device that may come in; its key.
    pub(crate) async fn device(&self, name: &str) -> (Identity, Key) {
        let key = Key::from_bytes(format!("the key of {name}, thirty-two bytes and more").as_bytes());
        let secret = key.to_base64();
        let document = json!({"deviceId": name, "status": "enabled", "authentication":
            {"type": "sas", "symmetricKey": {"primaryKey": secret, "secondaryKey": secret}}});
        let path = format!("/devices/{name}?api-version=2021-04-12");
        let (status, answer) = self.rest("PUT", &path, &document).await.expect("the hub answers");
        assert_eq!(status, 200, "{answer}");
        (Identity::device(name).expect("a good name"), key)
    }

    /// What the hub has counted, asked for as often as it takes.
    pub(crate) async fn status(&self) -> io::Result<Value> {
        let mut answered = self.rest("GET", "/isotherm/v1/status", &Value::Null).await;
        for _ in 0..TRIES {
            if answered.is_ok() {
                break;
            }
            sleep(BETWEEN_TRIES).await;
            answered = self.rest("GET", "/isotherm/v1/status", &Value::Null).await;
        }
        answered.map(|(_, status)| status)
    }
}

/// CONNECT as somebody.
pub(crate) fn connect(who: &Identity, token: &str, keep_alive: u16) -> Packet {
    let user_name = format!("{HUB}/{who}/?api-version=2021-04-12");
    Packet::Connect(Box::new(Connect {
        client_id: text(who.as_str()),
        keep_alive,
        clean: true,
        will: None,
        user_name: Some(text(&user_name)),
        password: Some(Bytes::copy_from_slice(token.as_bytes())),
    }))
}

/// PUBLISH with QoS 1.
pub(crate) fn publish(topic: &str, packet_id: u16, payload: impl Into<Bytes>) -> Packet {
    let payload = payload.into();
    let (dup, qos, retain, topic) = (false, Qos::AtLeastOnce, false, text(topic));
    Packet::Publish(Publish { dup, qos, retain, topic, packet_id, payload })
}

/// MQTT's kind of text.
pub(crate) fn text(text: &str) -> Text {
    Text::new(text.as_bytes().to_vec()).expect("a text without U+0000")
}

/// One connection.
pub(crate) struct Wire {
    pub(crate) stream: BoxStream,
    read: BytesMut,
}

impl Wire {
    /// A connection that says what it likes.
    pub(crate) fn over(stream: BoxStream) -> Self {
        Self { stream, read: BytesMut::new() }
    }

    /// Sends bytes.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, sent).await?
    }

    /// Sends a packet.
    pub(crate) async fn say(&mut self, packet: &Packet) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        encode(packet, &mut bytes);
        self.raw(&bytes).await
    }

    /// The next packet.
    pub(crate) async fn hear(&mut self) -> io::Result<Packet> {
        timeout(PATIENCE, self.hear_when_it_comes()).await?
    }

    /// The next packet, whenever.
    pub(crate) async fn hear_when_it_comes(&mut self) -> io::Result<Packet> {
        loop {
            let whole = decode(&mut self.read, PACKET_BYTES_MAX);
            if let Some(packet) = whole.map_err(|fault| io::Error::other(fault.to_string()))? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads and throws away until the hub ends the connection.
    pub(crate) async fn until_closed(&mut self) -> io::Result<()> {
        let mut thrown_away = [0; 4096];
        while self.stream.read(&mut thrown_away).await? > 0 {}
        Ok(())
    }
}
