//! What survives a power cut: queues and the upstream log in journals, all else in one small database.
//!
//! One committer serves them all. Everything that became dirty while it was syncing goes into its next round, so the
//! price of a sync is shared by all who wait for it. A [`Ticket`] names the round; when [`Store::durable`] has reached
//! it, what it stands for is on disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use isotherm_host::Disk;

use crate::core::Wake;

/// When something is durable: the number of the commit round it goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Durable already, or nothing to keep.
    pub const DURABLE: Ticket = Ticket(0);
}

/// When what was accepted is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Before it is acknowledged, together with all that came meanwhile.
    #[default]
    Batch,
    /// At this interval; every ticket counts as durable at once, and a crash may cost that much.
    Interval(Duration),
}

/// How large a store may grow, and when it syncs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When what was accepted is synced.
    pub sync: SyncMode,
    /// Bytes that queues may hold on disk together; past it the store is [`Store::refusing`].
    pub queues_bytes_max: u64,
    /// Bytes taken beyond that from senders whose messages were on the way already; past it `append` says [`Full`].
    pub slack_bytes: u64,
    /// Bytes that the upstream log may hold, all partitions together; past it the oldest segments are given up.
    pub events_bytes_max: u64,
    /// Size of a journal's segments.
    pub segment_bytes: u64,
    /// Cache of the database.
    pub cache_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync: SyncMode::Batch,
            queues_bytes_max: 1 << 30,
            slack_bytes: 32 << 20,
            events_bytes_max: 256 << 20,
            segment_bytes: 4 << 20,
            cache_bytes: 1 << 20,
        }
    }
}

/// Why a store could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[error("store {path}: {reason}")]
pub struct StoreError {
    /// The file or folder.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The store is at its limit, slack included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is full")]
pub struct Full;

/// What was found at opening.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Queued messages still to be delivered.
    pub messages: u64,
    /// Upstream events.
    pub events: u64,
    /// Bytes at journals' ends that were never synced, cut off.
    pub torn_bytes: u64,
    /// Synced records whose checksum no longer holds; never delivered.
    pub corrupt_records: u64,
}

/// How a commit round went.
#[derive(Debug)]
pub enum Round {
    /// Nothing was dirty.
    Idle,
    /// All that was dirty is on disk, up to this ticket.
    Committed(Ticket),
    /// The disk refused; everything is kept. Try again in a second.
    Failed(io::Error),
}

/// The store; clones are handles to the same one.
#[derive(Clone)]
pub struct Store {
    shared: Arc<()>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// How long to wait after a failed round.
    pub const RETRY: Duration = Duration::from_secs(1);

    /// Opens the store in `dir`, creating it if need be.
    ///
    /// # Errors
    /// When a file cannot be opened or is not ours.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: Settings,
    ) -> Result<(Self, Recovered), StoreError> {
        let _ = (disk, dir, settings);
        unimplemented!()
    }

    /// The last ticket that is on disk. Cheap, no lock.
    pub fn durable(&self) -> Ticket {
        unimplemented!()
    }

    /// Calls `wake` once when the ticket is durable; at once if it is. Wait for the newest of several.
    pub fn on_durable(&self, ticket: Ticket, wake: Wake) {
        let _ = (ticket, wake);
        unimplemented!()
    }

    /// Whether senders should not be read from now: the disk refuses, or the queues are at their limit. Cheap, no lock.
    pub fn refusing(&self) -> bool {
        unimplemented!()
    }

    /// Calls `wake` once when the store is not refusing; at once if it is not.
    pub fn on_room(&self, wake: Wake) {
        let _ = wake;
        unimplemented!()
    }

    /// Calls `wake` once when the upstream log has grown (durably).
    pub fn on_events(&self, wake: Wake) {
        let _ = wake;
        unimplemented!()
    }

    /// Calls `wake` whenever something became dirty and no round is due yet: for a committer that is a task
    /// (`loop { dirty.notified().await; host.blocking(|| store.commit_round()).await … }`).
    pub fn on_dirty(&self, wake: Wake) {
        let _ = wake;
        unimplemented!()
    }

    /// Writes and syncs all that is dirty. Blocks; one at a time. Calls those who wait.
    pub fn commit_round(&self) -> Round {
        unimplemented!()
    }

    /// Commits until [`Store::close`]: the committer as a thread of its own. Says how the last round went.
    ///
    /// # Errors
    /// When the last round failed.
    pub fn run(&self) -> io::Result<()> {
        unimplemented!()
    }

    /// Ends `run` after one last round.
    pub fn close(&self) {
        unimplemented!()
    }

    /// Why the last round failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        unimplemented!()
    }

    /// Bytes the queues hold.
    pub fn queues_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Bytes the upstream log holds.
    pub fn events_bytes(&self) -> u64 {
        unimplemented!()
    }
}
