//! A client that says anything at all, cut anywhere, to a hub that is kind to it.
#![no_main]

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::Session;
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, decode};
use isotherm_protocol::mqtt::{Limits, Qos, Server, ServerCommand, ServerEvent, Text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (piece, flags, bytes) = input;
    let mut now = Instant::now();
    let mut server = Server::new(now, Limits { window: 4, unacknowledged_max: 4, ..Limits::default() });
    let (mut buffer, mut said, mut token) = (BytesMut::new(), BytesMut::new(), 0);
    if flags & 1 == 0 {
        buffer.extend_from_slice(b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01d");
    }
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        buffer.extend_from_slice(piece);
        let read = server.handle_bytes(now, &mut buffer);
        while let Some(event) = server.poll_event() {
            let answer = match event {
                ServerEvent::Connect(_) => ServerCommand::Accept { session_present: flags & 2 == 0 },
                ServerEvent::Subscribe { packet_id, filters } => {
                    ServerCommand::Granted { packet_id, codes: vec![1; filters.len()] }
                }
                ServerEvent::Unsubscribe { packet_id, .. } => ServerCommand::Unsubscribed { packet_id },
                ServerEvent::Publish { packet_id, topic, payload, .. } => {
                    if server.window() > 0 {
                        token += 1;
                        let (qos, dup) = (Qos::AtLeastOnce, false);
                        server
                            .handle_command(now, ServerCommand::Deliver { token, topic, payload, qos, dup });
                    }
                    if packet_id == 0 {
                        let (topic, payload) = (Text::new("t").expect("a letter"), Bytes::new());
                        ServerCommand::Deliver { token: 0, topic, payload, qos: Qos::AtMostOnce, dup: true }
                    } else {
                        ServerCommand::Acknowledge { packet_id }
                    }
                }
                ServerEvent::Acknowledged { token: told } => {
                    assert!(told <= token);
                    continue;
                }
                ServerEvent::Disconnected | ServerEvent::Lapsed(_) => continue,
            };
            server.handle_command(now, answer);
        }
        server.poll_transmit(&mut said);
        now += Duration::from_millis(u64::from(flags));
        server.handle_timeout(now);
        if read.is_err() {
            assert!(server.is_over());
            break;
        }
    }
    while let Some(_packet) =
        decode(&mut said, PACKET_BYTES_MAX).expect("we say nothing that we would not read")
    {}
    assert!(said.is_empty());
});
