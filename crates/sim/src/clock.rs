//! Wall clocks that can be wrong, and jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use isotherm_host::{Chance, Clock};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::disk::Platter;

/// When every simulation begins, by the wall clock.
const BEGIN: Timestamp = Timestamp::constant(1_775_000_000, 0);
/// A disk in good health takes at most this long to sync, in milliseconds.
const SYNC_MS: u64 = 4;

/// A machine's wall clock: the site's time, and how far this one is off.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    began: Instant,
    site: Arc<AtomicI64>,
    own: Arc<AtomicI64>,
}

impl Watch {
    pub(crate) fn new(site: &Arc<AtomicI64>) -> Self {
        Self { began: Instant::now(), site: Arc::clone(site), own: Arc::default() }
    }

    /// Moves this clock alone.
    pub(crate) fn jump(&self, by: SignedDuration) {
        self.own.fetch_add(millis(by), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        let off = self.site.load(Ordering::Relaxed) + self.own.load(Ordering::Relaxed);
        let passed = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::ZERO);
        BEGIN.saturating_add(passed + SignedDuration::from_millis(off)).unwrap_or(Timestamp::MAX)
    }
}

pub(crate) fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a process sees of it.
#[derive(Debug)]
pub(crate) struct ClockDoor {
    pub(crate) watch: Watch,
    pub(crate) platter: Platter,
    pub(crate) chance: Chance,
}

impl Clock for ClockDoor {
    fn wall(&self) -> Timestamp {
        self.watch.now()
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn work_takes(&self) -> Duration {
        let (least, span) = self.platter.slowness().unwrap_or((0, SYNC_MS));
        Duration::from_millis(least + self.chance.u64() % (span + 1))
    }
}
