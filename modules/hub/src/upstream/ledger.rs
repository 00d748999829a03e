//! How far upstream has acknowledged each partition of the log. No clock, no socket.

use std::collections::{BTreeMap, BTreeSet};

use isotherm_iothub::Identity;
use jiff::{SignedDuration, Timestamp};

use super::passed::{Kept, Passed, Seen};

/// Events of one partition that a reader has on their way at once.
pub(super) const OPEN_MAX: usize = 4_096;
/// Where fresh data goes first: as few as this may be on their way, however slow the other side is.
const OPEN_MIN: usize = 256;
/// Nothing is read before this part of what may be on its way has room: a few events at a time would each cost a read
/// of the log.
const ROOM_PART: usize = 8;
/// An event that was acknowledged later than this after it came shows that there was an outage, and that it is over.
const LATE: SignedDuration = SignedDuration::from_secs(10);

/// One event of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: u8,
    pub(super) sequence: u64,
}

/// Who reads the log: the front goes through it once, the second reader behind it through what the front passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Front,
    Behind,
}

/// An event on its way.
#[derive(Debug)]
struct Out {
    /// By whose lane.
    lane: Identity,
    /// When it came.
    at: Timestamp,
}

/// One partition.
#[derive(Debug, Default)]
struct Account {
    /// The next to be read by the front.
    next: u64,
    /// Read, and not acknowledged yet, by reader.
    front: BTreeMap<u64, Out>,
    behind: BTreeMap<u64, Out>,
    /// On its way by a lane that is refused.
    stuck: BTreeMap<Identity, BTreeSet<u64>>,
    passed: Passed,
    /// What was said when it was last asked.
    told: Vec<u8>,
    /// How many were acknowledged since the last beat, and how many may be on their way because of it.
    acknowledged: usize,
    window: usize,
    /// Something was acknowledged late.
    late: bool,
}

/// The accounts of all partitions.
#[derive(Debug)]
pub(super) struct Ledger(Vec<Account>);

impl Ledger {
    /// Goes on from what was kept of each partition, but not from before the first event that is still there.
    pub(super) fn recall(kept: impl IntoIterator<Item = (Option<Vec<u8>>, u64)>) -> Self {
        let account = |(kept, first): (Option<Vec<u8>>, u64)| {
            let told = kept.unwrap_or_default();
            let (next, passed) = read(&told);
            let next = next.max(first);
            Account { next, passed: Passed::recall(passed), told, window: OPEN_MIN, ..Account::default() }
        };
        Self(kept.into_iter().map(account).collect())
    }

    fn of(&mut self, partition: u8) -> &mut Account {
        &mut self.0[usize::from(partition)]
    }

    /// Where a reader goes on, and how many events it may take; `eager` if what is fresh goes first. Nothing, if it has
    /// nothing to read or no room.
    pub(super) fn place(
        &mut self,
        partition: u8,
        reader: Reader,
        eager: bool,
        refused: &BTreeSet<Identity>,
    ) -> Option<(u64, usize)> {
        let account = self.of(partition);
        let most = if eager { account.window } else { OPEN_MAX };
        let (next, open) = match reader {
            Reader::Front => (account.next, account.front.len()),
            Reader::Behind => (account.passed.walk(refused)?, account.behind.len()),
        };
        let room = most.saturating_sub(open);
        (room >= most / ROOM_PART).then_some((next, room))
    }

    /// Where the front is: the second reader goes no further.
    pub(super) fn front(&self, partition: u8) -> u64 {
        self.0[usize::from(partition)].next
    }

    /// Whether a reader takes an event. If it does not, it has gone past it.
    pub(super) fn takes(
        &mut self,
        partition: u8,
        reader: Reader,
        seen: Seen<'_>,
        refused: &BTreeSet<Identity>,
    ) -> bool {
        let account = self.of(partition);
        let takes = match reader {
            Reader::Front => account.passed.front_takes(seen, refused),
            Reader::Behind => account.passed.walk_takes(seen, refused),
        };
        if !takes {
            account.step(reader, seen.sequence + 1);
        }
        takes
    }

    /// An event goes on its way, by somebody's lane. What lies between it and the one before was damaged, or given up.
    pub(super) fn begin(&mut self, entry: Entry, reader: Reader, lane: &Identity, at: Timestamp) {
        let account = self.of(entry.partition);
        let out = Out { lane: lane.clone(), at };
        match reader {
            Reader::Front => account.front.insert(entry.sequence, out),
            Reader::Behind => account.behind.insert(entry.sequence, out),
        };
        account.step(reader, entry.sequence + 1);
    }

    /// The second reader has come this far; at the front its way ends.
    pub(super) fn walked(&mut self, partition: u8, next: u64) {
        let account = self.of(partition);
        account.passed.step(next);
        if next < account.next {
            return;
        }
        let done = account.passed.end_walk();
        account.front.append(&mut account.behind);
        for who in done {
            for sequence in account.stuck.remove(&who).unwrap_or_default() {
                let out = Out { lane: who.clone(), at: Timestamp::MAX }; // no news of any outage
                account.front.insert(sequence, out);
            }
        }
    }

