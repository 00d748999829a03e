//! How often each thing happened at the doors: who was let in, who was refused and why, how connections ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines a second in the log about what strangers do wrong; the rest is counted only.
const LINES_A_SECOND: u32 = 10;

/// Counters by name. Names are ours (never a stranger's words), so there are only as many as the code has.
/// Nothing on a message's way is counted here: connections come and go rarely enough for a lock.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    /// One more of these.
    pub(crate) fn count(&self, name: &'static str) {
        self.add(name, 1);
    }

    /// So many more of these.
    pub(crate) fn add(&self, name: &'static str, more: u64) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry(name).or_default() += more;
    }

    /// All counters that are not zero, by name.
    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps strangers from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<(Instant, u32)>>);

impl Seldom {
    /// Whether one more line may be written at `now`.
    pub(crate) fn may_speak(&self, now: Instant) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *second {
            Some((begun, lines)) if now.saturating_duration_since(*begun) < Duration::from_secs(1) => {
                *lines += 1;
                *lines <= LINES_A_SECOND
            }
            other => {
                *other = Some((now, 1));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn the_eleventh_line_of_a_second_is_not_written_and_the_next_seconds_first_is() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let spoken = (0..20).filter(|_| seldom.may_speak(start)).count();
        assert_eq!(spoken, 10);
        assert!(seldom.may_speak(start + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_counted_twice_reads_two() {
        let counters = Counters::default();
        counters.count("mqtt_refused_token");
        counters.count("mqtt_refused_token");
        counters.count("tls_failed");
        assert_eq!(
            counters.snapshot().into_iter().collect::<Vec<_>>(),
            [("mqtt_refused_token", 2), ("tls_failed", 1)]
        );
    }
}
