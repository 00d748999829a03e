//! The two ends, introduced to each other on one clock, over a wire that cuts where it likes.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::mqtt::{
    ClientCommand, ClientEvent, ClientSession, ConnectCode, ConnectOptions, Fault, LastWill, Limits, Qos,
    Server, ServerCommand, ServerEvent, Text,
};
use isotherm_protocol::{Malformed, Session};
use proptest::prelude::*;

#[expect(clippy::disallowed_methods, reason = "an instant to count from; no test asks what it is")]
fn start() -> Instant {
    Instant::now()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn text(text: &str) -> Text {
    Text::new(text.to_owned()).unwrap()
}

fn options() -> ConnectOptions {
    ConnectOptions {
        client_id: "edge/sensor".into(),
        user_name: "hub.example/edge/sensor/?api-version=2021-04-12".into(),
        password: Some("SharedAccessSignature sr=x".into()),
        ..ConnectOptions::default()
    }
}

/// Both ends, a clock, and what is on the wire.
struct Pair {
    start: Instant,
    now: Instant,
    client: ClientSession,
    server: Server,
    to_server: BytesMut,
    to_client: BytesMut,
}

impl Pair {
    fn new(options: ConnectOptions) -> Self {
        let start = start();
        let client = ClientSession::new(start, options);
        let server = Server::new(start, Limits::default());
        let (to_server, to_client) = (BytesMut::new(), BytesMut::new());
        Self { start, now: start, client, server, to_server, to_client }
    }

    /// Introduced and accepted.
    fn open(options: ConnectOptions) -> Self {
        let mut pair = Self::new(options);
        pair.carry().unwrap();
        assert!(matches!(pair.at_server()[..], [ServerEvent::Connect(_)]));
        pair.server.handle_command(pair.now, ServerCommand::Accept { session_present: false });
        pair.carry().unwrap();
        assert_eq!(pair.at_client(), [ClientEvent::Connected { session_present: false }]);
        pair
    }

    /// Moves everything either end has to say.
    fn carry(&mut self) -> Result<(), Malformed> {
        self.client.poll_transmit(&mut self.to_server);
        self.server.handle_bytes(self.now, &mut self.to_server)?;
        self.server.poll_transmit(&mut self.to_client);
        self.client.handle_bytes(self.now, &mut self.to_client)
    }

    fn at(&mut self, after: Duration) {
        self.now = self.start + after;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }

    fn at_server(&mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.server.poll_event()).collect()
    }

    fn at_client(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// The server says these very bytes.
    fn server_says(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut bytes = BytesMut::from(bytes);
        self.client.handle_bytes(self.now, &mut bytes).map_err(|malformed| malformed.name())
    }

    fn client_said(&mut self) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        self.client.poll_transmit(&mut bytes);
        bytes.to_vec()
    }
}

fn publish(token: u64, payload: impl Into<Bytes>) -> ClientCommand {
    ClientCommand::Publish { token, topic: "a/b".into(), payload: payload.into(), qos: Qos::AtLeastOnce }
}

#[test]
fn the_introduction_arrives_as_it_was_given() {
    let topic = "w".to_owned();
    let will =
        Some(LastWill { topic, payload: Bytes::from_static(b"gone"), qos: Qos::AtLeastOnce, retain: true });
    let mut pair = Pair::new(ConnectOptions { will, clean: true, keep_alive: seconds(7), ..options() });
    pair.carry().unwrap();
    let [ServerEvent::Connect(connect)] = &pair.at_server()[..] else { panic!("no CONNECT") };
    assert_eq!(connect.client_id, "edge/sensor");
    assert_eq!(connect.user_name, Some(text(&options().user_name)));
    assert_eq!(connect.password.as_deref(), options().password.as_deref().map(str::as_bytes));
    assert_eq!((connect.keep_alive, connect.clean), (7, true));
    let will = connect.will.as_ref().unwrap();
    assert_eq!(
        (&*will.topic, &will.payload[..], will.qos, will.retain),
        ("w", &b"gone"[..], Qos::AtLeastOnce, true)
    );
}

#[test]
fn a_client_with_a_certificate_sends_a_name_and_no_password() {
    let mut pair = Pair::new(ConnectOptions { password: None, ..options() });
    pair.carry().unwrap();
    let [ServerEvent::Connect(connect)] = &pair.at_server()[..] else { panic!("no CONNECT") };
    assert!(connect.user_name.is_some() && connect.password.is_none());
}