    /// The other side has it, or it can never have it.
    pub(super) fn done(&mut self, entry: Entry, now: Timestamp) {
        let account = self.of(entry.partition);
        account.acknowledged += 1;
        if let Some(out) = account.front.remove(&entry.sequence) {
            let anew = entry.sequence >= account.passed.left_until();
            account.late |= anew && now.duration_since(out.at) >= LATE;
        } else if account.behind.remove(&entry.sequence).is_none() {
            for theirs in account.stuck.values_mut() {
                theirs.remove(&entry.sequence);
            }
        }
    }

    /// As much may be on its way in future as was acknowledged since this was last said: half a second's worth, so that
    /// what is fresh never waits for longer than that behind what went before.
    pub(super) fn beat(&mut self) {
        for account in &mut self.0 {
            account.window = account.acknowledged.clamp(OPEN_MIN, OPEN_MAX);
            account.acknowledged = 0;
        }
    }

    /// Whether an outage is over whose events are still to be read.
    pub(super) fn was_late(&mut self, partition: u8) -> bool {
        std::mem::take(&mut self.of(partition).late)
    }

    /// Sets aside all up to `end`: the front goes on there. Says how many that are.
    pub(super) fn set_aside(&mut self, partition: u8, end: u64) -> u64 {
        let account = self.of(partition);
        let first = account.next;
        if !account.passed.leave(first, end) {
            return 0;
        }
        account.next = end;
        end - first
    }

    /// Somebody is refused upstream: what is on its way by his lane holds up nobody else.
    pub(super) fn refuse(&mut self, who: &Identity) {
        for account in &mut self.0 {
            account.passed.refuse(who, account.next);
            let mut theirs = BTreeSet::new();
            for open in [&mut account.front, &mut account.behind] {
                let found: Vec<u64> =
                    open.iter().filter(|(_, out)| out.lane == *who).map(|(sequence, _)| *sequence).collect();
                found.iter().for_each(|sequence| drop(open.remove(sequence)));
                theirs.extend(found);
            }
            if !theirs.is_empty() {
                account.stuck.entry(who.clone()).or_default().extend(theirs);
            }
        }
    }

    /// What of a partition need not be kept here any more is below this; what refused ones sent gives way if it must.
    pub(super) fn wanted_from(&self, partition: u8, refused: &BTreeSet<Identity>) -> u64 {
        let account = &self.0[usize::from(partition)];
        let kept = account.kept();
        let passed = account.passed.wanted_from(&kept, refused);
        passed.map_or(account.cursor(), |passed| passed.min(account.cursor()))
    }

    /// What is to be kept on disk of a partition.
    pub(super) fn to_keep(&self, partition: u8) -> Vec<u8> {
        let account = &self.0[usize::from(partition)];
        write(account.cursor(), &account.kept())
    }

    /// The same, if it has changed since this was last asked.
    pub(super) fn changed(&mut self, partition: u8) -> Option<Vec<u8>> {
        let now = self.to_keep(partition);
        let account = self.of(partition);
        (account.told != now).then(|| {
            account.told.clone_from(&now);
            now
        })
    }

    /// How many are on their way, how many numbers are left by outages, and how many senders were passed by.
    pub(super) fn sizes(&self) -> (usize, u64, usize) {
        self.0.iter().fold((0, 0, 0), |(open, left, of), account| {
            let stuck: usize = account.stuck.values().map(BTreeSet::len).sum();
            let sizes = account.passed.sizes();
            (open + account.front.len() + account.behind.len() + stuck, left + sizes.0, of.max(sizes.1))
        })
    }
}

impl Account {
    fn step(&mut self, reader: Reader, next: u64) {
        match reader {
            Reader::Front => self.next = next,
            Reader::Behind => self.passed.step(next),
        }
    }

    /// All below is acknowledged, but for what was passed by.
    fn cursor(&self) -> u64 {
        self.front.first_key_value().map_or(self.next, |(sequence, _)| *sequence)
    }

    fn kept(&self) -> Kept {
        let first = self.behind.first_key_value().map(|(sequence, _)| *sequence);
        self.passed.kept(first, |who| self.stuck.get(who)?.first().copied())
    }
}

/// The cursor, and behind it what was passed by, if anything was.
fn write(cursor: u64, kept: &Kept) -> Vec<u8> {
    let mut bytes = cursor.to_le_bytes().to_vec();
    if !kept.is_empty() {
        bytes.extend(serde_json::to_vec(kept).expect("names and numbers are JSON"));
    }
    bytes
}

fn read(bytes: &[u8]) -> (u64, Kept) {
    let Some((cursor, kept)) = bytes.split_first_chunk() else { return <_>::default() };
    (u64::from_le_bytes(*cursor), serde_json::from_slice(kept).unwrap_or_default())
}

#[cfg(test)]
mod tests;
