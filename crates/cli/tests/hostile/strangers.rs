//! Every kind of stranger, one function each. Each connects, does its worst until the hub ends it or it has had
//! enough, and is sent again until the time is over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use isotherm_host::Chance;
use isotherm_iothub::{Identity, Key, Token};
use isotherm_protocol::mqtt::codec::{Publish, encode};
use isotherm_protocol::mqtt::{Packet, Qos};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::wire::{HUB, Site, Wire, connect, publish, text};

/// A device of their own that some of them got hold of.
pub(crate) type Hijacked = (Identity, Key);

/// What one stranger has to work with.
#[derive(Clone)]
pub(crate) struct Stranger {
    pub(crate) site: Site,
    pub(crate) chance: Chance,
    pub(crate) device: Hijacked,
    /// How long one of them dribbles, listens or sulks before it gives up.
    pub(crate) while_: Duration,
}

/// The kinds, by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ConnectAndClose,
    PlainGarbage,
    HandshakeLeft,
    WholeHandshakeAndAway,
    Garbage,
    HalfAPacket,
    OneByteASecond,
    SayingNothing,
    FirstNoConnect,
    SecondConnect,
    BadTokens,
    QosTwo,
    Wildcard,
    OversizePacket,
    OversizeMessage,
    LongTopics,
    ForeignTopics,
    ManySubscriptions,
    DeepTwins,
    TwinsUnread,
    NeverReading,
    Takeover,
    HttpGarbage,
    SlowHead,
    SlowBody,
    LargeBody,
    RestGarbage,
    WebSocketJunk,
}

impl Kind {
    pub(crate) const ALL: [Kind; 28] = [
        Kind::ConnectAndClose,
        Kind::PlainGarbage,
        Kind::HandshakeLeft,
        Kind::WholeHandshakeAndAway,
        Kind::Garbage,
        Kind::HalfAPacket,
        Kind::OneByteASecond,
        Kind::SayingNothing,
        Kind::FirstNoConnect,
        Kind::SecondConnect,
        Kind::BadTokens,
        Kind::QosTwo,
        Kind::Wildcard,
        Kind::OversizePacket,
        Kind::OversizeMessage,
        Kind::LongTopics,
        Kind::ForeignTopics,
        Kind::ManySubscriptions,
        Kind::DeepTwins,
        Kind::TwinsUnread,
        Kind::NeverReading,
        Kind::Takeover,
        Kind::HttpGarbage,
        Kind::SlowHead,
        Kind::SlowBody,
        Kind::LargeBody,
        Kind::RestGarbage,
        Kind::WebSocketJunk,
    ];

    /// How the hub counts this kind, of which at least one counter must have moved; none if nothing is to be
    /// refused. (`while_` must be longer than the hub's patience for those that are merely slow.)
    pub(crate) fn counted_as(self) -> &'static [&'static str] {
        match self {
            Kind::ConnectAndClose | Kind::PlainGarbage => &["tls_failed"],
            Kind::HandshakeLeft => &["tls_too_slow"],
            Kind::WholeHandshakeAndAway => &["mqtt_ended_by_peer", "mqtt_ended_by_network"],
            Kind::Garbage => &["mqtt_malformed", "mqtt_malformed_not_connect"],
            Kind::HalfAPacket | Kind::OneByteASecond | Kind::SayingNothing => &["mqtt_lapsed_connect_late"],
            Kind::FirstNoConnect => &["mqtt_malformed_not_connect"],
            Kind::SecondConnect => &["mqtt_malformed_second_connect"],
            Kind::BadTokens => &["mqtt_refused_not_authorized"],
            Kind::QosTwo => &["mqtt_malformed_qos_two"],
            Kind::Wildcard => &["mqtt_malformed_wildcard"],
            Kind::OversizePacket => &["mqtt_malformed_too_large"],
            Kind::OversizeMessage => &["mqtt_malformed_too_large", "mqtt_ended_message_too_large"],
            Kind::LongTopics => &["mqtt_ended_topic"],
            Kind::ForeignTopics => &["mqtt_ended_topic"],
            Kind::ManySubscriptions => &["mqtt_refused_filter"],
            Kind::DeepTwins => &["mqtt_refused_report"],
            Kind::Takeover => &["mqtt_ended_taken_over"],
            Kind::HttpGarbage => &["http_ended_by_error"],
            Kind::LargeBody => &["http_answered_too_large"],
            Kind::RestGarbage => &["http_answered_not_found"],
            Kind::WebSocketJunk => &["websocket_refused_protocol"],
            Kind::TwinsUnread | Kind::NeverReading | Kind::SlowHead | Kind::SlowBody => &[],
        }
    }
}

