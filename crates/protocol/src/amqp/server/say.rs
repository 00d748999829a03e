//! What a [`Server`](super::Server) is told, and what it tells.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::amqp::{Attach, DeliveryState, Error, Fault, Map, Message, Open, SaslCode, SaslInit, Text};

/// Who the hub is, and what one connection may cost. Shared by all connections. Whatever is above a limit ends the
/// connection, unless it says otherwise.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the hub calls itself in `open`.
    pub container_id: Text,
    /// What is offered to a client that begins with SASL. Leave EXTERNAL away where there is no certificate.
    pub mechanisms: Vec<Text>,
    /// `open` has to be here by then, not counting the time in which the hub looks at SASL credentials.
    pub open_within: Duration,
    /// Said in `open`: a client that is silent for one and a half of it is gone. Clients send an empty frame after
    /// half of it.
    pub idle_time_out: Duration,
    /// Of one frame, in bytes; the peer may want smaller ones and gets them.
    pub frame_bytes_max: u32,
    /// Of one message in all its frames, in bytes. A larger one costs its link, with an error that clients know.
    pub message_bytes_max: usize,
    /// Of all messages together whose last frame has not come, in bytes.
    pub buffered_bytes_max: usize,
    /// Sessions at once.
    pub sessions_max: u16,
    /// Links at once, in all sessions.
    pub links_max: usize,
    /// Links at once in one session; handles are below this.
    pub handles_max: u32,
    /// Of one `attach`, in bytes: names, addresses, filters, properties.
    pub attach_bytes_max: usize,
    /// Transfers that a session takes before it has to hear more; it hears in time.
    pub window: u32,
    /// Messages from the client that are not settled yet. At this many [`Server::may_read`](super::Server::may_read)
    /// says no until some are; what was read before is still told.
    pub unsettled_max: usize,
    /// Deliveries to the client that are not settled yet, in one session: then there is no
    /// [`room`](super::Server::room) until some are.
    pub deliveries_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            container_id: Text::from_static("isotherm"),
            mechanisms: ["MSSBCBS", "ANONYMOUS", "PLAIN", "EXTERNAL"].map(Text::from_static).into(),
            open_within: Duration::from_secs(10),
            idle_time_out: Duration::from_secs(240), // as edgeHub
            frame_bytes_max: 65_536,
            message_bytes_max: 262_144 + 32_768, // IoT Hub's 256 KiB, and room for what surrounds a body
            buffered_bytes_max: 2 << 20,
            sessions_max: 64,
            links_max: 256,
            handles_max: 256,
            attach_bytes_max: 16_384,
            window: 2_048,
            unsettled_max: 4_096,
            deliveries_max: 4_096,
        }
    }
}

/// One link for as long as its connection lasts. Never used again for another, so a command that comes too late for
/// its link is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub(super) serial: u32,
    pub(super) channel: u16,
    pub(super) handle: u16,
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} ({}/{})", self.serial, self.channel, self.handle)
    }
}

