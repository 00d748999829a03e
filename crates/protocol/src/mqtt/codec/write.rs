//! From packets to bytes.

use bytes::BytesMut;

use super::{Connect, Packet, kind};
use crate::mqtt::{Qos, Text};

/// What four bytes of remaining length can say.
const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// Appends a packet.
///
/// # Panics
/// When the packet is longer than MQTT can say: 256 MiB, a thousand times what IoT Hub takes.
pub fn encode(packet: &Packet, into: &mut BytesMut) {
    match packet {
        Packet::Connect(connect) => write_connect(connect, into),
        Packet::OtherLevel(level) => write_other_level(*level, into),
        Packet::ConnAck { session_present, code } => {
            into.extend_from_slice(&[kind::CONNACK << 4, 2, u8::from(*session_present), *code as u8]);
        }
        Packet::Publish(message) => {
            let flags = Flags { dup: message.dup, qos: message.qos, retain: message.retain };
            publish(flags, message.topic.as_bytes(), message.packet_id, &message.payload, into);
        }
        Packet::PubAck(packet_id) => acknowledgement(*packet_id, into),
        Packet::PubRec(packet_id) => short(kind::PUBREC, *packet_id, into),
        Packet::PubRel(packet_id) => short(kind::PUBREL, *packet_id, into),
        Packet::PubComp(packet_id) => short(kind::PUBCOMP, *packet_id, into),
        Packet::UnsubAck(packet_id) => short(kind::UNSUBACK, *packet_id, into),
        Packet::Subscribe { packet_id, filters } => write_subscribe(*packet_id, filters, into),
        Packet::Unsubscribe { packet_id, filters } => write_unsubscribe(*packet_id, filters, into),
        Packet::SubAck { packet_id, codes } => {
            begin(kind::SUBACK, 2 + codes.len(), into);
            into.extend_from_slice(&packet_id.to_be_bytes());
            into.extend_from_slice(codes);
        }
        Packet::PingReq => into.extend_from_slice(&[kind::PINGREQ << 4, 0]),
        Packet::PingResp => into.extend_from_slice(&[kind::PINGRESP << 4, 0]),
        Packet::Disconnect => into.extend_from_slice(&[kind::DISCONNECT << 4, 0]),
    }
}

/// The three flags of a message.
#[derive(Debug, Clone, Copy)]
pub(in crate::mqtt) struct Flags {
    pub(in crate::mqtt) dup: bool,
    pub(in crate::mqtt) qos: Qos,
    pub(in crate::mqtt) retain: bool,
}

/// Appends a PUBLISH from its parts: one reservation, then copies. It is most of what a hub ever writes.
pub(in crate::mqtt) fn publish(
    flags: Flags,
    topic: &[u8],
    packet_id: u16,
    payload: &[u8],
    into: &mut BytesMut,
) {
    let with_id = flags.qos != Qos::AtMostOnce;
    let length = 2 + topic.len() + if with_id { 2 } else { 0 } + payload.len();
    let bits = u8::from(flags.dup) << 3 | (flags.qos as u8) << 1 | u8::from(flags.retain);
    into.reserve(5 + length);
    begin_with(kind::PUBLISH << 4 | bits, length, into);
    into.extend_from_slice(&length_of(topic.len()));
    into.extend_from_slice(topic);
    if with_id {
        into.extend_from_slice(&packet_id.to_be_bytes());
    }
    into.extend_from_slice(payload);
}

/// Appends a PUBACK.
pub(in crate::mqtt) fn acknowledgement(packet_id: u16, into: &mut BytesMut) {
    short(kind::PUBACK, packet_id, into);
}

fn short(kind: u8, packet_id: u16, into: &mut BytesMut) {
    let [high, low] = packet_id.to_be_bytes();
    into.extend_from_slice(&[kind << 4 | kind::flags(kind), 2, high, low]);
}

fn write_connect(connect: &Connect, into: &mut BytesMut) {
    let will = connect.will.as_ref();
    let user_name = connect.user_name.as_ref().map(|name| &name.as_bytes()[..]);
    let password = connect.password.as_deref();
    let fields = [
        Some(&connect.client_id.as_bytes()[..]),
        will.map(|will| &will.topic.as_bytes()[..]),
        will.map(|will| &will.payload[..]),
        user_name,
        password,
    ];
    let flags = u8::from(user_name.is_some()) << 7
        | u8::from(password.is_some()) << 6
        | u8::from(will.is_some_and(|will| will.retain)) << 5
        | will.map_or(0, |will| will.qos as u8) << 3
        | u8::from(will.is_some()) << 2
        | u8::from(connect.clean) << 1;
    let length = 10 + fields.iter().flatten().map(|field| 2 + field.len()).sum::<usize>();
    begin(kind::CONNECT, length, into);
    into.extend_from_slice(b"\0\x04MQTT\x04");
    into.extend_from_slice(&[flags]);
    into.extend_from_slice(&connect.keep_alive.to_be_bytes());
    for field in fields.into_iter().flatten() {
        binary(field, into);
    }
}

/// As much of it as we understand; for tests of the refusal.
fn write_other_level(level: u8, into: &mut BytesMut) {
    begin(kind::CONNECT, 7, into);
    into.extend_from_slice(b"\0\x04MQTT");
    into.extend_from_slice(&[level]);
}

fn write_subscribe(packet_id: u16, filters: &[(Text, Qos)], into: &mut BytesMut) {
    begin(kind::SUBSCRIBE, 2 + filters.iter().map(|(filter, _)| 3 + filter.len()).sum::<usize>(), into);
    into.extend_from_slice(&packet_id.to_be_bytes());
    for (filter, qos) in filters {
        binary(filter.as_bytes(), into);
        into.extend_from_slice(&[*qos as u8]);
    }
}

fn write_unsubscribe(packet_id: u16, filters: &[Text], into: &mut BytesMut) {
    begin(kind::UNSUBSCRIBE, 2 + filters.iter().map(|filter| 2 + filter.len()).sum::<usize>(), into);
    into.extend_from_slice(&packet_id.to_be_bytes());
    for filter in filters {
        binary(filter.as_bytes(), into);
    }
}

fn begin(kind: u8, length: usize, into: &mut BytesMut) {
    into.reserve(5 + length);
    begin_with(kind << 4 | kind::flags(kind), length, into);
}

/// The first byte and the remaining length, seven bits a byte, lowest first.
fn begin_with(first: u8, length: usize, into: &mut BytesMut) {
    assert!(
        length <= REMAINING_LENGTH_MAX,
        "a packet has at most 256 MiB; whoever takes messages in sees to that"
    );
    let (mut bytes, mut end, mut rest) = ([first, 0, 0, 0, 0], 1, length);
    loop {
        bytes[end] = (rest & 0x7f) as u8;
        rest >>= 7;
        end += 1;
        if rest == 0 {
            break;
        }
        bytes[end - 1] |= 0x80;
    }
    into.extend_from_slice(&bytes[..end]);
}

fn binary(bytes: &[u8], into: &mut BytesMut) {
    into.extend_from_slice(&length_of(bytes.len()));
    into.extend_from_slice(bytes);
}

fn length_of(field: usize) -> [u8; 2] {
    u16::try_from(field).expect("a field of more than 65,535 bytes is never put into a packet").to_be_bytes()
}
