//! Messages that go, and what becomes of them.

use crate::client::{Client, attach, begin, disposition, flow, open, tokens};
use bytes::BytesMut;
use isotherm_protocol::amqp::frame::{AMQP_HEADER, decode};
use isotherm_protocol::amqp::performative::{Flow, Performative, ReceiverSettles, SenderSettles, Transfer};
use isotherm_protocol::amqp::{
    Attach, DeliveryState, Message, Open, Options, Role, ServerCommand, ServerEvent,
};

#[test]
fn nothing_is_sent_without_credit_and_never_more_than_there_is() {
    let mut client = Client::begun(Options { deliveries_max: 3, ..Options::default() });
    let link = client.accepted(0, Role::Receiver, 0);
    assert_eq!(client.server.room(link), 0);
    client.say(0, &Performative::Flow(flow(Some(0), 2))).unwrap();
    assert_eq!(client.events(), [ServerEvent::Credit { link, credit: 2, drain: false }]);
    client.send(link, 10, b"a");
    client.send(link, 11, b"b");
    assert_eq!(client.server.room(link), 0);
    // Credit counts from what the client had seen.
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    assert_eq!(client.server.room(link), 1, "three may be unsettled");
    client.say(0, &disposition(0, Some(1), true)).unwrap();
    assert_eq!(client.server.room(link), 3);
    assert_eq!(tokens(&client.events()), [10, 11]);
}

#[test]
fn a_message_waits_for_the_window_piece_by_piece() {
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.say(0, &Performative::Open(Box::new(Open { max_frame_size: 512, ..open() }))).unwrap();
    client.say(0, &begin(1)).unwrap();
    client.header();
    client.heard();
    let link = client.accepted(0, Role::Receiver, 0);
    let mut windowed = Flow { incoming_window: 1, ..flow(Some(0), 10) };
    client.say(0, &Performative::Flow(windowed.clone())).unwrap();
    client.events();
    client.send(link, 1, &[3; 1_000]);
    assert_eq!(client.server.room(link), 0);
    client.send(link, 2, b"short"); // there was no room, but there was credit: it waits its turn
    let mut body = BytesMut::new();
    for seen in 0..4_u32 {
        let heard = client.heard();
        assert_eq!(heard.len(), 1, "one transfer for a window of one");
        let (Performative::Transfer(transfer), piece) = &heard[0] else { panic!() };
        if seen < 3 {
            body.extend_from_slice(piece);
            assert_eq!((transfer.delivery_id, transfer.more), (Some(0), seen < 2));
        } else {
            assert_eq!((transfer.delivery_id, transfer.more), (Some(1), false));
        }
        windowed.next_incoming_id = Some(seen + 1);
        windowed.handle = None;
        client.say(0, &Performative::Flow(windowed.clone())).unwrap();
    }
    assert_eq!(Message::decode(&body.freeze()).unwrap(), Message::data(vec![3; 1_000]));
    assert_eq!(client.events(), [ServerEvent::WindowOpened]);
    assert_eq!(client.server.room(link), 1);
}

#[test]
fn no_frame_is_larger_than_the_client_wants() {
    for body in (0..1_500).step_by(7) {
        let mut client = Client::new(Options::default());
        client.bytes(&AMQP_HEADER).unwrap();
        client.say(0, &Performative::Open(Box::new(Open { max_frame_size: 512, ..open() }))).unwrap();
        client.say(0, &begin(1_000)).unwrap();
        client.header();
        client.heard();
        let link = client.receiver(0, 10);
        client.send(link, 1, &vec![1; body]);
        while let Some(frame) = decode(&mut client.out, 512).unwrap() {
            assert!(frame.body.len() <= 504);
        }
    }
}