/// What a client does, in the order it does it.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerEvent {
    /// A client begins with SASL; wants [`ServerCommand::SaslOutcome`], and nothing else is told before that.
    /// MSSBCBS and ANONYMOUS prove nothing: who it is, is said to `$cbs` later.
    Sasl(Box<SaslInit>),
    /// The connection is open, and answered already. Without a [`ServerEvent::Sasl`] before it there was no SASL.
    Opened(Box<Open>),
    /// A link is asked for; wants [`ServerCommand::Accept`] or [`ServerCommand::Refuse`]. The role in it is that of the
    /// client: [`Sender`](crate::amqp::Role::Sender) means that its messages come to us, for the target's address.
    Attached {
        /// Names the link from here on.
        link: LinkId,
        /// All that the client said.
        attach: Arc<Attach>,
    },
    /// A message came. Unless it is settled it wants [`ServerCommand::Settle`] once it is safe.
    Message {
        /// On which link.
        link: LinkId,
        /// To settle it by.
        delivery: u32,
        /// What its sender calls it.
        tag: Bytes,
        /// The sender does not want to hear what becomes of it.
        settled: bool,
        /// 0, or [`BATCH_FORMAT`](crate::amqp::BATCH_FORMAT).
        format: u32,
        /// Slices of what was read; copy what is kept for long.
        message: Box<Message>,
    },
    /// The client said what became of a delivery.
    Disposition {
        /// On which link.
        link: LinkId,
        /// Of the delivery, in the session.
        delivery: u32,
        /// The token it was sent with.
        token: u64,
        /// Nothing if it was settled without a word: the source's default outcome counts then.
        state: Option<DeliveryState>,
        /// Over and done. If not, the client settles second and wants [`ServerCommand::Settle`].
        settled: bool,
    },
    /// The client's credit on a link changed; [`Server::room`](super::Server::room) has how many may be sent.
    Credit {
        /// On which link.
        link: LinkId,
        /// What it has now.
        credit: u32,
        /// Credit that cannot be used at once is to be given up: [`ServerCommand::Drained`].
        drain: bool,
    },
    /// A session's window was shut and has opened: links that had credit may have room again.
    WindowOpened,
    /// A link is gone, with all that was unsettled on it. Not told of links that the hub itself detached.
    Detached {
        /// Which one.
        link: LinkId,
        /// The client's reason; or ours, if a message was too large.
        error: Option<Error>,
    },
    /// The client said goodbye and was answered. The session is over, and so are all links.
    Closed(Option<Error>),
    /// The session is over for another reason than bytes just read: a time-out, or nonsense that was held until SASL
    /// had its outcome.
    Lapsed(Fault),
}

/// What the hub can ask of the session. Whatever is asked of a session that is over, or of a link that is gone, is
/// ignored.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerCommand {
    /// The answer to [`ServerEvent::Sasl`]. Anything but [`SaslCode::Ok`] ends the session.
    SaslOutcome(SaslCode),
    /// Answers an attach with what it asked for.
    Accept {
        /// Which one.
        link: LinkId,
        /// If the client sends: how many messages may be unsettled at once. It is topped up as they are settled.
        credit: u32,
        /// The address of a dynamic node, if one was asked for.
        address: Option<Text>,
        /// The link's properties on our side.
        properties: Map,
    },
    /// Refuses an attach: answered with no terminus on our side, then detached with this. azure-eventhub does not
    /// understand the former: there, accept and then detach.
    Refuse {
        /// Which one.
        link: LinkId,
        /// Why.
        error: Error,
    },
    /// Changes how many messages of a client may be unsettled at once; 0 stops it.
    Grant {
        /// On which link.
        link: LinkId,
        /// How many.
        credit: u32,
    },
    /// Sends a message. There must be room: [`Server::room`](super::Server::room).
    Send {
        /// On which link.
        link: LinkId,
        /// Comes back in [`ServerEvent::Disposition`].
        token: u64,
        /// At most 32 bytes; clients in C# want 16.
        tag: Bytes,
        /// Nobody wants to hear what becomes of it. So it is in any case on a link that settles everything.
        settled: bool,
        /// What.
        message: Box<Message>,
    },
    /// Settles a message that came, or second after the client a delivery that went.
    Settle {
        /// On which link.
        link: LinkId,
        /// As told in [`ServerEvent::Message`] or [`ServerEvent::Disposition`].
        delivery: u32,
        /// What became of it.
        state: DeliveryState,
    },
    /// Nothing more to send: what credit is left is given up, and the client is told.
    Drained {
        /// On which link.
        link: LinkId,
    },
    /// Takes a link off. Nothing more is told of it.
    Detach {
        /// Which one.
        link: LinkId,
        /// Why.
        error: Option<Error>,
    },
    /// Says goodbye. Nothing more is read; what waits to be written still goes out.
    Close(Option<Error>),
}

impl ServerCommand {
    /// Accepts an attach as it is.
    pub fn accept(link: LinkId, credit: u32) -> Self {
        Self::Accept { link, credit, address: None, properties: Map::new() }
    }

    /// Settles as accepted.
    pub fn accepted(link: LinkId, delivery: u32) -> Self {
        Self::Settle { link, delivery, state: DeliveryState::Accepted }
    }
}
