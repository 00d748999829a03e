//! Links come and go.

use crate::client::{Client, attach, begin, encoded, fault, first, flow};
use bytes::BytesMut;
use isotherm_protocol::amqp::performative::{Detach, Performative, Transfer};
use isotherm_protocol::amqp::{Attach, Error, Map, Options, Role, ServerCommand, ServerEvent, Source};

#[test]
fn an_accepted_link_has_both_termini_and_the_address_of_a_dynamic_one() {
    let mut client = Client::begun(Options::default());
    let mut asked = attach(0, Role::Receiver);
    asked.source = Some(Source { dynamic: true, ..Source::default() });
    asked.target = None;
    client.say(0, &Performative::Attach(Box::new(asked))).unwrap();
    let Some(ServerEvent::Attached { link, .. }) = client.events().pop() else { panic!() };
    let address = Some("made up".into());
    client.command(ServerCommand::Accept { link, credit: 0, address, properties: Map::new() });
    match client.heard().pop() {
        Some((Performative::Attach(answer), _)) => {
            assert_eq!(answer.source.unwrap().address.as_deref(), Some("made up"));
            assert!(answer.target.is_some());
            assert_eq!((answer.role, answer.initial_delivery_count), (Role::Sender, Some(0)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_link_has_no_terminus_of_ours_and_then_an_error_of_three_items() {
    let mut client = Client::begun(Options::default());
    for (handle, role) in [(0, Role::Sender), (1, Role::Receiver)] {
        let link = client.attach(handle, role);
        client.command(ServerCommand::Refuse { link, error: Error::new("amqp:not-found", "no") });
        let raw = client.out.clone();
        assert!(raw.windows(6).any(|bytes| bytes[..4] == [0x00, 0x53, 0x1d, 0xc0] && bytes[5] == 3));
        match &client.heard()[..] {
            [(Performative::Attach(answer), _), (Performative::Detach(detach), _)] => {
                assert_eq!(answer.target.is_none(), role == Role::Sender);
                assert_eq!(answer.source.is_none(), role == Role::Receiver);
                assert_eq!(detach.error.as_ref().unwrap().condition, "amqp:not-found");
            }
            other => panic!("{other:?}"),
        }
        // The client agrees, nothing more is told, and its handle is free again.
        client.say(0, &Performative::Detach(Detach { handle, closed: true, error: None })).unwrap();
        assert_eq!(client.events(), []);
        client.attach(handle, role);
    }
}

#[test]
fn transactions_are_refused_without_asking() {
    let mut client = Client::begun(Options::default());
    let mut out = BytesMut::new();
    Performative::Attach(Box::new(Attach { properties: Map::new(), ..attach(0, Role::Sender) }))
        .encode(0, &mut out);
    let target = out.windows(3).position(|bytes| bytes == [0x00, 0x53, 0x29]).unwrap();
    out[target + 2] = 0x30;
    client.bytes(&out).unwrap();
    assert_eq!(client.events(), []);
    assert!(matches!(
        &client.heard()[..],
        [(Performative::Attach(_), _), (Performative::Detach(detach), _)]
            if detach.error.as_ref().unwrap().condition == "amqp:not-implemented"
    ));
}

#[test]
fn a_detached_link_is_deaf_until_the_client_knows() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 10);
    client.command(ServerCommand::Detach { link, error: Some(Error::new("amqp:link:detach-forced", "bye")) });
    client.heard();
    client.transfer(first(0), &encoded(b"x")).unwrap();
    client.say(0, &Performative::Flow(flow(Some(0), 1))).unwrap();
    client.command(ServerCommand::accepted(link, 0));
    client.command(ServerCommand::Grant { link, credit: 5 });
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    let detach = Performative::Detach(Detach { handle: 0, closed: true, error: None });
    client.say(0, &detach).unwrap();
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    // The same handle is another link now; commands for the old one do not reach it.
    let other = client.accepted(0, Role::Sender, 10);
    assert_ne!(other, link);
    client.command(ServerCommand::Detach { link, error: None });
    assert_eq!(client.heard(), []);
}

#[test]
fn what_comes_after_the_last_word_on_a_link_is_not_held_against_it() {
    // fe2o3-amqp, refused, detaches and says more about the link afterwards.
    let mut client = Client::begun(Options::default());
    client.accepted(1, Role::Sender, 10);
    let detach = |handle| Performative::Detach(Detach { handle, closed: true, error: None });
    client.say(0, &detach(1)).unwrap();
    client.events();
    client.heard();
    client.say(0, &Performative::Flow(flow(Some(1), 1))).unwrap();
    client.say(0, &detach(1)).unwrap();
    client.transfer(Transfer { handle: 1, ..first(0) }, b"x").unwrap();
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    for unheard_of in [detach(2), Performative::Flow(flow(Some(2), 1))] {
        let mut client = Client::begun(Options::default());
        assert_eq!(fault(client.say(0, &unheard_of)), "handle_unknown");
    }
}

#[test]
fn a_client_that_leaves_before_it_is_answered_is_answered_nevertheless() {
    let mut client = Client::begun(Options::default());
    let link = client.attach(0, Role::Receiver);
    client.say(0, &Performative::Detach(Detach { handle: 0, closed: true, error: None })).unwrap();
    assert!(matches!(client.heard()[..], [(Performative::Attach(_), _), (Performative::Detach(_), _)]));
    assert_eq!(client.events(), [ServerEvent::Detached { link, error: None }]);
    client.command(ServerCommand::accept(link, 5));
    assert_eq!(client.heard(), []);
}

#[test]
fn the_end_of_a_session_is_the_end_of_its_links() {
    let mut client = Client::begun(Options { links_max: 2, ..Options::default() });
    let one = client.accepted(0, Role::Sender, 10);
    let two = client.receiver(5, 10);
    client.transfer(first(0), &encoded(b"x")).unwrap();
    client.transfer(Transfer { more: true, ..first(1) }, b"half").unwrap();
    client.send(two, 1, b"x");
    client.events();
    client.heard();
    client.say(0, &Performative::End(None)).unwrap();
    let gone = |link| ServerEvent::Detached { link, error: None };
    assert_eq!(client.events(), [gone(one), gone(two)]);
    assert!(matches!(client.heard()[..], [(Performative::End(None), _)]));
    assert_eq!((client.server.unsettled(), client.server.room(two)), (0, 0));
    // azure-eventhub takes its links off afterwards.
    client.say(0, &Performative::Detach(Detach { handle: 0, closed: true, error: None })).unwrap();
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    client.say(0, &begin(10)).unwrap();
    client.attach(0, Role::Sender);
    client.attach(1, Role::Sender);
    assert_eq!(fault(client.say(7, &Performative::End(None))), "channel_unknown");
}
