//! Reads the log from the cursors on, and hands each event to its lane.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use isotherm_iothub::Identity;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::lane::{Lanes, cursor_key};
use super::ledger::Reader;
use super::passed::Seen;
use crate::core::{Core, Subject, What};
use crate::shared::Shared;
use crate::store::Table;

/// Events read at once.
const READ_MAX: usize = 512;
/// The cursors are kept this often, and it is counted how much was acknowledged meanwhile; a crash repeats that.
const KEEP_EVERY: Duration = Duration::from_millis(500);

/// Goes on until the hub ends.
pub(super) async fn forward(shared: Arc<Shared>, mut lanes: Lanes) {
    let common = lanes.common();
    let grown = Arc::new(Notify::new());
    let seen = Arc::new(Notify::new());
    let ringer = Arc::clone(&seen);
    let tap =
        shared.core().tap(&[Subject::Twins, Subject::Connections], Arc::new(move || ringer.notify_one()));
    let mut keep = interval(KEEP_EVERY);
    keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = shared.host.stop.clone();
    grown.notify_one();
    let (mut watched, mut refused) = (false, BTreeSet::new());
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            () = seen.notified() => look(&tap, &mut lanes).await,
            () = grown.notified() => watched = false,
            () = common.moved.notified() => {}
            _ = keep.tick() => {
                common.ledger().beat();
                keep_cursors(&shared, &lanes);
                // A window that has grown is to be filled.
            }
        }
        if !std::mem::replace(&mut watched, true) {
            let ringer = Arc::clone(&grown);
            shared.store.on_events(Arc::new(move || ringer.notify_one()));
        }
        let now = common.refused();
        for who in now.difference(&refused) {
            common.ledger().refuse(who);
        }
        refused = now;
        let eager = shared.core().is_fresh_first_upstream();
        for partition in 0..Core::PARTITIONS {
            if eager {
                set_aside(&shared, &lanes, partition);
            }
            for reader in [Reader::Front, Reader::Behind] {
                Reading { shared: &shared, partition, reader, eager, refused: &refused }.on(&mut lanes).await;
            }
        }
        hold(&shared, &lanes, &refused);
    }
    lanes_end(&shared, lanes).await;
}

async fn lanes_end(shared: &Shared, lanes: Lanes) {
    let common = lanes.common();
    lanes.close().await;
    for partition in 0..Core::PARTITIONS {
        let cursor = common.ledger().to_keep(partition);
        shared.store.put(Table::Upstream, &cursor_key(partition), cursor);
    }
}

/// What happened here that upstream is to know of, or that wants a lane.
async fn look(tap: &crate::core::Tap, lanes: &mut Lanes) {
    let glimpse = tap.take();
    if glimpse.lost > 0 {
        lanes.all_reported();
    }
    for seen in glimpse.seen {
        match seen.what {
            What::Reported { .. } => lanes.reported(&seen.who),
            What::Connected { .. } if lanes.are_for_everybody() => {
                if let Err(error) = lanes.open(&seen.who).await {
                    tracing::error!(who = %seen.who, %error, "no way upstream");
                }
            }
            _ => {}
        }
    }
}

/// An outage is over: what is still to be read goes behind what comes from now on.
fn set_aside(shared: &Shared, lanes: &Lanes, partition: u8) {
    let common = lanes.common();
    if !common.ledger().was_late(partition) {
        return;
    }
    let end = shared.core().partition(partition).next;
    let left = common.ledger().set_aside(partition, end);
    if left > 0 {
        tracing::info!(
            partition,
            left,
            "upstream is back; what is fresh goes first, and what it missed behind it"
        );
    }
}

/// One reader of one partition.
struct Reading<'a> {
    shared: &'a Shared,
    partition: u8,
    reader: Reader,
    /// What is fresh goes first.
    eager: bool,
    refused: &'a BTreeSet<Identity>,
}

impl Reading<'_> {
    /// Hands on what there is and what there is room for.
    async fn on(&self, lanes: &mut Lanes) {
        let common = lanes.common();
        let Self { partition, reader, refused, .. } = *self;
        loop {
            let place = common.ledger().place(partition, reader, self.eager, refused);
            let Some((from, room)) = place else { return };
            let front = common.ledger().front(partition);
            let events = self.shared.core().events(partition, from, READ_MAX.min(room));
            let mut events = match events {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, partition, "the log cannot be read; it is tried again");
                    return;
                }
            };
            if reader == Reader::Behind {
                events.retain(|event| event.sequence < front);
            }
            let ends = events.is_empty();
            let mut next = from;
            for event in &events {
                let seen = Seen { who: &event.from, sequence: event.sequence, fresh: event.fresh };
                if common.ledger().takes(partition, reader, seen, refused) && !lanes.take(event, reader).await
                {
                    return;
                }
                self.missed(event.sequence - next);
                next = event.sequence + 1;
            }
            if reader == Reader::Behind && (ends || events.last().is_some_and(|it| it.sequence + 1 == front))
            {
                common.ledger().walked(partition, front);
                return;
            }
            if ends {
                return;
            }
        }
    }

    /// Tells what the log has given up before it was sent.
    fn missed(&self, missed: u64) {
        if missed > 0 {
            self.shared.counters.add("upstream_messages_given_up", missed);
            let partition = self.partition;
            tracing::error!(
                partition,
                missed,
                "the log was full, or is damaged: this many never go upstream"
            );
        }
    }
}

/// What upstream has may be given up here, from now on.
fn hold(shared: &Shared, lanes: &Lanes, refused: &BTreeSet<Identity>) {
    let common = lanes.common();
    for partition in 0..Core::PARTITIONS {
        let wanted_from = common.ledger().wanted_from(partition, refused);
        shared.store.hold_events(usize::from(partition), wanted_from);
    }
}

fn keep_cursors(shared: &Shared, lanes: &Lanes) {
    let common = lanes.common();
    for partition in 0..Core::PARTITIONS {
        let changed = common.ledger().changed(partition);
        if let Some(cursor) = changed {
            shared.store.put(Table::Upstream, &cursor_key(partition), cursor);
        }
    }
}
