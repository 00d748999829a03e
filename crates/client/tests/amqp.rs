//! The client over AMQP against a peer that says what each test tells it to say, in virtual time.

mod site;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use isotherm_client::{Client, Custody, Event, Options, Progress, Sink, Transport};
use isotherm_host::BoxStream;
use isotherm_iothub::{Key, Message, SystemProperty, Token};
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{
    self, DeliveryState, LinkId, Map, Options as Wire, Role, Server, ServerCommand, ServerEvent, Value,
};
use serde_json::json;
use site::{Site, twin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{self, timeout};

const MOMENT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);

/// What the client did that a test may want to see.
#[derive(Debug, Clone, PartialEq)]
enum Did {
    Token(String),
    /// A message, with what it is settled by.
    Sent(amqp::Message, LinkId, u32),
    Asked(String, String, Value),
    Settled(u64),
    Closed,
}

/// The other end of one connection. Links are accepted, tokens are good, and twins are answered.
struct Peer {
    stream: BoxStream,
    server: Server,
    bytes: BytesMut,
    addresses: BTreeMap<LinkId, (String, Role)>,
    waiting: Vec<Did>,
    ready: bool,
}

fn now() -> std::time::Instant {
    time::Instant::now().into_std()
}

impl Peer {
    async fn of(site: &mut Site) -> Self {
        let (port, stream) = site.secured().await;
        assert_eq!(port, 5671);
        Self::over(stream)
    }

    fn over(stream: BoxStream) -> Self {
        let options = Wire {
            mechanisms: ["ANONYMOUS", "PLAIN"].map(amqp::Text::from_static).into(),
            ..Wire::default()
        };
        let server = Server::new(now(), Arc::new(options));
        Self {
            stream,
            server,
            bytes: BytesMut::new(),
            addresses: BTreeMap::new(),
            waiting: Vec::new(),
            ready: false,
        }
    }

    fn say(&mut self, command: ServerCommand) {
        self.server.handle_command(now(), command);
    }

    async fn flush(&mut self) {
        let mut out = BytesMut::new();
        self.server.poll_transmit(&mut out);
        if !out.is_empty() {
            let _ = self.stream.write_all(&out).await; // the client may be gone
            let _ = self.stream.flush().await;
        }
    }

    fn link(&self, ends: &str, role: Role) -> LinkId {
        let fits = |(_, (address, its)): &(&LinkId, &(String, Role))| address.ends_with(ends) && *its == role;
        *self.addresses.iter().find(fits).unwrap_or_else(|| panic!("no link {ends}")).0
    }

    fn send(&mut self, ends: &str, token: u64, settled: bool, message: amqp::Message) {
        let link = self.link(ends, Role::Receiver);
        let tag = Bytes::copy_from_slice(&[token.to_be_bytes(); 2].concat());
        self.say(ServerCommand::Send { link, token, tag, settled, message: Box::new(message) });
    }

