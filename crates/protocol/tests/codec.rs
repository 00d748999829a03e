//! The packets: what is taken, what is refused, and that nothing at all makes the reader stumble.

use bytes::{Bytes, BytesMut};
use isotherm_protocol::mqtt::codec::{self, PACKET_BYTES_MAX, Publish, decode, encode};
use isotherm_protocol::mqtt::{Connect, ConnectCode, Fault, Packet, Qos, Text, Will};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Option<Packet>, Fault> {
    decode(&mut BytesMut::from(bytes), PACKET_BYTES_MAX)
}

fn text(text: &str) -> Text {
    Text::new(text.to_owned()).unwrap()
}

/// A CONNECT with these flags and what follows the keep-alive.
fn connect(flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x10, 10 + rest.len() as u8, 0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 60];
    packet.extend_from_slice(rest);
    packet
}

#[test]
fn a_module_s_connect_is_read_field_by_field() {
    let bytes = connect(0xc6, b"\0\x0aedge1/mod1\0\x01w\0\x02hi\0\x04user\0\x02\xff\0");
    let Ok(Some(Packet::Connect(connect))) = read(&bytes) else { panic!("not a CONNECT") };
    assert_eq!(
        *connect,
        Connect {
            client_id: text("edge1/mod1"),
            keep_alive: 60,
            clean: true,
            will: Some(Will {
                topic: text("w"),
                payload: Bytes::from_static(b"hi"),
                qos: Qos::AtMostOnce,
                retain: false
            }),
            user_name: Some(text("user")),
            password: Some(Bytes::from_static(b"\xff\0")),
        }
    );
}

#[test]
fn packets_have_the_bytes_that_the_standard_says() {
    let accepted = |session_present| Packet::ConnAck { session_present, code: ConnectCode::Accepted };
    let publish = Publish {
        dup: true,
        qos: Qos::AtLeastOnce,
        retain: true,
        topic: text("a/b"),
        packet_id: 10,
        payload: Bytes::from_static(b"hi"),
    };
    for (packet, bytes) in [
        (accepted(false), &b"\x20\x02\x00\x00"[..]),
        (accepted(true), b"\x20\x02\x01\x00"),
        (Packet::ConnAck { session_present: false, code: ConnectCode::NotAuthorized }, b"\x20\x02\x00\x05"),
        (Packet::Publish(publish), b"\x3b\x09\x00\x03a/b\x00\x0ahi"),
        (Packet::PubAck(2), b"\x40\x02\x00\x02"),
        (Packet::PubRel(2), b"\x62\x02\x00\x02"),
        (
            Packet::Subscribe { packet_id: 3, filters: vec![(text("a/#"), Qos::AtLeastOnce)] },
            b"\x82\x08\x00\x03\x00\x03a/#\x01",
        ),
        (Packet::SubAck { packet_id: 3, codes: vec![1, 0x80] }, b"\x90\x04\x00\x03\x01\x80"),
        (Packet::Unsubscribe { packet_id: 4, filters: vec![text("+")] }, b"\xa2\x05\x00\x04\x00\x01+"),
        (Packet::UnsubAck(4), b"\xb0\x02\x00\x04"),
        (Packet::PingReq, b"\xc0\x00"),
        (Packet::PingResp, b"\xd0\x00"),
        (Packet::Disconnect, b"\xe0\x00"),
    ] {
        let mut written = BytesMut::new();
        encode(&packet, &mut written);
        assert_eq!(written, bytes, "{packet:?}");
        assert_eq!(read(bytes), Ok(Some(packet)));
    }
}

