//! From bytes to packets.

use bytes::{Buf, Bytes, BytesMut};

use super::{Connect, FILTERS_MAX, Packet, Publish, Will, kind};
use crate::mqtt::{ConnectCode, Fault, Qos, Text};

/// Takes one packet off the front of `bytes`; nothing as long as it is not whole.
///
/// Topics and payloads are slices of `bytes`, not copies. CONNECT alone is copied, since a will is kept for as long
/// as the connection lasts and would keep the whole read buffer with it.
///
/// # Errors
/// Whatever MQTT 3.1.1 tells a receiver to close the connection for, or a remaining length above `packet_bytes_max`.
/// Both are said as soon as they can be known: nobody has to buffer what will be refused.
pub fn decode(bytes: &mut BytesMut, packet_bytes_max: usize) -> Result<Option<Packet>, Fault> {
    let Some(header) = Header::of(bytes)? else { return Ok(None) };
    if header.length > packet_bytes_max {
        return Err(Fault::TooLarge { length: header.length, limit: packet_bytes_max });
    }
    if bytes.len() < header.start + header.length {
        return Ok(None);
    }
    let packet = match header.kind {
        kind::PUBLISH => publish(header.flags, body(bytes, &header))?,
        kind::CONNECT => {
            let copied = Bytes::copy_from_slice(&body(bytes, &header).0);
            connect(Fields(copied))?
        }
        kind::SUBSCRIBE => subscribe(body(bytes, &header))?,
        kind::UNSUBSCRIBE => unsubscribe(body(bytes, &header))?,
        kind::SUBACK => suback(body(bytes, &header))?,
        _ => {
            let packet = fixed(header.kind, &bytes[header.start..header.start + header.length])?;
            bytes.advance(header.start + header.length);
            packet
        }
    };
    Ok(Some(packet))
}

/// The packet type of what comes next, before any of it has been judged.
pub(in crate::mqtt) fn next_kind(bytes: &[u8]) -> Option<u8> {
    bytes.first().map(|first| first >> 4)
}

/// The fixed header: what comes, and how long it is.
struct Header {
    kind: u8,
    flags: u8,
    /// Where the rest begins.
    start: usize,
    /// How long the rest is.
    length: usize,
}

impl Header {
    fn of(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (kind, flags) = (first >> 4, first & 0x0f);
        check_flags(kind, flags)?;
        let Some((length, digits)) = remaining_length(&bytes[1..])? else { return Ok(None) };
        match kind::length(kind) {
            Some(right) if length > right => Err(Fault::Trailing(length - right)),
            Some(right) if length < right => Err(Fault::Truncated),
            _ => Ok(Some(Self { kind, flags, start: 1 + digits, length })),
        }
    }
}

fn check_flags(kind: u8, flags: u8) -> Result<(), Fault> {
    match kind {
        0 | 15 => Err(Fault::PacketType(kind)),
        kind::PUBLISH if flags & 0b0110 == 0b0110 => Err(Fault::Qos), // [MQTT-3.3.1-4]
        kind::PUBLISH if flags & 0b1110 == 0b1000 => Err(Fault::Dup), // [MQTT-3.3.1-2]
        kind::PUBLISH => Ok(()),
        _ if flags == kind::flags(kind) => Ok(()),
        _ => Err(Fault::Flags { packet_type: kind, flags, right: kind::flags(kind) }),
    }
}

