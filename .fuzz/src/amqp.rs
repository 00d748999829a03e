//! AMQP at the hub's end: values, messages, and a whole connection cut anywhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::Session;
use isotherm_protocol::amqp::codec::{decode, encode};
use isotherm_protocol::amqp::{
    DeliveryState, Message, Options, Role, SaslCode, Server, ServerCommand, ServerEvent, frame,
};

/// One value: what was read is written and read again as the same, unless it holds something that is not itself.
pub(crate) fn values(bytes: &[u8]) {
    let Ok(value) = decode(&Bytes::copy_from_slice(bytes)) else { return };
    let mut written = BytesMut::new();
    encode(&value, &mut written);
    let again = decode(&written.freeze()).expect("we read what we write");
    #[expect(clippy::eq_op, reason = "a NaN in it is not itself")]
    let comparable = value == value;
    assert!(!comparable || again == value, "{value:?} became {again:?}");
}

/// A message in all its sections.
pub(crate) fn messages(bytes: &[u8]) {
    let Ok(message) = Message::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let mut written = BytesMut::new();
    message.encode(&mut written);
    let again = Message::decode(&written.freeze()).expect("we read what we write");
    #[expect(clippy::eq_op, reason = "a NaN in it is not itself")]
    let comparable = message == message;
    assert!(!comparable || again == message, "{message:?} became {again:?}");
}

/// A client that says anything at all, cut anywhere, to a hub that is kind to it.
pub(crate) fn server(bytes: &[u8]) {
    let [piece, flags, bytes @ ..] = bytes else { return };
    let mut now = start();
    let mut server = Server::new(now, Arc::new(Options::default()));
    let (mut buffer, mut said) = (BytesMut::new(), BytesMut::new());
    for piece in bytes.chunks(usize::from(*piece).max(1)) {
        buffer.extend_from_slice(piece);
        let read = server.handle_bytes(now, &mut buffer);
        while let Some(event) = server.poll_event() {
            for answer in kind_answers(event) {
                server.handle_command(now, answer);
            }
        }
        server.poll_transmit(&mut said);
        now += Duration::from_millis(u64::from(*flags));
        server.handle_timeout(now);
        if read.is_err() {
            assert!(server.is_over());
            break;
        }
    }
    server.poll_transmit(&mut said);
    all_frames(said);
}

#[expect(clippy::disallowed_methods, reason = "some instant to begin with; from there on time is counted")]
fn start() -> Instant {
    Instant::now()
}

fn kind_answers(event: ServerEvent) -> Vec<ServerCommand> {
    match event {
        ServerEvent::Sasl(_) => vec![ServerCommand::SaslOutcome(SaslCode::Ok)],
        ServerEvent::Attached { link, attach } if attach.role == Role::Sender => {
            vec![ServerCommand::accept(link, 10)]
        }
        ServerEvent::Attached { link, .. } => vec![ServerCommand::accept(link, 0)],
        ServerEvent::Message { link, delivery, settled: false, .. } => {
            vec![ServerCommand::accepted(link, delivery)]
        }
        ServerEvent::Disposition { link, delivery, settled: false, .. } => {
            vec![ServerCommand::Settle { link, delivery, state: DeliveryState::Released }]
        }
        ServerEvent::Credit { link, drain: true, .. } => vec![ServerCommand::Drained { link }],
        _ => Vec::new(),
    }
}

/// All that the hub said is headers and frames.
fn all_frames(mut said: BytesMut) {
    while !said.is_empty() {
        if said.starts_with(b"AMQP") {
            let _ = said.split_to(8);
        } else {
            frame::decode(&mut said, u32::MAX)
                .expect("we say nothing that is no frame")
                .expect("whole frames");
        }
    }
}
