//! How often each thing happened at the doors: who was let in, who was refused and why, how connections ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counters by name. Names are ours (never a stranger's words), so there are only as many as the code has.
/// Nothing on a message's way is counted here: connections come and go rarely enough for a lock.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    /// One more of these.
    pub(crate) fn count(&self, name: &'static str) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry(name).or_default() += 1;
    }

    /// All counters that are not zero, by name.
    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