#[test]
fn one_disposition_may_settle_thousands_and_a_hostile_one_no_more_than_there_are() {
    let mut client = Client::begun(Options::default());
    let link = client.receiver(0, 500);
    for token in 0..300 {
        client.send(link, token, b"x");
    }
    client.say(0, &disposition(100, Some(199), true)).unwrap();
    assert_eq!(tokens(&client.events()), (100..200).collect::<Vec<_>>());
    for _ in 0..50 {
        client.say(0, &disposition(0, Some(i32::MAX as u32), false)).unwrap();
    }
    assert_eq!(client.events().len(), 200, "an outcome is told once");
    client.say(0, &disposition(5, Some(2), true)).unwrap();
    client.say(0, &disposition(1_000, None, true)).unwrap();
    assert_eq!(client.events(), []);
    client.say(0, &disposition(0, Some(1_000), true)).unwrap();
    assert_eq!(client.events().len(), 200);
}

#[test]
fn who_settles_second_is_settled_when_the_hub_says_so() {
    let mut client = Client::begun(Options::default());
    let second = Attach { rcv_settle_mode: ReceiverSettles::Second, ..attach(0, Role::Receiver) };
    client.say(0, &Performative::Attach(Box::new(second))).unwrap();
    let Some(ServerEvent::Attached { link, .. }) = client.events().pop() else { panic!() };
    client.command(ServerCommand::accept(link, 0));
    let answered = client.heard();
    let Some((Performative::Attach(answer), _)) = answered.first() else { panic!() };
    assert_eq!(answer.rcv_settle_mode, ReceiverSettles::Second);
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    client.send(link, 7, b"x");
    client.heard();
    client.events();
    client.say(0, &disposition(0, None, false)).unwrap();
    let state = Some(DeliveryState::Accepted);
    assert_eq!(
        client.events(),
        [ServerEvent::Disposition { link, delivery: 0, token: 7, state, settled: false }]
    );
    assert_eq!(client.heard(), []);
    client.command(ServerCommand::accepted(link, 0));
    let heard = client.heard();
    assert!(matches!(
        &heard[..],
        [(Performative::Disposition(said), _)] if said.role == Role::Sender && said.settled && said.first == 0
    ));
    client.say(0, &disposition(0, None, true)).unwrap();
    assert_eq!(client.events(), []);
}

#[test]
fn a_link_that_settles_everything_sends_everything_settled() {
    let mut client = Client::begun(Options::default());
    let settled = Attach { snd_settle_mode: SenderSettles::Settled, ..attach(0, Role::Receiver) };
    client.say(0, &Performative::Attach(Box::new(settled))).unwrap();
    let Some(ServerEvent::Attached { link, .. }) = client.events().pop() else { panic!() };
    client.command(ServerCommand::accept(link, 0));
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    client.heard();
    client.send(link, 7, b"x");
    assert!(matches!(
        client.heard()[..],
        [(Performative::Transfer(Transfer { settled: Some(true), .. }), _)]
    ));
}

#[test]
fn drained_credit_is_gone_and_said_to_be() {
    let mut client = Client::begun(Options::default());
    let link = client.receiver(0, 5);
    client.send(link, 1, b"x");
    client.heard();
    client.say(0, &Performative::Flow(Flow { drain: true, ..flow(Some(0), 5) })).unwrap();
    assert_eq!(client.events(), [ServerEvent::Credit { link, credit: 4, drain: true }]);
    client.command(ServerCommand::Drained { link });
    let heard = client.heard();
    assert!(matches!(
        &heard[..],
        [(Performative::Flow(Flow { delivery_count: Some(5), link_credit: Some(0), drain: true, .. }), _)]
    ));
    assert_eq!(client.server.room(link), 0);
}

#[test]
fn an_echo_is_answered_for_the_session_and_for_a_link() {
    let mut client = Client::begun(Options::default());
    client.receiver(3, 5);
    client.say(0, &Performative::Flow(Flow { echo: true, ..flow(None, 0) })).unwrap();
    client.say(0, &Performative::Flow(Flow { echo: true, ..flow(Some(3), 6) })).unwrap();
    let handles: Vec<_> = client
        .heard()
        .into_iter()
        .map(|(said, _)| match said {
            Performative::Flow(flow) => (flow.handle, flow.link_credit),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(handles, [(None, None), (Some(3), Some(6))]);
}
