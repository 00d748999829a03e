//! When the next reading is due.

use std::time::{Duration, Instant};

use crate::wiring::Speed;

/// The most readings taken before the outbox syncs once for all of them.
pub(crate) const BURST_MAX: usize = 256;

/// When the next reading is due, and how many are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    speed: Speed,
    /// A row that was missed is caught up with, since a file has no present; a chip's missed moments are gone.
    catches_up: bool,
    next: Instant,
}

impl Pace {
    /// A reading each `interval`, or as fast as `speed` says if it does; the first at `first`.
    #[must_use]
    pub(crate) fn new(speed: Option<Speed>, interval: Duration, first: Instant) -> Self {
        Self { speed: speed.unwrap_or(Speed::Every(interval)), catches_up: speed.is_some(), next: first }
    }

    /// When the next reading is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// How many readings are due at `now`, at least one; counts them as taken.
    pub(crate) fn take(&mut self, now: Instant) -> usize {
        let Speed::Every(interval) = self.speed else { return BURST_MAX };
        let late = now.saturating_duration_since(self.next);
        let missed = u32::try_from(late.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX);
        if !self.catches_up {
            self.next += interval * missed + interval; // stays in step with the moments before
            return 1;
        }
        let due = missed.saturating_add(1).min(BURST_MAX as u32);
        self.next += interval * due;
        due as usize
    }

    /// Goes by another interval from the last reading on, unless the speed is not the twin's to say.
    pub(crate) fn change(&mut self, interval: Duration, now: Instant) {
        if let Speed::Every(old) = self.speed
            && !self.catches_up
            && old != interval
        {
            let last = self.next.checked_sub(old).unwrap_or(now);
            self.next = (last + interval).max(now);
            self.speed = Speed::Every(interval);
        }
    }

    /// Has the next reading due at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn a_chip_that_was_asked_late_is_asked_once_and_in_step_again() {
        let start = now();
        let mut pace = Pace::new(None, SECOND, start);
        assert_eq!(pace.take(start), 1);
        assert_eq!((pace.take(start + 3 * SECOND + SECOND / 2), pace.next), (1, start + 4 * SECOND));
    }

    #[test]
    fn rows_that_were_missed_are_caught_up_with_in_bursts() {
        let start = now();
        let mut pace = Pace::new(Some(Speed::Every(Duration::from_millis(1))), SECOND, start);
        assert_eq!(pace.take(start + Duration::from_millis(9)), 10);
        assert_eq!(pace.take(start + Duration::from_secs(10)), BURST_MAX);
        assert_eq!(pace.next, start + Duration::from_millis(10 + BURST_MAX as u64));
    }

    #[test]
    fn another_interval_counts_from_the_last_reading() {
        let start = now();
        let mut pace = Pace::new(None, 10 * SECOND, start);
        pace.take(start);
        pace.change(3 * SECOND, start + SECOND);
        assert_eq!(pace.next, start + 3 * SECOND);
        pace.change(SECOND, start + 2 * SECOND);
        assert_eq!(pace.next, start + 2 * SECOND);
    }

    #[test]
    fn the_twin_does_not_change_the_speed_that_the_environment_gave_a_replay() {
        let start = now();
        let mut pace = Pace::new(Some(Speed::Max), SECOND, start);
        pace.change(2 * SECOND, start);
        assert_eq!((pace.take(start), pace.next), (BURST_MAX, start));
    }
}
