//! The journals: one for each queue, one for each partition of the upstream log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use isotherm_host::Disk;
use isotherm_journal::{Journal, NOTE_BYTES_MAX, Recovery};
use serde::{Deserialize, Serialize};

use super::{
    Call, Full, Queued, Receipt, Recovered, Settings, Store, StoreError, SyncMode, Ticket, WhenFull,
};

/// Partitions of the upstream log.
pub(crate) const PARTITIONS: usize = 4;
/// A record's overhead on disk, about.
const RECORD_BYTES: u64 = 16;
/// A queue's name, beside its journal.
const NAME_FILE: &str = "name";
/// Synced records that stay in memory for readers of the upstream log, a partition. Queues keep their own window.
const EVENTS_TAIL_BYTES: usize = 64 << 10;

/// Whose queue it is. Kept as the journal's note.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct QueueName {
    /// `device/module`.
    pub(crate) owner: String,
    pub(crate) input: String,
    pub(crate) priority: u32,
    /// Counts the times that what was left from an outage was set aside for what is fresh; the newest is filled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) era: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A journal and its place among the others.
#[derive(Debug, Clone)]
pub(crate) struct QueueHandle {
    pub(crate) journal: Journal,
    pub(super) index: usize,
}

struct Slot {
    journal: Journal,
    /// Has something that somebody waits for.
    dirty: bool,
    /// Has something that can wait.
    lazy: bool,
    /// Whether its reader keeps up: has accepted all there was, and nothing since has waited for long.
    prompt: bool,
    /// Has something that the reader may be quicker with than the disk; at the next look, all below has waited for long.
    awaits: Option<u64>,
    /// As last counted; `None` for a partition of the upstream log.
    queue_bytes: Option<u64>,
    /// Removed queues leave their place empty.
    dir: PathBuf,
}

/// All of them. The first four are the upstream log.
#[derive(Default)]
pub(super) struct Journals {
    slots: Vec<Option<Slot>>,
    names: BTreeMap<QueueName, usize>,
    dirty: Vec<usize>,
    lazy: Vec<usize>,
    awaiting: Vec<usize>,
    next_dir: u64,
    /// Folders of queues that are done with, to be removed by the next round.
    gone: Vec<PathBuf>,
}

