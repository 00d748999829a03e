//! The committer: whatever became dirty while it was syncing goes into its next round.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use isotherm_journal::Journal;

use super::database::Changes;
use super::journals::PARTITIONS;
use super::{Call, State, Store, SyncMode, Ticket};
use crate::core::Wake;

/// How a commit round went.
#[derive(Debug)]
pub enum Round {
    /// Nothing was dirty.
    Idle,
    /// All that was dirty is on disk, up to this ticket.
    Committed(Ticket),
    /// The disk refused; everything is kept in memory. Try again in a second.
    Failed(io::Error),
}

/// When the next round is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now; of all that is not on disk yet, or only of what somebody waits for.
    Now { all: bool },
    /// Then, unless the store calls before.
    At(Instant),
    /// When the store calls.
    OnCall,
}

/// Since when something can wait, as a committer has seen it.
#[derive(Debug, Default)]
pub struct Pace {
    lazy: Option<Instant>,
    awaiting: Option<Instant>,
}

/// What one round writes.
struct Work {
    ticket: Ticket,
    journals: Vec<(usize, Journal)>,
    changes: Changes,
    /// Folders of queues that are done with.
    gone: Vec<std::path::PathBuf>,
    /// How much of it was appended.
    bytes: u64,
}

impl Store {
    /// Writes and syncs all that is not on disk yet. Blocks; one at a time. Calls those who wait.
    pub fn commit_round(&self) -> Round {
        self.commit(true)
    }

    /// The same, or only for what somebody waits for.
    pub(crate) fn commit(&self, all: bool) -> Round {
        let mut keeper = self.shared.keeper.lock().expect("no round panics");
        let Some(work) = self.take_work(all) else { return Round::Idle };
        self.give_up_old_events(&work);
        let full = self.shared.full.load(Ordering::Relaxed);
        let room = if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        let journals =
            room.and_then(|()| work.journals.iter().try_for_each(|(_, journal)| journal.commit().map(drop)));
        let written = journals.and_then(|()| keeper.write(&work.changes));
        for dir in &work.gone {
            // One that cannot be removed comes back at the next start, empty or as a repeat.
            let _ = self.shared.disk.remove_dir(dir);
        }
        drop(keeper); // whoever is woken may want it
        match written {
            Ok(()) => {
                for wake in self.committed(&work) {
                    wake();
                }
                Round::Committed(work.ticket)
            }
            Err(error) => {
                self.failed(work, &error);
                Round::Failed(error)
            }
        }
    }

    /// Commits until [`Store::close`]: the committer as a thread of its own. Says how the last round went.
    ///
    /// # Errors
    /// When the last round failed.
    pub fn run(&self, clock: impl Fn() -> Instant) -> io::Result<()> {
        let mut pace = Pace::default();
        loop {
            let (closed, all) = self.wait_for_work(&mut pace, &clock);
            match self.commit(all) {
                Round::Failed(error) if closed => return Err(error),
                Round::Failed(_) => self.pause(Self::RETRY),
                Round::Idle | Round::Committed(_) if closed => return Ok(()),
                Round::Idle | Round::Committed(_) => {}
            }
            if let SyncMode::Interval(interval) = self.shared.settings.sync {
                self.pause(interval);
            }
        }
    }

    /// Ends `run` after one last round.
    pub fn close(&self) {
        self.state().closed = true;
        self.shared.due.notify_all();
    }

    /// When a committer has to do the next round.
    pub(crate) fn due_at(&self, pace: &mut Pace, now: Instant) -> Due {
        self.look(&mut self.state(), pace, now)
    }

    fn look(&self, state: &mut State, pace: &mut Pace, now: Instant) -> Due {
        let patience = self.shared.settings.patience;
        if pace.awaiting.is_some_and(|since| now >= since + patience) {
            state.journals.look_at_awaited();
            pace.awaiting = None;
        }
        pace.awaiting = state.journals.is_awaiting().then(|| pace.awaiting.unwrap_or(now));
        pace.lazy = state.journals.is_lazy().then(|| pace.lazy.unwrap_or(now));
        let all = pace.lazy.is_some_and(|since| now >= since + Self::LAZY);
        if all || state.is_dirty() {
            return Due::Now { all };
        }
        let soon = pace.awaiting.map(|since| (since + patience, Call::Soon));
        let some_time = pace.lazy.map(|since| (since + Self::LAZY, Call::Lazy));
        let next = soon.into_iter().chain(some_time).min_by_key(|(at, _)| *at);
        state.called = next.map_or(Call::None, |(_, call)| call);
        next.map_or(Due::OnCall, |(at, _)| Due::At(at))
    }