/// Sends one stranger after the other; each counts in `sent`.
pub(crate) async fn rage(kind: Kind, stranger: Stranger, sent: Arc<AtomicU64>) {
    loop {
        sent.fetch_add(1, Ordering::Relaxed);
        let _ = stranger.go(kind).await; // however the hub ended it
        sleep(Duration::from_millis(stranger.chance.u64() % 50)).await;
    }
}

impl Stranger {
    async fn go(&self, kind: Kind) -> io::Result<()> {
        let site = &self.site;
        match kind {
            Kind::ConnectAndClose => drop(site.tcp(self.some_port()).await?),
            Kind::PlainGarbage => self.plain(&self.garbage(2_000)).await?,
            Kind::HandshakeLeft => self.plain(HALF_A_HELLO).await?,
            Kind::WholeHandshakeAndAway => drop(site.fresh_tls(self.some_port()).await?),
            Kind::Garbage => self.tell(&self.garbage(4_000)).await?,
            Kind::HalfAPacket => self.tell(&self.hello()[..20]).await?,
            Kind::OneByteASecond => self.dribble(site.tls(site.mqtts).await?, &self.hello()).await?,
            Kind::SayingNothing => self.tell(b"").await?,
            Kind::FirstNoConnect => self.tell(&written(&publish("t", 1, "x"))).await?,
            Kind::SecondConnect => self.tell_as_guest(&self.hello()).await?,
            Kind::BadTokens => self.tell(&self.bad_hello()).await?,
            Kind::QosTwo => self.tell_as_guest(&self.with_qos_two()).await?,
            Kind::Wildcard => self.tell_as_guest(b"\x32\x07\x00\x02+/\x00\x01x").await?,
            Kind::OversizePacket => self.tell_as_guest(b"\x32\xff\xff\xff\x7f\x00\x01t").await?,
            Kind::OversizeMessage => self.oversize().await?,
            Kind::LongTopics => self.long_topics().await?,
            Kind::ForeignTopics => self.foreign().await?,
            Kind::ManySubscriptions => self.many_subscriptions().await?,
            Kind::DeepTwins => self.deep_twins().await?,
            Kind::TwinsUnread => self.twins_unread().await?,
            Kind::NeverReading => self.never_reading().await?,
            Kind::Takeover => self.takeover().await?,
            Kind::HttpGarbage => self.http(&self.garbage(3_000)).await?,
            Kind::SlowHead => self.dribble(site.tls(site.https).await?, SLOW_HEAD).await?,
            Kind::SlowBody => self.slow_body().await?,
            Kind::LargeBody => self.large_body().await?,
            Kind::RestGarbage => self.rest_garbage().await?,
            Kind::WebSocketJunk => self.web_socket().await?,
        }
        Ok(())
    }

    fn some_port(&self) -> u16 {
        if self.chance.u64().is_multiple_of(2) { self.site.mqtts } else { self.site.https }
    }

