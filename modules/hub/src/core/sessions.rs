//! Connected clients: one session for each identity, whatever dialect it speaks.

use std::fmt;
use std::sync::Arc;

use isotherm_iothub::{Feed, Identity, Message};
use jiff::Timestamp;
use serde_json::Value;

use super::{Core, Now, Wake};
use crate::store::Ticket;

/// A session, as long as it lasts; of an ended one nothing comes out and nothing is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(super) u64);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {:x}", self.0)
    }
}

/// What a new session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Its name from now on.
    pub session: SessionId,
    /// Whether subscriptions of an earlier session are still there (CONNACK's session-present).
    pub present: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The client has it; the hub forgets it.
    Accepted,
    /// The client gives it back; it is sent again.
    Released,
    /// The client can make nothing of it; it is dropped and counted.
    Rejected,
}

/// Something for a session's client.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A message for an input of a module. Takes room.
    Input {
        /// What [`Core::settle`] wants back.
        delivery: u64,
        /// The input.
        input: Arc<str>,
        /// The message, the sender's ids among its system properties.
        message: Arc<Message>,
        /// The QoS of the subscription, 0 or 1. At 0 settle it as accepted as soon as it is written.
        qos: u8,
        /// Whether it may have been received before.
        redelivered: bool,
    },
    /// A message for a device. Takes room.
    CloudToDevice {
        /// What [`Core::settle`] wants back.
        delivery: u64,
        /// The message.
        message: Arc<Message>,
        /// The QoS of the subscription, 0 or 1.
        qos: u8,
        /// How often it has been tried, this time included.
        delivery_count: u32,
    },
    /// A direct method.
    Method {
        /// To be echoed in the answer.
        rid: String,
        /// Its name.
        name: String,
        /// What the caller gave; `Null` if nothing.
        payload: Value,
    },
    /// Desired properties have changed.
    Desired {
        /// The version after it.
        version: u64,
        /// What changed, `$version` included.
        patch: Value,
    },
    /// Another connection of this identity took the session over: close, and `detach`.
    Taken,
    /// The token has expired: close, and `detach`.
    Expired,
    /// The identity was disabled or deleted: close, and `detach`.
    Removed,
    /// The client did not read its calls and twin changes: close, and `detach`.
    TooSlow,
}

/// Why the core did not take something from a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Larger than a message may be. Close.
    #[error("{bytes} bytes are more than the 262144 that a message may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The topic or address names somebody else. Close.
    #[error("{who} may not speak for {named}")]
    Foreign {
        /// Whose session it is.
        who: Identity,
        /// Whom it named.
        named: Identity,
    },
    /// An identifier or property that may not be. Close.
    #[error("{0}")]
    Malformed(String),
    /// The store is full and its slack too. Keep the message and try again when woken by `Store::on_room`, or close.
    #[error("the store is full: what it holds has to be delivered or expire first")]
    Full,
    /// As many sessions as there may be. Ask them to come back later.
    #[error("as many sessions are attached as there may be")]
    Busy,
    /// No such identity.
    #[error("no such identity")]
    Unknown,
    /// The session has ended: taken over, expired or removed.
    #[error("the session has ended")]
    Ended,
}

impl Core {
    /// Opens a session for somebody who has been authenticated. An older session of the same identity, in whatever
    /// dialect, ends: its next `poll` says [`Outgoing::Taken`], and what it had not settled goes to the new one.
    ///
    /// `clean` forgets the subscriptions of earlier sessions and will forget these. `wake` is called when there is
    /// something to poll; call `poll` once after attaching and subscribing.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::Busy`].
    pub fn attach(
        &mut self,
        who: &Identity,
        clean: bool,
        protocol: &'static str,
        until: Option<Timestamp>,
        wake: Wake,
        now: Now,
    ) -> Result<Attached, Refusal> {
        let _ = (who, clean, protocol, until, wake, now);
        unimplemented!()
    }

    /// Moves the end of a session: its client has shown a new token (AMQP's claims-based security).
    pub fn renew(&mut self, session: SessionId, until: Option<Timestamp>) {
        let _ = (session, until);
        unimplemented!()
    }

    /// Ends a session. What it had not settled waits for the next. Not graceful: the will is published.
    /// Harmless for a session that has ended already.
    pub fn detach(&mut self, session: SessionId, graceful: bool, will: Option<Message>, now: Now) {
        let _ = (session, graceful, will, now);
        unimplemented!()
    }

    /// Whose session it is; `None` if it has ended.
    pub fn who(&self, session: SessionId) -> Option<Identity> {
        let _ = session;
        unimplemented!()
    }

    /// Turns a feed on. `qos` above 1 counts as 1. Persistent for a session that is not clean.
    pub fn subscribe(&mut self, session: SessionId, feed: Feed, qos: u8, now: Now) {
        let _ = (session, feed, qos, now);
        unimplemented!()
    }

    /// Turns a feed off.
    pub fn unsubscribe(&mut self, session: SessionId, feed: Feed) {
        let _ = (session, feed);
        unimplemented!()
    }

    /// The QoS at which a feed is on.
    pub fn subscribed(&self, session: SessionId, feed: Feed) -> Option<u8> {
        let _ = (session, feed);
        unimplemented!()
    }

    /// Takes a message of the session's identity: stamps it, routes it, appends it. Acknowledge it once
    /// `store.durable() >= ticket`; `Ticket::DURABLE` needs no waiting (no route wanted it).
    ///
    /// `named` is whom the topic or address said the sender is; anybody else than the session's own is refused.
    ///
    /// # Errors
    /// See [`Refusal`]. All but [`Refusal::Full`] end the connection.
    pub fn publish(
        &mut self,
        session: SessionId,
        named: &Identity,
        message: Message,
        now: Now,
    ) -> Result<Ticket, Refusal> {
        let _ = (session, named, message, now);
        unimplemented!()
    }

    /// Like `publish` for a request that has no session (REST). The caller has authorised it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn publish_as(&mut self, who: &Identity, message: Message, now: Now) -> Result<Ticket, Refusal> {
        let _ = (who, message, now);
        unimplemented!()
    }

    /// The next thing for the session's client. `room` is how many more deliveries its window can take; with none,
    /// only calls, twin changes and the session's end come out. `None` until woken (or until room was made).
    pub fn poll(&mut self, session: SessionId, room: usize, now: Now) -> Option<Outgoing> {
        let _ = (session, room, now);
        unimplemented!()
    }

    /// What became of a delivery. Poll again afterwards: there may be room now.
    pub fn settle(&mut self, session: SessionId, delivery: u64, outcome: Outcome, now: Now) {
        let _ = (session, delivery, outcome, now);
        unimplemented!()
    }
}
