//! How long to wait before dialling again.

use std::time::Duration;

/// Exponential back-off with full jitter: after the n-th failure any wait between nothing and `first · 2ⁿ` is as
/// likely as any other, so that a thousand devices whose hub came back do not all dial in the same second.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// `first` bounds the first wait, `cap` all of them.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, failures: 0 }
    }

    /// The wait after one more failure. `chance` is drawn by the caller, from 0 up to 1; anything else is clamped.
    pub fn next(&mut self, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 1.0 };
        doubled.min(self.cap).mul_f64(chance)
    }

    /// Called once a connection stands: the next failure waits as briefly as the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_wait_doubles_until_the_cap() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND);
        let waits: Vec<u64> = (0..6).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn chance_spreads_the_wait_from_nothing_on() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), SECOND);
    }

    #[test]
    fn a_connection_that_stood_starts_the_waits_anew() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND);
        for _ in 0..5 {
            backoff.next(1.0);
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0), SECOND);
    }

    #[test]
    fn a_hundred_years_of_failures_and_broken_chance_stay_within_the_cap() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND);
        for chance in [f64::NAN, f64::INFINITY, -1.0, 2.0].into_iter().cycle().take(10_000) {
            assert!(backoff.next(chance) <= 10 * SECOND);
        }
    }
}
