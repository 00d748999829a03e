//! Brings to disk what was promised: one sync for all that came meanwhile.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use isotherm_host::{Host, Lock};
use isotherm_journal::Offset;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::shared::Shared;

/// What was posted goes to disk if the hub has not taken it after this long, or twice as long at most, and at once while it
/// takes nothing. Mostly it has, and a disk that is not written to costs neither time nor wear; should the process die
/// meanwhile, what it was made of comes again.
const POSTED_WAITS: Duration = Duration::from_millis(100);
/// That messages are delivered is written with the next sync, or after this long: to forget it costs only repeats.
const FORGET_AFTER: Duration = Duration::from_secs(1);
/// How long to wait after the disk has failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A disk that keeps failing is told of this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What has to be done for the disk, as a task of its own.
pub(crate) struct Keeper {
    pub(crate) host: Host,
    pub(crate) shared: Arc<Shared>,
    /// Where the last known twin is kept; `None` if there is none to keep.
    pub(crate) twin_file: Option<PathBuf>,
    /// Held while something is written, also when the client is gone meanwhile; not any longer, for another may come.
    pub(crate) lock: Weak<Lock>,
}

/// What the keeper remembers.
#[derive(Default)]
struct Known {
    /// When it last told that the disk fails.
    told: Option<Instant>,
    /// The oldest message, when one had waited for the hub in vain.
    stuck_at: Option<Offset>,
}

impl Keeper {
    pub(crate) async fn run(self) {
        let mut known = Known::default();
        loop {
            self.shared.keeper.notified().await;
            while self.step(&mut known).await {}
        }
    }

    /// Does what is to be done next; false when there is nothing.
    async fn step(&self, known: &mut Known) -> bool {
        let outbox = &self.shared.outbox;
        if self.is_urgent(known) {
            self.commit(&mut known.told).await;
        } else if self.is_twin_unsaved() {
            self.save_twin().await;
        } else if outbox.is_dirty() {
            if self.grows_old(known).await {
                self.commit(&mut known.told).await;
            }
        } else {
            return false;
        }
        true
    }

    /// Waits until what is not on disk has waited long enough; false if there is something else to do first.
    async fn grows_old(&self, known: &mut Known) -> bool {
        let outbox = &self.shared.outbox;
        let latest = Instant::now() + FORGET_AFTER;
        loop {
            let posted = outbox.next();
            let soon = Instant::now() + POSTED_WAITS;
            let until = if outbox.is_waiting() { soon.min(latest) } else { latest };
            // It is not set anew with each message that comes and goes meanwhile: that costs as much as the message.
            let mut old = pin!(sleep_until(until));
            loop {
                tokio::select! {
                    biased;
                    () = self.shared.keeper.notified() => {}
                    () = &mut old => break,
                }
                if self.is_urgent(known) || self.is_twin_unsaved() {
                    return false;
                }
                if outbox.is_waiting() && Instant::now() + POSTED_WAITS < until {
                    break;
                }
            }
            let in_vain = old.is_elapsed() && outbox.kept() < posted;
            if in_vain || Instant::now() >= latest {
                known.stuck_at = in_vain.then(|| outbox.first());
                return true;
            }
        }
    }

    /// Whether somebody waits for the disk, or the hub takes nothing and the disk is all there is.
    fn is_urgent(&self, known: &Known) -> bool {
        let outbox = &self.shared.outbox;
        outbox.is_waited_for() || (outbox.is_waiting() && known.stuck_at == Some(outbox.first()))
    }

    fn is_twin_unsaved(&self) -> bool {
        self.twin_file.is_some() && self.shared.lock().mirror.is_unsaved()
    }

    async fn commit(&self, told: &mut Option<Instant>) {
        let outbox = self.shared.outbox.clone();
        let result = if outbox.is_durable() {
            let lock = self.lock.upgrade();
            let work = move || (outbox.commit(), lock).0;
            self.host.blocking(work).await
        } else {
            outbox.commit()
        };
        self.shared.kept(result.is_err());
        match result {
            Ok(_) if told.take().is_some() => info!("the disk takes messages again"),
            Ok(_) => {}
            Err(error) => {
                if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                    *told = Some(Instant::now());
                    let held_back = self.shared.outbox.held_back();
                    warn!(%error, held_back, "the disk does not take messages; they are held back in memory and it is tried again");
                }
                sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn save_twin(&self) {
        let Some(bytes) = self.shared.lock().mirror.take_unsaved() else { return };
        let Some(file) = self.twin_file.clone() else { return };
        let (disk, lock) = (self.host.disk.clone(), self.lock.upgrade());
        let result = self.host.blocking(move || (disk.write_atomic(&file, &bytes), lock).0).await;
        if let Err(error) = result {
            warn!(%error, "the twin could not be kept; should the process start without a hub, it knows an older one");
        }
    }
}
