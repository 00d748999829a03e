//! Messages that come, and the credit for them.

use crate::client::{Client, encoded, fault, first};
use bytes::Bytes;
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::performative::{Detach, Disposition, Flow, Performative, Transfer};
use isotherm_protocol::amqp::{DeliveryState, Error, Options, Role, ServerCommand, ServerEvent};
use std::sync::Arc;

#[test]
fn credit_comes_back_when_messages_are_settled_and_not_before() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 4);
    for id in 0..4 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    assert_eq!(client.heard(), []);
    client.command(ServerCommand::accepted(link, 0));
    assert!(!client.heard().iter().any(|(said, _)| matches!(said, Performative::Flow(_))));
    client.command(ServerCommand::accepted(link, 1));
    let credits = |client: &mut Client| -> Vec<u32> {
        let credit = |(said, _): &(Performative, Bytes)| match said {
            Performative::Flow(flow) => flow.link_credit,
            _ => None,
        };
        client.heard().iter().filter_map(credit).collect()
    };
    assert_eq!(credits(&mut client), [2]);
    client.transfer(first(4), &encoded(b"x")).unwrap();
    client.transfer(first(5), &encoded(b"x")).unwrap();
    assert_eq!(fault(client.transfer(first(6), &encoded(b"x"))), "credit");
    assert!(client.server.is_over());
}

#[test]
fn messages_that_were_on_their_way_when_credit_was_taken_back_are_taken() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 4);
    client.command(ServerCommand::Grant { link, credit: 0 });
    assert!(matches!(client.heard()[..], [(Performative::Flow(Flow { link_credit: Some(0), .. }), _)]));
    for id in 0..4 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    assert_eq!(client.events().len(), 4);
    assert_eq!(fault(client.transfer(first(4), &encoded(b"x"))), "credit");
}

#[test]
fn settled_messages_use_credit_and_get_it_back_at_once() {
    let mut client = Client::begun(Options::default());
    client.accepted(0, Role::Sender, 4);
    for id in 0..100 {
        client.transfer(Transfer { settled: Some(true), ..first(id) }, &encoded(b"x")).unwrap();
    }
    assert_eq!(client.server.unsettled(), 0);
    assert_eq!(client.events().len(), 100);
}

#[test]
fn neighbours_are_settled_in_one_frame() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 100);
    for id in 0..6 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    let rejected = DeliveryState::Rejected(Some(Arc::new(Error::new("amqp:not-allowed", "no"))));
    for delivery in [0, 1, 2, 5] {
        client.server.handle_command(client.now, ServerCommand::accepted(link, delivery));
    }
    client.server.handle_command(client.now, ServerCommand::Settle { link, delivery: 3, state: rejected });
    client.server.handle_command(client.now, ServerCommand::accepted(link, 3)); // twice: ignored
    client.collect();
    let ranges: Vec<_> = client
        .heard()
        .into_iter()
        .map(|(said, _)| match said {
            Performative::Disposition(said) => (said.first, said.last, said.settled, said.role),
            other => panic!("{other:?}"),
        })
        .collect();
    let receiver = Role::Receiver;
    assert_eq!(
        ranges,
        [(0, Some(2), true, receiver), (5, Some(5), true, receiver), (3, Some(3), true, receiver)]
    );
    assert_eq!(client.server.unsettled(), 1);
}

#[test]
fn a_message_in_pieces_is_put_together_and_an_aborted_one_forgotten() {
    let mut client = Client::begun(Options::default());
    client.accepted(0, Role::Sender, 10);
    let whole = encoded(&[9; 500]);
    client.transfer(Transfer { more: true, ..first(0) }, &whole[..100]).unwrap();
    client.transfer(Transfer { more: true, ..Transfer::default() }, b"").unwrap();
    client
        .transfer(Transfer { more: true, delivery_id: Some(0), ..Transfer::default() }, &whole[100..200])
        .unwrap();
    assert_eq!(client.events(), []);
    client.transfer(Transfer::default(), &whole[200..]).unwrap();
    match client.events().pop() {
        Some(ServerEvent::Message { message, delivery: 0, settled: false, tag, .. }) => {
            assert_eq!(message.body.bytes().unwrap(), vec![9; 500]);
            assert_eq!(tag, &[0; 4][..]);
        }
        other => panic!("{other:?}"),
    }
    client.transfer(Transfer { more: true, ..first(1) }, &whole[..100]).unwrap();
    client.transfer(Transfer { aborted: true, ..Transfer::default() }, b"").unwrap();
    assert_eq!(client.events(), []);
    client.transfer(first(2), &whole).unwrap();
    assert_eq!(client.events().len(), 1);
}

