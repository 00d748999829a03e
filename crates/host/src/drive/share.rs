//! How much a busy connection takes at a time: much while it has its thread for itself, little while others wait.

use std::time::{Duration, Instant};

/// Bounds, in bytes, of what is read in one go before the others of the thread have their turn.
const BYTES: std::ops::RangeInclusive<usize> = 2 << 10..=64 << 10;
/// Whoever had to wait longer than this for its next turn is among many.
const AMONG_MANY: Duration = Duration::from_millis(1);

/// One connection's share.
#[derive(Debug)]
pub(super) struct Share {
    bytes: usize,
    left: usize,
    /// When it last gave way although it had more.
    gave_way: Option<Instant>,
}

impl Share {
    pub(super) fn new() -> Self {
        Self { bytes: *BYTES.end(), left: *BYTES.end(), gave_way: None }
    }

    /// It is its turn.
    pub(super) fn begin(&mut self, now: Instant) {
        if let Some(since) = self.gave_way.take() {
            let among_many = now.saturating_duration_since(since) > AMONG_MANY;
            let bytes = if among_many { self.bytes / 2 } else { self.bytes * 2 };
            self.bytes = bytes.clamp(*BYTES.start(), *BYTES.end());
        }
        self.left = self.bytes;
    }

    /// How much may still be read in this turn.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// So much was read.
    pub(super) fn took(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// It has more, and gives way to the others.
    pub(super) fn give_way(&mut self, now: Instant) {
        self.gave_way = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share after a turn for which it had to wait so long.
    fn after(share: &mut Share, begun: Instant, waited: Duration) -> usize {
        share.give_way(begun);
        share.begin(begun + waited);
        share.left()
    }

    #[test]
    fn among_many_it_shrinks_to_a_few_messages_and_alone_it_grows_back() {
        let (begun, mut share) = (tokio::time::Instant::now().into_std(), Share::new());
        assert_eq!(after(&mut share, begun, AMONG_MANY), 64 << 10);
        assert_eq!(after(&mut share, begun, AMONG_MANY * 2), 32 << 10);
        for _ in 0..10 {
            after(&mut share, begun, AMONG_MANY * 2);
        }
        assert_eq!(share.left(), 2 << 10);
        assert_eq!(after(&mut share, begun, Duration::ZERO), 4 << 10);
        share.took(4_000);
        assert_eq!(share.left(), 96);
        share.took(100);
        assert_eq!(share.left(), 0);
    }

    #[test]
    fn who_was_idle_in_between_did_not_wait() {
        let (begun, mut share) = (tokio::time::Instant::now().into_std(), Share::new());
        after(&mut share, begun, AMONG_MANY * 2);
        share.begin(begun + Duration::from_secs(60));
        assert_eq!(share.left(), 32 << 10);
    }
}
