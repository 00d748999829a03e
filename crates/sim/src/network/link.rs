//! What lies between two machines.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isotherm_host::Chance;
use tokio::sync::Notify;

/// How good a link is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    /// Each way, milliseconds.
    pub(crate) delay_ms: u64,
    /// Up to so much more.
    pub(crate) jitter_ms: u64,
    /// How fast, if that is to be felt.
    pub(crate) bytes_a_second: Option<u64>,
    /// Of a thousand segments, so many are lost and sent again.
    pub(crate) lost: u64,
}

impl Quality {
    /// A switch in a cupboard.
    pub(crate) const GOOD: Self = Self { delay_ms: 1, jitter_ms: 2, bytes_a_second: None, lost: 2 };
}

/// TCP sends again what was lost after this long, milliseconds, and up to twice that.
const AGAIN_MS: u64 = 200;

/// A link. Streams over it wait while it is cut; what was sent arrives when it is whole again.
#[derive(Debug, Default)]
pub(crate) struct Link {
    state: Mutex<State>,
    pub(crate) whole: Notify,
}

#[derive(Debug)]
struct State {
    /// Counts who cut it: two may.
    cuts: u32,
    quality: Quality,
}

impl Default for State {
    fn default() -> Self {
        Self { cuts: 0, quality: Quality::GOOD }
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_cut(&self, cut: bool) {
        let mut state = self.state();
        state.cuts = if cut { state.cuts + 1 } else { state.cuts.saturating_sub(1) };
        if state.cuts == 0 {
            self.whole.notify_waiters();
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state().cuts > 0
    }

    pub(crate) fn set_quality(&self, quality: Quality) {
        self.state().quality = quality;
    }

    /// How long a segment of this size is on its way.
    pub(crate) fn delay(&self, chance: &Chance, bytes: usize) -> Duration {
        let quality = self.state().quality;
        let mut millis = quality.delay_ms + chance.u64() % (quality.jitter_ms + 1);
        if let Some(rate) = quality.bytes_a_second {
            millis += bytes as u64 * 1000 / rate.max(1);
        }
        if chance.u64() % 1000 < quality.lost {
            millis += AGAIN_MS + chance.u64() % AGAIN_MS;
        }
        Duration::from_millis(millis)
    }
}
