//! The nine performatives, as they stand in frames. Each is written with all of its fields, trailing nulls included:
//! azure-eventhub reads them by position.

mod read;
mod write;

use bytes::Bytes;

use super::state::Error;
use super::{DeliveryState, Map, Source, Target, Text, Value};

pub(super) use write::transfer;

/// What a frame says.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named as the standard names it and holds what has its name")]
pub enum Performative {
    Open(Box<Open>),
    Begin(Box<Begin>),
    Attach(Box<Attach>),
    Flow(Flow),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(Option<Error>),
    Close(Option<Error>),
}

/// Begins a connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Open {
    /// Who is at this end.
    pub container_id: Text,
    /// The host that the client means.
    pub hostname: Option<Text>,
    /// The largest frame that this end takes, in bytes; 0xffff_ffff if nothing was said.
    pub max_frame_size: u32,
    /// The highest channel that this end takes; 65,535 if nothing was said.
    pub channel_max: u16,
    /// After how many milliseconds of silence this end gives up.
    pub idle_time_out: Option<u32>,
    /// Languages.
    pub outgoing_locales: Value,
    /// Languages.
    pub incoming_locales: Value,
    /// Extensions.
    pub offered_capabilities: Value,
    /// Extensions.
    pub desired_capabilities: Value,
    /// Product, version, platform.
    pub properties: Map,
}

/// Begins a session on the channel of its frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Begin {
    /// In an answer: the channel that it answers.
    pub remote_channel: Option<u16>,
    /// The first transfer's id.
    pub next_outgoing_id: u32,
    /// How many transfers this end takes.
    pub incoming_window: u32,
    /// How many transfers this end may send.
    pub outgoing_window: u32,
    /// The highest handle that this end takes; 0xffff_ffff if nothing was said.
    pub handle_max: u32,
    /// Extensions.
    pub offered_capabilities: Value,
    /// Extensions.
    pub desired_capabilities: Value,
    /// Extensions.
    pub properties: Map,
}

/// Which end of a link someone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends the messages.
    Sender,
    /// It receives them.
    Receiver,
}

/// Whether the sender waits to hear what became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum SenderSettles {
    /// Always.
    Unsettled = 0,
    /// Never: every delivery is settled when it is sent.
    Settled = 1,
    /// As it likes.
    #[default]
    Mixed = 2,
}

/// Who settles first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum ReceiverSettles {
    /// The receiver, as soon as it knows the outcome.
    #[default]
    First = 0,
    /// The receiver says the outcome, the sender settles, then the receiver does.
    Second = 1,
}

/// Attaches a link to a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Attach {
    /// Its name, unique between two containers.
    pub name: Text,
    /// Its number in the session.
    pub handle: u32,
    /// What the end is that says this.
    pub role: Role,
    /// Whether the sender waits.
    pub snd_settle_mode: SenderSettles,
    /// Who settles first.
    pub rcv_settle_mode: ReceiverSettles,
    /// Where the messages come from.
    pub source: Option<Source>,
    /// Where they go.
    pub target: Option<Target>,
    /// Of an earlier connection. Links are never resumed here, so this is only ever read, and let go.
    pub unsettled: Map,
    /// There is more of it than fits.
    pub incomplete_unsettled: bool,
    /// Always there if the role is the sender's.
    pub initial_delivery_count: Option<u32>,
    /// The largest message that this end takes, in bytes; 0 or nothing if there is no bound.
    pub max_message_size: Option<u64>,
    /// Extensions.
    pub offered_capabilities: Value,
    /// Extensions.
    pub desired_capabilities: Value,
    /// Such as `com.microsoft:client-version`.
    pub properties: Map,
}

/// Says how much may come: to a session, and to a link if it has a handle.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flow {
    /// The next transfer that is expected; nothing before the peer's begin was seen.
    pub next_incoming_id: Option<u32>,
    /// How many transfers from there.
    pub incoming_window: u32,
    /// The id of the next transfer that this end sends.
    pub next_outgoing_id: u32,
    /// How many it may send.
    pub outgoing_window: u32,
    /// The link, if it is about one.
    pub handle: Option<u32>,
    /// How many deliveries there were on the link, as far as this end knows.
    pub delivery_count: Option<u32>,
    /// How many more may come from there.
    pub link_credit: Option<u32>,
    /// How many wait at the sender.
    pub available: Option<u32>,
    /// Credit that cannot be used is to be used up.
    pub drain: bool,
    /// An answer is wanted.
    pub echo: bool,
    /// Extensions.
    pub properties: Map,
}

/// A message, or a piece of one; the piece follows in the same frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transfer {
    /// The link.
    pub handle: u32,
    /// The delivery's number in the session; always there on the first piece.
    pub delivery_id: Option<u32>,
    /// The delivery's name; always there on the first piece.
    pub delivery_tag: Option<Bytes>,
    /// 0, or [`BATCH_FORMAT`](super::BATCH_FORMAT).
    pub message_format: Option<u32>,
    /// The sender does not wait to hear what becomes of it.
    pub settled: Option<bool>,
    /// More pieces follow.
    pub more: bool,
    /// Who settles first, if that is not as the link has it.
    pub rcv_settle_mode: Option<u8>,
    /// Of a resumed delivery.
    pub state: Option<DeliveryState>,
    /// A delivery of an earlier connection goes on. Never so here.
    pub resume: bool,
    /// Forget the pieces.
    pub aborted: bool,
    /// A disposition may wait for others.
    pub batchable: bool,
}

/// What became of one or more deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct Disposition {
    /// What the end is, of the links in question, that says this.
    pub role: Role,
    /// The first delivery.
    pub first: u32,
    /// The last one; the first if nothing was said.
    pub last: Option<u32>,
    /// This end has forgotten them.
    pub settled: bool,
    /// What became of them.
    pub state: Option<DeliveryState>,
    /// An answer may wait for others.
    pub batchable: bool,
}

/// Takes a link off.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detach {
    /// The link.
    pub handle: u32,
    /// For good. Otherwise it might be resumed, which never happens here.
    pub closed: bool,
    /// Why.
    pub error: Option<Error>,
}