impl Journals {
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        settings: &Settings,
    ) -> Result<(Self, Recovered), StoreError> {
        let mut journals = Self::default();
        let mut recovered = Recovered::default();
        for partition in 0..PARTITIONS {
            let dir = dir.join("events").join(partition.to_string());
            let (journal, recovery) = open(disk, &dir, settings, EVENTS_TAIL_BYTES)?;
            recovered.events += recovery.records;
            recovered.add(&recovery);
            journals.add(journal, dir, None);
        }
        let queues = dir.join("queues");
        disk.create_dir(&queues).map_err(|error| StoreError::new(&queues, error))?;
        for name in disk.list(&queues).map_err(|error| StoreError::new(&queues, error))? {
            let Ok(number) = name.parse::<u64>() else { continue };
            journals.next_dir = journals.next_dir.max(number + 1);
            let dir = queues.join(&name);
            let (journal, recovery) = open(disk, &dir, settings, 0)?;
            let named = |note: &[u8]| serde_json::from_slice::<QueueName>(note).ok();
            let note = journal.note().and_then(|note| named(&note));
            let note = note.or_else(|| named(&disk.read(&dir.join(NAME_FILE)).ok()?));
            if note.is_none() && recovery.records + recovery.corrupt_records > 0 {
                tracing::error!(folder = %dir.display(), "a queue's name is damaged; its messages are left there");
                recovered.corrupt_records += recovery.records;
                continue;
            }
            let Some(name) = note else {
                // Made just before a crash: its name rides on the first sync, so nothing in it was acknowledged.
                drop(journal);
                disk.remove_dir(&dir).map_err(|error| StoreError::new(&dir, error))?;
                continue;
            };
            recovered.messages += recovery.records;
            recovered.add(&recovery);
            let bytes = journal.bytes();
            let index = journals.add(journal, dir, Some(bytes));
            journals.names.insert(name, index);
        }
        Ok((journals, recovered))
    }

    fn add(&mut self, journal: Journal, dir: PathBuf, queue_bytes: Option<u64>) -> usize {
        let slot =
            Some(Slot { journal, dirty: false, lazy: false, prompt: false, awaits: None, queue_bytes, dir });
        match self.slots.iter().skip(PARTITIONS).position(Option::is_none) {
            Some(free) if queue_bytes.is_some() => {
                self.slots[PARTITIONS + free] = slot;
                PARTITIONS + free
            }
            _ => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn is_lazy(&self) -> bool {
        !self.lazy.is_empty() || !self.gone.is_empty()
    }

    pub(super) fn mark(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].as_mut()
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }

    fn mark_lazy(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].as_mut()
            && !slot.lazy
        {
            slot.lazy = true;
            self.lazy.push(index);
        }
    }

    /// The reader of a queue is done with something; one who acknowledges nothing never keeps up.
    fn done_with(&mut self, index: usize, acknowledged: bool) {
        if let Some(slot) = self.slots[index].as_mut() {
            let all = slot.journal.first() == slot.journal.next();
            slot.prompt = acknowledged && (slot.prompt || all);
        }
        self.mark_lazy(index);
    }

    /// Leaves what was just appended to the queue's reader, if it is one who keeps up; says whether it does.
    fn leave_to_reader(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots[index].as_mut().filter(|slot| slot.prompt) else { return false };
        if slot.awaits.is_none() {
            slot.awaits = Some(0);
            self.awaiting.push(index);
        }
        true
    }

    pub(super) fn is_awaiting(&self) -> bool {
        !self.awaiting.is_empty()
    }

    /// What was there at the last look and is still in nobody's hands is for the disk.
    pub(super) fn look_at_awaited(&mut self) {
        for index in std::mem::take(&mut self.awaiting) {
            let Some(slot) = self.slots[index].as_mut() else { continue };
            let Some(due) = slot.awaits.take() else { continue };
            let (kept, next) = (slot.journal.kept(), slot.journal.next());
            if kept < due {
                slot.prompt = false;
                self.mark(index);
            } else if kept < next {
                slot.awaits = Some(next);
                self.awaiting.push(index);
            }
        }
    }

    /// Queues with something that a round need not take.
    fn patient(&self) -> impl Iterator<Item = usize> {
        let awaiting = self.awaiting.iter();
        let lazy = self
            .lazy
            .iter()
            .filter(|&&index| self.slots[index].as_ref().is_some_and(|it| it.awaits.is_none()));
        awaiting.chain(lazy).copied()
    }

    /// Bytes appended that the last round has not taken.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.patient().filter_map(|index| Some(self.slots[index].as_ref()?.journal.pending_bytes())).sum()
    }

    /// Takes the folders that are to be removed, for a round.
    pub(super) fn take_gone(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.gone)
    }

    /// Takes what is dirty, for a round, or all that is not on disk yet.
    pub(super) fn take_dirty(&mut self, all: bool) -> Vec<(usize, Journal)> {
        let mut taken: Vec<usize> = self.dirty.drain(..).collect();
        if all {
            taken.extend(self.lazy.iter().chain(&self.awaiting));
            taken.sort_unstable();
            taken.dedup();
        }
        let mut journals = Vec::new();
        for index in taken {
            if let Some(slot) = self.slots[index].as_mut() {
                (slot.dirty, slot.lazy, slot.awaits) = (false, false, None);
                journals.push((index, slot.journal.clone()));
            }
        }
        let slots = &self.slots;
        self.lazy.retain(|&index| slots[index].as_ref().is_some_and(|slot| slot.lazy));
        self.awaiting.retain(|&index| slots[index].as_ref().is_some_and(|slot| slot.awaits.is_some()));
        journals
    }

    /// Counts the bytes again of those that a round has not taken.
    pub(super) fn recount_patient(&mut self) {
        let patient: Vec<usize> = self.patient().collect();
        patient.into_iter().for_each(|index| self.recount(index));
    }

    /// Counts a queue's bytes again.
    pub(super) fn recount(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].as_mut()
            && let Some(bytes) = slot.queue_bytes.as_mut()
        {
            *bytes = slot.journal.bytes();
        }
    }

    pub(super) fn queues_bytes(&self) -> u64 {
        self.slots.iter().flatten().filter_map(|slot| slot.queue_bytes).sum()
    }

    pub(super) fn events_bytes(&self) -> u64 {
        self.slots.iter().take(PARTITIONS).flatten().map(|slot| slot.journal.bytes()).sum()
    }
}