/// Every form that the standard tells a receiver to close for. The numbers are its statements.
#[test]
fn malformed_packets_are_refused_by_name() {
    for (why, bytes, fault) in [
        ("type 0", &b"\x00\x00"[..], Fault::PacketType(0)),
        ("type 15", b"\xf0\x00", Fault::PacketType(15)),
        ("2.2.2-2 CONNECT", b"\x11", Fault::Flags { packet_type: 1, flags: 1, right: 0 }),
        ("2.2.2-2 PUBACK", b"\x42", Fault::Flags { packet_type: 4, flags: 2, right: 0 }),
        ("3.6.1-1 PUBREL", b"\x60", Fault::Flags { packet_type: 6, flags: 0, right: 2 }),
        ("3.8.1-1 SUBSCRIBE", b"\x80", Fault::Flags { packet_type: 8, flags: 0, right: 2 }),
        ("3.10.1-1 UNSUBSCRIBE", b"\xa3", Fault::Flags { packet_type: 10, flags: 3, right: 2 }),
        ("2.2.2-2 PINGREQ", b"\xc8", Fault::Flags { packet_type: 12, flags: 8, right: 0 }),
        ("3.14.1-1 DISCONNECT", b"\xe1", Fault::Flags { packet_type: 14, flags: 1, right: 0 }),
        ("a fifth byte of length", b"\x30\xff\xff\xff\xff", Fault::RemainingLength),
        ("QoS 3", b"\x36", Fault::Qos),
        ("3.3.1-2 DUP with QoS 0", b"\x38", Fault::Dup),
        ("PUBLISH without a topic", b"\x30\x00", Fault::Truncated),
        ("a topic past the end", b"\x30\x03\x00\x05a", Fault::Truncated),
        ("no identifier left", b"\x32\x04\x00\x01a\x00", Fault::Truncated),
        ("2.3.1-1 identifier 0", b"\x32\x05\x00\x01a\x00\x00", Fault::PacketId),
        ("4.7.3-1 empty topic", b"\x30\x02\x00\x00", Fault::EmptyTopic),
        ("3.3.2-2 '+' in a topic", b"\x30\x05\x00\x03a/+", Fault::Wildcard),
        ("3.3.2-2 '#' in a topic", b"\x30\x03\x00\x01#", Fault::Wildcard),
        ("1.5.3-2 NUL in a topic", b"\x30\x04\x00\x02a\x00", Fault::Nul),
        ("1.5.3-1 a surrogate in a topic", b"\x30\x05\x00\x03\xed\xbf\xbf", Fault::Utf8),
        ("PUBACK too short", b"\x40\x01", Fault::Truncated),
        ("PUBACK too long", b"\x40\x03", Fault::Trailing(1)),
        ("PUBACK 0", b"\x40\x02\x00\x00", Fault::PacketId),
        ("UNSUBACK 0", b"\xb0\x02\x00\x00", Fault::PacketId),
        ("PINGREQ with a body", b"\xc0\x01", Fault::Trailing(1)),
        ("DISCONNECT with a body", b"\xe0\x02", Fault::Trailing(2)),
        ("SUBSCRIBE without an identifier", b"\x82\x01\x00", Fault::Truncated),
        ("SUBSCRIBE 0", b"\x82\x06\x00\x00\x00\x01a\x01", Fault::PacketId),
        ("3.8.3-3 no filter", b"\x82\x02\x00\x01", Fault::NoFilter),
        ("3.8.3-4 QoS 3", b"\x82\x06\x00\x01\x00\x01a\x03", Fault::RequestedQos(3)),
        ("3.8.3-4 reserved bits", b"\x82\x06\x00\x01\x00\x01a\x41", Fault::RequestedQos(0x41)),
        ("a filter without QoS", b"\x82\x05\x00\x01\x00\x01a", Fault::Truncated),
        ("4.7.1-2 misplaced '#'", b"\x82\x08\x00\x01\x00\x03#/a\x01", Fault::Filter),
        ("an empty filter", b"\x82\x05\x00\x01\x00\x00\x01", Fault::EmptyTopic),
        ("3.10.3-2 no filter", b"\xa2\x02\x00\x01", Fault::NoFilter),
        ("half a filter", b"\xa2\x04\x00\x01\x00\x01", Fault::Truncated),
        ("4.7.1-3 misplaced '+'", b"\xa2\x06\x00\x01\x00\x02a+", Fault::Filter),
        ("3.9.3-2 SUBACK with 3", b"\x90\x03\x00\x01\x03", Fault::Code(3)),
        ("SUBACK without codes", b"\x90\x02\x00\x01", Fault::Truncated),
        ("CONNACK flags", b"\x20\x02\x02\x00", Fault::Code(2)),
        ("3.2.2-4 CONNACK present, refused", b"\x20\x02\x01\x05", Fault::Code(1)),
        ("CONNACK with 6", b"\x20\x02\x00\x06", Fault::Code(6)),
        ("3.1.2-1 another protocol", b"\x10\x07\x00\x04MQTX\x04", Fault::ProtocolName),
        ("a CONNECT of nothing", b"\x10\x00", Fault::Truncated),
        ("a CONNECT that ends", b"\x10\x08\x00\x04MQTT\x04\x02", Fault::Truncated),
    ] {
        assert_eq!(read(bytes), Err(fault), "{why}");
    }
}

