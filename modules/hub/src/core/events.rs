//! The upstream log: what reached `$upstream`, in four partitions, as the Event Hubs-compatible endpoint shows it.

use std::io;

use isotherm_iothub::{Identity, Message};
use jiff::Timestamp;

use super::Core;

/// Where an event came from (`iothub-message-source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// A device or a module sent it.
    Telemetry,
    /// A twin changed.
    TwinChange,
}

/// A message that reached upstream.
#[derive(Debug, Clone)]
pub struct Event {
    /// The partition, 0 to 3.
    pub partition: u8,
    /// Its number in the partition: dense, from 0.
    pub sequence: u64,
    /// When it was accepted.
    pub enqueued: Timestamp,
    /// What kind it is.
    pub source: EventSource,
    /// Who sent it.
    pub from: Identity,
    /// Which of the sender's lives.
    pub generation: String,
    /// The message, the sender's ids among its system properties.
    pub message: Message,
}

impl Event {
    /// The offset as text, as Event Hubs has it.
    pub fn offset(&self) -> String {
        self.sequence.to_string()
    }
}

/// Where to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// With the oldest there is.
    Earliest,
    /// With what comes next.
    Latest,
    /// With this number, or the oldest after it.
    At(u64),
    /// With the first accepted after this moment.
    After(Timestamp),
}

/// A partition at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The oldest number still there.
    pub first: u64,
    /// The number of the next; all below are durable and may be read.
    pub next: u64,
    /// When the last one was accepted.
    pub last_enqueued: Option<Timestamp>,
}

impl Core {
    /// How many partitions the upstream log has.
    pub const PARTITIONS: u8 = 4;

    /// A partition at this moment.
    ///
    /// # Panics
    /// When there is no such partition.
    pub fn partition(&self, partition: u8) -> Partition {
        let _ = partition;
        unimplemented!()
    }

    /// The partition a device's messages go to.
    pub fn partition_of(device_id: &str) -> u8 {
        let _ = device_id;
        unimplemented!()
    }

    /// The number to begin with.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn event_position(&self, partition: u8, position: Position) -> io::Result<u64> {
        let _ = (partition, position);
        unimplemented!()
    }

    /// Up to `max` durable events from number `from` on; fewer than `from` were given up if the first has a larger
    /// number. To follow the log: `store.on_events(wake)`, then read until nothing comes, then wait.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn events(&self, partition: u8, from: u64, max: usize) -> io::Result<Vec<Event>> {
        let _ = (partition, from, max);
        unimplemented!()
    }
}
