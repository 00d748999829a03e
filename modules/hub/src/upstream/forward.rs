//! Reads the log from the cursors on, and hands each event to its lane.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::lane::{Lanes, cursor_key};
use crate::core::{Core, Subject, What};
use crate::shared::Shared;
use crate::store::Table;

/// Events of one partition that are on their way at once.
const OPEN_MAX: usize = 4_096;
/// Events read at once.
const READ_MAX: usize = 512;
/// The cursors are kept this often; a crash repeats what was acknowledged since.
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
    let mut watched = false;
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            () = seen.notified() => look(&tap, &mut lanes).await,
            () = grown.notified() => watched = false,
            () = common.moved.notified() => {}
            _ = keep.tick() => {
                keep_cursors(&shared, &lanes);
                continue;
            }
        }
        if !std::mem::replace(&mut watched, true) {
            let ringer = Arc::clone(&grown);
            shared.store.on_events(Arc::new(move || ringer.notify_one()));
        }
        for partition in 0..Core::PARTITIONS {
            read_on(&shared, &mut lanes, partition).await;
        }
        hold(&shared, &lanes);
    }
    lanes_end(&shared, lanes).await;
}

async fn lanes_end(shared: &Shared, lanes: Lanes) {
    let common = lanes.common();
    lanes.close().await;
    for partition in 0..Core::PARTITIONS {
        let cursor = common.ledger().cursor(partition);
        shared.store.put(Table::Upstream, &cursor_key(partition), cursor.to_le_bytes().to_vec());
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

async fn read_on(shared: &Shared, lanes: &mut Lanes, partition: u8) {
    let common = lanes.common();
    loop {
        let (next, open) = {
            let ledger = common.ledger();
            (ledger.next(partition), ledger.open(partition))
        };
        if open >= OPEN_MAX {
            return;
        }
        let events = shared.core().events(partition, next, READ_MAX.min(OPEN_MAX - open));
        let events = match events {
            Ok(events) if events.is_empty() => return,
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, partition, "the log cannot be read; it is tried again");
                return;
            }
        };
        for event in &events {
            if !lanes.take(event).await {
                return;
            }
        }
    }
}

/// What upstream has may be given up here, from now on.
fn hold(shared: &Shared, lanes: &Lanes) {
    let common = lanes.common();
    for partition in 0..Core::PARTITIONS {
        let cursor = common.ledger().cursor(partition);
        shared.store.hold_events(usize::from(partition), cursor);
    }
}

fn keep_cursors(shared: &Shared, lanes: &Lanes) {
    let common = lanes.common();
    for partition in 0..Core::PARTITIONS {
        let moved = common.ledger().moved(partition);
        if let Some(cursor) = moved {
            shared.store.put(Table::Upstream, &cursor_key(partition), cursor.to_le_bytes().to_vec());
        }
    }
}
