//! Any bytes at all: the reader neither panics nor reads on for ever, and what it took for a packet is one.
#![no_main]

use bytes::BytesMut;
use isotherm_protocol::mqtt::Packet;
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
});
