//! Conversations with bytes changed, left out and repeated: whatever a peer says, the hub's end answers or hangs up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::frame::{AMQP_HEADER, SASL_HEADER};
use isotherm_protocol::amqp::performative::{
    Begin, Detach, Disposition, Flow, Performative, ReceiverSettles, SenderSettles, Transfer,
};
use isotherm_protocol::amqp::{
    Attach, DeliveryState, LinkId, Map, Message, Open, Options, Role, SaslCode, Server, ServerCommand,
    ServerEvent, Source, Target, Value,
};
use proptest::prelude::*;

#[expect(clippy::disallowed_methods, reason = "an instant to count from; no test asks what it is")]
fn start() -> Instant {
    Instant::now()
}

fn attach(handle: u32, role: Role) -> Performative {
    Performative::Attach(Box::new(Attach {
        name: "link".into(),
        handle,
        role,
        snd_settle_mode: SenderSettles::Mixed,
        rcv_settle_mode: ReceiverSettles::First,
        source: Some(Source::at("source")),
        target: Some(Target::at("target")),
        unsettled: Map::new(),
        incomplete_unsettled: false,
        initial_delivery_count: Some(0),
        max_message_size: None,
        offered_capabilities: Value::Null,
        desired_capabilities: Value::Null,
        properties: Map::new().with_symbol("key", "value"),
    }))
}

fn transfer(handle: u32, id: u32, more: bool, settled: bool, out: &mut BytesMut) {
    let start = out.len();
    let transfer = Transfer {
        handle,
        delivery_id: Some(id),
        delivery_tag: Some(Bytes::from_static(b"tag")),
        settled: Some(settled),
        more,
        ..Transfer::default()
    };
    Performative::Transfer(transfer).encode(1, out);
    if !more {
        Message::data("body").encode(out);
    }
    let size = u32::try_from(out.len() - start).unwrap();
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn flow(handle: u32, credit: u32) -> Performative {
    Performative::Flow(Flow {
        next_incoming_id: Some(0),
        incoming_window: 5,
        outgoing_window: 5,
        handle: Some(handle),
        delivery_count: Some(0),
        link_credit: Some(credit),
        drain: credit == 3,
        echo: credit == 4,
        ..Flow::default()
    })
}

fn disposition(role: Role, last: u32, settled: bool) -> Performative {
    let state = Some(DeliveryState::Accepted);
    Performative::Disposition(Disposition {
        role,
        first: 0,
        last: Some(last),
        settled,
        state,
        batchable: false,
    })
}

/// A conversation in which nearly everything happens, piece by piece.
fn conversation() -> Vec<BytesMut> {
    let mut pieces: Vec<BytesMut> = vec![BytesMut::from(&AMQP_HEADER[..])];
    let mut say = |channel: u16, performative: Performative| {
        let mut out = BytesMut::new();
        performative.encode(channel, &mut out);
        pieces.push(out);
    };
    say(
        0,
        Performative::Open(Box::new(Open {
            container_id: "c".into(),
            max_frame_size: 512,
            channel_max: 9,
            idle_time_out: Some(5_000),
            ..Open::default()
        })),
    );
    let begin = Begin { incoming_window: 5, outgoing_window: 5, handle_max: 7, ..Begin::default() };
    say(1, Performative::Begin(Box::new(begin)));
    say(1, attach(0, Role::Sender));
    say(1, attach(1, Role::Receiver));
    say(1, flow(1, 4));
    say(1, flow(1, 3));
    say(1, disposition(Role::Receiver, 9, false));
    say(1, disposition(Role::Receiver, 9, true));
    say(1, disposition(Role::Sender, 9, true));
    say(1, Performative::Detach(Detach { handle: 0, closed: true, error: None }));
    say(1, Performative::End(None));
    say(0, Performative::Close(None));
    for (at, (id, more, settled)) in
        [(0, false, false), (1, true, false), (1, false, false), (2, false, true)].into_iter().enumerate()
    {
        let mut out = BytesMut::new();
        transfer(0, id, more, settled, &mut out);
        pieces.insert(7 + at, out);
    }
    pieces
}

/// Answers like a hub, as far as there is anything to answer.
fn run(pieces: &[BytesMut], seconds: u64) -> Server {
    let mut now = start();
    let mut server = Server::new(now, Arc::new(Options { buffered_bytes_max: 10_000, ..Options::default() }));
    let (mut held, mut out) = (BytesMut::new(), BytesMut::new());
    let mut links: Vec<LinkId> = Vec::new();
    let mut unsettled = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        let said = server.handle_bytes(now, &mut held);
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::Sasl(_) => {
                    server.handle_command(now, ServerCommand::SaslOutcome(SaslCode::Ok));
                }
                ServerEvent::Attached { link, .. } => {
                    links.push(link);
                    server.handle_command(now, ServerCommand::accept(link, 3));
                }
                ServerEvent::Message { link, delivery, settled: false, .. } => {
                    unsettled.push((link, delivery))
                }
                ServerEvent::Disposition { link, delivery, settled: false, .. } => {
                    unsettled.push((link, delivery));
                }
                ServerEvent::Credit { link, drain: true, .. } => {
                    server.handle_command(now, ServerCommand::Drained { link });
                }
                _ => {}
            }
        }
        for &link in &links {
            if server.room(link) > 0 {
                let message = Box::new(Message::data(vec![1; 700]));
                let (tag, settled) = (Bytes::from_static(&[1; 16]), false);
                server.handle_command(now, ServerCommand::Send { link, token: 1, tag, settled, message });
            }
        }
        if unsettled.len() > 1 {
            for (link, delivery) in unsettled.drain(..) {
                server.handle_command(now, ServerCommand::accepted(link, delivery));
            }
        }
        now += Duration::from_secs(seconds);
        server.handle_timeout(now);
        server.poll_transmit(&mut out);
        if said.is_err() {
            assert!(server.is_over());
        }
    }
    assert!(out.len() < 1 << 20, "little was said, so little is answered");
    server
}

#[test]
fn the_conversation_itself_comes_to_its_end() {
    assert!(run(&conversation(), 0).is_over());
    let short = &conversation()[..15];
    assert!(!run(short, 0).is_over());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_harm_nobody(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        seconds in prop_oneof![Just(0_u64), Just(100)],
    ) {
        let mut pieces = conversation();
        for (piece, at, byte) in changes {
            let piece = &mut pieces[piece.index(17)];
            let at = at.index(piece.len());
            piece[at] = byte;
        }
        run(&pieces, seconds);
    }

    #[test]
    fn any_order_of_frames_harms_nobody(order in prop::collection::vec(0_usize..17, 1..60), sasl in any::<bool>()) {
        let pieces = conversation();
        let mut told = pieces[..5].to_vec();
        if sasl {
            told[0] = BytesMut::from(&SASL_HEADER[..]);
        }
        told.extend(order.into_iter().map(|index| pieces[index].clone()));
        run(&told, 0);
    }

    #[test]
    fn any_order_without_goodbye_harms_nobody(order in prop::collection::vec(5_usize..16, 1..200)) {
        let pieces = conversation();
        let mut told = pieces[..5].to_vec();
        for index in order {
            told.push(pieces[index].clone());
            if index == 15 {
                told.extend_from_slice(&pieces[2..5]); // the session ended: begin again
            }
        }
        run(&told, 0);
    }
}
