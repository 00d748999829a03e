//! What survives a power cut: queues and the upstream log in journals, all else in one small database.
//!
//! One committer serves them all. Everything that became dirty while it was syncing goes into its next round, so the
//! price of a sync is shared by all who wait for it. A [`Ticket`] names the round; when [`Store::durable`] has reached
//! it, what it stands for is on disk. The sender of a message waits for a [`Receipt`]: a round, or a reader who is quicker.

mod backend;
mod committer;
mod database;
mod journals;
mod waiting;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use isotherm_host::Disk;

use crate::core::Wake;
use database::{Changes, Keeper};
use journals::Journals;
use waiting::Waiting;

pub(crate) use committer::Due;
pub use committer::{Pace, Round};
pub(crate) use database::Table;
pub(crate) use journals::{QueueHandle, QueueName};

/// When something is durable: the number of the commit round it goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Durable already, or nothing to keep.
    pub const DURABLE: Ticket = Ticket(0);
}

/// What the sender of a message waits for before it is told that the message is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// That it is on disk.
    Durable(Ticket),
    /// That it is on disk, or that the queue's reader has accepted it, whichever is first: a message that is in the next
    /// one's hands need not be in ours.
    Accepted(Queued),
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub struct Queued {
    queue: QueueHandle,
    offset: u64,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.offset == other.offset && self.queue.journal.is(&other.queue.journal) // places are used again
    }
}

impl Eq for Queued {}

impl Queued {
    fn is_safe(&self) -> bool {
        self.queue.journal.kept() > self.offset
    }
}

impl From<Ticket> for Receipt {
    fn from(ticket: Ticket) -> Self {
        Self::Durable(ticket)
    }
}

/// When what was accepted is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Before it is acknowledged, together with all that came meanwhile.
    #[default]
    Batch,
    /// At this interval; every ticket counts as durable at once, and a crash may cost that much.
    Interval(Duration),
    /// Nothing would be there after a restart: who sends to a queue need not wait for it to be written anywhere.
    Never,
}

/// What gives way when the queues are at their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Nothing: senders are not read from until something is delivered or expires. Nothing acknowledged is lost.
    #[default]
    Refuse,
    /// The oldest messages of the queue that holds most, so that a flood on one input costs no other. Counted.
    DropOldest,
    /// The oldest messages of the lowest priority there is, of the queue that holds most among those. Counted.
    DropLowestPriority,
}

/// How large a store may grow, and when it syncs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When what was accepted is synced.
    pub sync: SyncMode,
    /// How long a message for a reader who keeps up may wait to be accepted before it is synced after all, twice as long
    /// at most. Zero: it never waits.
    pub patience: Duration,
    /// Bytes that queues may hold on disk together; past it `when_full` says what happens.
    pub queues_bytes_max: u64,
    /// What gives way then.
    pub when_full: WhenFull,
    /// Bytes taken beyond that, or not yet synced, from senders whose messages were on the way already; past it
    /// nothing more is taken.
    pub slack_bytes: u64,
    /// Bytes that the upstream log may hold, all partitions together; past it the oldest are given up and counted.
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
            patience: Duration::from_millis(5),
            queues_bytes_max: 1 << 30,
            when_full: WhenFull::Refuse,
            slack_bytes: 8 << 20,
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

impl StoreError {
    fn new(path: &Path, reason: impl fmt::Display) -> Self {
        Self { path: path.display().to_string(), reason: reason.to_string() }
    }
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

/// The store; clones are handles to the same one.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    settings: Settings,
    /// What changes with every message: held for a few instructions only.
    state: Mutex<State>,
    /// Told when there is something to commit, and at the end.
    due: Condvar,
    /// Held for a whole round: one at a time.
    keeper: Mutex<Keeper>,
    durable: AtomicU64,
    refusing: AtomicBool,
    /// The disk is to behave as if it were full.
    full: AtomicBool,
    /// Bytes appended and not yet synced.
    unsynced: AtomicU64,
    /// Bytes the queues hold.
    held: AtomicU64,
    /// Bytes they may hold: as the settings say, or a deployment.
    queues_bytes_max: AtomicU64,
    /// Upstream events given up for the limit's sake.
    given_up: AtomicU64,
    /// For each partition of the upstream log, from where on it still has to go upstream; the largest number if
    /// nothing has to.
    held_from: [AtomicU64; journals::PARTITIONS],
    /// A partition is at its limit with such events.
    upstream_full: AtomicBool,
}

#[derive(Default)]
struct State {
    journals: Journals,
    changes: Changes,
    waiting: Waiting,
    /// The number of the last round that began; what becomes dirty now goes into the next.
    round: u64,
    /// How urgently the committer knows that it is wanted: to call it costs a system call.
    called: Call,
    /// Batches that are being taken in, and whether one of them has something for the committer.
    batches: usize,
    uncalled: bool,
    trouble: Option<String>,
    closed: bool,
}

