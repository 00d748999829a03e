//! AMQP in bare hands: what no library would send, over TCP and in WebSockets, and that it costs its own connection and
//! nothing else. REST bodies of the same kind.

mod support;

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use isotherm_host::{BoxStream, websocket};
use isotherm_iothub::{ConnectionString, Token};
use isotherm_protocol::amqp::frame::{self, AMQP_HEADER};
use isotherm_protocol::amqp::performative::{
    Attach, Begin, Flow, Open, Performative, ReceiverSettles, Role, SenderSettles, Transfer,
};
use isotherm_protocol::amqp::{Body, Map, Message, Properties, Source, Target, Text, Value};
use serde_json::{Value as Json, json};
use support::{HUB, PATIENCE, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// Frames that are taken here.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// How often a counter is asked for: a connection is counted a moment after its peer sees it end.
const ASKED_MAX: usize = 200;

/// A connection that says what it likes.
struct Wire {
    stream: BoxStream,
    read: BytesMut,
}

impl Wire {
    async fn tcp(site: &Site) -> Self {
        let stream = site.tls(site.ready.ports.amqps.expect("a door for AMQP")).await;
        Self { stream, read: BytesMut::new() }
    }

    async fn web(site: &Site) -> Self {
        let stream = site.tls(site.ready.ports.https).await;
        let stream =
            websocket::connect(stream, "localhost", "/$iothub/websocket", "AMQPWSB10").await.unwrap();
        Self { stream, read: BytesMut::new() }
    }

    async fn raw(&mut self, bytes: &[u8]) {
        // Somebody whom the hub has closed already cannot say more.
        let _ = timeout(PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
        .expect("in time");
    }

    async fn say(&mut self, performatives: &[Performative]) {
        let mut bytes = BytesMut::new();
        performatives.iter().for_each(|it| it.encode(0, &mut bytes));
        self.raw(&bytes).await;
    }

    /// A session, with no SASL before it.
    async fn begun(mut self) -> Self {
        self.raw(&AMQP_HEADER).await;
        let open = Open {
            container_id: "raw".into(),
            hostname: Some(HUB.into()),
            max_frame_size: FRAME_BYTES_MAX,
            channel_max: 9,
            ..Open::default()
        };
        let begin =
            Begin { incoming_window: 1 << 20, outgoing_window: 1 << 20, handle_max: 255, ..Begin::default() };
        self.say(&[Performative::Open(Box::new(open)), Performative::Begin(Box::new(begin))]).await;
        let mut header = [0; 8];
        timeout(PATIENCE, self.stream.read_exact(&mut header)).await.expect("in time").unwrap();
        assert_eq!(header, AMQP_HEADER);
        assert!(matches!(self.hear().await, Performative::Open(_)));
        assert!(matches!(self.hear().await, Performative::Begin(_)));
        self
    }

    /// The same, and the owner's token is shown.
    async fn proven(self, site: &Site) -> Self {
        let mut wire = self.begun().await;
        let owner: ConnectionString = site.ready.policies["iothubowner"].parse().unwrap();
        let token = Token::mint(&owner.key.unwrap(), HUB, site.in_an_hour(), Some("iothubowner"));
        wire.say(&[attach(100, Role::Sender, "$cbs"), attach(101, Role::Receiver, "$cbs"), credit(101, 10)])
            .await;
        wire.credited(100).await;
        let mut request = Message {
            body: Body::Value(Value::string(token)),
            application_properties: Map::new().with_string("operation", "put-token"),
            ..Message::default()
        };
        *request.properties = Properties { message_id: Value::string("1"), ..Properties::default() };
        let mut body = BytesMut::new();
        request.encode(&mut body);
        wire.transfer(100, &body).await;
        loop {
            match wire.hear().await {
                Performative::Transfer(transfer) => {
                    assert_eq!(transfer.handle, 101);
                    return wire;
                }
                Performative::Close(why) => panic!("{why:?}"),
                _ => {}
            }
        }
    }

    /// Waits until messages may be sent on a link.
    async fn credited(&mut self, handle: u32) {
        loop {
            match self.hear().await {
                Performative::Flow(flow) if flow.handle == Some(handle) && flow.link_credit > Some(0) => {
                    return;
                }
                Performative::Close(why) => panic!("{why:?}"),
                _ => {}
            }
        }
    }

    async fn transfer(&mut self, handle: u32, payload: &[u8]) {
        let transfer = Transfer {
            handle,
            delivery_id: Some(0),
            delivery_tag: Some(Bytes::from_static(b"t")),
            message_format: Some(0),
            ..Transfer::default()
        };
        let mut bytes = BytesMut::new();
        Performative::Transfer(transfer).encode(0, &mut bytes);
        bytes.put_slice(payload);
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        self.raw(&bytes).await;
    }

    async fn hear(&mut self) -> Performative {
        loop {
            while let Some(frame) = frame::decode(&mut self.read, FRAME_BYTES_MAX).expect("good frames") {
                if !frame.body.is_empty() {
                    return Performative::decode(&frame.body).expect("a performative").0;
                }
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("in time");
            assert!(read.expect("the connection stands") > 0, "the hub has ended the connection");
        }
    }

    /// What is refused, and why.
    async fn refused(&mut self) -> (String, String) {
        loop {
            if let Performative::Detach(detach) = self.hear().await {
                let error = detach.error.expect("a refusal is said");
                return (
                    error.condition.to_string(),
                    error.description.map(|it| it.to_string()).unwrap_or_default(),
                );
            }
        }
    }

    async fn closed(mut self) {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("closed in time");
    }
}

fn attach(handle: u32, role: Role, address: &str) -> Performative {
    let address = Some(Text::from(address));
    let (source, target) = match role {
        Role::Sender => (Source::default(), Target { address, ..Target::default() }),
        Role::Receiver => (Source { address, ..Source::default() }, Target::default()),
    };
    Performative::Attach(Box::new(Attach {
        name: format!("link {handle}").as_str().into(),
        handle,
        role,
        snd_settle_mode: SenderSettles::Mixed,
        rcv_settle_mode: ReceiverSettles::First,
        source: Some(source),
        target: Some(target),
        unsettled: Map::new(),
        incomplete_unsettled: false,
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: None,
        offered_capabilities: Value::Null,
        desired_capabilities: Value::Null,
        properties: Map::new(),
    }))
}

fn credit(handle: u32, link_credit: u32) -> Performative {
    Performative::Flow(Flow {
        next_incoming_id: Some(0),
        incoming_window: 1 << 20,
        outgoing_window: 1 << 20,
        handle: Some(handle),
        delivery_count: Some(0),
        link_credit: Some(link_credit),
        ..Flow::default()
    })
}

/// A frame around whatever.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    bytes.extend([2, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

/// A list in a list in a list.
fn nested(depth: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for left in (0..depth).rev() {
        bytes.push(0xd0);
        bytes.extend((left * 9 + 5).to_be_bytes());
        bytes.extend(1_u32.to_be_bytes());
    }
    bytes.push(0x40);
    bytes
}

/// Described by something described by something.
fn described(depth: usize) -> Vec<u8> {
    let mut bytes = vec![0; depth];
    bytes.extend([0x53, 0x10]);
    bytes.extend(vec![0x40; depth]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_protocol_costs_its_own_connection_and_is_counted() {
    let site = Site::start().await;
    let mut open = vec![0x00, 0x53, 0x10];
    open.extend(nested(6_000));
    let cases = [
        ("no AMQP at all", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a frame shorter than its header", [&AMQP_HEADER[..], &[0, 0, 0, 7, 2, 0, 0, 0]].concat()),
        ("a frame of nothing", [&AMQP_HEADER[..], &[0; 8]].concat()),
        ("a frame that never ends", [&AMQP_HEADER[..], &[0xff; 64]].concat()),
        ("an offset outside", [&AMQP_HEADER[..], &[0, 0, 0, 9, 9, 0, 0, 0, 0]].concat()),
        ("lists to any depth", [&AMQP_HEADER[..], &framed(&open)].concat()),
        ("descriptions to any depth", [&AMQP_HEADER[..], &framed(&described(30_000))].concat()),
        ("a session before the connection", {
            let mut begin = BytesMut::new();
            Performative::Begin(Box::default()).encode(0, &mut begin);
            [&AMQP_HEADER[..], &begin].concat()
        }),
    ];
    let mut broken = 0;
    for (name, bytes) in &cases {
        for web in [false, true] {
            let mut wire = if web { Wire::web(&site).await } else { Wire::tcp(&site).await };
            wire.raw(bytes).await;
            wire.closed().await;
            broken += 1;
            let mut counted = 0;
            for _ in 0..ASKED_MAX {
                counted = site.door("amqp_malformed").await;
                if counted == broken {
                    break;
                }
            }
            assert_eq!(counted, broken, "{name}, in WebSockets: {web}");
        }
    }
    drop(Wire::tcp(&site).await.proven(&site).await); // who behaves is served
    assert_eq!(site.door("connections_panicked").await, 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_any_depth_are_refused_and_the_link_goes_on() {
    let site = Site::start().await;
    site.device("d").await;
    for body in [nested(6_000), described(30_000), vec![0xff; 100]] {
        let mut wire = Wire::tcp(&site).await.proven(&site).await;
        wire.say(&[attach(0, Role::Sender, "/devices/d/messages/events")]).await;
        wire.credited(0).await;
        let mut section = vec![0x00, 0x53, 0x77];
        section.extend(&body);
        wire.transfer(0, &section).await;
        let end = loop {
            match wire.hear().await {
                Performative::Disposition(disposition) if disposition.state.is_some() => {
                    let state = format!("{:?}", disposition.state);
                    if state.contains("Rejected") {
                        break state;
                    }
                }
                Performative::Close(error) => break format!("{error:?}"),
                Performative::Detach(detach) => break format!("{:?}", detach.error),
                _ => {}
            }
        };
        assert!(end.contains("amqp:"), "it is said what is wrong: {end}");
    }
    assert_eq!(site.door("connections_panicked").await, 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_without_authorisation_is_refused_in_words() {
    let site = Site::start().await;
    site.device("d").await;
    for web in [false, true] {
        let wire = if web { Wire::web(&site).await } else { Wire::tcp(&site).await };
        let mut wire = wire.begun().await;
        let addresses = [
            (Role::Sender, "/devices/d/messages/events"),
            (Role::Receiver, "/devices/d/messages/devicebound"),
            (Role::Receiver, "/devices/d/twin"),
            (Role::Sender, "/devices/d/methods/devicebound"),
            (Role::Sender, "/messages/devicebound"),
            (Role::Receiver, "/messages/serviceBound/feedback"),
            (Role::Receiver, "/messages/serviceBound/filenotifications"),
            (Role::Receiver, "localhub/ConsumerGroups/$Default/Partitions/0"),
            (Role::Receiver, "localhub/$management"),
        ];
        for (handle, (role, address)) in (0..).zip(addresses) {
            wire.say(&[attach(handle, role, address)]).await;
            let (condition, why) = wire.refused().await;
            assert_eq!(condition, "amqp:unauthorized-access", "{address}: {why}");
            assert!(!why.is_empty(), "{address}");
        }
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_credit_and_a_peer_that_never_reads_are_borne_and_others_are_served() {
    let site = Site::start().await;
    site.device("d").await;
    let mut deaf = Wire::tcp(&site).await.proven(&site).await;
    for partition in 0..4_u32 {
        let address = format!("localhub/ConsumerGroups/$Default/Partitions/{partition}");
        deaf.say(&[attach(partition, Role::Receiver, &address), credit(partition, u32::MAX)]).await;
    }
    for round in 0..2_000 {
        deaf.say(&[credit(round % 4, u32::MAX - round)]).await; // and none of the answers is read
    }
    let body = "x".repeat(100_000);
    for _ in 0..60 {
        let sent = site.rest_with("POST", "/devices/d/messages/events", &[], body.clone()).await;
        assert_eq!(sent.status, 204);
    }
    let seen = timeout(Duration::from_secs(30), site.watch("kinds=upstream&from=earliest", 60)).await;
    assert_eq!(seen.expect("in time").len(), 60, "who reads gets everything meanwhile");
    drop(deaf);
    assert_eq!(site.door("connections_panicked").await, 0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_cuts_an_amqp_connection_off_and_shuts_the_door() {
    let site = Site::start().await;
    site.device("d").await;
    let events = attach(0, Role::Sender, "/devices/d/messages/events");
    let mut wire = Wire::tcp(&site).await.proven(&site).await;
    wire.say(std::slice::from_ref(&events)).await;
    loop {
        if matches!(wire.hear().await, Performative::Attach(attach) if attach.handle == 0 || attach.name.starts_with("link 0"))
        {
            break;
        }
    }
    let fault = json!({"kind": "disconnect", "identity": "d"});
    assert_eq!(site.rest("POST", "/isotherm/v1/faults", fault).await.status, 200);
    wire.closed().await;
    let shut = json!({"kind": "disconnect", "identity": "d", "durationMs": 60_000});
    assert_eq!(site.rest("POST", "/isotherm/v1/faults", shut).await.status, 200);
    let mut wire = Wire::tcp(&site).await.proven(&site).await;
    wire.say(std::slice::from_ref(&events)).await;
    wire.closed().await;
    assert_eq!(site.rest_with("DELETE", "/isotherm/v1/faults", &[], "").await.status, 200);
    let throttle = json!({"kind": "throttle", "identity": "d", "count": 1});
    assert_eq!(site.rest("POST", "/isotherm/v1/faults", throttle).await.status, 200);
    let mut wire = Wire::tcp(&site).await.proven(&site).await;
    wire.say(std::slice::from_ref(&events)).await;
    assert_eq!(wire.refused().await.0, "com.microsoft:device-container-throttled");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_bodies_of_any_depth_are_refused_with_the_reason() {
    let site = Site::start().await;
    site.device("d").await;
    let deep = format!("{}{}", r#"{"a":"#.repeat(20_000), "1");
    let lists = "[".repeat(50_000);
    for (method, path) in [
        ("PUT", "/devices/x"),
        ("POST", "/devices"),
        ("PATCH", "/twins/d"),
        ("POST", "/twins/d/methods"),
        ("POST", "/devices/query"),
        ("PUT", "/configurations/c"),
        ("POST", "/devices/edge/applyConfigurationContent"),
        ("PUT", "/jobs/v2/j"),
        ("POST", "/isotherm/v1/faults"),
    ] {
        for body in [&deep, &lists, &"\u{0}".to_owned()] {
            let answer = site.rest_with(method, path, &[], body.clone()).await;
            assert_eq!(answer.status, 400, "{method} {path}: {:?}", answer.body);
            let said: Json = serde_json::from_slice(&answer.body).expect("the reason, in JSON");
            assert!(said.is_object(), "{said}");
        }
    }
    site.stop().await;
}