impl Recovered {
    fn add(&mut self, recovery: &Recovery) {
        self.torn_bytes += recovery.torn_bytes;
        self.corrupt_records += recovery.corrupt_records;
    }
}

fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    settings: &Settings,
    tail_bytes: usize,
) -> Result<(Journal, Recovery), StoreError> {
    let settings = isotherm_journal::Settings {
        segment_bytes: settings.segment_bytes,
        limit_bytes: u64::MAX, // the store counts them together
        tail_bytes,
    };
    Journal::open(Arc::clone(disk), dir, settings).map_err(|error| StoreError::new(dir, error))
}

impl Store {
    /// From here on a partition's events still have to go upstream, and are not given up before.
    pub(crate) fn hold_events(&self, partition: usize, from: u64) {
        self.shared.held_from[partition].store(from, Ordering::Release);
        let mut state = self.state();
        if !self.upstream_is_full(&state.journals) && self.shared.upstream_full.load(Ordering::Relaxed) {
            state.journals.mark_lazy(partition); // the next round sees that there is room
            self.due(state, Call::Now);
        }
    }

    /// Whether a partition's oldest events need not go upstream any more, or give way whether they need to or not.
    pub(super) fn may_give_up(&self, partition: usize, first: u64) -> bool {
        if self.when_full() != WhenFull::Refuse {
            return true;
        }
        let held_from = self.shared.held_from[partition].load(Ordering::Acquire);
        held_from == u64::MAX || first < held_from
    }

    /// Whether a partition is at its limit with events that still have to go upstream.
    pub(super) fn upstream_is_full(&self, journals: &Journals) -> bool {
        let share = self.shared.settings.events_bytes_max / PARTITIONS as u64;
        let limit = share + self.shared.settings.segment_bytes; // room comes back by whole segments
        let partitions = journals.slots.iter().take(PARTITIONS).flatten().enumerate();
        let mut full = false;
        for (partition, slot) in partitions {
            full |= slot.journal.bytes() > limit && !self.may_give_up(partition, slot.journal.first());
        }
        let was = self.shared.upstream_full.swap(full, Ordering::Relaxed);
        if full && !was {
            let bytes_max = self.shared.settings.events_bytes_max;
            tracing::error!(
                bytes_max,
                "the log of what is to go upstream is full: senders wait until some has gone"
            );
        } else if was && !full {
            tracing::info!("the log of what is to go upstream has room again");
        }
        full
    }

    /// Whether nothing is taken in because what is to go upstream fills its log.
    pub(crate) fn is_upstream_full(&self) -> bool {
        self.shared.upstream_full.load(Ordering::Relaxed)
    }

    /// The partition of the upstream log.
    pub(crate) fn events(&self, partition: usize) -> QueueHandle {
        assert!(partition < PARTITIONS, "the upstream log has {PARTITIONS} partitions");
        let state = self.state();
        let slot = state.journals.slots[partition].as_ref().expect("partitions are never removed");
        QueueHandle { journal: slot.journal.clone(), index: partition }
    }

    /// All queues there are.
    pub(crate) fn queues(&self) -> Vec<(QueueName, QueueHandle)> {
        let state = self.state();
        let journals = &state.journals;
        let handle = |(name, &index): (&QueueName, &usize)| {
            let journal = journals.slots[index].as_ref()?.journal.clone();
            Some((name.clone(), QueueHandle { journal, index }))
        };
        journals.names.iter().filter_map(handle).collect()
    }