/// How urgently the committer is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    #[default]
    None,
    /// Some time.
    Lazy,
    /// Soon, unless a reader is sooner.
    Soon,
    /// Somebody waits.
    Now,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// How long to wait after a failed round.
    pub const RETRY: Duration = Duration::from_secs(1);
    /// How long something may wait for a round that need not be on disk soon: what was delivered already.
    pub const LAZY: Duration = Duration::from_millis(500);

    /// Opens the store in `dir`, creating it if need be.
    ///
    /// # Errors
    /// When a file cannot be opened or is not ours.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: Settings,
    ) -> Result<(Self, Recovered), StoreError> {
        disk.create_dir(dir).map_err(|error| StoreError::new(dir, error))?;
        let keeper = Keeper::open(&disk, dir, settings.cache_bytes)?;
        let (journals, recovered) = Journals::open(&disk, dir, &settings)?;
        let held = journals.queues_bytes();
        let state = State { journals, ..State::default() };
        let refusing = held > settings.queues_bytes_max;
        let queues_bytes_max = AtomicU64::new(settings.queues_bytes_max);
        let shared = Shared {
            disk,
            dir: dir.to_owned(),
            settings,
            state: Mutex::new(state),
            due: Condvar::new(),
            keeper: Mutex::new(keeper),
            durable: AtomicU64::new(0),
            refusing: AtomicBool::new(refusing),
            full: AtomicBool::new(false),
            unsynced: AtomicU64::new(0),
            held: AtomicU64::new(held),
            queues_bytes_max,
            given_up: AtomicU64::new(0),
            held_from: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            upstream_full: AtomicBool::new(false),
        };
        Ok((Self { shared: Arc::new(shared) }, recovered))
    }

    /// The last ticket that is on disk. Cheap, no lock.
    pub fn durable(&self) -> Ticket {
        Ticket(self.shared.durable.load(Ordering::Acquire))
    }

    /// Whether a sender may be told. Cheap.
    pub fn is_safe(&self, receipt: &Receipt) -> bool {
        match receipt {
            Receipt::Durable(ticket) => *ticket <= self.durable(),
            Receipt::Accepted(queued) => queued.is_safe(),
        }
    }

    /// Calls `wake` once when a sender may be told; at once if it may. Wait for the newest of several.
    pub fn on_safe(&self, receipt: Receipt, wake: Wake) {
        let queued = match receipt {
            Receipt::Durable(ticket) => return self.on_durable(ticket, wake),
            Receipt::Accepted(queued) => queued,
        };
        let mut state = self.state();
        if queued.is_safe() {
            drop(state);
            wake();
        } else {
            state.waiting.accepted.push((queued, wake));
        }
    }

    /// Whether senders should not be read from now: the disk refuses or does not keep up, or the queues are at their
    /// limit. Cheap, no lock.
    pub fn refusing(&self) -> bool {
        self.shared.refusing.load(Ordering::Relaxed)
    }

    /// Calls `wake` once when the ticket is durable; at once if it is. Wait for the newest of several.
    pub fn on_durable(&self, ticket: Ticket, wake: Wake) {
        let mut state = self.state();
        if ticket > self.durable() {
            state.waiting.durable.push((ticket, wake));
        } else {
            drop(state);
            wake();
        }
    }

    /// Calls `wake` once when the store is not refusing; at once if it is not. Keep a clone of it: who is gone is forgotten.
    pub fn on_room(&self, wake: Wake) {
        let mut state = self.state();
        if self.refusing() {
            waiting::join(&mut state.waiting.room, wake);
        } else {
            drop(state);
            wake();
        }
    }

    /// Calls `wake` once when the upstream log has room; at once if it has. Keep a clone of it here too.
    pub fn on_upstream_room(&self, wake: Wake) {
        let mut state = self.state();
        if self.is_upstream_full() {
            waiting::join(&mut state.waiting.upstream_room, wake);
        } else {
            drop(state);
            wake();
        }
    }

    /// Calls `wake` once when the upstream log has grown (durably). Ask first, then read, or you may miss the last.
    pub fn on_events(&self, wake: Wake) {
        self.state().waiting.events.push(wake);
    }

    /// Calls `wake` whenever there is something to commit: for a committer that is a task
    /// (as `due_at` says).
    pub fn on_dirty(&self, wake: Wake) {
        let mut state = self.state();
        let due = state.is_dirty();
        state.waiting.dirty = Some(Arc::clone(&wake));
        drop(state);
        if due {
            wake();
        }
    }

    /// From now on the disk is full, or is no longer: rounds fail and are tried again each second.
    pub fn pretend_full(&self, full: bool) {
        self.shared.full.store(full, Ordering::Relaxed);
        if self.shared.settings.sync == SyncMode::Never {
            // There may be no round that would find out: what is in queues is written nowhere.
            self.shared.refusing.fetch_or(full, Ordering::Relaxed);
            self.freed(0);
        }
    }

    /// Why the last round failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Bytes the queues hold.
    pub fn queues_bytes(&self) -> u64 {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Bytes that the queues may hold.
    pub fn queues_bytes_max(&self) -> u64 {
        self.shared.queues_bytes_max.load(Ordering::Relaxed)
    }

    /// Limits the queues to what a deployment says; `None`: to what the settings say.
    pub(crate) fn limit_queues(&self, bytes_max: Option<u64>) {
        let bytes_max = bytes_max.unwrap_or(self.shared.settings.queues_bytes_max);
        self.shared.queues_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// What gives way when the queues are full.
    pub(crate) fn when_full(&self) -> WhenFull {
        self.shared.settings.when_full
    }

    /// By how many bytes the queues would be past their limit with so many more.
    pub(crate) fn excess(&self, more: usize) -> u64 {
        (self.queues_bytes() + more as u64).saturating_sub(self.queues_bytes_max())
    }

    /// Bytes the upstream log holds.
    pub fn events_bytes(&self) -> u64 {
        self.state().journals.events_bytes()
    }

    /// Upstream events given up so far because the log was at its limit.
    pub fn events_given_up(&self) -> u64 {
        self.shared.given_up.load(Ordering::Relaxed)
    }

    /// Reads a whole table of what is on disk; for the start.
    pub(crate) fn load(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut keeper = self.shared.keeper.lock().expect("no round panics");
        keeper.load(table).map_err(|error| StoreError::new(&self.shared.dir, error))
    }

    /// Keeps a value under a key, in the next round.
    pub(crate) fn put(&self, table: Table, key: &str, value: Vec<u8>) -> Ticket {
        self.change(table, key, Some(value))
    }

    /// Removes a key, in the next round.
    pub(crate) fn delete(&self, table: Table, key: &str) -> Ticket {
        self.change(table, key, None)
    }

    fn change(&self, table: Table, key: &str, value: Option<Vec<u8>>) -> Ticket {
        let mut state = self.state();
        state.changes.insert((table, key.to_owned()), value);
        self.due(state, Call::Now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nothing panics under the store's lock")
    }

    /// Until what comes back is dropped, the committer is not woken: what is said in one breath goes into one round,
    /// instead of the first of it into one and the rest into the next. A round that is due anyway does not wait.
    pub(crate) fn batch(&self) -> Batch {
        self.state().batches += 1;
        Batch(self.clone())
    }

    /// Wakes the committer.
    fn call(&self, state: MutexGuard<'_, State>) {
        let wake = state.waiting.dirty.clone();
        drop(state);
        self.shared.due.notify_one();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Tells the committer, and says which round it will be.
    fn due(&self, mut state: MutexGuard<'_, State>, call: Call) -> Ticket {
        let ticket = state.round + 1;
        if call > state.called {
            state.called = call;
            match state.batches {
                0 => self.call(state),
                _ => state.uncalled = true,
            }
        }
        match self.shared.settings.sync {
            SyncMode::Batch | SyncMode::Never => Ticket(ticket),
            SyncMode::Interval(_) => Ticket::DURABLE,
        }
    }
}

/// Messages of one breath, see [`Store::batch`].
pub(crate) struct Batch(Store);

impl Drop for Batch {
    fn drop(&mut self) {
        // It may be dropped by a panic, and one more would end the process.
        let Ok(mut state) = self.0.shared.state.lock() else { return };
        state.batches -= 1;
        if state.batches == 0 && std::mem::take(&mut state.uncalled) {
            self.0.call(state);
        }
    }
}

impl State {
    /// Whether a round is wanted now, not only some time.
    fn is_dirty(&self) -> bool {
        self.journals.is_dirty() || !self.changes.is_empty()
    }

    /// Whether there is something that a round need not take.
    fn is_patient(&self) -> bool {
        self.journals.is_lazy() || self.journals.is_awaiting()
    }
}

#[cfg(test)]
mod tests {
    use isotherm_host::MemoryDisk;

    use super::*;

    #[test]
    fn a_batch_calls_the_committer_once_and_at_its_end() {
        let (store, _) =
            Store::open(Arc::new(MemoryDisk::new()), Path::new("/s"), Settings::default()).unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        store.on_dirty(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let batch = store.batch();
        let first = store.put(Table::Policies, "a", vec![1]);
        assert_eq!(store.put(Table::Policies, "b", vec![2]), first);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        drop(batch);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(matches!(store.commit_round(), Round::Committed(ticket) if ticket == first));
        drop(store.batch());
        assert_eq!(calls.load(Ordering::Relaxed), 1, "an empty batch calls nobody");
    }
}
