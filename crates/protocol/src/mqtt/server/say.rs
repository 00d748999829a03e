//! What a [`Server`](super::Server) is told, and what it tells.

use std::time::Duration;

use bytes::Bytes;

use crate::mqtt::codec::{Connect, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::mqtt::{ConnectCode, Fault, Qos, Text};

/// What one connection may cost. Whatever is above a limit ends the connection, unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// CONNECT has to be here by then.
    pub connect_within: Duration,
    /// Remaining length of the CONNECT, in bytes.
    pub connect_bytes_max: usize,
    /// Remaining length of any later packet, in bytes.
    pub packet_bytes_max: usize,
    /// Payload of a message, in bytes.
    pub payload_bytes_max: usize,
    /// A longer keep-alive counts as this one, as on IoT Hub.
    pub keep_alive_max: Duration,
    /// How long a client may be silent that promised nothing (keep-alive 0), as on edgeHub.
    pub silence_max: Duration,
    /// QoS 1 deliveries on their way at once; more wait with whoever delivers.
    pub window: usize,
    /// QoS 1 messages from the client that are not acknowledged yet. At this many
    /// [`Server::may_read`](super::Server::may_read) says no until some are; what was read before is still told.
    pub unacknowledged_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(10),
            connect_bytes_max: 65_536,
            packet_bytes_max: PACKET_BYTES_MAX,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            keep_alive_max: Duration::from_secs(1_177),
            silence_max: Duration::from_secs(600),
            window: 1_024,
            // edgeHub stops at 16. One sync answers for all that came meanwhile, so here a short leash would cost
            // a sync every sixteen messages; four thousand small ones are a few hundred kilobytes.
            unacknowledged_max: 4_096,
        }
    }
}

/// What a client does, in the order it does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// Someone introduces itself; wants [`ServerCommand::Accept`] or [`ServerCommand::Refuse`]. Nothing else is told
    /// before that.
    Connect(Box<Connect>),
    /// A message. QoS 1 wants [`ServerCommand::Acknowledge`] once it is safe.
    Publish {
        /// No wildcards, not empty.
        topic: Text,
        /// A slice of what was read; copy it before keeping it for long.
        payload: Bytes,
        /// 0 or 1.
        qos: Qos,
        /// 0 with QoS 0.
        packet_id: u16,
        /// Sent before, perhaps.
        dup: bool,
        /// The retain flag.
        retain: bool,
    },
    /// A delivery was acknowledged.
    Acknowledged {
        /// The token it was delivered with.
        token: u64,
    },
    /// Wants [`ServerCommand::Granted`]. QoS 2 was lowered to 1 already.
    Subscribe {
        /// To be answered under this.
        packet_id: u16,
        /// At least one.
        filters: Vec<(Text, Qos)>,
    },
    /// Wants [`ServerCommand::Unsubscribed`].
    Unsubscribe {
        /// To be answered under this.
        packet_id: u16,
        /// At least one.
        filters: Vec<Text>,
    },
    /// The client said goodbye; its will is void. The session is over.
    Disconnected,
    /// The session is over for another reason than bytes just read: a time-out, or nonsense among packets that were
    /// held until the client was accepted.
    Lapsed(Fault),
}

/// What the hub can ask of the session. Whatever is asked of a session that is over is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCommand {
    /// CONNACK 0; what the client sent meanwhile is told now.
    Accept {
        /// Whether subscriptions of an earlier connection still stand.
        session_present: bool,
    },
    /// CONNACK with a reason; the session is over.
    Refuse(ConnectCode),
    /// PUBLISH. With QoS 1 there must be room: [`Server::window`](super::Server::window).
    Deliver {
        /// Comes back in [`ServerEvent::Acknowledged`]; means nothing with QoS 0.
        token: u64,
        /// Where.
        topic: Text,
        /// What.
        payload: Bytes,
        /// 0 or 1.
        qos: Qos,
        /// It was sent before, on this connection or an earlier one.
        dup: bool,
    },
    /// PUBACK. In the order in which the messages came, if the client is to be pleased `[MQTT-4.6.0-2]`.
    Acknowledge {
        /// That of the publish.
        packet_id: u16,
    },
    /// SUBACK.
    Granted {
        /// That of the subscribe.
        packet_id: u16,
        /// One for each filter: 0, 1, or 0x80 for refused.
        codes: Vec<u8>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// That of the unsubscribe.
        packet_id: u16,
    },
    /// Nothing more is read; what waits to be written still goes out.
    Close,
}