#[test]
fn a_message_without_end_costs_its_link_and_too_many_of_them_the_connection() {
    let options = Options { message_bytes_max: 10_000, buffered_bytes_max: 25_000, ..Options::default() };
    let mut client = Client::begun(options.clone());
    let link = client.accepted(0, Role::Sender, 10);
    for _ in 0..10 {
        client.transfer(Transfer { more: true, ..first(0) }, &[0; 1_000]).unwrap();
    }
    client.transfer(Transfer { more: true, ..first(0) }, &[0; 1]).unwrap();
    match client.events().pop() {
        Some(ServerEvent::Detached { link: gone, error: Some(error) }) => {
            assert_eq!((gone, &*error.condition), (link, "amqp:link:message-size-exceeded"));
        }
        other => panic!("{other:?}"),
    }
    // What was on its way is ignored.
    client.transfer(Transfer { more: true, ..first(0) }, &[0; 1_000]).unwrap();
    assert_eq!(client.events(), []);

    let mut client = Client::begun(options);
    for handle in 0..3 {
        client.accepted(handle, Role::Sender, 10);
    }
    let mut said = Ok(());
    for handle in 0..3 {
        for _ in 0..9 {
            let piece = Transfer { handle, more: true, ..first(handle) };
            said = said.and_then(|()| client.transfer(piece, &[0; 1_000]));
        }
    }
    assert_eq!(fault(said), "buffered");
}

#[test]
fn delivery_ids_and_tags_are_held_to_their_rules() {
    let cases: [(&str, Transfer); 4] = [
        ("delivery_id", Transfer { delivery_id: None, ..first(5) }),
        ("delivery_id", first(4)),
        ("delivery_tag", Transfer { delivery_tag: Some(vec![0; 33].into()), ..first(5) }),
        ("none", first(9)), // gaps are fine: uamqp leaves them
    ];
    for (name, transfer) in cases {
        let mut client = Client::begun(Options::default());
        client.accepted(0, Role::Sender, 10);
        client.transfer(first(4), &encoded(b"x")).unwrap();
        assert_eq!(fault(client.transfer(transfer, &encoded(b"x"))), name);
    }
}

#[test]
fn the_session_window_opens_in_time_and_is_held_to() {
    let mut client = Client::begun(Options { window: 8, ..Options::default() });
    client.accepted(0, Role::Sender, 1_000);
    let mut windows = Vec::new();
    for id in 0..40 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
        windows.extend(client.heard().into_iter().filter_map(|(said, _)| match said {
            Performative::Flow(flow) => Some((flow.next_incoming_id, flow.incoming_window)),
            _ => None,
        }));
    }
    assert_eq!(windows[..2], [(Some(4), 8), (Some(8), 8)]);
    assert_eq!(windows.len(), 10);
}

#[test]
fn reading_stops_while_too_much_is_unsettled() {
    let mut client = Client::begun(Options { unsettled_max: 3, ..Options::default() });
    let link = client.accepted(0, Role::Sender, 10);
    for id in 0..3 {
        assert!(client.server.may_read());
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    assert!(!client.server.may_read());
    client.command(ServerCommand::accepted(link, 1));
    assert!(client.server.may_read());
    client.say(0, &Performative::Detach(Detach { handle: 0, closed: true, error: None })).unwrap();
    assert_eq!(client.server.unsettled(), 0);
    client.command(ServerCommand::accepted(link, 2)); // too late, and harmless
}

#[test]
fn a_sender_may_settle_what_the_hub_has_not() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 4);
    for id in 0..4 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    let gone = Disposition {
        role: Role::Sender,
        first: 0,
        last: Some(3),
        settled: true,
        state: None,
        batchable: false,
    };
    client.say(0, &Performative::Disposition(gone)).unwrap();
    assert_eq!(client.server.unsettled(), 0);
    client.command(ServerCommand::accepted(link, 2));
    assert!(matches!(client.heard()[..], [(Performative::Flow(Flow { link_credit: Some(2), .. }), _), ..]));
}

#[test]
fn a_message_that_is_whole_or_aborted_no_longer_counts_as_unfinished() {
    let mut client = Client::begun(Options { buffered_bytes_max: 1_000, ..Options::default() });
    client.accepted(0, Role::Sender, 100);
    let whole = encoded(&[9; 900]);
    for id in (0..40).step_by(2) {
        client.transfer(Transfer { more: true, ..first(id) }, &whole[..800]).unwrap();
        client.transfer(Transfer::default(), &whole[800..]).unwrap();
        client.transfer(Transfer { more: true, ..first(id + 1) }, &whole[..800]).unwrap();
        client.transfer(Transfer { aborted: true, ..Transfer::default() }, b"").unwrap();
    }
    assert_eq!(client.events().len(), 20);
}
