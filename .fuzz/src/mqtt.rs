//! MQTT, both ends, cut anywhere.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::Session;
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, decode, encode};
use isotherm_protocol::mqtt::{
    ClientCommand, ClientEvent, ClientSession, ConnectOptions, Limits, Packet, Qos, Server, ServerCommand,
    ServerEvent, Text,
};

const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01d";

/// How the rest is cut and what comes before it: the first two bytes of the input.
fn cut(bytes: &[u8]) -> (usize, u8, &[u8]) {
    match bytes {
        [piece, flags, rest @ ..] => (usize::from(*piece).max(1), *flags, rest),
        _ => (1, 0, &[]),
    }
}

#[expect(clippy::disallowed_methods, reason = "some instant to begin with; from there on time is counted")]
fn start() -> Instant {
    Instant::now()
}

/// Any bytes at all: the reader neither panics nor reads on for ever, and what it took for a packet is one.
pub(crate) fn decoder(bytes: &[u8]) {
    let mut bytes = BytesMut::from(bytes);
    while let Ok(Some(packet)) = decode(&mut bytes, PACKET_BYTES_MAX) {
        if matches!(packet, Packet::OtherLevel(_)) {
            continue; // most of it was not read
        }
        let mut written = BytesMut::new();
        encode(&packet, &mut written);
        assert_eq!(decode(&mut written, PACKET_BYTES_MAX), Ok(Some(packet)));
        assert!(written.is_empty());
    }
}

/// A client that says anything at all, cut anywhere, to a hub that is kind to it.
pub(crate) fn server(bytes: &[u8]) {
    let (piece, flags, bytes) = cut(bytes);
    let mut now = start();
    let mut server = Server::new(now, Limits { window: 4, unacknowledged_max: 4, ..Limits::default() });
    let (mut buffer, mut said, mut token) = (BytesMut::new(), BytesMut::new(), 0);
    if flags & 1 == 0 {
        buffer.extend_from_slice(CONNECT);
    }
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        let read = server.handle_bytes(now, &mut buffer);
        while let Some(event) = server.poll_event() {
            if let Some(answer) = kind_answer(event, flags, &mut token, now, &mut server) {
                server.handle_command(now, answer);
            }
        }
        server.poll_transmit(&mut said);
        now += Duration::from_millis(u64::from(flags));
        server.handle_timeout(now);
        if read.is_err() {
            assert!(server.is_over());
            break;
        }
    }
    while decode(&mut said, PACKET_BYTES_MAX).expect("we say nothing that we would not read").is_some() {}
    assert!(said.is_empty());
}

fn kind_answer(
    event: ServerEvent,
    flags: u8,
    token: &mut u64,
    now: Instant,
    server: &mut Server,
) -> Option<ServerCommand> {
    Some(match event {
        ServerEvent::Connect(_) => ServerCommand::Accept { session_present: flags & 2 == 0 },
        ServerEvent::Subscribe { packet_id, filters } => {
            ServerCommand::Granted { packet_id, codes: vec![1; filters.len()] }
        }
        ServerEvent::Unsubscribe { packet_id, .. } => ServerCommand::Unsubscribed { packet_id },
        ServerEvent::Publish { packet_id, topic, payload, .. } => {
            if server.window() > 0 {
                *token += 1;
                let (token, qos, dup) = (*token, Qos::AtLeastOnce, false);
                server.handle_command(now, ServerCommand::Deliver { token, topic, payload, qos, dup });
            }
            if packet_id == 0 {
                let (topic, payload) = (Text::new("t").expect("a letter"), Bytes::new());
                ServerCommand::Deliver { token: 0, topic, payload, qos: Qos::AtMostOnce, dup: true }
            } else {
                ServerCommand::Acknowledge { packet_id }
            }
        }
        ServerEvent::Acknowledged { token: told } => {
            assert!(told <= *token);
            return None;
        }
        ServerEvent::Disconnected | ServerEvent::Lapsed(_) => return None,
    })
}

/// A server that says anything at all, cut anywhere, to a client with messages on their way.
pub(crate) fn client(bytes: &[u8]) {
    let (piece, flags, bytes) = cut(bytes);
    let mut now = start();
    let options = ConnectOptions { client_id: "d".into(), window: 4, ..ConnectOptions::default() };
    let mut client = ClientSession::new(now, options);
    let (mut buffer, mut said, mut told) = (BytesMut::new(), BytesMut::new(), Vec::new());
    if flags & 1 == 0 {
        buffer.extend_from_slice(CONNACK);
    }
    for token in 0..4 {
        let (topic, payload, qos) = ("t".to_owned(), Bytes::from_static(b"p"), Qos::AtLeastOnce);
        client.handle_command(now, ClientCommand::Publish { token, topic, payload, qos });
    }
    client.handle_command(now, ClientCommand::Subscribe { filters: vec![("f".into(), Qos::AtLeastOnce)] });
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        let read = client.handle_bytes(now, &mut buffer);
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Publish { packet_id, .. } if packet_id != 0 => {
                    client.handle_command(now, ClientCommand::Acknowledge { packet_id });
                }
                ClientEvent::Acknowledged { token } => told.push(token),
                _ => {}
            }
        }
        client.poll_transmit(&mut said);
        now += Duration::from_millis(u64::from(flags));
        client.handle_timeout(now);
        if read.is_err() {
            assert!(client.is_over());
            break;
        }
    }
    told.sort_unstable();
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "an acknowledgement was told twice: {told:?}");
    while decode(&mut said, PACKET_BYTES_MAX).expect("the hub would read all of it").is_some() {}
}
