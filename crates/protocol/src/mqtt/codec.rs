//! The packets of MQTT 3.1.1, read and written without copying.

mod read;
mod write;

use std::fmt;

use bytes::Bytes;

pub use read::decode;
pub(super) use read::next_kind;
pub use write::encode;
pub(super) use write::{Flags, acknowledgement, publish};

use super::{ConnectCode, Qos, Text};

/// The largest payload that IoT Hub takes, in bytes; more closes the connection.
pub const PAYLOAD_BYTES_MAX: usize = 262_144;
/// The largest remaining length that is taken: such a payload under the longest topic, and the identifier.
pub const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 2 + Text::BYTES_MAX + 2;
/// The most filters in one SUBSCRIBE or UNSUBSCRIBE. IoT Hub has five feeds to subscribe to.
pub const FILTERS_MAX: usize = 64;

/// A packet of MQTT 3.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A client introduces itself.
    Connect(Box<Connect>),
    /// A client introduces itself in another version of MQTT; the rest of its packet was not read.
    OtherLevel(u8),
    /// The server's answer.
    ConnAck {
        /// Whether subscriptions of an earlier connection still stand.
        session_present: bool,
        /// Accepted, or why not.
        code: ConnectCode,
    },
    /// A message.
    Publish(Publish),
    /// A QoS 1 message arrived.
    PubAck(u16),
    /// QoS 2, second step.
    PubRec(u16),
    /// QoS 2, third step.
    PubRel(u16),
    /// QoS 2, last step.
    PubComp(u16),
    /// A client wants messages.
    Subscribe {
        /// Not 0.
        packet_id: u16,
        /// At least one, each a well-formed filter.
        filters: Vec<(Text, Qos)>,
    },
    /// What was granted.
    SubAck {
        /// That of the SUBSCRIBE.
        packet_id: u16,
        /// One for each filter: 0, 1, 2, or 0x80 for refused.
        codes: Vec<u8>,
    },
    /// A client wants no more messages.
    Unsubscribe {
        /// Not 0.
        packet_id: u16,
        /// At least one, each a well-formed filter.
        filters: Vec<Text>,
    },
    /// So be it.
    UnsubAck(u16),
    /// Are you there?
    PingReq,
    /// I am.
    PingResp,
    /// A client leaves; its will is void.
    Disconnect,
}

/// A client's introduction.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Here: `device` or `device/module`. May be empty on the wire; the session refuses that.
    pub client_id: Text,
    /// Seconds within which the client promises to say something; 0 promises nothing.
    pub keep_alive: u16,
    /// Forget earlier subscriptions.
    pub clean: bool,
    /// To be published should the client vanish.
    pub will: Option<Will>,
    /// The user name.
    pub user_name: Option<Text>,
    /// At most 65,535 bytes of any kind. Never printed.
    pub password: Option<Bytes>,
}

/// A message to be published for a client that vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// No wildcards, not empty.
    pub topic: Text,
    /// At most 65,535 bytes.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: Qos,
    /// The retain flag.
    pub retain: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Sent before, perhaps.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: Qos,
    /// The retain flag.
    pub retain: bool,
    /// No wildcards, not empty.
    pub topic: Text,
    /// Not 0 with QoS 1 and 2; 0 with QoS 0, where there is none on the wire.
    pub packet_id: u16,
    /// May be empty.
    pub payload: Bytes,
}

impl fmt::Debug for Connect {
    /// A user name tells who lives where and a password is a key: logs get the client id only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("keep_alive", &self.keep_alive)
            .field("clean", &self.clean)
            .finish_non_exhaustive()
    }
}

/// The four high bits of a packet's first byte, and what they settle about the rest.
mod kind {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const PUBREC: u8 = 5;
    pub(super) const PUBREL: u8 = 6;
    pub(super) const PUBCOMP: u8 = 7;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const UNSUBSCRIBE: u8 = 10;
    pub(super) const UNSUBACK: u8 = 11;
    pub(super) const PINGREQ: u8 = 12;
    pub(super) const PINGRESP: u8 = 13;
    pub(super) const DISCONNECT: u8 = 14;

    /// The four low bits, where the standard leaves no choice: SUBSCRIBE and two others carry 0b0010 for no reason
    /// that is still known, and a receiver closes on anything else [MQTT-2.2.2-2].
    pub(super) fn flags(kind: u8) -> u8 {
        if matches!(kind, PUBREL | SUBSCRIBE | UNSUBSCRIBE) { 0b0010 } else { 0 }
    }

    /// The remaining length, where there is but one.
    pub(super) fn length(kind: u8) -> Option<usize> {
        match kind {
            CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | UNSUBACK => Some(2),
            PINGREQ | PINGRESP | DISCONNECT => Some(0),
            _ => None,
        }
    }
}
