//! How a connection begins, lives and ends.

use crate::client::{Client, attach, begin, encoded, fault, first, flow, open};
use bytes::BytesMut;
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::frame::{AMQP_HEADER, SASL_HEADER, decode};
use isotherm_protocol::amqp::performative::{Performative, Transfer};
use isotherm_protocol::amqp::{
    Error, Fault, Open, Options, Role, SaslCode, ServerCommand, ServerEvent, Text,
};
use std::time::Duration;

#[test]
fn what_was_seen_on_the_wire_is_answered_as_it_was_seen() {
    let mut client = Client::new(Options::default());
    client.bytes(&SASL_HEADER).unwrap();
    assert_eq!(client.header(), SASL_HEADER);
    let mechanisms = decode(&mut client.out, 512).unwrap().unwrap();
    assert_eq!(mechanisms.kind, 1);
    assert!(mechanisms.body.starts_with(b"\x00\x53\x40\xc0"));

    let init =
        b"\x00\x00\x00\x26\x02\x01\x00\x00\x00\x53\x41\xc0\x19\x03\xa3\x09ANONYMOUS\xa0\x00\xa1\x09127.0.0.1";
    assert_eq!(init.len(), 0x26);
    client.bytes(init).unwrap();
    match client.events().pop() {
        Some(ServerEvent::Sasl(init)) => assert_eq!(init.mechanism, "ANONYMOUS"),
        other => panic!("{other:?}"),
    }
    assert!(!client.server.may_read());
    client.command(ServerCommand::SaslOutcome(SaslCode::Ok));
    assert_eq!(client.out.split(), &b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x00"[..]);
    assert!(client.server.may_read());
    client.bytes(&AMQP_HEADER).unwrap();
    assert_eq!(client.header(), AMQP_HEADER);
}

#[test]
fn everything_at_once_is_answered_in_order() {
    let mut all = BytesMut::from(&SASL_HEADER[..]);
    all.extend_from_slice(b"\x00\x00\x00\x19\x02\x01\x00\x00\x00\x53\x41\xc0\x0c\x03\xa3\x07MSSBCBS\x40\x40");
    all.extend_from_slice(&AMQP_HEADER);
    Performative::Open(Box::new(open())).encode(0, &mut all);
    begin(10).encode(0, &mut all);
    Performative::Attach(Box::new(attach(0, Role::Receiver))).encode(0, &mut all);
    Performative::Flow(flow(Some(0), 5)).encode(0, &mut all);
    // In every possible pair of pieces.
    for cut in 0..all.len() {
        let mut client = Client::new(Options::default());
        client.bytes(&[]).unwrap();
        let mut held = BytesMut::from(&all[..cut]);
        for rest in [&b""[..], &all[cut..]] {
            held.extend_from_slice(rest); // as the driver does with what was not taken
            client.server.handle_bytes(client.now, &mut held).unwrap();
            client.collect();
            if matches!(client.events.last(), Some(ServerEvent::Sasl(_))) {
                client.command(ServerCommand::SaslOutcome(SaslCode::Ok));
            }
        }
        let link = match &client.events()[..] {
            [ServerEvent::Sasl(_), ServerEvent::Opened(open), ServerEvent::Attached { link, attach }] => {
                assert_eq!((&*open.container_id, &*attach.name), ("client", "link 0"));
                *link
            }
            other => panic!("cut at {cut}: {other:?}"),
        };
        client.command(ServerCommand::accept(link, 0));
        assert_eq!(client.events(), [ServerEvent::Credit { link, credit: 5, drain: false }]);
        assert_eq!(client.server.room(link), 5);
    }
}

#[test]
fn a_wrong_header_is_answered_with_the_right_one() {
    for wrong in
        [&b"HTTP/1.1"[..], b"AMQP\x02\x01\x00\x00", b"AMQP\x00\x00\x09\x01", b"\x10\x20", b"AMQP\x00\x02"]
    {
        let mut client = Client::new(Options::default());
        assert_eq!(fault(client.bytes(wrong)), "protocol_header", "{wrong:?}");
        assert_eq!(client.out, &AMQP_HEADER[..]);
        assert!(client.server.is_over());
    }
}

#[test]
fn sasl_turns_away_what_was_not_offered_and_what_the_hub_refuses() {
    let init = b"\x00\x00\x00\x17\x02\x01\x00\x00\x00\x53\x41\xc0\x0a\x03\xa3\x05LOGIN\x40\x40";
    let mut client = Client::new(Options::default());
    client.bytes(&SASL_HEADER).unwrap();
    client.out.clear();
    assert_eq!(fault(client.bytes(init)), "mechanism");
    assert_eq!(client.out.last(), Some(&1)); // auth
    let mut client =
        Client::new(Options { mechanisms: vec![Text::from_static("LOGIN")], ..Options::default() });
    client.bytes(&SASL_HEADER).unwrap();
    client.bytes(init).unwrap();
    client.command(ServerCommand::SaslOutcome(SaslCode::SysTemp));
    assert_eq!(client.out.last(), Some(&4));
    assert!(client.server.is_over());
    // Nobody may send half the internet while the hub thinks.
    let mut client =
        Client::new(Options { mechanisms: vec![Text::from_static("LOGIN")], ..Options::default() });
    client.bytes(&SASL_HEADER).unwrap();
    client.bytes(init).unwrap();
    assert_eq!(fault(client.bytes(&[0; 300_000])), "impatient");
}

/// The number of fields in the list of each frame, by descriptor.
fn counts(mut out: BytesMut) -> Vec<(u8, usize)> {
    let mut counts = Vec::new();
    while let Some(frame) = decode(&mut out, 1 << 20).unwrap() {
        let body = &frame.body;
        assert_eq!(body[..2], [0x00, 0x53], "a small descriptor");
        let count = match body[3] {
            0xc0 => usize::from(body[5]),
            0xd0 => u32::from_be_bytes(body[8..12].try_into().unwrap()) as usize,
            other => panic!("{other:#04x} is no list that everyone reads"),
        };
        counts.push((body[2], count));
    }
    counts
}

#[test]
fn every_field_of_every_performative_is_written() {
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.header();
    client.say(0, &Performative::Open(Box::new(open()))).unwrap();
    client.say(0, &begin(100)).unwrap();
    client.events();
    let receiver = client.attach(0, Role::Receiver);
    client.command(ServerCommand::accept(receiver, 0));
    let sender = client.attach(1, Role::Sender);
    client.command(ServerCommand::accept(sender, 10));
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    client.send(receiver, 1, b"x");
    client.transfer(Transfer { handle: 1, ..first(0) }, &encoded(b"y")).unwrap();
    client.command(ServerCommand::accepted(sender, 0));
    client.command(ServerCommand::Detach { link: sender, error: None });
    client.say(0, &Performative::End(None)).unwrap();
    client.say(0, &Performative::Close(None)).unwrap();
    assert_eq!(
        counts(client.out),
        [
            (0x10, 10),
            (0x11, 8),
            (0x12, 14),
            (0x12, 14),
            (0x13, 11),
            (0x14, 11),
            (0x15, 6),
            (0x16, 3),
            (0x17, 1),
            (0x18, 1)
        ]
    );
}

#[test]
fn goodbyes_are_returned() {
    let mut client = Client::begun(Options::default());
    let error = Error::new("amqp:internal-error", "oh");
    client.say(0, &Performative::Close(Some(error.clone()))).unwrap();
    assert_eq!(client.events(), [ServerEvent::Closed(Some(error))]);
    assert!(matches!(client.heard()[..], [(Performative::Close(None), _)]));
    assert!(client.server.is_over());
    client.say(0, &begin(1)).unwrap(); // nothing counts any more
    client.command(ServerCommand::Close(None));
    assert_eq!(client.heard(), []);
}

#[test]
fn unreasonable_wishes_in_open_are_refused() {
    for (name, wish) in [
        ("max_frame_size", Open { max_frame_size: 511, ..open() }),
        ("idle_time_out", Open { idle_time_out: Some(1), ..open() }),
        ("none", Open { idle_time_out: Some(0), ..open() }),
    ] {
        let mut client = Client::new(Options::default());
        client.bytes(&AMQP_HEADER).unwrap();
        assert_eq!(fault(client.say(0, &Performative::Open(Box::new(wish)))), name);
    }
}

#[test]
fn an_idle_client_hears_something_after_half_of_what_it_bears() {
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.say(0, &Performative::Open(Box::new(Open { idle_time_out: Some(20_000), ..open() }))).unwrap();
    client.out.clear();
    client.tick(9);
    assert!(client.out.is_empty());
    client.tick(1);
    assert_eq!(client.out.split(), &b"\x00\x00\x00\x08\x02\x00\x00\x00"[..]);
    assert_eq!(client.server.poll_timeout(), Some(client.now + Duration::from_secs(10)));
}

#[test]
fn a_silent_client_is_let_go_and_one_that_makes_a_sound_is_not() {
    let mut client = Client::begun(Options::default());
    client.tick(300);
    client.bytes(b"\x00\x00\x00\x08\x02\x00\x00\x00").unwrap();
    client.tick(300);
    assert!(!client.server.is_over());
    client.tick(61);
    assert_eq!(client.events(), [ServerEvent::Lapsed(Fault::Silence)]);
    assert!(matches!(client.heard()[..], [(Performative::Close(Some(_)), _)]));
    assert_eq!(client.server.poll_timeout(), None);
}

#[test]
fn a_client_that_was_not_listened_to_is_not_blamed() {
    let mut client = Client::begun(Options { unsettled_max: 1, ..Options::default() });
    client.accepted(0, Role::Sender, 10);
    client.transfer(first(0), &encoded(b"x")).unwrap();
    client.tick(1_000);
    assert!(!client.server.is_over());
}

#[test]
fn who_never_opens_is_let_go() {
    for begun in [&b""[..], &AMQP_HEADER[..3], &AMQP_HEADER, &SASL_HEADER] {
        let mut client = Client::new(Options::default());
        client.bytes(begun).unwrap();
        client.tick(9);
        assert!(!client.server.is_over());
        client.tick(1);
        assert_eq!(client.events(), [ServerEvent::Lapsed(Fault::OpenLate)]);
    }
}

#[test]
fn drops_of_bytes_are_put_together() {
    let mut all = BytesMut::from(&AMQP_HEADER[..]);
    Performative::Open(Box::new(open())).encode(0, &mut all);
    begin(10).encode(0, &mut all);
    let mut client = Client::new(Options::default());
    let mut held = BytesMut::new();
    for byte in all {
        held.extend_from_slice(&[byte]);
        client.server.handle_bytes(client.now, &mut held).unwrap();
    }
    client.collect();
    client.header();
    assert_eq!(client.heard().len(), 2);
}