    /// Returns when a round is due; says whether it is the last, and whether it is one of all.
    fn wait_for_work(&self, pace: &mut Pace, clock: impl Fn() -> Instant) -> (bool, bool) {
        let mut state = self.state();
        while !state.closed {
            let now = clock();
            state = match self.look(&mut state, pace, now) {
                Due::Now { all } => return (false, all),
                Due::At(at) => {
                    let waited = self.shared.due.wait_timeout(state, at.saturating_duration_since(now));
                    waited.expect("nothing panics under the store's lock").0
                }
                Due::OnCall => self.shared.due.wait(state).expect("nothing panics under the store's lock"),
            };
        }
        (true, true)
    }

    /// Waits this long, or until the store is closed.
    fn pause(&self, how_long: std::time::Duration) {
        let state = self.state();
        let open = |state: &mut super::State| !state.closed;
        drop(self.shared.due.wait_timeout_while(state, how_long, open));
    }

    fn take_work(&self, all: bool) -> Option<Work> {
        let mut state = self.state();
        let due = state.is_dirty() || (all && state.is_patient());
        if !due {
            return None;
        }
        state.round += 1;
        state.called = Call::None;
        let journals = state.journals.take_dirty(all);
        let unsynced = self.shared.unsynced.load(Ordering::Relaxed);
        Some(Work {
            ticket: Ticket(state.round),
            journals,
            gone: if all { state.journals.take_gone() } else { Vec::new() },
            changes: std::mem::take(&mut state.changes),
            bytes: unsynced.saturating_sub(state.journals.pending_bytes()),
        })
    }

    /// Keeps each partition of the upstream log within its share.
    fn give_up_old_events(&self, work: &Work) {
        let share = self.shared.settings.events_bytes_max / PARTITIONS as u64;
        for (index, journal) in work.journals.iter().filter(|(index, _)| *index < PARTITIONS) {
            let bytes = journal.bytes();
            // What still has to go upstream stays; the senders are held back instead.
            if bytes > share && self.may_give_up(*index, journal.first()) {
                let dropped = journal.drop_oldest(bytes - share);
                self.shared.given_up.fetch_add(dropped, Ordering::Relaxed);
            }
        }
    }

    /// Says that it is done; those to be told come back.
    fn committed(&self, work: &Work) -> Vec<Wake> {
        let mut wakes: Vec<Wake> = Vec::new();
        let mut state = self.state();
        for (index, _) in &work.journals {
            state.journals.recount(*index);
        }
        state.journals.recount_patient();
        state.trouble = None;
        let shared = &self.shared;
        if shared.settings.sync != SyncMode::Never {
            shared.held.store(state.journals.queues_bytes(), Ordering::Relaxed);
        }
        shared.unsynced.fetch_sub(work.bytes, Ordering::Relaxed);
        shared.durable.store(work.ticket.0, Ordering::Release);
        let refusing = self.is_at_limit();
        shared.refusing.store(refusing, Ordering::Relaxed);
        state.waiting.take_durable(work.ticket, &mut wakes);
        wakes.append(&mut state.waiting.take_accepted(None));
        if !refusing {
            wakes.append(&mut state.waiting.room);
        }
        if !self.upstream_is_full(&state.journals) {
            wakes.append(&mut state.waiting.upstream_room);
        }
        if work.journals.iter().any(|(index, _)| *index < PARTITIONS) {
            wakes.append(&mut state.waiting.events);
        }
        wakes
    }