    fn garbage(&self, most: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.chance.u64() % most + 1).expect("it is small")];
        self.chance.bytes(&mut bytes);
        bytes
    }

    fn hello(&self) -> Vec<u8> {
        let (who, key) = &self.device;
        written(&connect(who, &Token::mint(key, &who.resource(HUB), self.site.in_an_hour(), None), 0))
    }

    /// Expired, signed by nobody, for somebody else, of a name that is none, of nobody, or no token.
    fn bad_hello(&self) -> Vec<u8> {
        let (who, key) = &self.device;
        let nobody = Identity::device("nobody-at-all").expect("a good name");
        let foreign = Key::from_bytes(b"a key of somebody else's");
        let soon = self.site.in_an_hour();
        let (who, token) = match self.chance.u64() % 6 {
            0 => (who, Token::mint(key, &who.resource(HUB), soon - 90_000, None)),
            1 => (who, Token::mint(&foreign, &who.resource(HUB), soon, None)),
            2 => (who, Token::mint(key, &nobody.resource(HUB), soon, None)),
            3 => (&nobody, Token::mint(&foreign, &nobody.resource(HUB), soon, None)),
            4 => (who, "SharedAccessSignature sr=x".to_owned()),
            _ => (who, "x".repeat(60_000)),
        };
        written(&connect(who, &token, 0))
    }

    fn with_qos_two(&self) -> Vec<u8> {
        let topic = text(&format!("devices/{}/messages/events/", self.device.0));
        let (dup, qos, retain, packet_id) = (false, Qos::ExactlyOnce, false, 7);
        written(&Packet::Publish(Publish {
            dup,
            qos,
            retain,
            topic,
            packet_id,
            payload: Bytes::from_static(b"x"),
        }))
    }

    /// Without TLS, then waits for the end.
    async fn plain(&self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = Wire::over(self.site.tcp(self.some_port()).await?);
        wire.raw(bytes).await?;
        self.wait(wire).await
    }

    /// To the MQTT port, then waits for the end.
    async fn tell(&self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = self.site.tls(self.site.mqtts).await?;
        wire.raw(bytes).await?;
        self.wait(wire).await
    }

    async fn tell_as_guest(&self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = self.guest().await?;
        wire.raw(bytes).await?;
        self.wait(wire).await
    }

    async fn guest(&self) -> io::Result<Wire> {
        self.site.enter(&self.device.0, &self.device.1).await
    }

    async fn http(&self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = self.site.tls(self.site.https).await?;
        wire.raw(bytes).await?;
        self.wait(wire).await
    }

    async fn wait(&self, mut wire: Wire) -> io::Result<()> {
        let _ = timeout(self.while_, wire.until_closed()).await;
        Ok(())
    }

    async fn dribble(&self, mut wire: Wire, bytes: &[u8]) -> io::Result<()> {
        let dribbling = async {
            for byte in bytes {
                wire.raw(&[*byte]).await?;
                sleep(Duration::from_secs(1)).await;
            }
            wire.until_closed().await
        };
        let _ = timeout(self.while_, dribbling).await;
        Ok(())
    }

    async fn oversize(&self) -> io::Result<()> {
        let topic = format!("devices/{}/messages/events/", self.device.0);
        self.tell_as_guest(&written(&publish(&topic, 1, vec![b'x'; (256 << 10) + 1]))).await
    }

    /// As long as MQTT lets a topic be: all properties.
    async fn long_topics(&self) -> io::Result<()> {
        let mut wire = self.guest().await?;
        let stem = format!("devices/{}/messages/events/", self.device.0);
        let long = format!("{stem}k={}", "v".repeat(65_535 - stem.len() - 2));
        let many = format!("{stem}{}", "k=v&".repeat((65_535 - stem.len()) / 4));
        for (packet_id, topic) in [(1, long), (2, many)] {
            wire.say(&publish(&topic, packet_id, "x")).await?;
            let _ = timeout(Duration::from_secs(1), wire.hear()).await;
        }
        Ok(())
    }

    async fn foreign(&self) -> io::Result<()> {
        let mut wire = self.guest().await?;
        let filters = vec![
            (text("devices/edge/modules/filter/inputs/#"), Qos::AtLeastOnce),
            (text("#"), Qos::AtLeastOnce),
            (text("devices/+/messages/devicebound/#"), Qos::AtLeastOnce),
        ];
        wire.say(&Packet::Subscribe { packet_id: 1, filters }).await?;
        match wire.hear().await? {
            Packet::SubAck { codes, .. } => assert_eq!(codes, [0x80; 3], "another's messages were granted"),
            other => panic!("{other:?} for a SUBSCRIBE"),
        }
        let topic = "devices/edge/modules/sensor/messages/events/%24.on=temperature";
        wire.say(&publish(topic, 2, [0xff; 8].to_vec())).await?; // would be seen among the pair's
        self.wait(wire).await
    }

    /// A hundred thousand of them, over and over by all that do this.
    async fn many_subscriptions(&self) -> io::Result<()> {
        let mut wire = self.guest().await?;
        let mut bytes = BytesMut::new();
        for packet in 0..100_000_u32 / 64 {
            let filter = |number: u32| format!("devices/{}/messages/{packet}/{number}/#", self.device.0);
            let filters = (0..64).map(|number| (text(&filter(number)), Qos::AtLeastOnce)).collect();
            let packet_id = u16::try_from(packet + 1).expect("it is small");
            bytes.clear();
            encode(&Packet::Subscribe { packet_id, filters }, &mut bytes);
            wire.raw(&bytes).await?;
            wire.hear().await?;
        }
        Ok(())
    }

    async fn deep_twins(&self) -> io::Result<()> {
        let mut wire = self.guest().await?;
        let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let bodies = [
            deep(11),
            deep(10_000),
            "[".repeat(100_000),
            format!("{{\"a\":\"{}\"}}", "x".repeat(40_000)),
            "{\"$a\":1}".to_owned(),
            "{\"a\":9007199254740993}".to_owned(),
            "not JSON".to_owned(),
        ];
        for (rid, body) in bodies.into_iter().enumerate() {
            let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}");
            wire.say(&publish(&topic, 1, body)).await?;
            wire.hear().await?;
        }
        Ok(())
    }

    /// Asks for its twin, as large as it may be, again and again, and reads no answer.
    async fn twins_unread(&self) -> io::Result<()> {
        let mut wire = self.guest().await?;
        let large: Vec<String> = (0..7).map(|key| format!("\"k{key}\":\"{}\"", "x".repeat(4_000))).collect();
        let topic = "$iothub/twin/PATCH/properties/reported/?$rid=0";
        wire.say(&publish(topic, 1, format!("{{{}}}", large.join(",")))).await?;
        wire.hear().await?;
        let asking = async {
            let ask = written(&publish("$iothub/twin/GET/?$rid=1", 2, "")).repeat(500);
            loop {
                wire.raw(&ask).await?;
            }
        };
        let _: Result<io::Result<()>, _> = timeout(self.while_, asking).await;
        Ok(())
    }

    /// Publishes and never reads an acknowledgement.
    async fn never_reading(&self) -> io::Result<()> {
        let mut wire = self.guest().await?;
        let topic = format!("devices/{}/messages/events/", self.device.0);
        let publishing = async {
            let some = written(&publish(&topic, 9, vec![b'x'; 100])).repeat(100);
            loop {
                wire.raw(&some).await?;
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _: Result<io::Result<()>, _> = timeout(self.while_, publishing).await;
        Ok(())
    }

    /// The same identity twice.
    async fn takeover(&self) -> io::Result<()> {
        let _first = self.guest().await?;
        let _second = self.guest().await?;
        Ok(())
    }

    async fn slow_body(&self) -> io::Result<()> {
        let mut wire = self.site.tls(self.site.https).await?;
        wire.raw(b"POST /devices/query HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n").await?;
        self.dribble(wire, &[b'x'; 1000]).await
    }

    async fn large_body(&self) -> io::Result<()> {
        let head = b"POST /devices/query HTTP/1.1\r\nhost: h\r\ncontent-length: 1073741824\r\n\r\n";
        let mut wire = self.site.tls(self.site.https).await?;
        wire.raw(head).await?;
        let sending = async {
            loop {
                wire.raw(&[b'x'; 16 << 10]).await?;
            }
        };
        let _: Result<io::Result<()>, _> = timeout(self.while_, sending).await;
        Ok(())
    }

    async fn rest_garbage(&self) -> io::Result<()> {
        let deep = Value::String("[".repeat(50_000));
        let long = format!("/twins/{}", "x".repeat(60_000));
        for (method, path) in [
            ("GET", "/devices/%00%ff"),
            ("DELETE", "/devices/nobody-at-all"),
            ("PATCH", "/twins/nobody-at-all"),
            ("POST", "/devices/query"),
            ("POST", "/twins/nobody-at-all/methods"),
            ("PUT", "/devices/..%2f..%2fetc"),
            ("BREW", "/isotherm/v1/status"),
            ("GET", long.as_str()),
        ] {
            let (status, answer) = self.site.rest(method, path, &deep).await?;
            assert!((400..500).contains(&status), "{method} {path:.40}: {status} {answer}");
        }
        Ok(())
    }

    async fn web_socket(&self) -> io::Result<()> {
        let protocol = if self.chance.u64().is_multiple_of(2) { "mqtt" } else { "gossip" };
        let head = format!(
            "GET /$iothub/websocket HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {protocol}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        match self.chance.u64() % 4 {
            0 => bytes.extend(self.garbage(2_000)),
            1 => bytes.extend(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff1234"), // a frame of eight exbibytes
            2 => bytes.extend(b"\x82\x05hello"),                                // not masked
            _ => bytes.extend(b"\x89\x80abcd".repeat(5_000)),                   // pings
        }
        self.http(&bytes).await
    }
}

/// The beginning of a ClientHello that promises more.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const SLOW_HEAD: &[u8] =
    b"GET /isotherm/v1/status HTTP/1.1\r\nx-a: 1\r\nx-b: 2\r\nx-c: 3\r\nx-d: 4\r\nx-e: 5\r\n";

fn written(packet: &Packet) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    encode(packet, &mut bytes);
    bytes.to_vec()
}
