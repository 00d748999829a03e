//! Taps: watchers see what passes. One that is too slow loses the oldest and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use isotherm_iothub::{Identity, Message};
use jiff::Timestamp;
use serde_json::Value;

use super::{Core, Wake};

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
        unimplemented!()
    }
}

impl Core {
    /// Begins to watch. `wake` is called when something passed.
    pub fn tap(&mut self, subjects: &[Subject], wake: Wake) -> Tap {
        let _ = (subjects, wake);
        unimplemented!()
    }
}
