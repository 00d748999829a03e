//! Taps: watchers see what passes. One that is too slow loses the oldest and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use isotherm_iothub::{Identity, Message, SystemProperty};
use jiff::Timestamp;
use serde_json::Value;

use super::{Core, Now, Wake};

/// What a watcher wants to see. (What reached upstream is read from the event log: see [`Core::events`].)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Messages as they are taken from their senders.
    Messages,
    /// Changes of twins.
    Twins,
    /// Calls of methods and their answers.
    Methods,
    /// Who comes and goes.
    Connections,
}

/// Something that passed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// Whom it is about: the sender, the twin's owner, the method's target, the client.
    pub who: Identity,
    /// What.
    pub what: What,
}

/// The kinds of things that pass.
#[derive(Debug, Clone)]
pub enum What {
    /// A message, and where it went: `device/module/input`, `$upstream`, or nowhere.
    Message {
        /// The sender's output, if it named one.
        output: Option<String>,
        /// The endpoints.
        to: Vec<String>,
        /// The message.
        message: Arc<Message>,
    },
    /// Desired properties changed.
    Desired {
        /// The version after it.
        version: u64,
        /// What changed.
        patch: Value,
    },
    /// Reported properties changed.
    Reported {
        /// The version after it.
        version: u64,
        /// What changed.
        patch: Value,
    },
    /// A method was called.
    Called {
        /// Its name.
        name: String,
        /// What the caller gave.
        payload: Value,
    },
    /// A call ended.
    Answered {
        /// Its name.
        name: String,
        /// The target's status, or the HTTP status of the hub's own answer.
        status: i32,
        /// The answer's payload, or why there is none.
        payload: Value,
    },
    /// A session began.
    Connected {
        /// The dialect.
        protocol: &'static str,
    },
    /// A session ended.
    Disconnected {
        /// Why.
        reason: &'static str,
    },
}

/// What a watcher saw since it last looked.
#[derive(Debug, Default)]
pub struct Glimpse {
    /// In the order it passed.
    pub seen: Vec<Seen>,
    /// How many passed unseen before these, because the watcher was too slow.
    pub lost: u64,
}

/// A watcher's end. Dropped: the core forgets it.
#[derive(Clone)]
pub struct Tap(pub(super) Arc<TapRing>);

/// What a watcher has not yet fetched.
pub(super) struct TapRing {
    pub(super) subjects: Vec<Subject>,
    pub(super) wake: Wake,
    pub(super) max: usize,
    pub(super) waiting: Mutex<(VecDeque<Seen>, u64)>,
}

impl Tap {
    /// Takes what passed since the last time. Needs no lock on the core.
    pub fn take(&self) -> Glimpse {
        let mut waiting = self.0.waiting.lock().expect("nothing panics under a tap's lock");
        let (seen, lost) = &mut *waiting;
        Glimpse { seen: seen.drain(..).collect(), lost: std::mem::take(lost) }
    }
}

impl Core {
    /// Begins to watch. `wake` is called when something passed.
    pub fn tap(&mut self, subjects: &[Subject], wake: Wake) -> Tap {
        let ring = Arc::new(TapRing {
            subjects: subjects.to_vec(),
            wake,
            max: self.options.limits.tap_max,
            waiting: Mutex::default(),
        });
        self.taps.push(Arc::downgrade(&ring));
        Tap(ring)
    }
}

impl What {
    fn subject(&self) -> Subject {
        match self {
            Self::Message { .. } => Subject::Messages,
            Self::Desired { .. } | Self::Reported { .. } => Subject::Twins,
            Self::Called { .. } | Self::Answered { .. } => Subject::Methods,
            Self::Connected { .. } | Self::Disconnected { .. } => Subject::Connections,
        }
    }
}

impl TapRing {
    fn show(&self, seen: Seen) {
        let mut waiting = self.waiting.lock().expect("nothing panics under a tap's lock");
        let (ring, lost) = &mut *waiting;
        if ring.len() >= self.max {
            ring.pop_front();
            *lost += 1;
        }
        ring.push_back(seen);
        drop(waiting);
        (self.wake)();
    }
}

impl Core {
    /// Shows something to those who watch it; forgets those who no longer do.
    pub(super) fn show(&mut self, who: &Identity, now: Now, what: impl FnOnce() -> What) {
        self.taps.retain(|tap| tap.strong_count() > 0);
        if self.taps.is_empty() {
            return;
        }
        let seen = Seen { at: now.wall, who: who.clone(), what: what() };
        let subject = seen.what.subject();
        for tap in self.taps.iter().filter_map(std::sync::Weak::upgrade) {
            if tap.subjects.contains(&subject) {
                tap.show(seen.clone());
            }
        }
    }

    pub(super) fn show_message(&mut self, sender: usize, message: &Arc<Message>, now: Now) {
        let who = self.people[sender].who.clone();
        let output = message.system.get(SystemProperty::OutputName).map(str::to_owned);
        let (to, message) = (self.target_names(), Arc::clone(message));
        self.show(&who, now, || What::Message { output, to, message });
    }
}
