//! What a hostile peer does, and what it costs: its own connection.

use crate::client::{Client, attach, begin, encoded, fault, first, flow};
use isotherm_protocol::amqp::frame::AMQP_HEADER;
use isotherm_protocol::amqp::performative::{Flow, Performative};
use isotherm_protocol::amqp::{Attach, Options, Role};

#[test]
fn floods_of_attaches_and_sessions_end_at_their_bounds() {
    let mut client = Client::begun(Options { links_max: 5, ..Options::default() });
    for handle in 0..5 {
        client.attach(handle, Role::Sender);
    }
    // Refused ones count until the client takes them off.
    let attach_of = |handle| Performative::Attach(Box::new(attach(handle, Role::Sender)));
    assert_eq!(fault(client.say(0, &attach_of(5))), "too_many_links");

    let mut client = Client::begun(Options::default());
    assert_eq!(fault(client.say(0, &attach_of(256))), "handle_too_high");
    let mut client = Client::begun(Options::default());
    assert_eq!(fault(client.say(0, &attach_of(u32::MAX))), "handle_too_high");
    let mut client = Client::begun(Options::default());
    client.attach(0, Role::Sender);
    assert_eq!(fault(client.say(0, &attach_of(0))), "handle_in_use");
    let mut client = Client::begun(Options::default());
    let large = Attach { name: "n".repeat(20_000).into(), ..attach(0, Role::Sender) };
    assert_eq!(fault(client.say(0, &Performative::Attach(Box::new(large)))), "attach_too_large");

    let mut client = Client::begun(Options::default());
    for channel in 1..64 {
        client.say(channel, &begin(1)).unwrap();
    }
    assert_eq!(fault(client.say(64, &begin(1))), "channel_too_high");
    let mut client = Client::begun(Options::default());
    assert_eq!(fault(client.say(0, &begin(1))), "channel_in_use");
}

#[test]
fn floods_of_credit_are_only_numbers() {
    let mut client = Client::begun(Options::default());
    let link = client.receiver(0, u32::MAX >> 1);
    assert_eq!(client.server.room(link), 1_000, "the session's window");
    let wide = Flow { incoming_window: u32::MAX >> 1, ..flow(Some(0), u32::MAX >> 1) };
    client.say(0, &Performative::Flow(wide)).unwrap();
    assert_eq!(client.server.room(link), 4_096, "what may be unsettled");
    for nonsense in [u32::MAX, 1 << 31, 0] {
        let flow =
            Flow { delivery_count: Some(nonsense), incoming_window: nonsense, ..flow(Some(0), nonsense) };
        client.say(0, &Performative::Flow(flow)).unwrap();
        let _ = client.server.room(link);
    }
}

#[test]
fn a_frame_out_of_its_place_ends_the_connection_with_the_reason() {
    let nested = [&b"\x00\x53\x10\xc0\xff\x01"[..], &[0x00; 200]].concat();
    let frame = |body: &[u8]| [&((body.len() + 8) as u32).to_be_bytes()[..], &[2, 0, 0, 0], body].concat();
    let cases: [(&str, Vec<u8>); 11] = [
        ("frame_short", vec![0, 0, 0, 3]),
        ("frame_offset", vec![0, 0, 0, 8, 9, 0, 0, 0]),
        ("frame_type", vec![0, 0, 0, 8, 2, 1, 0, 0]),
        ("frame_type", vec![0, 0, 0, 8, 2, 9, 0, 0]),
        ("frame_too_large", vec![0, 1, 0, 1]),
        ("descriptor", frame(b"\x00\x53\x99\xc0\x01\x00")),
        ("wrong_type", frame(b"\x40")),
        ("second_open", frame(b"\x00\x53\x10\xc0\x04\x01\xa1\x01a")),
        ("missing", frame(b"\x00\x53\x11\x45")),
        ("truncated", frame(&nested)),
        ("handle_unknown", frame(b"\x00\x53\x14\xc0\x03\x01\x52\x09")),
    ];
    for (name, bytes) in cases {
        let mut client = Client::begun(Options::default());
        assert_eq!(fault(client.bytes(&bytes)), name, "{bytes:02x?}");
        assert!(client.server.is_over());
        match client.heard().pop() {
            Some((Performative::Close(Some(error)), _)) => assert!(error.condition.starts_with("amqp:")),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Before open an accusation needs an open of its own.
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.header();
    assert_eq!(fault(client.say(0, &begin(1))), "not_open");
    assert!(matches!(client.heard()[..], [(Performative::Open(_), _), (Performative::Close(Some(_)), _)]));
}

#[test]
fn a_message_that_cannot_be_read_ends_the_connection() {
    for body in [&b"\x00\x53\x75\xa0\xff"[..], b"rubbish", &[0x00; 5_000], &b"\x00\x53\x77\x00".repeat(1_000)]
    {
        let mut client = Client::begun(Options::default());
        client.accepted(0, Role::Sender, 10);
        assert_ne!(fault(client.transfer(first(0), body)), "none");
        assert!(client.server.is_over());
    }
    let mut client = Client::begun(Options::default());
    client.receiver(0, 10);
    assert_eq!(fault(client.transfer(first(0), &encoded(b"x"))), "wrong_direction");
    let mut client = Client::begun(Options::default());
    client.attach(0, Role::Sender);
    assert_eq!(fault(client.transfer(first(0), &encoded(b"x"))), "credit", "not answered yet");
}
