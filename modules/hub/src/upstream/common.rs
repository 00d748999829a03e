//! What lanes and the forwarder share: how far each partition has gone, who is let in upstream, and how to tell of both.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use isotherm_host::metrics::Sample;
use isotherm_iothub::Identity;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::ledger::Ledger;

/// Names of refused ones that are told.
const NAMES_MAX: usize = 100;

/// What lanes and the forwarder share.
pub(crate) struct Common {
    ledger: Mutex<Ledger>,
    /// Something was acknowledged, a lane has room again, or somebody is let in or refused.
    pub(super) moved: Notify,
    doors: Mutex<Doors>,
}

/// Who is let in upstream.
#[derive(Debug, Default)]
struct Doors {
    connected: BTreeSet<Identity>,
    refused: BTreeSet<Identity>,
    /// Those for whom there is no lane.
    without: BTreeSet<Identity>,
    lanes: usize,
}

impl Doors {
    fn refused_names(&self) -> Vec<&str> {
        self.refused.iter().take(NAMES_MAX).map(Identity::as_str).collect()
    }
}

impl Common {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger: Mutex::new(ledger), moved: Notify::new(), doors: Mutex::default() }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().expect("nothing panics while it holds the doors")
    }

    /// Whose events are passed by, so that they hold up nobody else: those who are refused, while others are let in. If
    /// nobody is, it is not their names that are wrong.
    pub(super) fn refused(&self) -> BTreeSet<Identity> {
        let doors = self.doors();
        let refused = (!doors.connected.is_empty()).then_some(&doors.refused).into_iter().flatten();
        refused.chain(&doors.without).cloned().collect()
    }

    pub(super) fn let_in(&self, who: &Identity) {
        let mut doors = self.doors();
        doors.refused.remove(who);
        doors.connected.insert(who.clone());
        drop(doors);
        self.moved.notify_one();
    }

    pub(super) fn turned_away(&self, who: &Identity, refused: bool) {
        let mut doors = self.doors();
        doors.connected.remove(who);
        if refused {
            doors.refused.insert(who.clone());
        }
        drop(doors);
        self.moved.notify_one();
    }

    pub(super) fn one_lane_more(&self) {
        self.doors().lanes += 1;
    }

    /// There is no lane for somebody; says whether he is the first of those.
    pub(super) fn go_without(&self, who: &Identity) -> bool {
        let mut doors = self.doors();
        let first = doors.without.is_empty();
        doors.without.insert(who.clone());
        first
    }

    /// What is on the way, for whoever operates the hub.
    pub(crate) fn status(&self, log: impl Fn(u8) -> u64) -> Value {
        let (open, left, passed) = self.ledger().sizes();
        let unread = self.unread(log);
        let doors = self.doors();
        json!({
            "lanes": doors.lanes,
            "connected": doors.connected.len(),
            "refused": doors.refused_names(),
            "withoutLane": doors.without.len(),
            "open": open,
            "unread": unread,
            "leftByOutages": left,
            "sendersPassedBy": passed,
        })
    }

    /// The same as numbers.
    pub(crate) fn samples(&self, log: impl Fn(u8) -> u64) -> [Sample; 3] {
        let (open, left, _) = self.ledger().sizes();
        let unread = self.unread(log) + left;
        let refused = self.doors().refused.len();
        let gauge = |name, help, value: u64| Sample::gauge(name, help, value as f64);
        [
            gauge("isotherm_hub_upstream_open", "Events on their way upstream", open as u64),
            gauge(
                "isotherm_hub_upstream_waiting",
                "Events that wait in the log to go upstream, about",
                unread,
            ),
            gauge("isotherm_hub_upstream_refused", "Identities that are refused upstream", refused as u64),
        ]
    }

    /// Events that were not looked at yet.
    fn unread(&self, log: impl Fn(u8) -> u64) -> u64 {
        let partitions = 0..crate::core::Core::PARTITIONS;
        let next: Vec<u64> = partitions.clone().map(log).collect(); // first: it may take the core's lock
        let ledger = self.ledger();
        partitions.zip(next).map(|(it, next)| next.saturating_sub(ledger.front(it))).sum()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nothing panics while it holds the ledger")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_refused_ones_are_named_and_all_are_counted() {
        let common = Common::new(Ledger::recall([]));
        for number in 0..=NAMES_MAX {
            common
                .turned_away(&Identity::device(&format!("d{number}")).expect("a name that is allowed"), true);
        }
        let doors = common.doors();
        assert_eq!((doors.refused_names().len(), doors.refused.len()), (NAMES_MAX, NAMES_MAX + 1));
    }
}
