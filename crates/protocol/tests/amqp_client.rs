//! A stranger's client, fe2o3-amqp, meets the hub's end of AMQP over an in-memory stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::{Connection, Delivery, Receiver, Sendable, Sender, Session as ClientSession};
use fe2o3_amqp_types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{
    ApplicationProperties, Body as TheirBody, Data, Message as TheirMessage, MessageAnnotations, MessageId,
    Outcome, Properties as TheirProperties,
};
use fe2o3_amqp_types::primitives::{Symbol, Value as TheirValue};
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{
    DeliveryState, Error, LinkId, Map, Message, Options, Role, SaslCode, Server, ServerCommand, ServerEvent,
    Text, Value,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A hub of a few lines: what is sent to an address comes out for whoever receives from it.
#[derive(Default)]
struct Hub {
    /// Where each link's messages go to or come from.
    addresses: HashMap<LinkId, String>,
    queues: HashMap<String, Vec<Message>>,
    receivers: Vec<LinkId>,
    seen: Arc<Mutex<Vec<String>>>,
    next: u64,
}

impl Hub {
    fn hear(&mut self, now: std::time::Instant, event: ServerEvent, server: &mut Server) {
        let mut say = |command| server.handle_command(now, command);
        match event {
            ServerEvent::Sasl(init) => {
                self.note(format!("{} {:?}", init.mechanism, init.plain()));
                let wrong = init.plain().is_some_and(|(_, password)| password != "right");
                say(ServerCommand::SaslOutcome(if wrong { SaslCode::Auth } else { SaslCode::Ok }));
            }
            ServerEvent::Opened(open) => self.note(format!("open {:?}", open.hostname)),
            ServerEvent::Attached { link, attach } => {
                let address = match attach.role {
                    Role::Sender => attach.target.as_ref().and_then(|target| target.address.clone()),
                    Role::Receiver => attach.source.as_ref().and_then(|source| source.address.clone()),
                };
                let address = address.map_or_else(String::new, |address| address.to_string());
                if address == "nowhere" {
                    let error = Error::new("amqp:not-found", "there is no such address");
                    return say(ServerCommand::Refuse { link, error });
                }
                say(ServerCommand::accept(link, 10));
                if address == "taken off" {
                    let error = Some(Error::new("amqp:not-found", "there is no such address any more"));
                    return say(ServerCommand::Detach { link, error });
                }
                self.addresses.insert(link, address);
                if attach.role == Role::Receiver {
                    self.receivers.push(link);
                }
            }
            ServerEvent::Message { link, delivery, settled, message, .. } => {
                let address = self.addresses[&link].clone();
                let state = match message.application_properties.text("refuse") {
                    Some(why) => {
                        DeliveryState::Rejected(Some(Arc::new(Error::new("amqp:not-allowed", why.clone()))))
                    }
                    None => DeliveryState::Accepted,
                };
                if !settled {
                    say(ServerCommand::Settle { link, delivery, state });
                }
                let message = if address == "$cbs" {
                    Message::reply(&message.properties, 200, "OK", Value::Null)
                } else {
                    *message
                };
                self.queues.entry(address).or_default().push(message);
            }
            ServerEvent::Disposition { token, state, settled, link, delivery } => {
                self.note(format!("{token} {state:?} {settled}"));
                if !settled {
                    say(ServerCommand::accepted(link, delivery));
                }
            }
            ServerEvent::Credit { link, drain: true, .. } => say(ServerCommand::Drained { link }),
            ServerEvent::Detached { link, error } => {
                self.note(format!("detached {error:?}"));
                self.receivers.retain(|held| *held != link);
            }
            ServerEvent::Closed(error) => self.note(format!("closed {error:?}")),
            ServerEvent::Lapsed(fault) => self.note(format!("lapsed {fault}")),
            ServerEvent::Credit { .. } | ServerEvent::WindowOpened => {}
        }
    }

    fn deliver(&mut self, now: std::time::Instant, server: &mut Server) {
        for &link in &self.receivers {
            let queue = self.queues.entry(self.addresses[&link].clone()).or_default();
            while server.room(link) > 0 && !queue.is_empty() {
                let (token, message) = (self.next, Box::new(queue.remove(0)));
                self.next += 1;
                let tag = Bytes::copy_from_slice(&[token.to_be_bytes(); 2].concat());
                server.handle_command(now, ServerCommand::Send { link, token, tag, settled: false, message });
            }
        }
    }

    fn note(&self, line: String) {
        self.seen.lock().unwrap().push(line);
    }
}

/// Serves one connection. Times are those of tokio's clock.
async fn serve(mut stream: DuplexStream, mut hub: Hub, options: Options) {
    let mut server = Server::new(tokio::time::Instant::now().into_std(), Arc::new(options));
    let (mut read, mut written) = (BytesMut::new(), BytesMut::new());
    loop {
        let timeout = server.poll_timeout().map_or_else(far, tokio::time::Instant::from_std);
        tokio::select! {
            biased;
            count = stream.read_buf(&mut read) => match count {
                Ok(1..) => {
                    let now = tokio::time::Instant::now().into_std();
                    if let Err(malformed) = server.handle_bytes(now, &mut read) {
                        hub.note(format!("malformed {malformed}"));
                    }
                }
                _ => return,
            },
            () = tokio::time::sleep_until(timeout) => {
                server.handle_timeout(tokio::time::Instant::now().into_std());
            }
        }
        let now = tokio::time::Instant::now().into_std();
        while let Some(event) = server.poll_event() {
            hub.hear(now, event, &mut server);
        }
        hub.deliver(now, &mut server);
        server.poll_transmit(&mut written);
        if stream.write_all(&written).await.is_err() {
            return;
        }
        written.clear();
        if server.is_over() {
            let _ = stream.shutdown().await;
        }
    }
}

fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(1_000_000)
}

