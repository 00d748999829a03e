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
use isotherm_journal::{Group, Journal, JournalError, Offset, Settings};
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

/// Size of a segment in memory: what was delivered is let go of by whole segments.
const MEMORY_SEGMENT_BYTES: u64 = 256 << 10;

/// One identity's outbox.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    journal: Journal,
    when_full: WhenFull,
    limit_bytes: u64,
    custody: Custody,
    /// What was sent ends here: it is published only once it is on disk.
    disk_first: Arc<AtomicU64>,
    /// Whether a commit may take long.
    durable: bool,
}

/// The most bytes that a message takes once it is encoded.
fn encoded_bytes(message: &Message) -> usize {
    let properties = message.system.len() + message.properties.len() + 1;
    message.size() + properties * ENCODED_EXTRA_BYTES
}

fn check_size(message: &Message) -> Result<(), SendError> {
    let bytes = message.size();
    if bytes > MESSAGE_BYTES_MAX { Err(SendError::TooLarge { bytes }) } else { Ok(()) }
}

impl Outbox {
    pub(crate) fn open(host: &Host, options: &Options) -> Result<Self, JournalError> {
        let disk: Arc<dyn Disk> = match options.custody {
            Custody::Disk => host.disk.clone(),
            Custody::HandToHand => Arc::new(MemoryDisk::new()),
        };
        let limit_bytes = options.outbox_bytes_max;
        let mut settings = Settings { limit_bytes, tail_bytes: TAIL_BYTES, ..Settings::default() };
        if options.custody == Custody::HandToHand {
            settings.segment_bytes = MEMORY_SEGMENT_BYTES;
        }
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
        check_size(message)?;
        self.journal.group(|group| self.put_into(group, message))
    }

    /// Takes messages in as one, with the bookmark that is true once they are kept: they and it go to disk together,
    /// and none of them may be published before. Says how many older ones gave way.
    pub(crate) fn put_all(&self, messages: &[Message], bookmark: Option<&[u8]>) -> Result<u64, SendError> {
        messages.iter().try_for_each(check_size)?;
        self.journal.group(|group| {
            let mut dropped = 0;
            for message in messages {
                dropped += self.put_into(group, message)?;
            }
            if let Some(bookmark) = bookmark {
                group.set_note(bookmark);
            }
            self.disk_first.store(group.next(), Ordering::Release);
            Ok(dropped)
        })
    }

    fn put_into(&self, group: &mut Group<'_>, message: &Message) -> Result<u64, SendError> {
        let size = encoded_bytes(message);
        let mut dropped = 0;
        loop {
            match group.append_with(size, |into| message.encode(into)) {
                Ok(_) => return Ok(dropped),
                Err(full) if self.when_full == WhenFull::DropOldest && group.held() > 0 => {
                    dropped += group.drop_oldest(full.wanted);
                }
                Err(_) => return Err(SendError::Full),
            }
        }
    }

    pub(crate) fn bookmark(&self) -> Option<Bytes> {
        self.journal.note()
    }

    pub(crate) fn next(&self) -> Offset {
        self.journal.next()
    }

    /// All below is delivered, or was let go of.
    pub(crate) fn first(&self) -> Offset {
        self.journal.first()
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

    /// All below may be published. What was sent waits for the disk, however long that takes: after a crash, whoever
    /// made it might make another message under the same number, and a reader who drops repeats would lose that one.
    pub(crate) fn publishable(&self) -> Offset {
        let durable = self.journal.durable();
        let waits = self.custody == Custody::Disk && durable < self.disk_first.load(Ordering::Acquire);
        if waits { durable } else { self.journal.next() }
    }

    /// How many messages are held back until the disk has them.
    pub(crate) fn held_back(&self) -> u64 {
        let next = self.journal.next();
        next.saturating_sub(self.publishable().max(self.journal.first()))
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

    /// Whether a message is in nobody's hands yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.custody == Custody::Disk && self.kept() < self.journal.next()
    }

    /// Whether somebody waits for a commit: what was sent is published only after it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.custody == Custody::Disk && self.journal.durable() < self.disk_first.load(Ordering::Acquire)
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

    fn send(outbox: &Outbox, bodies: &[&'static str], bookmark: Option<&[u8]>) -> Result<u64, SendError> {
        let messages: Vec<Message> = bodies.iter().map(|body| Message::new(*body)).collect();
        outbox.put_all(&messages, bookmark)
    }

    #[test]
    fn what_is_sent_waits_for_the_disk_and_what_is_posted_after_it_waits_too() {
        let outbox = outbox(Custody::Disk);
        send(&outbox, &["sent"], None).unwrap();
        assert_eq!((outbox.publishable(), outbox.taken(), outbox.held_back()), (0, 0, 1));
        outbox.put(&Message::new("posted")).unwrap();
        assert_eq!((outbox.publishable(), outbox.held_back()), (0, 2), "in order");
        outbox.commit().unwrap();
        outbox.put(&Message::new("posted")).unwrap();
        assert_eq!((outbox.publishable(), outbox.kept(), outbox.held_back()), (3, 2, 0));
        outbox.delivered(3);
        assert_eq!(outbox.kept(), 3, "the hub has it, so it is in safe hands");
    }

    #[test]
    fn hand_to_hand_nothing_waits_for_a_disk_and_nothing_is_kept_before_the_hub_has_it() {
        let outbox = outbox(Custody::HandToHand);
        send(&outbox, &["sent"], None).unwrap();
        assert_eq!((outbox.publishable(), outbox.taken(), outbox.kept()), (1, 1, 0));
        assert!(!outbox.is_dirty() && !outbox.is_waiting());
        outbox.delivered(1);
        assert_eq!(outbox.kept(), 1);
    }

    #[test]
    fn of_messages_that_are_sent_together_one_that_is_too_large_keeps_all_out() {
        let outbox = outbox(Custody::Disk);
        let large = Message::new(vec![0; MESSAGE_BYTES_MAX + 1]);
        let refused = outbox.put_all(&[Message::new("1"), large], Some(b"2"));
        assert!(matches!(refused, Err(SendError::TooLarge { .. })));
        assert_eq!((outbox.held(), outbox.bookmark()), (0, None));
    }
}
