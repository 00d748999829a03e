//! The wall clock. (The monotonic one is tokio's, which can be virtual.)

use jiff::Timestamp;
use std::fmt::Debug;
use std::time::Duration;

/// Tells the time of day.
pub trait Clock: Send + Sync + Debug {
    /// The time of day, in UTC. It may jump, forwards and back.
    fn wall(&self) -> Timestamp;

    /// Whether this is a simulation's clock: then nothing may wait outside tokio's virtual time.
    fn is_virtual(&self) -> bool {
        false
    }

    /// In virtual time: how long the next piece of work that blocks seems to take, as a slow disk makes it.
    fn work_takes(&self) -> Duration {
        Duration::ZERO
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A virtual clock that stands still.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct FixedClock(pub(crate) Timestamp);

#[cfg(test)]
impl Clock for FixedClock {
    fn wall(&self) -> Timestamp {
        self.0
    }

    fn is_virtual(&self) -> bool {
        true
    }
}