#[test]
fn a_client_without_a_name_sends_no_password_either() {
    let mut pair = Pair::new(ConnectOptions { user_name: String::new(), ..options() });
    pair.carry().unwrap();
    let [ServerEvent::Connect(connect)] = &pair.at_server()[..] else { panic!("no CONNECT") };
    assert!(connect.user_name.is_none() && connect.password.is_none());
}

#[test]
fn options_in_a_log_show_no_password() {
    assert!(!format!("{:?}", options()).contains("SharedAccess"));
}

#[test]
fn a_refusal_is_told_with_its_code_and_ends_both() {
    let mut pair = Pair::new(options());
    pair.carry().unwrap();
    pair.server.handle_command(pair.now, ServerCommand::Refuse(ConnectCode::NotAuthorized));
    pair.carry().unwrap();
    assert_eq!(pair.at_client(), [ClientEvent::Refused(ConnectCode::NotAuthorized)]);
    assert!(pair.client.is_over() && pair.server.is_over());
}

#[test]
fn a_message_is_acknowledged_to_whoever_sent_it() {
    let mut pair = Pair::open(options());
    pair.client.handle_command(pair.now, publish(7, "one"));
    pair.client.handle_command(pair.now, publish(8, "two"));
    pair.carry().unwrap();
    let ids: Vec<u16> = pair
        .at_server()
        .into_iter()
        .map(|event| match event {
            ServerEvent::Publish { packet_id, topic, .. } if topic == "a/b" => packet_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pair.client.in_flight(), 2);
    for packet_id in ids.into_iter().rev() {
        pair.server.handle_command(pair.now, ServerCommand::Acknowledge { packet_id });
    }
    pair.carry().unwrap();
    assert_eq!(pair.at_client(), [8, 7].map(|token| ClientEvent::Acknowledged { token }));
    assert_eq!(pair.client.in_flight(), 0);
}

#[test]
fn a_delivery_is_acknowledged_when_the_client_says_so() {
    let mut pair = Pair::open(options());
    let (topic, payload) = (text("devices/edge/in"), Bytes::from_static(b"!"));
    pair.server.handle_command(
        pair.now,
        ServerCommand::Deliver { token: 5, topic, payload, qos: Qos::AtLeastOnce, dup: true },
    );
    pair.carry().unwrap();
    let [ClientEvent::Publish { topic, packet_id, dup: true, retain: false, .. }] = &pair.at_client()[..]
    else {
        panic!("no message")
    };
    assert_eq!(topic, "devices/edge/in");
    pair.carry().unwrap();
    assert_eq!(pair.at_server(), []);
    pair.client.handle_command(pair.now, ClientCommand::Acknowledge { packet_id: *packet_id });
    pair.carry().unwrap();
    assert_eq!(pair.at_server(), [ServerEvent::Acknowledged { token: 5 }]);
}

#[test]
fn a_subscription_comes_back_with_what_was_granted() {
    let mut pair = Pair::open(options());
    let filters = [("a/#", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce), ("c", Qos::AtMostOnce)];
    let filters = filters.map(|(filter, qos)| (filter.to_owned(), qos)).to_vec();
    pair.client.handle_command(pair.now, ClientCommand::Subscribe { filters });
    pair.carry().unwrap();
    let [ServerEvent::Subscribe { packet_id, filters }] = &pair.at_server()[..] else {
        panic!("no SUBSCRIBE")
    };
    assert_eq!(filters[0], (text("a/#"), Qos::AtLeastOnce));
    let granted = ServerCommand::Granted { packet_id: *packet_id, codes: vec![1, 0x80, 0] };
    pair.server.handle_command(pair.now, granted);
    pair.carry().unwrap();
    let told = [("a/#", Some(Qos::AtLeastOnce)), ("b", None), ("c", Some(Qos::AtMostOnce))];
    let filters = told.map(|(filter, qos)| (filter.to_owned(), qos)).to_vec();
    assert_eq!(pair.at_client(), [ClientEvent::Subscribed { filters }]);

    let filters = vec!["b".to_owned()];
    pair.client.handle_command(pair.now, ClientCommand::Unsubscribe { filters: filters.clone() });
    pair.carry().unwrap();
    let [ServerEvent::Unsubscribe { packet_id, .. }] = pair.at_server()[..] else { panic!("no UNSUBSCRIBE") };
    pair.server.handle_command(pair.now, ServerCommand::Unsubscribed { packet_id });
    pair.carry().unwrap();
    assert_eq!(pair.at_client(), [ClientEvent::Unsubscribed { filters }]);
}

#[test]
fn a_subscription_never_takes_the_identifier_of_a_message() {
    let mut pair = Pair::open(ConnectOptions { window: 4, ..options() });
    for round in 0..50_000 {
        let filters = vec![("f".to_owned(), Qos::AtMostOnce)];
        pair.client.handle_command(pair.now, publish(round, ""));
        pair.client.handle_command(pair.now, ClientCommand::Subscribe { filters });
        pair.carry().unwrap();
        let [ServerEvent::Publish { packet_id, .. }, ServerEvent::Subscribe { packet_id: other, .. }] =
            pair.at_server()[..]
        else {
            panic!("lost one")
        };
        assert!(packet_id <= 0x4000 && other > 0x4000);
        pair.server.handle_command(pair.now, ServerCommand::Acknowledge { packet_id });
        pair.server.handle_command(pair.now, ServerCommand::Granted { packet_id: other, codes: vec![0] });
        pair.carry().unwrap();
        assert_eq!(pair.at_client().len(), 2);
    }
}

#[test]
fn goodbye_is_told_and_ends_both() {
    let mut pair = Pair::open(options());
    pair.client.handle_command(pair.now, ClientCommand::Disconnect);
    pair.client.handle_command(pair.now, publish(1, "too late"));
    pair.carry().unwrap();
    assert_eq!(pair.at_server(), [ServerEvent::Disconnected]);
    assert!(pair.client.is_over() && pair.server.is_over());
    assert_eq!((pair.client.poll_timeout(), pair.server.poll_timeout()), (None, None));
}

#[test]
fn an_idle_day_is_kept_alive_by_pings_alone() {
    let mut pair = Pair::open(options());
    let (end, mut turns) = (pair.start + seconds(86_400), 0);
    while pair.now < end {
        let next =
            [pair.client.poll_timeout(), pair.server.poll_timeout()].into_iter().flatten().min().unwrap();
        assert!(next > pair.now, "a timer that does not move would spin");
        pair.at(next - pair.start);
        pair.carry().unwrap();
        assert_eq!((pair.at_client(), pair.at_server()), (vec![], vec![]));
        turns += 1;
    }
    assert!(turns < 86_400 / 10, "{turns} wake-ups in a day");
}

#[test]
fn a_server_that_does_not_answer_the_introduction_is_given_up() {
    let mut pair = Pair::new(options());
    pair.at(seconds(29));
    assert_eq!(pair.at_client(), []);
    pair.at(seconds(30));
    assert_eq!(pair.at_client(), [ClientEvent::Closed(Fault::ConnackLate)]);
    assert!(pair.client.is_over());
}

#[test]
fn a_server_that_does_not_answer_a_ping_is_given_up_after_half_a_keep_alive() {
    let mut pair = Pair::open(ConnectOptions { keep_alive: seconds(20), ..options() });
    pair.at(seconds(15));
    assert_eq!(pair.client_said(), b"\xc0\x00");
    pair.at(seconds(24));
    assert_eq!(pair.at_client(), []);
    pair.at(seconds(25));
    assert_eq!(pair.at_client(), [ClientEvent::Closed(Fault::PingLate)]);
}

#[test]
fn whoever_only_listens_pings_all_the_same_and_so_does_whoever_only_talks() {
    let mut listener = Pair::open(options());
    for second in 1..=45 {
        listener.at(seconds(second));
        listener.server_says(b"\x30\x03\x00\x01t").unwrap();
    }
    assert_eq!(listener.client_said(), b"\xc0\x00");

    let mut talker = Pair::open(options());
    for second in 1..=45 {
        talker.client_said();
        let (topic, payload) = ("t".to_owned(), Bytes::new());
        let command = ClientCommand::Publish { token: 0, topic, payload, qos: Qos::AtMostOnce };
        talker.client.handle_command(talker.now, command);
        talker.at(seconds(second));
    }
    assert!(talker.client_said().ends_with(b"\xc0\x00"), "a dead link answers nothing");
}

#[test]
fn without_a_keep_alive_nobody_pings() {
    let pair = Pair::open(ConnectOptions { keep_alive: Duration::ZERO, ..options() });
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn a_server_that_breaks_the_protocol_is_left() {
    for (bytes, name) in [
        (&b"\x20\x02\x00\x00"[..], "second_connect"),
        (b"\x34\x05\x00\x01t\x00\x01", "qos_two"),
        (b"\xc0\x00", "wrong_direction"),
        (b"\x82\x06\x00\x01\x00\x01a\x00", "wrong_direction"),
        (b"\xf0\x00", "unreadable"),
        (b"\x32\x05\x00\x01t\x00\x00", "unreadable"),
        (b"\x30\xff\xff\xff\x7f", "too_large"),
    ] {
        let mut pair = Pair::open(options());
        assert_eq!(pair.server_says(bytes), Err(name));
        assert!(pair.client.is_over());
    }
    assert_eq!(Pair::new(options()).server_says(b"\xd0\x00"), Err("not_connack"));
}

#[test]
fn acknowledgements_nobody_waits_for_are_let_pass() {
    let mut pair = Pair::open(options());
    pair.client.handle_command(pair.now, publish(9, ""));
    let answers = b"\x40\x02\x00\x05\x40\x02\x00\x00\x90\x03\x40\x09\x00\xb0\x02\x40\x09\x40\x02\x00\x01";
    assert_eq!(pair.server_says(answers), Ok(()));
    assert_eq!(pair.at_client(), [ClientEvent::Acknowledged { token: 9 }]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever is published arrives once and in order, and each token comes back once, however the wire cuts and in
    /// whatever order the hub acknowledges.
    #[test]
    fn every_message_arrives_in_order_and_every_token_comes_back(
        sizes in prop::collection::vec(0_usize..400, 1..60),
        cuts in prop::collection::vec(1_usize..700, 1..60),
        seed in any::<u64>(),
    ) {
        let mut pair = Pair::open(ConnectOptions { window: 16, ..options() });
        let (mut wire, mut buffer, mut cuts) = (BytesMut::new(), BytesMut::new(), cuts.iter().cycle());
        let (mut arrived, mut waiting, mut told, mut next, mut chance) = (vec![], vec![], vec![], 0, seed);
        while told.len() < sizes.len() {
            while next < sizes.len() && pair.client.window() > 0 {
                pair.client.handle_command(pair.now, publish(next as u64, vec![next as u8; sizes[next]]));
                next += 1;
            }
            pair.client.poll_transmit(&mut wire);
            let cut = (*cuts.next().unwrap()).min(wire.len());
            buffer.extend_from_slice(&wire.split_to(cut));
            pair.server.handle_bytes(pair.now, &mut buffer).unwrap();
            for event in pair.at_server() {
                let ServerEvent::Publish { payload, packet_id, .. } = event else { panic!("{event:?}") };
                arrived.push(payload);
                waiting.push(packet_id);
            }
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if !waiting.is_empty() && (chance >> 60 > 4 || wire.is_empty()) {
                let packet_id = waiting.swap_remove((chance >> 33) as usize % waiting.len());
                pair.server.handle_command(pair.now, ServerCommand::Acknowledge { packet_id });
            }
            pair.server.poll_transmit(&mut pair.to_client);
            pair.client.handle_bytes(pair.now, &mut pair.to_client).unwrap();
            for event in pair.at_client() {
                let ClientEvent::Acknowledged { token } = event else { panic!("{event:?}") };
                told.push(token);
            }
        }
        told.sort_unstable();
        prop_assert_eq!(told, (0..sizes.len() as u64).collect::<Vec<_>>());
        let sent: Vec<Bytes> = sizes.iter().enumerate().map(|(n, &size)| vec![n as u8; size].into()).collect();
        prop_assert_eq!(arrived, sent);
        prop_assert_eq!(pair.client.in_flight(), 0);
    }

    /// Noise after a proper introduction ends one session at most, never the process.
    #[test]
    fn neither_end_panics_at_noise(noise in prop::collection::vec(any::<u8>(), 0..300), early in any::<bool>()) {
        let mut pair = if early { Pair::new(options()) } else { Pair::open(options()) };
        let _ = pair.server.handle_bytes(pair.now, &mut BytesMut::from(&noise[..]));
        let _ = pair.client.handle_bytes(pair.now, &mut BytesMut::from(&noise[..]));
        pair.at(seconds(10_000));
    }
}
