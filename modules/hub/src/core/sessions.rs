//! Connected clients: one session for each identity, whatever dialect it speaks.

use std::fmt;
use std::sync::Arc;

use isotherm_iothub::{Feed, Identity, Message};
use jiff::Timestamp;
use serde_json::Value;

use super::devicebound::mail_of;
use super::queues::queue_of;
use super::seats::Session;
use super::{Core, Counter, Now, Wake, What};
use crate::store::{Receipt, Table};

/// Longest id of a digital-twin model, as DTDL has it.
const MODEL_BYTES_MAX: usize = 128;

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
    /// Somebody wants to see what the client does without its connection: close, and `detach`.
    Cut,
}

/// Why the core did not take something from a client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// It goes upstream, and the log of what is to go there is full. Keep the message, which comes back with this, and
    /// try again when woken by `Store::on_upstream_room`.
    #[error("what is to go upstream has no room: some of it has to get there first")]
    UpstreamFull(Box<Message>),
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
        let place = self.people.find(who).ok_or(Refusal::Unknown)?;
        if let Some(older) = self.people[place].session {
            self.end(older, Outgoing::Taken, now);
        } else if self.sessions.living >= self.options.limits.sessions_max {
            self.counters.count(Counter::SessionsRefused);
            return Err(Refusal::Busy);
        }
        let person = &mut self.people[place];
        if clean && person.kept.take().is_some() {
            self.store.delete(Table::Subscriptions, who.as_str());
        }
        let present = person.kept.is_some();
        let feeds = person.kept.unwrap_or_default();
        if !clean {
            person.kept = Some(feeds);
        }
        let session =
            self.sessions.add(Session::new(place, who.clone(), clean, protocol, feeds, until, wake));
        person.session = Some(session);
        person.record.connection_updated = Some(now.wall.as_microsecond());
        person.record.last_activity = Some(now.wall.as_microsecond());
        self.time_expiry(session, until, now);
        self.counters.count(Counter::SessionsAttached);
        self.show(who, now, || What::Connected { protocol });
        self.report_client(place, now);
        if feeds.of(Feed::Methods).is_some() {
            self.send_waiting_calls(place, now);
        }
        Ok(Attached { session, present })
    }

    /// Keeps the digital-twin model that a client says it has; its twin shows it. What is too long is not kept.
    pub fn set_model(&mut self, who: &Identity, model: &str) {
        let Some(place) = self.people.find(who).filter(|_| model.len() <= MODEL_BYTES_MAX) else { return };
        let record = &mut self.people[place].record;
        if record.model.as_deref() != Some(model) {
            record.model = Some(model.to_owned());
            self.keep_record(place);
        }
    }

    /// Moves the end of a session: its client has shown a new token (AMQP's claims-based security).
    pub fn renew(&mut self, session: SessionId, until: Option<Timestamp>, now: Now) {
        if let Some(live) = self.sessions.live_mut(session) {
            live.until = until;
            self.time_expiry(session, until, now);
        }
    }

    /// Ends a session. What it had not settled waits for the next. Not graceful: the will is published.
    /// Harmless for a session that has ended already.
    pub fn detach(&mut self, session: SessionId, graceful: bool, will: Option<Message>, now: Now) {
        self.close(session, "closed", now);
        let Some(gone) = self.sessions.remove(session) else { return };
        self.counters.count(Counter::SessionsDetached);
        let (false, Some(mut will)) = (graceful, will) else { return };
        if let Some(place) = self.people.find(&gone.who) {
            will.properties.set("iothub-MessageType", "Will");
            // Nobody is left to be told when it is on disk, or that it could not be taken; that is counted.
            let _ = self.take(place, will, now);
        }
    }

    /// Whose session it is; `None` if it has ended.
    pub fn who(&self, session: SessionId) -> Option<Identity> {
        self.sessions.live(session).map(|live| live.who.clone())
    }

    /// Turns a feed on. `qos` above 1 counts as 1. Persistent for a session that is not clean.
    pub fn subscribe(&mut self, session: SessionId, feed: Feed, qos: u8, now: Now) {
        let Some(live) = self.sessions.live_mut(session) else { return };
        live.feeds.set(feed, Some(qos.min(1)));
        let place = live.place;
        self.keep_feeds(session);
        if feed == Feed::Methods {
            self.send_waiting_calls(place, now);
        }
    }

    /// Turns a feed off.
    pub fn unsubscribe(&mut self, session: SessionId, feed: Feed) {
        if let Some(live) = self.sessions.live_mut(session) {
            live.feeds.set(feed, None);
            self.keep_feeds(session);
        }
    }

    /// The QoS at which a feed is on.
    pub fn subscribed(&self, session: SessionId, feed: Feed) -> Option<u8> {
        self.sessions.live(session).and_then(|live| live.feeds.of(feed))
    }

    /// Takes a message of the session's identity: stamps it, routes it, appends it. Acknowledge it once
    /// `store.is_safe(&receipt)`.
    ///
    /// `named` is whom the topic or address said the sender is; anybody else than the session's own is refused.
    ///
    /// # Errors
    /// See [`Refusal`]. All but [`Refusal::Full`] and [`Refusal::UpstreamFull`] end the connection.
    pub fn publish(
        &mut self,
        session: SessionId,
        named: &Identity,
        message: Message,
        now: Now,
    ) -> Result<Receipt, Refusal> {
        let live = self.sessions.live(session).ok_or(Refusal::Ended)?;
        if live.who != *named {
            self.counters.count(Counter::RefusedForeign);
            return Err(Refusal::Foreign { who: live.who.clone(), named: named.clone() });
        }
        let place = live.place;
        self.take(place, message, now)
    }

    /// Like `publish` for a request that has no session (REST). The caller has authorised it.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn publish_as(&mut self, who: &Identity, message: Message, now: Now) -> Result<Receipt, Refusal> {
        let place = self.people.find(who).ok_or(Refusal::Unknown)?;
        self.take(place, message, now)
    }

    /// The next thing for the session's client. `room` is how many more deliveries its window can take; with none,
    /// only calls, twin changes and the session's end come out. `None` until woken (or until room was made).
    pub fn poll(&mut self, session: SessionId, room: usize, now: Now) -> Option<Outgoing> {
        let held = self.sessions.get_mut(session)?;
        if let Some(end) = held.end.take() {
            return Some(end);
        }
        let live = self.sessions.live_mut(session)?;
        let durable = self.store.durable();
        if let Some(first) = live.mailbox.iter().position(|(ticket, _)| *ticket <= durable) {
            return live.mailbox.remove(first).map(|(_, outgoing)| outgoing);
        }
        let (place, feeds) = (live.place, live.feeds);
        live.woken = false;
        if room == 0 {
            return None;
        }
        let mail = feeds.of(Feed::CloudToDevice).and_then(|qos| self.take_mail(place, session, qos, now));
        mail.or_else(|| feeds.of(Feed::Inputs).and_then(|qos| self.take_input(place, qos, now)))
    }

    /// What became of a delivery. Poll again afterwards: there may be room now.
    pub fn settle(&mut self, session: SessionId, delivery: u64, outcome: Outcome, now: Now) {
        self.settle_all(session, [delivery], outcome, now);
    }

    /// The same for several that came in one breath: what a queue can forget then, it forgets once.
    pub fn settle_all(
        &mut self,
        session: SessionId,
        deliveries: impl IntoIterator<Item = u64>,
        outcome: Outcome,
        now: Now,
    ) {
        let Some(place) = self.sessions.live(session).map(|live| live.place) else { return };
        let mut closed = None;
        for delivery in deliveries {
            if let Some(number) = mail_of(delivery) {
                self.settle_mail(place, number, outcome, now);
            } else if let Some(queue) = self.settle_input(place, delivery, outcome)
                && let Some(before) = closed.replace(queue).filter(|before| *before != queue)
            {
                self.trim(before);
            }
        }
        if let Some(queue) = closed {
            self.trim(queue);
        }
    }

    /// Closes a delivery, or gives it back; says which queue may forget something now.
    fn settle_input(&mut self, place: usize, delivery: u64, outcome: Outcome) -> Option<usize> {
        let (index, offset) = queue_of(delivery);
        let queue = self.queues.queues.get_mut(index)?.as_mut()?;
        if self.queues.endpoints[queue.endpoint].person != Some(place) {
            return None; // not this client's to settle
        }
        let counter = match outcome {
            Outcome::Released => {
                queue.release(offset);
                return None;
            }
            Outcome::Accepted => Counter::MessagesAccepted,
            Outcome::Rejected => Counter::DroppedRejected,
        };
        queue.settle(offset).then(|| {
            self.counters.count(counter);
            index
        })
    }
}