    fn hear(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Sasl(_) => self.say(ServerCommand::SaslOutcome(amqp::SaslCode::Ok)),
            ServerEvent::Attached { link, attach } => {
                let address = match attach.role {
                    Role::Sender => attach.target.as_ref().and_then(|it| it.address.clone()),
                    Role::Receiver => attach.source.as_ref().and_then(|it| it.address.clone()),
                };
                self.addresses.insert(link, (address.unwrap_or_default().to_string(), attach.role));
                self.say(ServerCommand::accept(link, 1_000));
            }
            ServerEvent::Message { link, delivery, settled, format, message, .. } => {
                let address = self.addresses[&link].0.clone();
                if address == "$cbs" {
                    self.say(ServerCommand::accepted(link, delivery));
                    let amqp::Body::Value(Value::String(token)) = &message.body else { panic!("a token") };
                    self.waiting.push(Did::Token(token.to_string()));
                    self.send(
                        "$cbs",
                        0,
                        true,
                        amqp::Message::reply(&message.properties, 200, "OK", Value::Null),
                    );
                } else if address.ends_with("/twin") {
                    assert!(settled);
                    let text =
                        |name| message.annotations.text(name).map(ToString::to_string).unwrap_or_default();
                    let did = Did::Asked(
                        text("operation"),
                        body(&message),
                        message.properties.correlation_id.clone(),
                    );
                    self.answer_twin(&did);
                    self.waiting.push(did);
                } else {
                    assert_eq!(format == amqp::BATCH_FORMAT, message.body.pieces().len() > 1);
                    self.waiting.push(Did::Sent(*message, link, delivery));
                }
            }
            ServerEvent::Disposition { token, state, .. } => {
                assert_eq!(state, Some(DeliveryState::Accepted));
                if token != 0 {
                    self.waiting.push(Did::Settled(token));
                }
            }
            ServerEvent::Closed(_) => self.waiting.push(Did::Closed),
            _ => {}
        }
    }

    fn answer_twin(&mut self, did: &Did) {
        let Did::Asked(operation, _, id) = did else { return };
        let (status, body) = match operation.as_str() {
            "GET" => (200, twin(1).to_string()),
            "PUT" => (200, String::new()),
            _ => (204, String::new()),
        };
        let mut answer = amqp::Message::data(body);
        answer.properties.correlation_id = id.clone();
        answer.annotations = Map::new().with_symbol("status", status);
        self.send("/twin", 0, true, answer);
        self.ready |= operation == "GET";
    }

    /// What the client does next.
    async fn did(&mut self) -> Did {
        timeout(HOUR, self.next()).await.expect("the client does something").expect("the client is there")
    }

    async fn within(&mut self, limit: Duration) -> Option<Did> {
        timeout(limit, self.next()).await.ok().flatten()
    }

    async fn next(&mut self) -> Option<Did> {
        loop {
            while let Some(event) = self.server.poll_event() {
                self.hear(event);
            }
            self.flush().await;
            if !self.waiting.is_empty() {
                return Some(self.waiting.remove(0));
            }
            let beat = self.server.poll_timeout().map_or_else(|| time::Instant::now() + LONG, Into::into);
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.bytes) => {
                    if read.ok()? == 0 {
                        return None;
                    }
                }
                () = time::sleep_until(beat) => self.server.handle_timeout(now()),
            }
            self.server.handle_bytes(now(), &mut self.bytes).expect("the client speaks AMQP");
        }
    }

    /// The next message; what else is done is passed over.
    async fn sent(&mut self) -> (amqp::Message, LinkId, u32) {
        loop {
            if let Did::Sent(message, link, delivery) = self.did().await {
                return (message, link, delivery);
            }
        }
    }

    async fn accept(&mut self) -> String {
        let (message, link, delivery) = self.sent().await;
        self.say(ServerCommand::accepted(link, delivery));
        self.flush().await;
        body(&message)
    }

    async fn token(&mut self) -> Token {
        loop {
            if let Did::Token(token) = self.did().await {
                return Token::parse(&token).unwrap();
            }
        }
    }

    /// Until the twin was told.
    async fn settle_down(&mut self) {
        while !self.ready {
            self.did().await;
        }
        self.flush().await;
    }

    /// Until the client takes inputs.
    async fn settle_down_to_inputs(&mut self) {
        self.settle_down().await;
        let inputs = self.link("/messages/events", Role::Receiver);
        assert_eq!(self.server.room(inputs), 0, "a module that does not know its settings takes no inputs");
        assert_eq!(self.within(MOMENT).await, None);
        assert_ne!(self.server.room(inputs), 0);
    }
}

fn body(message: &amqp::Message) -> String {
    String::from_utf8(message.body.bytes().unwrap_or_default().to_vec()).unwrap()
}

fn options(site: &Site) -> Options {
    Options { transport: Transport::Amqp, ..site.options() }
}

async fn client(site: &Site) -> Client {
    Client::with(&site.host, options(site)).await.unwrap()
}