    /// Puts everything back: nothing is let go of because a disk is full.
    fn failed(&self, work: Work, error: &io::Error) {
        let mut state = self.state();
        for (index, _) in &work.journals {
            state.journals.mark(*index);
        }
        let newer = std::mem::replace(&mut state.changes, work.changes);
        state.changes.extend(newer);
        state.trouble = Some(error.to_string());
        self.shared.refusing.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use isotherm_host::MemoryDisk;

    use super::*;
    use crate::store::{QueueName, Receipt, Settings, Table};

    fn store() -> Store {
        Store::open(Arc::new(MemoryDisk::new()), Path::new("/state"), Settings::default()).unwrap().0
    }

    fn inputs_of(owner: &str) -> QueueName {
        QueueName { owner: owner.to_owned(), input: "in".to_owned(), priority: 0, era: 0 }
    }

    #[test]
    fn what_came_while_a_round_failed_wins_over_what_the_round_had() {
        let store = store();
        store.put(Table::Meta, "a", b"old".to_vec());
        store.put(Table::Meta, "b", b"old".to_vec());
        let work = store.take_work(true).unwrap();
        store.put(Table::Meta, "a", b"new".to_vec());
        store.failed(work, &io::ErrorKind::StorageFull.into());
        assert!(matches!(store.commit_round(), Round::Committed(Ticket(2))));
        let kept = store.load(Table::Meta).unwrap();
        assert_eq!(kept, [("a".to_owned(), b"new".to_vec()), ("b".to_owned(), b"old".to_vec())]);
    }

    #[test]
    fn a_removed_queue_does_not_disturb_the_round_that_was_about_to_write_it() {
        let store = store();
        let name = inputs_of("d/m");
        let queue = store.queue(&name).unwrap();
        store.append(&queue, b"x").unwrap();
        let ticket = store.appended([&queue]);
        store.remove_queue(&name);
        assert!(matches!(store.commit_round(), Round::Idle | Round::Committed(_)));
        store.put(Table::Meta, "a", Vec::new());
        store.commit_round();
        assert!(store.is_safe(&ticket), "whoever waits for it is not left waiting");
    }

    #[test]
    fn a_queue_whose_name_is_too_long_to_be_kept_is_refused() {
        let store = store();
        let named =
            |length| QueueName { owner: "d/m".to_owned(), input: "i".repeat(length), priority: 0, era: 0 };
        let refused = store.queue(&named(4_096)).unwrap_err();
        assert!(refused.reason.contains("too long"), "{refused}");
        assert!(store.queue(&named(4_000)).is_ok());
    }

    #[test]
    fn a_message_of_a_queue_in_a_removed_ones_place_is_another_message() {
        let store = store();
        let receipt = |owner: &str| {
            let name = inputs_of(owner);
            let queue = store.queue(&name).unwrap();
            let offset = store.append(&queue, b"x").unwrap();
            store.forget(&queue, offset + 1, true);
            store.append(&queue, b"y").unwrap();
            let receipt = store.appended([&queue]);
            assert!(matches!(receipt, Receipt::Accepted(_)));
            assert!(!store.is_safe(&receipt));
            store.remove_queue(&name);
            assert!(store.is_safe(&receipt));
            (queue.index, receipt)
        };
        let (first, second) = (receipt("d/a"), receipt("d/b"));
        assert_eq!(first.0, second.0, "the same place");
        assert_ne!(first.1, second.1);
    }

    #[test]
    fn a_reader_is_waited_for_but_not_for_long() {
        let store = store();
        let name = inputs_of("d/m");
        let queue = store.queue(&name).unwrap();
        let put = || {
            let offset = store.append(&queue, b"x").unwrap();
            (offset, store.appended([&queue]))
        };
        let (first, receipt) = put();
        assert!(matches!(receipt, Receipt::Durable(_)), "nobody has ever read there");
        store.commit_round();
        store.forget(&queue, first + 1, true);
        store.commit_round();

        let patience = Settings::default().patience;
        let (mut pace, begin) = (Pace::default(), isotherm_host::Host::real().now());
        assert_eq!(store.due_at(&mut pace, begin), Due::OnCall);
        let (second, receipt) = put();
        assert_eq!(store.due_at(&mut pace, begin), Due::At(begin + patience));
        assert!(matches!(store.commit(false), Round::Idle), "the disk is left alone");
        let (third, later) = put();
        store.forget(&queue, second + 1, true);
        assert!(store.is_safe(&receipt) && !store.is_safe(&later));
        assert_eq!(store.due_at(&mut pace, begin + patience), Due::At(begin + patience * 2), "a first look");
        assert_eq!(store.due_at(&mut pace, begin + patience * 2), Due::Now { all: false }, "a second");
        assert!(matches!(store.commit(false), Round::Committed(_)));
        assert!(store.is_safe(&later));

        let (fourth, receipt) = put();
        assert!(matches!(receipt, Receipt::Durable(_)), "who was slow is not waited for again");
        store.forget(&queue, fourth + 1, true);
        assert!(matches!(put().1, Receipt::Accepted(_)), "until it has caught up");
        assert!(third < fourth);
    }

    #[test]
    fn what_was_accepted_is_written_down_after_a_while_also_when_rounds_never_cease() {
        let store = store();
        let name = inputs_of("d/m");
        let queue = store.queue(&name).unwrap();
        let offset = store.append(&queue, b"x").unwrap();
        store.appended([&queue]);
        store.commit_round();
        store.forget(&queue, offset + 1, true);
        let (mut pace, begin) = (Pace::default(), isotherm_host::Host::real().now());
        let round = |pace: &mut Pace, after| {
            store.put(Table::Meta, "a", Vec::new());
            let due = store.due_at(pace, begin + after);
            let Due::Now { all } = due else { panic!("{due:?}") };
            assert!(matches!(store.commit(all), Round::Committed(_)));
            (all, queue.journal.is_dirty())
        };
        assert_eq!(round(&mut pace, Store::LAZY / 4), (false, true));
        assert_eq!(round(&mut pace, Store::LAZY), (false, true));
        assert_eq!(round(&mut pace, Store::LAZY / 4 * 5), (true, false));
    }
}