#[test]
fn connect_flags_must_agree_with_each_other_and_with_what_follows() {
    for (why, flags, rest, fault) in [
        ("3.1.2-3 reserved", 0x01, &b"\0\x01a"[..], Fault::ConnectFlags),
        ("3.1.2-13 will QoS without a will", 0x08, b"\0\x01a", Fault::WillFlags),
        ("3.1.2-15 will retain without a will", 0x20, b"\0\x01a", Fault::WillFlags),
        ("3.1.2-14 will QoS 3", 0x1c, b"\0\x01a\0\x01w\0\0", Fault::WillFlags),
        ("3.1.2-22 password without a name", 0x40, b"\0\x01a\0\x01p", Fault::PasswordWithoutName),
        ("a name that is missing", 0x80, b"\0\x01a", Fault::Truncated),
        ("a password that is missing", 0xc0, b"\0\x01a\0\x01u", Fault::Truncated),
        ("a will that is missing", 0x04, b"\0\x01a", Fault::Truncated),
        ("a will without a topic", 0x04, b"\0\x01a\0\0\0\0", Fault::EmptyTopic),
        ("a will for all", 0x04, b"\0\x01a\0\x01#\0\0", Fault::Wildcard),
        ("3.1.3-4 a client id that is no UTF-8", 0x02, b"\0\x01\xff", Fault::Utf8),
        ("3.1.3-11 NUL in the name", 0x80, b"\0\x01a\0\x01\0", Fault::Nul),
        ("a field nobody announced", 0x02, b"\0\x01a\0\x01u", Fault::Trailing(3)),
    ] {
        assert_eq!(read(&connect(flags, rest)), Err(fault), "{why}");
    }
}

