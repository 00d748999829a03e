//! The cloud's quotas, on request: how many operations of a kind a hub takes in a second before it says 429.
//!
//! A unit of S1 is documented with 12 a second where it counts (connections, messages) and with less for some of the
//! rest; here it is 12 for every kind, so that a test meets a throttle at the same place whatever it does.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Operations of one kind in a second.
const A_SECOND: f64 = 12.0;
/// How many may come at once after a while of silence.
const AT_ONCE: f64 = 12.0;

/// What is counted, each kind for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Connections made.
    Connection,
    /// Messages of devices and modules.
    Telemetry,
    /// Cloud-to-device messages, sent and fetched.
    CloudToDevice,
    /// The registry, read and written.
    Registry,
    /// Twins, read and written by services.
    Twin,
    /// Method calls.
    Method,
    /// Queries.
    Query,
    /// Jobs.
    Job,
    /// Configurations.
    Configuration,
}

/// How many kinds there are.
const KINDS: usize = 9;

/// What is left of each kind.
#[derive(Debug)]
pub(crate) struct Throttles(Option<Mutex<[Bucket; KINDS]>>);

/// Fills at a steady rate; each operation takes one out.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Throttles {
    /// Throttles as S1 has them, or none.
    pub(crate) fn new(on: bool, now: Instant) -> Self {
        Self(on.then(|| Mutex::new([Bucket { left: AT_ONCE, at: now }; KINDS])))
    }

    /// Takes one of a kind.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(crate) fn take(&self, kind: Operation, now: Instant) -> Result<(), Duration> {
        let Some(buckets) = &self.0 else { return Ok(()) };
        let bucket = &mut buckets.lock().unwrap_or_else(PoisonError::into_inner)[kind as usize];
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * A_SECOND).min(AT_ONCE);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.left) / A_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn twelve_a_second_of_each_kind_and_not_one_more() {
        let start = Instant::now();
        let throttles = Throttles::new(true, start);
        let take = |kind, after: u64| throttles.take(kind, start + Duration::from_millis(after));
        for _ in 0..12 {
            assert_eq!(take(Operation::Twin, 0), Ok(()));
        }
        let wait = take(Operation::Twin, 0).unwrap_err();
        assert!(wait <= Duration::from_millis(84), "{wait:?}");
        assert_eq!(take(Operation::Registry, 0), Ok(()), "another kind has its own");
        assert_eq!(take(Operation::Twin, 84), Ok(()));
        assert!(take(Operation::Twin, 85).is_err());
        let later = (0..100).filter(|_| take(Operation::Twin, 60_000).is_ok()).count();
        assert_eq!(later, 12, "silence saves up no more than that");
        let none = Throttles::new(false, start);
        assert!((0..1_000).all(|_| none.take(Operation::Twin, start).is_ok()));
    }
}
