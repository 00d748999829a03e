//! The hub's end, told byte by byte what clients do to it.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::Session;
use isotherm_protocol::mqtt::codec::{PAYLOAD_BYTES_MAX, Publish, encode};
use isotherm_protocol::mqtt::{
    ConnectCode, Fault, Limits, Packet, Qos, Server, ServerCommand, ServerEvent, Text,
};

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01d";

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

/// One end of a connection and the clock on its wall.
struct Bench {
    start: Instant,
    now: Instant,
    server: Server,
    inbox: BytesMut,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let start = start();
        Self { start, now: start, server: Server::new(start, limits), inbox: BytesMut::new() }
    }

    /// A client with this keep-alive, accepted.
    fn open(keep_alive: u16) -> Self {
        let mut bench = Self::new();
        let mut connect = CONNECT.to_vec();
        connect[10..12].copy_from_slice(&keep_alive.to_be_bytes());
        bench.says(&connect).unwrap();
        bench.asks(ServerCommand::Accept { session_present: false });
        assert_eq!(bench.sent(), b"\x20\x02\x00\x00");
        assert!(matches!(bench.events()[..], [ServerEvent::Connect(_)]));
        bench
    }

    /// Hands bytes in; the name under which they were refused, if they were.
    fn says(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.inbox.extend_from_slice(bytes);
        self.server.handle_bytes(self.now, &mut self.inbox).map_err(|malformed| malformed.name())
    }

    fn asks(&mut self, command: ServerCommand) {
        self.server.handle_command(self.now, command);
    }

    fn at(&mut self, after: Duration) {
        self.now = self.start + after;
        self.server.handle_timeout(self.now);
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        self.server.poll_transmit(&mut bytes);
        bytes.to_vec()
    }

    fn events(&mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.server.poll_event()).collect()
    }
}

fn deliver(token: u64, qos: Qos) -> ServerCommand {
    ServerCommand::Deliver { token, topic: text("t"), payload: Bytes::from_static(b"p"), qos, dup: false }
}

#[test]
fn whoever_does_not_begin_with_connect_is_shown_out_at_the_first_byte() {
    for first in [0x30, 0x40, 0x82, 0xc0, 0xe0, 0x00, 0xf0, b'G'] {
        let mut bench = Bench::new();
        assert_eq!(bench.says(&[first]), Err("not_connect"), "{first:#04x}");
        assert!(bench.server.is_over() && bench.sent().is_empty());
    }
    assert_eq!(
        Bench::new().says(b"\x16\x03\x01"),
        Err("flags"),
        "TLS on a plain port looks like a bent CONNECT"
    );
}

#[test]
fn a_connect_that_does_not_come_within_ten_seconds_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.says(&CONNECT[..5]).unwrap();
    bench.at(seconds(10) - Duration::from_millis(1));
    assert_eq!(bench.events(), []);
    bench.says(&CONNECT[5..6]).unwrap();
    bench.at(seconds(10));
    assert_eq!(bench.events(), [ServerEvent::Lapsed(Fault::ConnectLate)]);
    assert!(bench.server.is_over());
}

#[test]
fn a_connect_has_at_most_64_kib() {
    let mut bench = Bench::new();
    assert_eq!(bench.says(b"\x10\x80\x80\x04"), Ok(()), "65,536 are awaited");
    let mut bench = Bench::new();
    assert_eq!(bench.says(b"\x10\x81\x80\x04"), Err("too_large"), "65,537 are not");
}

