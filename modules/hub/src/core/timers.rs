//! What happens because time passes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Core, Now, SessionId, Wake};

/// How often messages past their time to live are looked for where nobody fetches them.
pub(super) const SWEEP: Duration = Duration::from_secs(30);

/// Something that is due at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A queue has deliveries out.
    Ack(usize),
    /// A device holds a cloud-to-device message: person, number.
    Lock(usize, u64),
    /// A call waits.
    Call(u64),
    /// A session's token runs out.
    Expiry(SessionId),
    /// The feedback that the service holds.
    Feedback,
    /// A look at what nobody fetches.
    Sweep,
}

/// All timers, the next one first.
#[derive(Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
    wake: Option<Wake>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        let earlier = self.due.first().is_none_or(|(first, _)| at < *first);
        self.due.insert((at, timer));
        if earlier && let Some(wake) = &self.wake {
            wake();
        }
    }

    pub(super) fn cancel(&mut self, at: Instant, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }
}

impl Core {
    /// Ends what has lasted too long: calls, tokens, deliveries nobody acknowledged, messages past their time to live.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.take_due(now.instant) {
            match timer {
                Timer::Ack(queue) => self.ack_timeout(queue, now),
                Timer::Lock(person, number) => self.lock_timeout(person, number, now),
                Timer::Call(rid) => self.call_timeout(rid, now),
                Timer::Expiry(session) => self.expire(session, now),
                Timer::Feedback => self.unlock_feedback(now),
                Timer::Sweep => {
                    self.sweep(now);
                    self.timers.set(now.instant + SWEEP, Timer::Sweep);
                }
            }
        }
    }

    /// When `handle_timeout` should be called next. Other calls may move it to earlier: see [`Core::on_timer`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.due.first().map(|(at, _)| *at)
    }

    /// `wake` is called whenever the next time-out moves to earlier.
    pub fn on_timer(&mut self, wake: Wake) {
        self.timers.wake = Some(wake);
    }

    fn sweep(&mut self, now: Now) {
        self.expire_queued(now);
        self.expire_devicebound(now);
        self.expire_tokens(now);
        let given_up = self.store.events_given_up();
        let known = std::mem::replace(&mut self.events_given_up, given_up);
        self.counters.add(super::Counter::DroppedRetention, given_up - known);
    }
}