    /// Finds a queue, or makes it.
    pub(crate) fn queue(&self, name: &QueueName) -> Result<QueueHandle, StoreError> {
        let shared = &self.shared;
        let mut state = self.state();
        if let Some(&index) = state.journals.names.get(name)
            && let Some(slot) = &state.journals.slots[index]
        {
            return Ok(QueueHandle { journal: slot.journal.clone(), index });
        }
        let note = serde_json::to_vec(name).expect("a name is JSON");
        if note.len() > NOTE_BYTES_MAX {
            let reason =
                format!("the name of input {:.40}… is too long: at most about 3,500 bytes", name.input);
            return Err(StoreError::new(&shared.dir, reason));
        }
        let number = state.journals.next_dir;
        state.journals.next_dir += 1;
        let dir = shared.dir.join("queues").join(format!("{number:06}"));
        let (journal, _) = open(&shared.disk, &dir, &shared.settings, 0)?;
        journal.set_note(&note);
        // Once more beside it: a damaged note must not cost the whole queue. A crash may take this one, not both.
        let _ = shared.disk.write_atomic(&dir.join(NAME_FILE), &note);
        let index = state.journals.add(journal.clone(), dir, Some(0));
        state.journals.names.insert(name.clone(), index);
        let handle = QueueHandle { journal, index };
        if self.is_written(&handle) {
            state.journals.mark_lazy(index);
        }
        Ok(handle)
    }

    /// Removes a queue and all in it.
    pub(crate) fn remove_queue(&self, name: &QueueName) {
        let mut state = self.state();
        let Some(index) = state.journals.names.remove(name) else { return };
        let slot = state.journals.slots[index].take();
        if let Some(slot) = &slot {
            let bytes = slot.journal.bytes();
            slot.journal.forget(u64::MAX);
            if self.shared.settings.sync == SyncMode::Never {
                drop(state);
                self.freed(bytes);
                state = self.state();
            }
        }
        let wakes = state.waiting.take_accepted(None);
        drop(state);
        wakes.into_iter().for_each(|wake| wake());
        if let Some(slot) = slot {
            // A round that is under way may still write there. A folder that cannot be removed comes back at the
            // next start, and is delivered or expires then.
            let _round = self.shared.keeper.lock().expect("no round panics");
            let _ = self.shared.disk.remove_dir(&slot.dir);
        }
    }

    /// Removes a queue with nothing in it; its folder goes with the next round, so that nobody waits for the disk.
    pub(crate) fn retire_queue(&self, name: &QueueName) {
        let mut state = self.state();
        let Some(index) = state.journals.names.remove(name) else { return };
        if let Some(slot) = state.journals.slots[index].take() {
            state.journals.gone.push(slot.dir);
        }
        self.due(state, Call::Lazy);
    }

    /// Forgets the oldest records of a queue until so many bytes of them are gone; says how many records that was.
    /// The space comes back with the next round.
    pub(crate) fn drop_oldest(&self, handle: &QueueHandle, bytes: u64) -> u64 {
        let before = handle.journal.bytes();
        let dropped = handle.journal.drop_oldest(bytes);
        let freed = before.saturating_sub(handle.journal.bytes());
        if !self.is_written(handle) {
            self.freed(freed);
            return dropped;
        }
        let mut state = self.state();
        let held = self.shared.held.load(Ordering::Relaxed).saturating_sub(freed);
        self.shared.held.store(held, Ordering::Relaxed);
        state.journals.recount(handle.index);
        state.journals.mark_lazy(handle.index);
        let wakes = state.waiting.take_accepted(Some(handle));
        self.due(state, Call::Lazy);
        wakes.into_iter().for_each(|wake| wake());
        dropped
    }

    /// Whether this much more may be taken, slack included.
    pub(crate) fn has_room(&self, bytes: usize) -> Result<(), Full> {
        let Settings { slack_bytes, .. } = self.shared.settings;
        let queues_bytes_max = self.queues_bytes_max();
        let more = bytes as u64 + RECORD_BYTES;
        let unsynced = self.shared.unsynced.load(Ordering::Relaxed) + more;
        let held = self.shared.held.load(Ordering::Relaxed) + more;
        if unsynced > slack_bytes / 2 || held > queues_bytes_max {
            self.shared.refusing.store(true, Ordering::Relaxed);
        }
        if unsynced > slack_bytes || held > queues_bytes_max.saturating_add(slack_bytes) {
            return Err(Full);
        }
        Ok(())
    }