type Seen = Arc<Mutex<Vec<String>>>;

async fn meet_with(sasl: Option<SaslProfile>, options: Options) -> (ConnectionHandle<()>, Seen) {
    let (ours, theirs) = tokio::io::duplex(16_384);
    let hub = Hub::default();
    let seen = Arc::clone(&hub.seen);
    tokio::spawn(serve(ours, hub, options));
    let mut builder =
        Connection::builder().container_id("stranger").hostname("hub").max_frame_size(65_536_u32);
    if let Some(profile) = sasl {
        builder = builder.sasl_profile(profile);
    }
    let connection = builder.open_with_stream(theirs).await.expect("the hub opens");
    (connection, seen)
}

async fn meet() -> (ConnectionHandle<()>, Seen) {
    meet_with(None, Options::default()).await
}

fn body(delivery: &Delivery<TheirBody<TheirValue>>) -> Vec<u8> {
    match delivery.body() {
        TheirBody::Data(pieces) => pieces.iter().flat_map(|piece| piece.0.to_vec()).collect(),
        other => panic!("{other:?} is no data"),
    }
}

fn data(bytes: impl Into<Vec<u8>>) -> TheirMessage<Data> {
    TheirMessage::builder().data(bytes.into()).build()
}

#[tokio::test]
async fn messages_go_there_and_come_back_and_each_is_accepted() {
    let (mut connection, seen) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "there", "somewhere").await.unwrap();
    let mut receiver = Receiver::attach(&mut session, "back", "somewhere").await.unwrap();
    for number in 0..100_u8 {
        let outcome = sender.send(data([number])).await.unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    for number in 0..100_u8 {
        let delivery = receiver.recv::<TheirBody<TheirValue>>().await.unwrap();
        assert_eq!(body(&delivery), [number]);
        assert_eq!(delivery.delivery_tag().len(), 16);
        receiver.accept(&delivery).await.unwrap();
    }
    sender.close().await.unwrap();
    receiver.close().await.unwrap();
    session.end().await.unwrap();
    connection.close().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], "open Some(\"hub\")");
    assert_eq!(seen.iter().filter(|line| line.contains("Some(Accepted) true")).count(), 100);
    assert_eq!(seen.last().unwrap(), "closed None");
}

