//! MQTT 3.1.1. [`Server`] is the hub's end, [`ClientSession`] the other; [`codec`] reads and writes the packets.
//!
//! <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html>; a number such as `[MQTT-3.3.1-4]` in a
//! comment is a statement of that text.
//!
//! The two ends need nothing but each other:
//!
//! ```
//! use bytes::BytesMut;
//! use isotherm_protocol::Session;
//! use isotherm_protocol::mqtt::{ClientEvent, ClientSession, ConnectOptions, Limits, Server, ServerCommand, ServerEvent};
//!
//! let now = std::time::Instant::now();
//! let mut client = ClientSession::new(now, ConnectOptions { client_id: "edge/sensor".into(), ..Default::default() });
//! let mut server = Server::new(now, Limits::default());
//!
//! let mut wire = BytesMut::new();
//! client.poll_transmit(&mut wire);
//! server.handle_bytes(now, &mut wire)?;
//! let Some(ServerEvent::Connect(connect)) = server.poll_event() else { panic!("nobody came") };
//! assert_eq!(connect.client_id, "edge/sensor");
//!
//! server.handle_command(now, ServerCommand::Accept { session_present: false });
//! server.poll_transmit(&mut wire);
//! client.handle_bytes(now, &mut wire)?;
//! assert_eq!(client.poll_event(), Some(ClientEvent::Connected { session_present: false }));
//! # Ok::<(), isotherm_protocol::Malformed>(())
//! ```

mod client;
pub mod codec;
mod fault;
mod server;
mod text;

pub use client::{ClientCommand, ClientEvent, ClientSession, ConnectOptions, LastWill};
pub use codec::{Connect, Packet, Will};
pub use fault::Fault;
pub use server::{Limits, Server, ServerCommand, ServerEvent};
pub use text::Text;

/// How hard a message is to be delivered. There is no third level here: IoT Hub closes on QoS 2, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0: sent and forgotten.
    AtMostOnce = 0,
    /// QoS 1: kept until it is acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: understood on the wire, so that it can be answered; never granted.
    ExactlyOnce = 2,
}

/// The hub's answer to CONNECT, as it stands in CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectCode {
    /// 0: welcome.
    Accepted = 0,
    /// 1: only protocol level 4 is spoken here.
    BadProtocolLevel = 1,
    /// 2: not a client id that could be accepted.
    IdentifierRejected = 2,
    /// 3: try again later; clients retry on this one.
    ServerUnavailable = 3,
    /// 4: not used by IoT Hub, but part of the protocol.
    BadUserNameOrPassword = 4,
    /// 5: not authorised; clients give up on this one.
    NotAuthorized = 5,
}

impl ConnectCode {
    /// The code as it stands on the wire.
    pub fn of(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Accepted,
            1 => Self::BadProtocolLevel,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}
