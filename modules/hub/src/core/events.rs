//! The upstream log: what reached `$upstream`, in four partitions, as the Event Hubs-compatible endpoint shows it.

use std::io;

use bytes::Bytes;
use isotherm_iothub::{Identity, Message, SystemProperty};
use jiff::Timestamp;

use super::Core;
use super::record::EventRecord;

/// Bytes of events handed out at once, about.
const READ_BYTES_MAX: usize = 1 << 20;

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
    /// Whether it goes upstream first while it is fresh.
    pub fresh: bool,
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
        let journal = &self.events[usize::from(partition)].journal;
        let (first, next) = (journal.first(), journal.durable().max(journal.first()));
        let last = next.checked_sub(1).filter(|last| *last >= first);
        let last_enqueued = last.and_then(|last| self.enqueued_at(partition, last).ok().flatten());
        Partition { first, next, last_enqueued }
    }

    /// The partition a device's messages go to.
    pub fn partition_of(device_id: &str) -> u8 {
        partition_of(device_id)
    }

    /// The number to begin with.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn event_position(&self, partition: u8, position: Position) -> io::Result<u64> {
        let Partition { first, next, .. } = self.partition(partition);
        match position {
            Position::Earliest => Ok(first),
            Position::Latest => Ok(next),
            Position::At(number) => Ok(number.max(first)),
            Position::After(moment) => self.first_after(partition, first, next, moment),
        }
    }

    /// Up to `max` durable events from number `from` on; fewer than `from` were given up if the first has a larger
    /// number. To follow the log: `store.on_events(wake)`, then read until nothing comes, then wait.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn events(&self, partition: u8, from: u64, max: usize) -> io::Result<Vec<Event>> {
        let journal = &self.events[usize::from(partition)].journal;
        let durable = journal.durable();
        if from >= durable {
            return Ok(Vec::new());
        }
        let records = journal.read(from, max, READ_BYTES_MAX)?;
        let records = records.into_iter().take_while(|(number, _)| *number < durable);
        Ok(records.filter_map(|(number, record)| event(partition, number, record)).collect())
    }
}

impl Core {
    fn enqueued_at(&self, partition: u8, number: u64) -> io::Result<Option<Timestamp>> {
        let records = self.events[usize::from(partition)].journal.read(number, 1, 1)?;
        let record = records.into_iter().next();
        Ok(record.and_then(|(_, record)| EventRecord::read(record)).map(|event| event.enqueued))
    }

    /// Halves the range until it finds the first accepted after the moment.
    fn first_after(&self, partition: u8, first: u64, next: u64, moment: Timestamp) -> io::Result<u64> {
        let (mut low, mut high) = (first, next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.enqueued_at(partition, middle)? {
                Some(at) if at > moment => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }
}

/// FNV-1a over the id, its bits mixed once more: the same device, the same partition, always.
pub(super) fn partition_of(device_id: &str) -> u8 {
    let hash = device_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) % u64::from(Core::PARTITIONS)) as u8
}

fn event(partition: u8, sequence: u64, record: Bytes) -> Option<Event> {
    let EventRecord { source, fresh, enqueued, generation, message } = EventRecord::read(record)?;
    let message = Message::decode(message).ok()?;
    let device = message.system.get(SystemProperty::ConnectionDeviceId)?;
    let from = Identity::of(device, message.system.get(SystemProperty::ConnectionModuleId)).ok()?;
    let generation = generation.to_string();
    Some(Event { partition, sequence, enqueued, source, from, generation, fresh, message })
}