    /// Appends to a journal, in memory. [`Store::appended`] says when it is durable.
    pub(crate) fn append(&self, handle: &QueueHandle, record: &[u8]) -> Result<u64, Full> {
        let offset = handle.journal.append(record).map_err(|_| Full)?;
        let bytes = record.len() as u64 + RECORD_BYTES;
        if self.is_written(handle) {
            self.shared.unsynced.fetch_add(bytes, Ordering::Relaxed);
        }
        if handle.index >= PARTITIONS {
            self.shared.held.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(offset)
    }

    /// A queue that is in memory only holds so much less.
    pub(super) fn freed(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        let _ = self.shared.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less); // it never says no
        if !self.refusing() {
            return;
        }
        let mut state = self.state();
        if state.trouble.is_none() && !self.is_at_limit() {
            self.shared.refusing.store(false, Ordering::Relaxed);
            let wakes = std::mem::take(&mut state.waiting.room);
            drop(state);
            wakes.into_iter().for_each(|wake| wake());
        }
    }

    /// Whether what is held or what is not synced is more than senders should add to.
    pub(super) fn is_at_limit(&self) -> bool {
        let Settings { sync, slack_bytes, .. } = self.shared.settings;
        let full = sync == SyncMode::Never && self.shared.full.load(Ordering::Relaxed);
        full || self.queues_bytes() > self.queues_bytes_max()
            || self.shared.unsynced.load(Ordering::Relaxed) > slack_bytes / 2
    }

    /// Whether what is appended goes anywhere but into memory.
    fn is_written(&self, handle: &QueueHandle) -> bool {
        handle.index < PARTITIONS || self.shared.settings.sync != SyncMode::Never
    }

    /// What to wait for after something was appended to these, the last record of each. To be called after the appends:
    /// a round may begin in between.
    pub(crate) fn appended<'a>(&self, handles: impl IntoIterator<Item = &'a QueueHandle>) -> Receipt {
        let mut handles = handles.into_iter().filter(|handle| self.is_written(handle)).peekable();
        let Some(first) = handles.next() else { return Receipt::Durable(Ticket::DURABLE) };
        let mut state = self.state();
        let alone = handles.peek().is_none();
        if alone && self.is_patient() && state.journals.leave_to_reader(first.index) {
            let queued = Queued { queue: first.clone(), offset: first.journal.next() - 1 };
            self.due(state, Call::Soon);
            return Receipt::Accepted(queued);
        }
        for handle in std::iter::once(first).chain(handles) {
            state.journals.mark(handle.index);
        }
        Receipt::Durable(self.due(state, Call::Now))
    }

    /// When it is on disk, however quick its reader may be.
    pub(crate) fn hurry(&self, receipt: Receipt) -> Ticket {
        match receipt {
            Receipt::Durable(ticket) => ticket,
            Receipt::Accepted(queued) => {
                let mut state = self.state();
                state.journals.mark(queued.queue.index);
                self.due(state, Call::Now)
            }
        }
    }

    /// Whether what is appended may stay in memory for a while.
    fn is_patient(&self) -> bool {
        let Settings { sync, patience, slack_bytes, .. } = self.shared.settings;
        let unsynced = self.shared.unsynced.load(Ordering::Relaxed);
        sync == SyncMode::Batch && !patience.is_zero() && unsynced <= slack_bytes / 8
    }

    /// Forgets all records below, whether their reader has acknowledged them or nobody asked it to; that need not be on
    /// disk soon, a crash only repeats them.
    pub(crate) fn forget(&self, handle: &QueueHandle, below: u64, acknowledged: bool) {
        if !self.is_written(handle) {
            let before = handle.journal.bytes();
            handle.journal.forget(below);
            return self.freed(before - handle.journal.bytes());
        }
        handle.journal.forget(below);
        let mut state = self.state();
        state.journals.done_with(handle.index, acknowledged);
        let wakes = state.waiting.take_accepted(Some(handle));
        self.due(state, Call::Lazy);
        wakes.into_iter().for_each(|wake| wake());
    }
}
