//! What was promised and not yet delivered: messages in a journal, and the bookmark beside them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use isotherm_host::{Disk, Host, MemoryDisk};
use isotherm_iothub::{MESSAGE_BYTES_MAX, Message};
use isotherm_journal::{Journal, JournalError, Offset, Settings};
use tracing::{info, warn};

use crate::{Custody, Options, SendError, WhenFull};

/// Encoding adds at most this many bytes to what [`Message::size`] counts, for each property.
const ENCODED_EXTRA_BYTES: usize = 16;
/// What the journal puts before each, in bytes.
const RECORD_EXTRA_BYTES: usize = 16;
/// A read takes at most this many bytes at a time, so that little memory is held.
const READ_BYTES: usize = 64 << 10;
/// Synced messages that stay in memory: enough that a connection that keeps up never asks the disk.
const TAIL_BYTES: usize = 64 << 10;

/// One identity's outbox.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    journal: Journal,
    when_full: WhenFull,
    limit_bytes: u64,
    custody: Custody,
    /// All below may not be published before it is on disk.
    disk_first: Arc<AtomicU64>,
    /// Whether a commit may take long.
    durable: bool,
}

/// The most bytes that a message takes once it is encoded.
fn encoded_bytes(message: &Message) -> usize {
    let properties = message.system.len() + message.properties.len() + 1;
    message.size() + properties * ENCODED_EXTRA_BYTES
}

impl Outbox {
    pub(crate) fn open(host: &Host, options: &Options) -> Result<Self, JournalError> {
        let disk: Arc<dyn Disk> = match options.custody {
            Custody::Disk => host.disk.clone(),
            Custody::HandToHand => Arc::new(MemoryDisk::new()),
        };
        let limit_bytes = options.outbox_bytes_max;
        let settings = Settings { limit_bytes, tail_bytes: TAIL_BYTES, ..Settings::default() };
        let durable = disk.is_durable();
        let (journal, found) = Journal::open(disk, &options.state_dir.join("outbox"), settings)?;
        if found.corrupt_records > 0 {
            warn!(messages = found.corrupt_records, "messages in the outbox are damaged on disk and lost");
        }
        if found.records > 0 {
            info!(messages = found.records, "the outbox still holds messages for the hub");
        }
        Ok(Self {
            journal,
            when_full: options.when_full,
            limit_bytes,
            custody: options.custody,
            disk_first: Arc::default(),
            durable,
        })
    }

    /// Whether all of these would be taken; older ones give way, if that is the policy.
    pub(crate) fn has_room(&self, messages: &[Message]) -> bool {
        let wanted: usize = messages.iter().map(|message| RECORD_EXTRA_BYTES + encoded_bytes(message)).sum();
        self.when_full == WhenFull::DropOldest || self.journal.bytes() + wanted as u64 <= self.limit_bytes
    }

    /// Takes a message in; says how many older ones gave way, if that is the policy.
    pub(crate) fn put(&self, message: &Message) -> Result<u64, SendError> {
        let bytes = message.size();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge { bytes });
        }
        let size = encoded_bytes(message);
        let mut dropped = 0;
        loop {
            match self.journal.append_with(size, |into| message.encode(into)) {
                Ok(_) => return Ok(dropped),
                Err(full) if self.when_full == WhenFull::DropOldest && self.held() > 0 => {
                    dropped += self.journal.drop_oldest(full.wanted);
                }
                Err(_) => return Err(SendError::Full),
            }
        }
    }

    pub(crate) fn set_bookmark(&self, bookmark: &[u8]) {
        self.journal.set_note(bookmark);
    }

    pub(crate) fn bookmark(&self) -> Option<Bytes> {
        self.journal.note()
    }

    pub(crate) fn next(&self) -> Offset {
        self.journal.next()
    }

    pub(crate) fn held(&self) -> u64 {
        self.journal.next() - self.journal.first()
    }

    /// All below is in safe hands: on our disk, or in the hub's.
    pub(crate) fn kept(&self) -> Offset {
        match self.custody {
            Custody::Disk => self.journal.durable().max(self.journal.first()),
            Custody::HandToHand => self.journal.first(),
        }
    }

    /// All below may be told to whoever sends: with hand-to-hand custody, nothing more is promised than that it was
    /// taken.
    pub(crate) fn taken(&self) -> Offset {
        match self.custody {
            Custody::Disk => self.kept(),
            Custody::HandToHand => self.journal.next(),
        }
    }

    /// What was put so far may be published only once it is on disk: after a crash, whoever made it might make
    /// another message under the same number.
    pub(crate) fn disk_first(&self) {
        self.disk_first.store(self.journal.next(), Ordering::Release);
    }

    /// All below may be published; with a failing disk everything, for then the hub is the safer place.
    pub(crate) fn publishable(&self, disk_fails: bool) -> Offset {
        let durable = self.journal.durable();
        let waits = self.custody == Custody::Disk && durable < self.disk_first.load(Ordering::Acquire);
        if waits && !disk_fails { durable } else { self.journal.next() }
    }

    /// Some messages from `from` on, as they were put.
    pub(crate) fn read(&self, from: Offset, max: usize) -> io::Result<Vec<(Offset, Bytes)>> {
        self.journal.read(from, max, READ_BYTES)
    }

    /// The hub has everything below.
    pub(crate) fn delivered(&self, below: Offset) {
        self.journal.forget(below);
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.custody == Custody::Disk && self.journal.is_dirty()
    }

    /// Whether a message waits for a commit, and not only the word that some are delivered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.custody == Custody::Disk && self.journal.durable() < self.journal.next()
    }

    pub(crate) fn commit(&self) -> io::Result<Offset> {
        self.journal.commit()
    }

    /// Whether a commit has to wait for a disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }
}

#[cfg(test)]
mod tests {
    use isotherm_iothub::{Identity, Key};

    use super::*;
    use crate::Credentials;

    fn outbox(custody: Custody) -> Outbox {
        let host = Host::real().with_disk(Arc::new(MemoryDisk::new()));
        let credentials = Credentials::Key(Key::from_bytes(&[7; 32]));
        let options = Options::new(Identity::device("d").unwrap(), "hub", credentials);
        Outbox::open(&host, &Options { custody, ..options }).unwrap()
    }

    #[test]
    fn what_is_sent_waits_for_the_disk_and_what_is_posted_after_it_waits_too() {
        let outbox = outbox(Custody::Disk);
        outbox.put(&Message::new("sent")).unwrap();
        outbox.disk_first();
        assert_eq!((outbox.publishable(false), outbox.taken()), (0, 0));
        outbox.put(&Message::new("posted")).unwrap();
        assert_eq!(outbox.publishable(false), 0, "in order");
        assert_eq!(outbox.publishable(true), 2, "while the disk fails, the hub is the safer place");
        outbox.commit().unwrap();
        outbox.put(&Message::new("posted")).unwrap();
        assert_eq!((outbox.publishable(false), outbox.kept()), (3, 2));
        outbox.delivered(3);
        assert_eq!(outbox.kept(), 3, "the hub has it, so it is in safe hands");
    }

    #[test]
    fn hand_to_hand_nothing_waits_for_a_disk_and_nothing_is_kept_before_the_hub_has_it() {
        let outbox = outbox(Custody::HandToHand);
        outbox.put(&Message::new("sent")).unwrap();
        outbox.disk_first();
        assert_eq!((outbox.publishable(false), outbox.taken(), outbox.kept()), (1, 1, 0));
        assert!(!outbox.is_dirty() && !outbox.is_waiting());
        outbox.delivered(1);
        assert_eq!(outbox.kept(), 1);
    }
}