async fn send(client: &mut Client, body: &str) {
    client.send("out", Message::new(body.to_owned()), None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_connects_shows_a_token_of_his_own_and_another_before_it_ends_on_the_same_connection() {
    let mut site = Site::new();
    let _client = client(&site).await;
    let mut peer = Peer::of(&mut site).await;
    let first = peer.token().await;
    assert_eq!(first.resource, "hub/devices/edge/modules/filter");
    assert!(first.verify(&Key::from_bytes(&[7; 32])));
    let second = peer.token().await;
    assert!((2_880..=3_240).contains(&(second.expiry - first.expiry)), "after 80 to 90 % of an hour");
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_has_not_accepted_is_sent_again_in_order() {
    let mut site = Site::new();
    let mut client = client(&site).await;
    for body in ["1", "2", "3"] {
        send(&mut client, body).await;
    }
    let mut peer = Peer::of(&mut site).await;
    assert_eq!(peer.accept().await, "1");
    assert_eq!(body(&peer.sent().await.0), "2");
    while peer.within(MOMENT).await.is_some() {}
    assert_eq!(client.held(), 2);
    drop(peer); // the cable is cut
    let mut peer = Peer::of(&mut site).await;
    assert_eq!(peer.accept().await, "2");
    assert_eq!(peer.accept().await, "3");
    let ((), flushed) =
        tokio::join!(async { while peer.within(MOMENT).await.is_some() {} }, client.flush(LONG));
    assert!(flushed);
    assert_eq!((client.held(), client.stats().reconnects), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn so_many_messages_are_on_their_way_and_one_more_once_the_first_has_arrived() {
    let mut site = Site::new();
    let options = Options { window: 50, ..options(&site) };
    let mut client = Client::with(&site.host, options).await.expect("the disk is empty and good");
    for number in 0..60 {
        send(&mut client, &number.to_string()).await;
    }
    let mut peer = Peer::of(&mut site).await;
    let mut on_their_way = Vec::new();
    while on_their_way.len() < 50 {
        on_their_way.push(peer.sent().await);
    }
    while let Some(did) = peer.within(MOMENT).await {
        assert!(!matches!(did, Did::Sent(..)), "one more than may be: {did:?}");
    }
    let (_, link, delivery) = on_their_way.remove(0);
    peer.say(ServerCommand::accepted(link, delivery));
    peer.flush().await;
    assert_eq!(body(&peer.sent().await.0), "50");
}

#[tokio::test(start_paused = true)]
async fn no_more_inputs_come_than_a_user_who_accepts_none_may_have() {
    let mut site = Site::new();
    let mut client = client(&site).await;
    let mut peer = Peer::of(&mut site).await;
    peer.settle_down_to_inputs().await;
    let (mut sent, mut deliveries) = (0, Vec::new());
    let mut all_that_may = async |peer: &mut Peer, deliveries: &mut Vec<_>, client: &mut Client| {
        let mut quiet = false;
        while !quiet {
            while peer.server.room(peer.link("/messages/events", Role::Receiver)) > 0 {
                sent += 1;
                let mut input = amqp::Message::data(sent.to_string());
                input.annotations = Map::new().with_symbol("x-opt-input-name", "temperature");
                peer.send("/messages/events", sent, false, input);
            }
            peer.flush().await;
            tokio::select! {
                biased;
                event = client.next() => if let Event::Input { delivery, .. } = event { deliveries.push(delivery) },
                did = peer.within(MOMENT) => quiet = did.is_none(),
            }
        }
        sent
    };
    assert_eq!(all_that_may(&mut peer, &mut deliveries, &mut client).await, 200);
    assert_eq!(deliveries.len(), 200);
    deliveries.drain(..150).for_each(|delivery| client.accept(delivery));
    assert_eq!(all_that_may(&mut peer, &mut deliveries, &mut client).await, 350, "as many as were accepted");
}

#[tokio::test(start_paused = true)]
async fn an_input_is_accepted_only_when_what_came_of_it_is_safe() {
    let mut site = Site::new();
    let options = Options { custody: Custody::HandToHand, ..options(&site) };
    let mut client = Client::with(&site.host, options).await.unwrap();
    let mut peer = Peer::of(&mut site).await;
    peer.settle_down_to_inputs().await;
    let mut input = amqp::Message::data("31");
    input.annotations = Map::new().with_symbol("x-opt-input-name", "temperature");
    peer.send("/messages/events", 9, false, input);
    peer.flush().await;
    let delivery = loop {
        if let Event::Input { name, message, delivery } = timeout(LONG, client.next()).await.unwrap() {
            assert_eq!((name.as_str(), &message.body[..]), ("temperature", &b"31"[..]));
            break delivery;
        }
    };
    client.post("alert", &Message::new("posted")).unwrap();
    client.accept(delivery);
    let (message, link, delivery) = peer.sent().await;
    assert_eq!(message.application_properties.text("iothub-outputname").map(|it| it.as_str()), Some("alert"));
    assert_eq!(peer.within(MOMENT).await, None, "the hub does not have it yet");
    peer.say(ServerCommand::accepted(link, delivery));
    assert_eq!(peer.did().await, Did::Settled(9));
}

#[tokio::test(start_paused = true)]
async fn twins_calls_and_the_good_bye_are_spoken_too() {
    let mut site = Site::new();
    let mut client = client(&site).await;
    client.report(json!({"a": 1}));
    let mut peer = Peer::of(&mut site).await;
    peer.settle_down().await;
    let Did::Asked(operation, patch, _) = peer.did().await else { panic!("the report") };
    assert_eq!((operation.as_str(), patch.as_str()), ("PATCH", r#"{"a":1}"#));
    let mut change = amqp::Message::data(r#"{"b":2,"$version":2}"#);
    change.annotations = Map::new().with_symbol("version", Value::Long(2));
    peer.send("/twin", 0, true, change);
    let mut call = amqp::Message::data("null");
    call.properties.correlation_id = Value::Uuid([3; 16]);
    call.application_properties = Map::new().with_string("IoThub-methodname", "ping");
    peer.send("/methods/devicebound", 0, true, call);
    peer.flush().await;
    let mut desired = json!(null);
    loop {
        match timeout(LONG, client.next()).await.unwrap() {
            Event::Desired(whole) => desired = whole,
            Event::Method(call) => {
                assert_eq!(call.name, "ping");
                client.respond(call, 200, json!({"ok": true}));
                break;
            }
            _ => {}
        }
    }
    if desired["b"] != 2 {
        desired = client.twin().unwrap()["desired"].clone();
    }
    assert_eq!(desired, json!({"a": 1, "b": 2, "$version": 2}));
    let (answer, link, delivery) = peer.sent().await;
    assert_eq!(answer.properties.correlation_id, Value::Uuid([3; 16]));
    assert_eq!(answer.application_properties.get("IoThub-status"), Some(&Value::Int(200)));
    peer.say(ServerCommand::accepted(link, delivery));
    peer.flush().await;
    assert!(client.flush(LONG).await || client.held() == 0);
    drop(client);
    while peer.did().await != Did::Closed {}
}

#[tokio::test(start_paused = true)]
async fn a_message_refused_for_good_holds_up_nothing_behind_it() {
    let mut site = Site::new();
    let mut client = client(&site).await;
    send(&mut client, "bad").await;
    send(&mut client, "good").await;
    let mut peer = Peer::of(&mut site).await;
    let (_, link, delivery) = peer.sent().await;
    let error = amqp::Error::new("com.microsoft:argument-error", "that cannot be");
    let state = DeliveryState::Rejected(Some(Arc::new(error)));
    peer.say(ServerCommand::Settle { link, delivery, state });
    peer.flush().await;
    assert_eq!(peer.accept().await, "good");
    let ((), flushed) =
        tokio::join!(async { while peer.within(MOMENT).await.is_some() {} }, client.flush(LONG));
    assert!(flushed);
    assert_eq!((client.stats().refused, client.stats().delivered), (1, 1));
}

/// A client that may send batches, with so many messages in its outbox.
async fn batching(site: &Site, window: usize, count: u64, body: &str) -> Client {
    let options = Options { batches: true, window, ..options(site) };
    let mut client = Client::with(&site.host, options).await.expect("the disk is empty and good");
    for number in 0..count {
        let message = Message::new(body.to_owned()).with_property("name", number.to_string());
        client
            .post("out", &message.with_system(SystemProperty::ContentType, "text/plain"))
            .expect("there is room");
    }
    client
}

/// The names of the messages in a delivery, each of which has all else that was said of it.
fn names(message: &amqp::Message) -> Vec<String> {
    let read = |message: &amqp::Message| {
        let text = |name| message.application_properties.text(name).expect("it was said").to_string();
        assert_eq!(text("iothub-outputname"), "out");
        assert_eq!(message.properties.content_type.as_ref().expect("it was said").to_string(), "text/plain");
        assert!(matches!(body(message).as_bytes(), b"21.5" | [b'x', ..]));
        text("name")
    };
    match message.body.pieces() {
        [_] => vec![read(message)],
        several => {
            several.iter().map(|piece| read(&amqp::Message::decode(piece).expect("a message"))).collect()
        }
    }
}

/// How many messages came in each delivery, all of them accepted and in order.
async fn deliveries(site: &mut Site, client: &Client, count: usize) -> Vec<usize> {
    let mut peer = Peer::of(site).await;
    let (mut came, mut deliveries) = (Vec::new(), Vec::new());
    while came.len() < count {
        let (message, link, delivery) = peer.sent().await;
        let names = names(&message);
        deliveries.push(names.len());
        came.extend(names);
        peer.say(ServerCommand::accepted(link, delivery));
    }
    assert!(came.iter().enumerate().all(|(place, name)| *name == place.to_string()), "{came:?}");
    peer.flush().await;
    while peer.within(MOMENT).await.is_some() {}
    assert_eq!((client.held(), client.stats().delivered), (0, count as u64));
    deliveries
}

#[tokio::test(start_paused = true)]
async fn what_waits_together_goes_as_one_delivery_if_that_is_wanted() {
    for (window, wanted) in [(200, vec![25; 8]), (1_000, vec![100, 100])] {
        let mut site = Site::new();
        let client = batching(&site, window, 200, "21.5").await;
        assert_eq!(deliveries(&mut site, &client, 200).await, wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn no_delivery_of_several_is_larger_than_any_hub_takes() {
    let mut site = Site::new();
    let client = batching(&site, 200, 5, &"x".repeat(25 << 10)).await;
    let deliveries = deliveries(&mut site, &client, 5).await;
    assert!(deliveries.contains(&2) && deliveries.iter().all(|count| *count <= 2), "{deliveries:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_is_refused_only_what_is_to_blame_is_dropped() {
    let mut site = Site::new();
    let client = batching(&site, 200, 3, "21.5").await;
    let mut peer = Peer::of(&mut site).await;
    let mut came = Vec::new();
    while let Ok((message, link, delivery)) = timeout(MOMENT, peer.sent()).await {
        let names = names(&message);
        let state = if names.contains(&"1".to_owned()) {
            DeliveryState::Rejected(Some(Arc::new(amqp::Error::new("com.microsoft:argument-error", "bad"))))
        } else {
            DeliveryState::Accepted
        };
        peer.say(ServerCommand::Settle { link, delivery, state });
        peer.flush().await;
        came.push(names.join(" "));
    }
    assert_eq!(came, ["0 1 2", "0", "1", "2"]);
    let stats = client.stats();
    assert_eq!((client.held(), stats.delivered, stats.refused), (0, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_hub_gets_a_token_for_itself_and_messages_kept_in_order_by_device() {
    let mut site = Site::new();
    let connection_string =
        "Endpoint=sb://hub/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0;EntityPath=readings".to_owned();
    let options = Options { custody: Custody::HandToHand, ..options(&site) };
    let mut client = Client::to(&site.host, &Sink::Entity { connection_string }, options).await.unwrap();
    let message = Message::new("21.5").with_system(SystemProperty::ConnectionDeviceId, "edge");
    client.post("", &message).unwrap();
    let mut peer = Peer::of(&mut site).await;
    let token = peer.token().await;
    assert_eq!((token.resource.as_str(), token.policy.as_deref()), ("sb://hub/readings", Some("send")));
    assert!(token.verify(&Key::from_bytes(b"c2VjcmV0")), "signed with the key as it is written");
    let (message, link, delivery) = peer.sent().await;
    assert_eq!(peer.addresses[&link].0, "readings");
    assert_eq!(message.annotations.text("x-opt-partition-key").map(|it| it.as_str()), Some("edge"));
    assert_eq!((client.held(), client.posted()), (1, 1), "it is kept until it is accepted");
    peer.say(ServerCommand::accepted(link, delivery));
    let arrived = async {
        loop {
            if let Progress::Delivered(below) = client.next_or_delivered(0).await {
                return below;
            }
        }
    };
    let (below, _) = tokio::join!(timeout(LONG, arrived), peer.within(MOMENT));
    assert_eq!(below.unwrap(), 1);
}
