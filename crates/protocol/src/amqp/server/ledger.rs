//! Deliveries that are not settled, by their id.

use std::collections::VecDeque;

/// Entries under ids that only grow (and wrap around), settled in any order, most often the oldest first.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    entries: VecDeque<(u32, Option<T>)>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new() }
    }
}

/// How far `id` lies behind `from`; negative if it lies before.
fn distance(from: u32, id: u32) -> i32 {
    id.wrapping_sub(from).cast_signed()
}

impl<T> Ledger<T> {
    /// False, and nothing done, if the id does not come after all that are here.
    pub(super) fn push(&mut self, id: u32, entry: T) -> bool {
        let grows = self.entries.back().is_none_or(|&(last, _)| distance(last, id) > 0);
        if grows {
            self.entries.push_back((id, Some(entry)));
        }
        grows
    }

    /// How many ids it spans: settled ones count until all before them are settled.
    pub(super) fn span(&self) -> usize {
        self.entries.len()
    }

    fn index(&self, id: u32) -> Result<usize, usize> {
        let Some(&(first, _)) = self.entries.front() else { return Err(0) };
        self.entries.binary_search_by_key(&distance(first, id), |&(held, _)| distance(first, held))
    }

    /// Settles one.
    pub(super) fn take(&mut self, id: u32) -> Option<T> {
        let index = self.index(id).ok()?;
        let entry = self.entries[index].1.take();
        self.tidy();
        entry
    }

    /// Walks over those from `first` to `last`; whatever `visit` takes out is settled.
    pub(super) fn visit(&mut self, first: u32, last: u32, mut visit: impl FnMut(u32, &mut Option<T>)) {
        if distance(first, last) < 0 {
            return;
        }
        let (Ok(from) | Err(from)) = self.index(first);
        for (id, entry) in self.entries.range_mut(from..) {
            if distance(*id, last) < 0 {
                break;
            }
            if entry.is_some() {
                visit(*id, entry);
            }
        }
        self.tidy();
    }

    /// Keeps only those that `keep` wants.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|(_, entry)| entry.as_ref().is_some_and(&mut keep));
    }

    fn tidy(&mut self) {
        while self.entries.front().is_some_and(|(_, entry)| entry.is_none()) {
            self.entries.pop_front();
        }
    }

    /// Gives memory back if nothing is held.
    pub(super) fn rest(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(ids: &[u32]) -> Ledger<u32> {
        let mut ledger = Ledger::default();
        for &id in ids {
            assert!(ledger.push(id, id));
        }
        ledger
    }

    fn visited(ledger: &mut Ledger<u32>, first: u32, last: u32) -> Vec<u32> {
        let mut seen = Vec::new();
        ledger.visit(first, last, |id, entry| {
            assert_eq!(entry.take(), Some(id));
            seen.push(id);
        });
        seen
    }

    #[test]
    fn ids_grow_and_wrap_around() {
        let mut ledger = ledger(&[u32::MAX - 1, u32::MAX, 0, 4]);
        assert!(!ledger.push(4, 4));
        assert!(!ledger.push(u32::MAX, 0));
        assert_eq!(ledger.take(0), Some(0));
        assert_eq!(ledger.take(0), None);
        assert_eq!(visited(&mut ledger, u32::MAX, 9), [u32::MAX, 4]);
        assert_eq!(ledger.take(u32::MAX - 1), Some(u32::MAX - 1));
        assert_eq!(ledger.span(), 0);
    }

    #[test]
    fn a_range_touches_what_is_there_and_nothing_else() {
        let mut ledger = ledger(&[3, 5, 7]);
        assert_eq!(visited(&mut ledger, 0, 2), []);
        assert_eq!(visited(&mut ledger, 8, u32::MAX >> 1), []);
        assert_eq!(visited(&mut ledger, 7, 3), []);
        assert_eq!(visited(&mut ledger, 4, 6), [5]);
        assert_eq!(visited(&mut ledger, 0, i32::MAX.cast_unsigned()), [3, 7]);
        assert_eq!(ledger.span(), 0);
    }

    #[test]
    fn what_is_settled_in_the_middle_waits_for_the_oldest() {
        let mut ledger = ledger(&[1, 2, 3]);
        assert_eq!(ledger.take(2), Some(2));
        assert_eq!(ledger.span(), 3);
        assert_eq!(ledger.take(1), Some(1));
        assert_eq!(ledger.span(), 1);
        ledger.retain(|&id| id != 3);
        assert_eq!(ledger.span(), 0);
    }
}