#[test]
fn another_level_is_the_session_s_to_answer_whatever_follows() {
    for (bytes, level) in [
        (&b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"[..], 5),
        (b"\x10\x07\x00\x04MQTT\x84", 0x84), // mosquitto as a bridge
        (b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00", 3),
    ] {
        let mut bytes = bytes.to_vec();
        bytes[1] = (bytes.len() - 2) as u8;
        assert_eq!(read(&bytes), Ok(Some(Packet::OtherLevel(level))));
    }
}

#[test]
fn a_packet_too_large_is_refused_as_soon_as_its_length_is_known() {
    let head = |length: usize| {
        let digits = [0, 7, 14, 21].map(|shift| (length >> shift & 0x7f) as u8 | 0x80);
        [0x32, digits[0], digits[1], digits[2], digits[3] & 0x7f]
    };
    assert_eq!(read(&head(PACKET_BYTES_MAX)), Ok(None));
    let (length, limit) = (PACKET_BYTES_MAX + 1, PACKET_BYTES_MAX);
    assert_eq!(read(&head(length)), Err(Fault::TooLarge { length, limit }));
}

#[test]
fn sixty_four_filters_are_taken_and_one_more_is_not() {
    let subscribe = |count| {
        let filters = vec![(text("a"), Qos::AtMostOnce); count];
        let mut bytes = BytesMut::new();
        encode(&Packet::Subscribe { packet_id: 1, filters }, &mut bytes);
        decode(&mut bytes, PACKET_BYTES_MAX)
    };
    assert!(subscribe(codec::FILTERS_MAX).is_ok());
    assert_eq!(subscribe(codec::FILTERS_MAX + 1), Err(Fault::TooManyFilters(codec::FILTERS_MAX)));
}

#[test]
fn a_payload_is_a_slice_of_what_was_read() {
    let mut bytes = BytesMut::from(&b"\x30\x07\x00\x01apayl"[..]);
    let place = bytes.as_ptr();
    let Ok(Some(Packet::Publish(message))) = decode(&mut bytes, PACKET_BYTES_MAX) else {
        panic!("no message")
    };
    assert_eq!(message.payload.as_ptr(), place.wrapping_add(5));
    assert_eq!(message.topic.as_bytes().as_ptr(), place.wrapping_add(4));
}

#[test]
fn a_debugged_connect_shows_no_password() {
    let Ok(Some(packet)) = read(&connect(0xc0, b"\0\x01a\0\x04user\0\x06secret")) else {
        panic!("no packet")
    };
    let shown = format!("{packet:?}");
    assert!(shown.contains("\"a\"") && !shown.contains("user") && !shown.contains("secret"), "{shown}");
}

fn any_text() -> impl Strategy<Value = Text> {
    "[^\0]{0,12}".prop_map(|string| Text::new(string).unwrap())
}

fn any_topic() -> impl Strategy<Value = Text> {
    "[^\0+#]{1,12}".prop_map(|string| Text::topic(string).unwrap())
}

fn any_filter() -> impl Strategy<Value = Text> {
    prop_oneof![any_topic(), Just(text("#")), Just(text("a/+/b")), Just(text("+/#"))]
}

fn any_qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn any_payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn any_connect() -> impl Strategy<Value = Packet> {
    let will = (any_topic(), any_payload(), any_qos(), any::<bool>())
        .prop_map(|(topic, payload, qos, retain)| Will { topic, payload, qos, retain });
    let login = prop::option::of((any_text(), prop::option::of(any_payload())));
    (any_text(), any::<u16>(), any::<bool>(), prop::option::of(will), login).prop_map(
        |(client_id, keep_alive, clean, will, login)| {
            let (user_name, password) = login.map_or((None, None), |(name, password)| (Some(name), password));
            Packet::Connect(Box::new(Connect { client_id, keep_alive, clean, will, user_name, password }))
        },
    )
}

fn any_publish() -> impl Strategy<Value = Packet> {
    (any::<bool>(), any_qos(), any::<bool>(), any_topic(), 1_u16.., any_payload()).prop_map(
        |(dup, qos, retain, topic, packet_id, payload)| {
            let at_most_once = qos == Qos::AtMostOnce;
            let (dup, packet_id) = if at_most_once { (false, 0) } else { (dup, packet_id) };
            Packet::Publish(Publish { dup, qos, retain, topic, packet_id, payload })
        },
    )
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let filters = prop::collection::vec((any_filter(), any_qos()), 1..5);
    let names = prop::collection::vec(any_filter(), 1..5);
    let codes = prop::collection::vec(prop_oneof![Just(0), Just(1), Just(2), Just(0x80)], 1..5);
    prop_oneof![
        any_connect(),
        any_publish(),
        (1_u16.., filters).prop_map(|(packet_id, filters)| Packet::Subscribe { packet_id, filters }),
        (1_u16.., names).prop_map(|(packet_id, filters)| Packet::Unsubscribe { packet_id, filters }),
        (1_u16.., codes).prop_map(|(packet_id, codes)| Packet::SubAck { packet_id, codes }),
        (1_u16..).prop_map(Packet::PubAck),
        (1_u16..).prop_map(Packet::PubRec),
        (1_u16..).prop_map(Packet::PubRel),
        (1_u16..).prop_map(Packet::PubComp),
        (1_u16..).prop_map(Packet::UnsubAck),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        Just(Packet::Disconnect),
        Just(Packet::ConnAck { session_present: true, code: ConnectCode::Accepted }),
        Just(Packet::ConnAck { session_present: false, code: ConnectCode::IdentifierRejected }),
    ]
}

/// Everything that can be read when the bytes come in these pieces, and how it ended.
fn read_in_pieces(bytes: &[u8], pieces: &[usize]) -> (Vec<Packet>, Result<(), Fault>) {
    let (mut packets, mut buffer, mut rest) = (Vec::new(), BytesMut::new(), bytes);
    for &piece in pieces.iter().chain([&usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        buffer.extend_from_slice(now);
        rest = later;
        loop {
            match decode(&mut buffer, 4_096) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(fault) => return (packets, Err(fault)),
            }
        }
    }
    (packets, Ok(()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn what_is_written_is_read_again(packets in prop::collection::vec(any_packet(), 1..6)) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| encode(packet, &mut bytes));
        prop_assert_eq!(read_in_pieces(&bytes, &[]), (packets, Ok(())));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (packets, _) = read_in_pieces(&bytes, &[]);
        prop_assert!(packets.len() <= bytes.len() / 2);
    }

    /// Damage finds more than noise: the packet is right but for one place.
    #[test]
    fn no_damage_makes_the_reader_panic(
        packet in any_packet(), at in any::<prop::sample::Index>(), with in any::<u8>(), length in 0_u8..40,
    ) {
        let mut bytes = BytesMut::new();
        encode(&packet, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = read_in_pieces(&bytes, &[]);
        bytes[1] = length; // cut short, or running into what follows
        let _ = read_in_pieces(&bytes, &[]);
    }

    #[test]
    fn where_the_bytes_are_cut_changes_nothing(
        packets in prop::collection::vec(any_packet(), 1..4),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        pieces in prop::collection::vec(0_usize..40, 0..40),
    ) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| encode(packet, &mut bytes));
        if let Some((at, with)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let whole = read_in_pieces(&bytes, &[]);
        prop_assert_eq!(&read_in_pieces(&bytes, &pieces), &whole);
        prop_assert_eq!(&read_in_pieces(&bytes, &vec![1; bytes.len()]), &whole);
    }
}