#[test]
fn another_version_of_mqtt_is_told_so_and_then_shown_out() {
    let mut bench = Bench::new();
    assert_eq!(bench.says(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"), Err("protocol_level"));
    assert_eq!(bench.sent(), b"\x20\x02\x00\x01");
    assert_eq!(bench.events(), []);
}

#[test]
fn an_empty_client_id_is_told_so_and_then_shown_out() {
    let mut bench = Bench::new();
    assert_eq!(bench.says(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"), Err("empty_client_id"));
    assert_eq!(bench.sent(), b"\x20\x02\x00\x02");
}

#[test]
fn a_second_connect_ends_the_connection() {
    assert_eq!(Bench::open(60).says(CONNECT), Err("second_connect"));
}

#[test]
fn a_refused_client_is_told_why_and_nothing_else() {
    let mut bench = Bench::new();
    bench.says(CONNECT).unwrap();
    bench.asks(ServerCommand::Refuse(ConnectCode::NotAuthorized));
    bench.asks(ServerCommand::Accept { session_present: true });
    bench.asks(deliver(1, Qos::AtLeastOnce));
    assert_eq!(bench.sent(), b"\x20\x02\x00\x05");
    assert!(bench.server.is_over());
    assert_eq!(bench.says(b"\xc0\x00"), Ok(()));
    assert_eq!(bench.sent(), b"");
}

#[test]
fn what_a_client_sends_before_it_is_accepted_is_told_afterwards_and_in_order() {
    let mut bench = Bench::new();
    let mut early = CONNECT.to_vec();
    early.extend_from_slice(b"\x82\x06\x00\x01\x00\x01f\x01\x30\x04\x00\x01t1\x30\x04\x00");
    bench.says(&early).unwrap();
    assert!(matches!(bench.events()[..], [ServerEvent::Connect(_)]));
    assert!(!bench.server.may_read());
    bench.says(b"\x01t").unwrap();

    bench.asks(ServerCommand::Accept { session_present: true });
    assert!(bench.server.may_read());
    assert_eq!(bench.sent(), b"\x20\x02\x01\x00");
    bench.says(b"2\xc0\x00").unwrap();
    let payloads: Vec<_> = bench
        .events()
        .into_iter()
        .map(|event| match event {
            ServerEvent::Subscribe { packet_id: 1, .. } => Bytes::from_static(b"subscribe"),
            ServerEvent::Publish { payload, .. } => payload,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, ["subscribe", "1", "2"]);
    assert_eq!(bench.sent(), b"\xd0\x00");
}

#[test]
fn nonsense_that_was_held_back_ends_the_session_once_it_is_read() {
    let mut bench = Bench::new();
    bench.says(&[CONNECT, b"\x36\x00"].concat()).unwrap();
    bench.events();
    bench.asks(ServerCommand::Accept { session_present: false });
    assert_eq!(bench.events(), [ServerEvent::Lapsed(Fault::Qos)]);
    assert!(bench.server.is_over());
}

#[test]
fn only_so_much_is_held_back() {
    let mut bench = Bench::new();
    bench.says(CONNECT).unwrap();
    assert_eq!(bench.says(&vec![0xc0; 262_144]), Ok(()));
    assert_eq!(bench.says(&[0]), Err("impatient"));
}

#[test]
fn a_message_is_told_and_acknowledged_when_the_hub_says_so() {
    let mut bench = Bench::open(60);
    bench.says(b"\x33\x06\x00\x01t\x01\x02!").unwrap();
    assert_eq!(
        bench.events(),
        [ServerEvent::Publish {
            topic: text("t"),
            payload: Bytes::from_static(b"!"),
            qos: Qos::AtLeastOnce,
            packet_id: 0x102,
            dup: false,
            retain: true,
        }]
    );
    assert_eq!(bench.sent(), b"");
    bench.asks(ServerCommand::Acknowledge { packet_id: 0x102 });
    assert_eq!(bench.sent(), b"\x40\x02\x01\x02");
}

#[test]
fn too_much_unacknowledged_says_stop_reading_until_some_is() {
    let mut bench = Bench::with(Limits { unacknowledged_max: 2, ..Limits::default() });
    bench.says(CONNECT).unwrap();
    bench.asks(ServerCommand::Accept { session_present: false });
    bench.says(b"\x32\x05\x00\x01t\x00\x01\x30\x03\x00\x01t").unwrap();
    assert!(bench.server.may_read());
    bench.says(b"\x32\x05\x00\x01t\x00\x02\x32\x05\x00\x01t\x00\x03").unwrap();
    assert!(!bench.server.may_read());
    assert_eq!(bench.events().len(), 5, "what was read already is told all the same");
    bench.asks(ServerCommand::Acknowledge { packet_id: 1 });
    assert!(!bench.server.may_read());
    bench.asks(ServerCommand::Acknowledge { packet_id: 2 });
    assert!(bench.server.may_read());
}

#[test]
fn the_largest_message_is_taken_and_one_byte_more_is_not() {
    let message = |payload: usize, topic: usize| {
        let mut bytes = BytesMut::new();
        let (topic, payload) = (text(&"t".repeat(topic)), Bytes::from(vec![0; payload]));
        let (dup, qos, retain, packet_id) = (false, Qos::AtLeastOnce, false, 1);
        encode(&Packet::Publish(Publish { dup, qos, retain, topic, packet_id, payload }), &mut bytes);
        bytes
    };
    assert_eq!(Bench::open(60).says(&message(PAYLOAD_BYTES_MAX, Text::BYTES_MAX)), Ok(()));
    assert_eq!(Bench::open(60).says(&message(PAYLOAD_BYTES_MAX + 1, 1)), Err("too_large"));
    assert_eq!(Bench::open(60).says(&message(PAYLOAD_BYTES_MAX + 1, Text::BYTES_MAX)), Err("too_large"));
}

#[test]
fn qos_2_and_the_other_end_s_packets_end_the_connection() {
    for (bytes, name) in [
        (&b"\x34\x05\x00\x01t\x00\x01"[..], "qos_two"),
        (b"\x50\x02\x00\x01", "qos_two"),
        (b"\x62\x02\x00\x01", "qos_two"),
        (b"\x70\x02\x00\x01", "qos_two"),
        (b"\x20\x02\x00\x00", "wrong_direction"),
        (b"\x90\x03\x00\x01\x00", "wrong_direction"),
        (b"\xb0\x02\x00\x01", "wrong_direction"),
        (b"\xd0\x00", "wrong_direction"),
    ] {
        let mut bench = Bench::open(60);
        assert_eq!(bench.says(bytes), Err(name));
        assert!(bench.server.is_over());
        assert_eq!(bench.server.poll_timeout(), None);
    }
}

#[test]
fn a_subscription_at_qos_2_is_granted_at_1() {
    let mut bench = Bench::open(60);
    bench.says(b"\x82\x0a\x00\x07\x00\x01a\x02\x00\x01b\x00").unwrap();
    let filters = vec![(text("a"), Qos::AtLeastOnce), (text("b"), Qos::AtMostOnce)];
    assert_eq!(bench.events(), [ServerEvent::Subscribe { packet_id: 7, filters }]);
    bench.asks(ServerCommand::Granted { packet_id: 7, codes: vec![1, 0x80] });
    assert_eq!(bench.sent(), b"\x90\x04\x00\x07\x01\x80");
    bench.says(b"\xa2\x05\x00\x08\x00\x01a").unwrap();
    assert_eq!(bench.events(), [ServerEvent::Unsubscribe { packet_id: 8, filters: vec![text("a")] }]);
    bench.asks(ServerCommand::Unsubscribed { packet_id: 8 });
    assert_eq!(bench.sent(), b"\xb0\x02\x00\x08");
}

#[test]
fn deliveries_are_acknowledged_in_any_order_and_free_their_place() {
    let mut bench = Bench::with(Limits { window: 2, ..Limits::default() });
    bench.says(CONNECT).unwrap();
    bench.asks(ServerCommand::Accept { session_present: false });
    bench.sent();
    bench.events();
    bench.asks(deliver(70, Qos::AtLeastOnce));
    bench.asks(deliver(71, Qos::AtMostOnce));
    bench.asks(deliver(72, Qos::AtLeastOnce));
    assert_eq!(bench.server.window(), 0);
    let expected = b"\x32\x06\x00\x01t\x00\x01p\x30\x04\x00\x01tp\x32\x06\x00\x01t\x00\x02p";
    assert_eq!(bench.sent(), expected);
    bench.says(b"\x40\x02\x00\x02\x40\x02\x00\x09\x40\x02\x00\x01").unwrap();
    let told = [72, 70].map(|token| ServerEvent::Acknowledged { token });
    assert_eq!(bench.events(), told, "and the one nobody sent is let pass");
    assert_eq!(bench.server.window(), 2);
}

#[test]
fn a_delivery_sent_before_says_so_and_never_retains() {
    let mut bench = Bench::open(60);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let (topic, payload) = (text("t"), Bytes::new());
        bench.asks(ServerCommand::Deliver { token: 1, topic, payload, qos, dup: true });
    }
    assert_eq!(bench.sent(), b"\x30\x03\x00\x01t\x3a\x05\x00\x01t\x00\x01");
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_session() {
    let mut bench = Bench::open(60);
    assert_eq!(bench.server.poll_timeout(), Some(bench.start + seconds(90)));
    bench.at(seconds(80));
    bench.says(b"\xc0\x00").unwrap();
    assert_eq!(bench.sent(), b"\xd0\x00");
    bench.at(seconds(90));
    assert_eq!(bench.server.poll_timeout(), Some(bench.start + seconds(170)));
    bench.says(b"\xc0").unwrap(); // half a packet is none
    bench.at(seconds(170) - Duration::from_nanos(1));
    assert_eq!(bench.events(), []);
    bench.at(seconds(170));
    assert_eq!(bench.events(), [ServerEvent::Lapsed(Fault::KeepAlive)]);
    assert_eq!(bench.server.poll_timeout(), None);
}

#[test]
fn every_keep_alive_has_its_own_patience() {
    for (keep_alive, patience) in
        [(1, 3), (2, 4), (3, 5), (4, 6), (10, 15), (1_177, 1_765), (1_178, 1_765), (65_535, 1_765), (0, 600)]
    {
        let bench = Bench::open(keep_alive);
        let wait = bench.server.poll_timeout().unwrap() - bench.start;
        assert_eq!(wait.as_secs(), patience, "keep-alive {keep_alive}");
    }
}

#[test]
fn a_client_nobody_listens_to_is_not_silent() {
    let mut bench = Bench::open(60);
    bench.at(seconds(85));
    bench.server.excuse(bench.now);
    bench.at(seconds(90));
    assert_eq!(bench.events(), []);
    assert_eq!(bench.server.poll_timeout(), Some(bench.start + seconds(175)));
}

#[test]
fn a_client_that_was_told_to_wait_is_not_silent() {
    let mut bench = Bench::with(Limits { unacknowledged_max: 1, ..Limits::default() });
    bench.says(CONNECT).unwrap();
    bench.asks(ServerCommand::Accept { session_present: false });
    bench.says(b"\x32\x05\x00\x01t\x00\x01").unwrap();
    bench.events();
    bench.at(seconds(1_000));
    assert_eq!(bench.events(), []);
    bench.asks(ServerCommand::Acknowledge { packet_id: 1 });
    bench.at(seconds(1_090));
    assert_eq!(bench.events(), [ServerEvent::Lapsed(Fault::KeepAlive)]);
}

#[test]
fn no_keep_alive_runs_while_the_hub_makes_up_its_mind() {
    let mut bench = Bench::new();
    bench.says(CONNECT).unwrap();
    assert_eq!(bench.server.poll_timeout(), None);
    bench.at(seconds(1_000));
    bench.events();
    bench.asks(ServerCommand::Accept { session_present: false });
    assert_eq!(bench.server.poll_timeout(), Some(bench.now + seconds(90)));
}

#[test]
fn after_goodbye_nothing_counts() {
    let mut bench = Bench::open(60);
    bench.says(b"\xe0\x00\x30\x03\x00\x01t\xff\xff").unwrap();
    assert_eq!(bench.events(), [ServerEvent::Disconnected]);
    assert!(bench.server.is_over() && bench.inbox.is_empty());
    assert_eq!(bench.server.poll_timeout(), None);
}

#[test]
fn a_closed_session_still_gives_what_it_had_to_say() {
    let mut bench = Bench::open(60);
    bench.says(b"\xc0\x00").unwrap();
    bench.asks(ServerCommand::Close);
    bench.says(b"\xc0\x00").unwrap();
    assert_eq!(bench.sent(), b"\xd0\x00");
}

#[test]
#[should_panic(expected = "first CONNECT")]
fn accepting_someone_who_never_came_is_a_broken_promise() {
    Bench::new().asks(ServerCommand::Accept { session_present: false });
}

#[test]
fn an_idle_session_is_small() {
    let (server, event) = (size_of::<Server>(), size_of::<ServerEvent>());
    assert!(server <= 512 && event <= 96, "{server} bytes a session, {event} an event");
}
