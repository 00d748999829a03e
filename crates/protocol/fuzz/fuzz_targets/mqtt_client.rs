//! A server that says anything at all, cut anywhere, to a client with messages on their way.
#![no_main]

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::Session;
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, decode};
use isotherm_protocol::mqtt::{ClientCommand, ClientEvent, ClientSession, ConnectOptions, Qos};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (piece, flags, bytes) = input;
    let mut now = Instant::now();
    let options = ConnectOptions { client_id: "d".into(), window: 4, ..ConnectOptions::default() };
    let mut client = ClientSession::new(now, options);
    let (mut buffer, mut said, mut told) = (BytesMut::new(), BytesMut::new(), Vec::new());
    if flags & 1 == 0 {
        buffer.extend_from_slice(b"\x20\x02\x00\x00");
    }
    for token in 0..4 {
        let (topic, payload, qos) = ("t".to_owned(), Bytes::from_static(b"p"), Qos::AtLeastOnce);
        client.handle_command(now, ClientCommand::Publish { token, topic, payload, qos });
    }
    client.handle_command(now, ClientCommand::Subscribe { filters: vec![("f".into(), Qos::AtLeastOnce)] });
    for piece in bytes.chunks(usize::from(piece).max(1)) {
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
    while let Some(_packet) = decode(&mut said, PACKET_BYTES_MAX).expect("the hub would read all of it") {}
});
