//! How far upstream has acknowledged each partition of the log. No clock, no socket.

use std::collections::BTreeSet;

/// One event of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: u8,
    pub(super) sequence: u64,
}

/// One partition.
#[derive(Debug, Default)]
struct Account {
    /// The next to be read.
    next: u64,
    /// Read, and not acknowledged yet.
    open: BTreeSet<u64>,
    /// Where the cursor was when it was last asked.
    told: u64,
}

/// The accounts of all partitions.
#[derive(Debug)]
pub(super) struct Ledger(Vec<Account>);

impl Ledger {
    /// Goes on from these cursors, one for each partition.
    pub(super) fn from_cursors(cursors: impl IntoIterator<Item = u64>) -> Self {
        let account = |next| Account { next, told: next, ..Account::default() };
        Self(cursors.into_iter().map(account).collect())
    }

    pub(super) fn next(&self, partition: u8) -> u64 {
        self.0[usize::from(partition)].next
    }

    /// How many are on their way.
    pub(super) fn open(&self, partition: u8) -> usize {
        self.0[usize::from(partition)].open.len()
    }

    /// An event goes on its way. What lies between it and the one before was damaged or given up.
    pub(super) fn begin(&mut self, entry: Entry) {
        let account = &mut self.0[usize::from(entry.partition)];
        account.next = entry.sequence + 1;
        account.open.insert(entry.sequence);
    }

    /// The other side has it, or it can never have it.
    pub(super) fn done(&mut self, entry: Entry) {
        self.0[usize::from(entry.partition)].open.remove(&entry.sequence);
    }

    /// All below is acknowledged.
    pub(super) fn cursor(&self, partition: u8) -> u64 {
        let account = &self.0[usize::from(partition)];
        account.open.first().copied().unwrap_or(account.next)
    }

    /// The cursor, if it has moved since this was last asked.
    pub(super) fn moved(&mut self, partition: u8) -> Option<u64> {
        let cursor = self.cursor(partition);
        let account = &mut self.0[usize::from(partition)];
        (std::mem::replace(&mut account.told, cursor) != cursor).then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64) -> Entry {
        Entry { partition: 0, sequence }
    }

    #[test]
    fn the_cursor_stays_behind_the_first_that_is_not_acknowledged() {
        let mut ledger = Ledger::from_cursors([5]);
        (5..9).for_each(|sequence| ledger.begin(entry(sequence)));
        assert_eq!((ledger.next(0), ledger.cursor(0)), (9, 5));
        ledger.done(entry(6));
        ledger.done(entry(7));
        assert_eq!(ledger.moved(0), None);
        ledger.done(entry(5));
        assert_eq!((ledger.moved(0), ledger.moved(0), ledger.open(0)), (Some(8), None, 1));
        ledger.done(entry(8));
        assert_eq!(ledger.cursor(0), 9);
    }

    #[test]
    fn a_gap_in_the_log_holds_nothing_up() {
        let mut ledger = Ledger::from_cursors([0]);
        ledger.begin(entry(0));
        ledger.begin(entry(40));
        ledger.done(entry(0));
        assert_eq!(ledger.cursor(0), 40);
    }
}