#[tokio::test]
async fn a_message_of_many_frames_survives_both_ways() {
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "there", "large").await.unwrap();
    let mut receiver = Receiver::attach(&mut session, "back", "large").await.unwrap();
    let large: Vec<u8> = (0..262_144_u32).map(|byte| (byte % 251) as u8).collect();
    for _ in 0..5 {
        sender.send(data(large.clone())).await.unwrap();
        let delivery = receiver.recv::<TheirBody<TheirValue>>().await.unwrap();
        assert!(body(&delivery) == large);
        receiver.accept(&delivery).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_costs_its_link_and_nothing_else() {
    let options = Options { message_bytes_max: 100_000, ..Options::default() };
    let (mut connection, _) = meet_with(None, options).await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "there", "large").await.unwrap();
    assert_eq!(sender.max_message_size(), Some(100_000));
    let refused = sender.send(data(vec![7; 200_000])).await.unwrap_err();
    assert!(format!("{refused:?}").contains("MessageSizeExceeded"), "{refused:?}");
    let mut other = Sender::attach(&mut session, "again", "small").await.unwrap();
    other.send(data("small")).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn sections_and_types_arrive_as_they_were_sent() {
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "there", "sections").await.unwrap();
    let mut receiver = Receiver::attach(&mut session, "back", "sections").await.unwrap();
    let properties = TheirProperties::builder()
        .message_id(MessageId::Ulong(7))
        .user_id(vec![1_u8, 2])
        .to("/devices/d/messages/events")
        .content_type("application/json")
        .build();
    let sent = TheirMessage::builder()
        .message_annotations(MessageAnnotations::builder().insert(Symbol::from("x-opt-a"), "b").build())
        .properties(properties.clone())
        .application_properties(
            ApplicationProperties::builder().insert("one", 1_i32).insert("two", "2").build(),
        )
        .data(vec![9_u8])
        .build();
    sender.send(sent).await.unwrap();
    let delivery = receiver.recv::<TheirBody<TheirValue>>().await.unwrap();
    let came = delivery.message();
    assert_eq!(came.properties.as_ref(), Some(&properties));
    let annotations = came.message_annotations.as_ref().unwrap();
    assert_eq!(format!("{annotations:?}").matches("x-opt-a").count(), 1);
    let applications = came.application_properties.as_ref().unwrap();
    assert_eq!(applications.0.get("one"), Some(&1_i32.into()));
    assert_eq!(applications.0.get("two"), Some(&"2".to_owned().into()));
    receiver.accept(&delivery).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_refused_link_is_an_error_for_its_client() {
    // One connection each: when refused, this client answers twice or loses its session, as its tasks happen to run.
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    Sender::attach(&mut session, "nowhere", "nowhere").await.unwrap_err();
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    Receiver::attach(&mut session, "nowhere", "nowhere").await.unwrap_err();
}

#[tokio::test]
async fn a_link_that_is_taken_off_again_says_why() {
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "there", "taken off").await.unwrap();
    let why = sender.on_detach().await;
    assert!(format!("{why:?}").contains("NotFound"), "{why:?}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_rejected_message_says_why() {
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "there", "somewhere").await.unwrap();
    let refused = TheirMessage::builder()
        .application_properties(ApplicationProperties::builder().insert("refuse", "for a reason").build())
        .data(vec![1_u8])
        .build();
    match sender.send(refused).await.unwrap() {
        Outcome::Rejected(rejected) => {
            let error = rejected.error.unwrap();
            assert_eq!(error.description.as_deref(), Some("for a reason"));
        }
        other => panic!("{other:?}"),
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn sasl_lets_in_and_turns_away() {
    for profile in [
        SaslProfile::Anonymous,
        SaslProfile::Plain { username: "device@sas.hub".into(), password: "right".into() },
    ] {
        let (mut connection, seen) = meet_with(Some(profile), Options::default()).await;
        connection.close().await.unwrap();
        assert_eq!(seen.lock().unwrap().len(), 3);
    }
    let (ours, theirs) = tokio::io::duplex(16_384);
    tokio::spawn(serve(ours, Hub::default(), Options::default()));
    let wrong = SaslProfile::Plain { username: "device".into(), password: "wrong".into() };
    let refused =
        Connection::builder().container_id("stranger").sasl_profile(wrong).open_with_stream(theirs).await;
    assert!(format!("{refused:?}").contains("Auth"), "{refused:?}");
}

#[tokio::test]
async fn modes_of_settling_are_kept() {
    let (mut connection, seen) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::builder()
        .name("settled")
        .target("modes")
        .sender_settle_mode(SenderSettleMode::Settled)
        .attach(&mut session)
        .await
        .unwrap();
    let mut second = Receiver::builder()
        .name("second")
        .source("modes")
        .receiver_settle_mode(ReceiverSettleMode::Second)
        .attach(&mut session)
        .await
        .unwrap();
    for _ in 0..50 {
        sender.send(Sendable::builder().message(data("x")).settled(true).build()).await.unwrap();
    }
    for _ in 0..50 {
        let delivery = second.recv::<TheirBody<TheirValue>>().await.unwrap();
        second.accept(&delivery).await.unwrap();
    }
    second.close().await.unwrap();
    connection.close().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().filter(|line| line.contains("Some(Accepted) false")).count(), 50);
}

#[tokio::test]
async fn a_request_is_answered_under_its_own_id() {
    let (mut connection, _) = meet().await;
    let mut session = ClientSession::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "cbs-sender", "$cbs").await.unwrap();
    let mut receiver = Receiver::attach(&mut session, "cbs-receiver", "$cbs").await.unwrap();
    let ids = [
        MessageId::Ulong(0),
        MessageId::String("d037".into()),
        MessageId::Uuid(serde_amqp::primitives::Uuid::from([7; 16])),
        MessageId::Binary(vec![1_u8, 2, 3].into()),
    ];
    for id in ids {
        let properties = TheirProperties::builder().message_id(id.clone()).build();
        let request = TheirMessage::builder()
            .properties(properties)
            .value("SharedAccessSignature sr=…".to_owned())
            .build();
        sender.send(request).await.unwrap();
        let answer = receiver.recv::<TheirBody<TheirValue>>().await.unwrap();
        let properties = answer.message().properties.as_ref().unwrap();
        assert_eq!(properties.correlation_id, Some(id));
        let applications = answer.message().application_properties.as_ref().unwrap();
        assert_eq!(applications.0.get("status-code"), Some(&200_i32.into()));
        receiver.accept(&answer).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn several_sessions_live_side_by_side() {
    let (mut connection, _) = meet().await;
    let mut sessions = Vec::new();
    for number in 0..20 {
        let mut session = ClientSession::begin(&mut connection).await.unwrap();
        let address = format!("address {number}");
        let sender = Sender::attach(&mut session, "there", address.clone()).await.unwrap();
        let receiver = Receiver::attach(&mut session, "back", address).await.unwrap();
        sessions.push((session, sender, receiver));
    }
    for (number, (_, sender, _)) in sessions.iter_mut().enumerate() {
        sender.send(data([number as u8])).await.unwrap();
    }
    for (number, (session, _, receiver)) in sessions.iter_mut().enumerate() {
        let delivery = receiver.recv::<TheirBody<TheirValue>>().await.unwrap();
        assert_eq!(body(&delivery), [number as u8]);
        receiver.accept(&delivery).await.unwrap();
        session.end().await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_hub_says_why_it_closes() {
    let (ours, theirs) = tokio::io::duplex(16_384);
    tokio::spawn(async move {
        let mut stream = ours;
        let now = || tokio::time::Instant::now().into_std();
        let mut server = Server::new(now(), Arc::new(Options::default()));
        let (mut read, mut written) = (BytesMut::new(), BytesMut::new());
        while !server.is_over() {
            stream.read_buf(&mut read).await.unwrap();
            server.handle_bytes(now(), &mut read).unwrap();
            while let Some(event) = server.poll_event() {
                if matches!(event, ServerEvent::Opened(_)) {
                    let mut error = Error::new("amqp:unauthorized-access", "the token has expired");
                    error.info = Map::new().with_symbol("com.microsoft:tracking-id", Text::from_static("1"));
                    server.handle_command(now(), ServerCommand::Close(Some(error)));
                }
            }
            server.poll_transmit(&mut written);
            stream.write_all(&written).await.unwrap();
            written.clear();
        }
        let _ = stream.read_buf(&mut read).await;
    });
    let mut connection =
        Connection::builder().container_id("stranger").open_with_stream(theirs).await.unwrap();
    let closed = connection.on_close().await;
    assert!(format!("{closed:?}").contains("the token has expired"), "{closed:?}");
}