/// Seven bits a byte, lowest first, and how many bytes that took. Longer forms of a small number are allowed in
/// 3.1.1; a fifth byte is not.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut length = 0;
    for (digit, &byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            return Ok(Some((length, digit + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Fault::RemainingLength) }
}

/// Cuts the packet off the front. Only called when it is whole.
fn body(bytes: &mut BytesMut, header: &Header) -> Fields {
    let mut body = bytes.split_to(header.start + header.length).freeze();
    body.advance(header.start);
    Fields(body)
}

fn publish(flags: u8, mut fields: Fields) -> Result<Packet, Fault> {
    let qos = qos(flags >> 1 & 0b11).ok_or(Fault::Qos)?;
    let topic = fields.topic()?;
    let packet_id = if qos == Qos::AtMostOnce { 0 } else { fields.packet_id()? };
    let (dup, retain) = (flags & 0b1000 != 0, flags & 0b0001 != 0);
    Ok(Packet::Publish(Publish { dup, qos, retain, topic, packet_id, payload: fields.0 }))
}

fn connect(mut fields: Fields) -> Result<Packet, Fault> {
    let name = fields.text()?;
    let level = fields.byte()?;
    match (&*name, level) {
        ("MQTT", 4) => {}
        // MQIsdp is what MQTT 3.1 called itself: a version we do not speak rather than another protocol.
        ("MQTT" | "MQIsdp", _) => return Ok(Packet::OtherLevel(level)),
        _ => return Err(Fault::ProtocolName),
    }
    let flags = ConnectFlags::of(fields.byte()?)?;
    let keep_alive = fields.short()?;
    let client_id = fields.text()?;
    let will = match flags.will {
        Some((qos, retain)) => Some(Will { topic: fields.topic()?, payload: fields.binary()?, qos, retain }),
        None => None,
    };
    let user_name = if flags.user_name { Some(fields.text()?) } else { None };
    let password = if flags.password { Some(fields.binary()?) } else { None };
    fields.end()?;
    Ok(Packet::Connect(Box::new(Connect {
        client_id,
        keep_alive,
        clean: flags.clean,
        will,
        user_name,
        password,
    })))
}

/// Connect flags that agree with each other.
struct ConnectFlags {
    user_name: bool,
    password: bool,
    will: Option<(Qos, bool)>,
    clean: bool,
}

impl ConnectFlags {
    fn of(flags: u8) -> Result<Self, Fault> {
        let bit = |at: u8| flags >> at & 1 == 1;
        if bit(0) {
            return Err(Fault::ConnectFlags); // [MQTT-3.1.2-3]
        }
        if bit(6) && !bit(7) {
            return Err(Fault::PasswordWithoutName); // [MQTT-3.1.2-22]
        }
        let will = match (bit(2), qos(flags >> 3 & 0b11)) {
            (true, Some(qos)) => Some((qos, bit(5))),
            (false, Some(Qos::AtMostOnce)) if !bit(5) => None,
            _ => return Err(Fault::WillFlags), // [MQTT-3.1.2-13] to [MQTT-3.1.2-15]
        };
        Ok(Self { user_name: bit(7), password: bit(6), will, clean: bit(1) })
    }
}

fn subscribe(mut fields: Fields) -> Result<Packet, Fault> {
    let packet_id = fields.packet_id()?;
    let filters = fields.filters(|fields| {
        let filter = fields.filter()?;
        let requested = fields.byte()?;
        Ok((filter, qos(requested).ok_or(Fault::RequestedQos(requested))?)) // [MQTT-3-8.3-4]
    })?;
    Ok(Packet::Subscribe { packet_id, filters })
}

fn unsubscribe(mut fields: Fields) -> Result<Packet, Fault> {
    let packet_id = fields.packet_id()?;
    Ok(Packet::Unsubscribe { packet_id, filters: fields.filters(Fields::filter)? })
}

fn suback(mut fields: Fields) -> Result<Packet, Fault> {
    let packet_id = fields.packet_id()?;
    let codes = fields.0.to_vec();
    match codes.iter().find(|code| !matches!(code, 0..=2 | 0x80)) {
        Some(&code) => Err(Fault::Code(code)), // [MQTT-3.9.3-2]
        None if codes.is_empty() => Err(Fault::Truncated),
        None => Ok(Packet::SubAck { packet_id, codes }),
    }
}

/// The packets whose length is always the same; `body` has been measured.
fn fixed(kind: u8, body: &[u8]) -> Result<Packet, Fault> {
    match (kind, body) {
        (kind::PINGREQ, []) => Ok(Packet::PingReq),
        (kind::PINGRESP, []) => Ok(Packet::PingResp),
        (kind::DISCONNECT, []) => Ok(Packet::Disconnect),
        (kind::CONNACK, &[flags, code]) => connack(flags, code),
        (_, [0, 0]) => Err(Fault::PacketId),
        (_, &[high, low]) => {
            let packet_id = u16::from_be_bytes([high, low]);
            match kind {
                kind::PUBACK => Ok(Packet::PubAck(packet_id)),
                kind::PUBREC => Ok(Packet::PubRec(packet_id)),
                kind::PUBREL => Ok(Packet::PubRel(packet_id)),
                kind::PUBCOMP => Ok(Packet::PubComp(packet_id)),
                kind::UNSUBACK => Ok(Packet::UnsubAck(packet_id)),
                _ => Err(Fault::PacketType(kind)),
            }
        }
        _ => Err(Fault::Truncated),
    }
}

fn connack(flags: u8, code: u8) -> Result<Packet, Fault> {
    let session_present = match flags {
        0 => false,
        1 if code == 0 => true, // [MQTT-3.2.2-4]
        _ => return Err(Fault::Code(flags)),
    };
    let code = ConnectCode::of(code).ok_or(Fault::Code(code))?;
    Ok(Packet::ConnAck { session_present, code })
}

fn qos(bits: u8) -> Option<Qos> {
    match bits {
        0 => Some(Qos::AtMostOnce),
        1 => Some(Qos::AtLeastOnce),
        2 => Some(Qos::ExactlyOnce),
        _ => None,
    }
}

/// What is left of a packet, read field by field.
struct Fields(Bytes);

impl Fields {
    fn byte(&mut self) -> Result<u8, Fault> {
        self.0.try_get_u8().map_err(|_| Fault::Truncated)
    }

    fn short(&mut self) -> Result<u16, Fault> {
        self.0.try_get_u16().map_err(|_| Fault::Truncated)
    }

    fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.short()? {
            0 => Err(Fault::PacketId), // [MQTT-2.3.1-1]
            packet_id => Ok(packet_id),
        }
    }

    fn binary(&mut self) -> Result<Bytes, Fault> {
        let length = usize::from(self.short()?);
        if length > self.0.len() {
            return Err(Fault::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<Text, Fault> {
        Text::new(self.binary()?)
    }

    fn topic(&mut self) -> Result<Text, Fault> {
        Text::topic(self.binary()?)
    }

    fn filter(&mut self) -> Result<Text, Fault> {
        Text::filter(self.binary()?)
    }

    /// One or more, up to the end of the packet.
    fn filters<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let mut filters = Vec::new();
        while !self.0.is_empty() {
            if filters.len() == FILTERS_MAX {
                return Err(Fault::TooManyFilters(FILTERS_MAX));
            }
            filters.push(one(self)?);
        }
        if filters.is_empty() { Err(Fault::NoFilter) } else { Ok(filters) } // [MQTT-3.8.3-3], [MQTT-3.10.3-2]
    }

    fn end(&self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Trailing(self.0.len())) }
    }
}
