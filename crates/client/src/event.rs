//! What comes from the hub, what goes wrong, and what was done so far.

use isotherm_host::WiringError;
use isotherm_iothub::{MESSAGE_BYTES_MAX, Message};
use isotherm_journal::JournalError;
use serde_json::Value;

/// What comes from the hub.
#[derive(Debug)]
pub enum Event {
    /// The whole desired section with its `$version`, whenever it has changed. The first one comes from the state
    /// folder, before the hub is reached, if there ever was one; else it comes before the first
    /// [`Input`](Self::Input): a module that does not know its settings yet takes none.
    Desired(Value),
    /// A message on one of the module's inputs.
    Input {
        /// The input's name; over a plain broker, the topic.
        name: String,
        /// What it says.
        message: Message,
        /// To be given to [`Client::accept`](crate::Client::accept) once it is dealt with.
        delivery: Delivery,
    },
    /// A message from the cloud.
    CloudToDevice {
        /// What it says.
        message: Message,
        /// To be given to [`Client::accept`](crate::Client::accept) once it is dealt with.
        delivery: Delivery,
    },
    /// Somebody calls a direct method; to be answered with [`Client::respond`](crate::Client::respond).
    Method(Call),
    /// The hub has accepted the connection.
    Connected,
    /// The connection is gone, and another is on its way. Nothing needs to be done.
    Disconnected {
        /// In words.
        reason: String,
    },
    /// The process is to end. Comes again at each call.
    Stop,
}

/// What [`Client::next_or_delivered`](crate::Client::next_or_delivered) waits for.
#[derive(Debug)]
pub enum Progress {
    /// Something came.
    Event(Event),
    /// All messages below this number have been acknowledged.
    Delivered(u64),
    /// The hub does not let this identity in: it is unknown or disabled there, or its key is wrong. Comes once, until
    /// a connection was let in again; it is tried on.
    Refused {
        /// In words.
        reason: String,
    },
}

/// A direct method that waits for its answer.
#[derive(Debug)]
pub struct Call {
    /// The method's name.
    pub name: String,
    /// What the caller gave; `null` if nothing.
    pub payload: Value,
    /// The request id, which the answer repeats.
    pub rid: String,
}

/// The claim on one delivered message. It belongs to the connection that the message came by: after a reconnect the
/// hub delivers again what was not accepted, with a new claim, and the old one means nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which connection, counted from 1.
    pub(crate) epoch: u64,
    /// What the connection knows it by; 0 if no acknowledgement is wanted.
    pub(crate) id: u32,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A variable is missing or makes no sense.
    #[error("{0}")]
    Wiring(#[source] WiringError),
    /// The state folder cannot be used; perhaps another process has it.
    #[error("{0}")]
    State(#[source] std::io::Error),
    /// The outbox cannot be opened.
    #[error("the outbox: {0}")]
    Outbox(#[source] JournalError),
}

impl From<WiringError> for ConnectError {
    fn from(error: WiringError) -> Self {
        Self::Wiring(error)
    }
}

/// Why a message was not taken, or is not on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is larger than any hub takes.
    #[error(
        "a message of {bytes} bytes is larger than the hub takes; {MESSAGE_BYTES_MAX} is the limit, properties included"
    )]
    TooLarge {
        /// Its size in bytes, as quotas count.
        bytes: usize,
    },
    /// Its properties do not fit into a topic.
    #[error("the message's properties make a topic of {bytes} bytes; 65535 is the limit")]
    TooManyProperties {
        /// The size of the topic in bytes.
        bytes: usize,
    },
    /// The outbox is full and was told to refuse; or it is smaller than this one message.
    #[error("the outbox is full of messages that the hub has not taken yet; OUTBOX_BYTES_MAX is its limit")]
    Full,
    /// Over a plain broker there is nowhere to send to.
    #[error("OUTPUT_TOPIC is not set, so there is no topic to send to")]
    NoOutput,
    /// The process was told to end before the disk took it. It was kept in memory only.
    #[error("the process ends before the disk has taken the message")]
    Stopped,
}

/// Why a method brought no result.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The hub could not be reached, or did not answer in time.
    #[error("the hub could not be reached: {0}")]
    Unreachable(String),
    /// The hub said no: nobody of that name, not connected, no answer in time.
    #[error("the hub answered {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the hub said.
        reason: String,
    },
    /// There are no methods over a plain broker.
    #[error("a plain broker has no methods")]
    NoHub,
}

/// What was done so far, since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages taken into the outbox.
    pub sent: u64,
    /// Messages that the hub has acknowledged.
    pub delivered: u64,
    /// Messages that the hub refused for good, over AMQP, where it can say so.
    pub refused: u64,
    /// Messages that gave way in a full outbox.
    pub dropped: u64,
    /// Messages that could not be read back from the disk.
    pub unreadable: u64,
    /// Connections after the first, over MQTT renewals of the token among them.
    pub reconnects: u64,
    /// Reported patches that the hub refused.
    pub reports_refused: u64,
}
