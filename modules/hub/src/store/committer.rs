//! The committer: whatever became dirty while it was syncing goes into its next round.

use std::io;
use std::sync::atomic::Ordering;

use isotherm_journal::Journal;

use super::database::Changes;
use super::journals::PARTITIONS;
use super::{Call, Store, SyncMode, Ticket};
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
    /// Writes and syncs all that is dirty. Blocks; one at a time. Calls those who wait.
    pub fn commit_round(&self) -> Round {
        let mut keeper = self.shared.keeper.lock().expect("no round panics");
        let Some(work) = self.take_work() else { return Round::Idle };
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
    pub fn run(&self) -> io::Result<()> {
        loop {
            let closed = self.wait_for_work();
            match self.commit_round() {
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

    /// Returns when a round is due; says whether it is the last.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state();
        while !state.closed && !state.is_dirty() {
            if state.journals.is_lazy() {
                let waited = self.shared.due.wait_timeout(state, Self::LAZY);
                let (again, timeout) = waited.expect("nothing panics under the store's lock");
                state = again;
                if timeout.timed_out() {
                    break;
                }
            } else {
                state = self.shared.due.wait(state).expect("nothing panics under the store's lock");
            }
        }
        state.closed
    }

    /// Waits this long, or until the store is closed.
    fn pause(&self, how_long: std::time::Duration) {
        let state = self.state();
        let open = |state: &mut super::State| !state.closed;
        drop(self.shared.due.wait_timeout_while(state, how_long, open));
    }

    fn take_work(&self) -> Option<Work> {
        let mut state = self.state();
        if !state.is_dirty() && !state.journals.is_lazy() {
            return None;
        }
        state.round += 1;
        state.called = Call::None;
        Some(Work {
            ticket: Ticket(state.round),
            journals: state.journals.take_dirty(),
            gone: state.journals.take_gone(),
            changes: std::mem::take(&mut state.changes),
            bytes: self.shared.unsynced.load(Ordering::Relaxed),
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
        state.trouble = None;
        let shared = &self.shared;
        let held = state.journals.queues_bytes();
        shared.held.store(held, Ordering::Relaxed);
        let unsynced = shared.unsynced.fetch_sub(work.bytes, Ordering::Relaxed) - work.bytes;
        shared.durable.store(work.ticket.0, Ordering::Release);
        let settings = &shared.settings;
        let refusing = held > self.queues_bytes_max() || unsynced > settings.slack_bytes / 2;
        shared.refusing.store(refusing, Ordering::Relaxed);
        state.waiting.take_durable(work.ticket, &mut wakes);
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
    use crate::store::{Settings, Table};

    #[test]
    fn what_came_while_a_round_failed_wins_over_what_the_round_had() {
        let (store, _) =
            Store::open(Arc::new(MemoryDisk::new()), Path::new("/state"), Settings::default()).unwrap();
        store.put(Table::Meta, "a", b"old".to_vec());
        store.put(Table::Meta, "b", b"old".to_vec());
        let work = store.take_work().unwrap();
        store.put(Table::Meta, "a", b"new".to_vec());
        store.failed(work, &io::ErrorKind::StorageFull.into());
        assert!(matches!(store.commit_round(), Round::Committed(Ticket(2))));
        let kept = store.load(Table::Meta).unwrap();
        assert_eq!(kept, [("a".to_owned(), b"new".to_vec()), ("b".to_owned(), b"old".to_vec())]);
    }

    #[test]
    fn a_removed_queue_does_not_disturb_the_round_that_was_about_to_write_it() {
        let (store, _) =
            Store::open(Arc::new(MemoryDisk::new()), Path::new("/state"), Settings::default()).unwrap();
        let name =
            crate::store::QueueName { owner: "d/m".to_owned(), input: "in".to_owned(), priority: 0, era: 0 };
        let queue = store.queue(&name).unwrap();
        store.append(&queue, b"x").unwrap();
        let ticket = store.appended([&queue]);
        store.remove_queue(&name);
        assert!(matches!(store.commit_round(), Round::Idle | Round::Committed(_)));
        store.put(Table::Meta, "a", Vec::new());
        store.commit_round();
        assert!(store.durable() >= ticket, "whoever waits for it is not left waiting");
    }

    #[test]
    fn a_queue_whose_name_is_too_long_to_be_kept_is_refused() {
        let (store, _) =
            Store::open(Arc::new(MemoryDisk::new()), Path::new("/state"), Settings::default()).unwrap();
        let named = |length| crate::store::QueueName {
            owner: "d/m".to_owned(),
            input: "i".repeat(length),
            priority: 0,
            era: 0,
        };
        let refused = store.queue(&named(4_096)).unwrap_err();
        assert!(refused.reason.contains("too long"), "{refused}");
        assert!(store.queue(&named(4_000)).is_ok());
    }
}
