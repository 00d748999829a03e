//! Connected clients: one session for each identity, whatever dialect it speaks.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use isotherm_iothub::time::dotnet;
use isotherm_iothub::{Feed, Identity, Message};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::devicebound::mail_of;
use super::queues::{delivery_of, queue_of};
use super::timers::Timer;
use super::{Core, Counter, Now, Wake, What};
use crate::store::{Table, Ticket};

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
    pub fn publish_as(&mut self, who: &Identity, message: Message, now: Now) -> Result<Ticket, Refusal> {
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
        let Some(place) = self.sessions.live(session).map(|live| live.place) else { return };
        if let Some(number) = mail_of(delivery) {
            return self.settle_mail(place, number, outcome, now);
        }
        let (index, offset) = queue_of(delivery);
        let Some(queue) = self.queues.queues.get_mut(index).and_then(Option::as_mut) else { return };
        if self.queues.endpoints[queue.endpoint].person != Some(place) {
            return; // not this client's to settle
        }
        let counter = match outcome {
            Outcome::Released => return queue.release(offset),
            Outcome::Accepted => Counter::MessagesAccepted,
            Outcome::Rejected => Counter::DroppedRejected,
        };
        if queue.settle(offset) {
            self.counters.count(counter);
            self.trim(index);
        }
    }
}

/// Which feeds are on, and at which QoS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Feeds([Option<u8>; 5]);

impl Feeds {
    fn place(feed: Feed) -> usize {
        match feed {
            Feed::Methods => 0,
            Feed::Desired => 1,
            Feed::CloudToDevice => 2,
            Feed::TwinResults => 3,
            Feed::Inputs => 4,
        }
    }

    fn of(&self, feed: Feed) -> Option<u8> {
        self.0[Self::place(feed)]
    }

    fn set(&mut self, feed: Feed, qos: Option<u8>) {
        self.0[Self::place(feed)] = qos;
    }

    /// As it is kept: a byte a feed, 255 for none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 5] = bytes.try_into().ok()?;
        Some(Self(bytes.map(|qos| Some(qos).filter(|qos| *qos <= 1))))
    }

    fn written(&self) -> Vec<u8> {
        self.0.map(|qos| qos.unwrap_or(u8::MAX)).to_vec()
    }
}

/// A session, from `attach` to `detach`.
pub(super) struct Session {
    place: usize,
    who: Identity,
    clean: bool,
    feeds: Feeds,
    until: Option<Timestamp>,
    wake: Wake,
    /// Whether it was woken and has not yet polled to the end.
    woken: bool,
    /// False once it was taken over, expired or removed.
    alive: bool,
    /// What its client is still to be told about that.
    end: Option<Outgoing>,
    /// Calls and twin changes, each from when it is durable on.
    mailbox: VecDeque<(Ticket, Outgoing)>,
}

impl Session {
    fn new(
        place: usize,
        who: Identity,
        clean: bool,
        _protocol: &'static str,
        feeds: Feeds,
        until: Option<Timestamp>,
        wake: Wake,
    ) -> Self {
        let mailbox = VecDeque::new();
        Self { place, who, clean, feeds, until, wake, woken: false, alive: true, end: None, mailbox }
    }

    fn wake(&mut self) {
        if !std::mem::replace(&mut self.woken, true) {
            (self.wake)();
        }
    }
}

/// All sessions; a number is never used twice.
#[derive(Default)]
pub(super) struct Sessions {
    places: Vec<(u32, Option<Session>)>,
    free: Vec<usize>,
    living: usize,
}

impl Sessions {
    fn add(&mut self, session: Session) -> SessionId {
        self.living += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() - 1
        });
        let (turn, slot) = &mut self.places[place];
        *turn += 1;
        *slot = Some(session);
        SessionId(u64::from(*turn) << 32 | place as u64)
    }

    fn place(id: SessionId) -> (u32, usize) {
        ((id.0 >> 32) as u32, (id.0 & u64::from(u32::MAX)) as usize)
    }

    fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let (turn, place) = Self::place(id);
        self.places.get_mut(place).filter(|(now, _)| *now == turn)?.1.as_mut()
    }

    fn live(&self, id: SessionId) -> Option<&Session> {
        let (turn, place) = Self::place(id);
        let session = self.places.get(place).filter(|(now, _)| *now == turn)?.1.as_ref()?;
        session.alive.then_some(session)
    }

    fn live_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.get_mut(id).filter(|session| session.alive)
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let (turn, place) = Self::place(id);
        let session = self.places.get_mut(place).filter(|(now, _)| *now == turn)?.1.take()?;
        self.free.push(place);
        Some(session)
    }

    /// Those whose token's time is over.
    fn expired(&self, wall: Timestamp) -> Vec<SessionId> {
        let places = self.places.iter().enumerate();
        let over = places.filter(|(_, (_, session))| {
            session.as_ref().is_some_and(|it| it.alive && it.until.is_some_and(|until| until <= wall))
        });
        over.map(|(place, (turn, _))| SessionId(u64::from(*turn) << 32 | place as u64)).collect()
    }
}

impl Core {
    /// Ends a session from our side; its client is told at its next poll.
    pub(super) fn end(&mut self, session: SessionId, end: Outgoing, now: Now) {
        let (counter, reason) = match end {
            Outgoing::Taken => (Counter::SessionsTakenOver, "taken over"),
            Outgoing::Expired => (Counter::SessionsExpired, "token expired"),
            Outgoing::TooSlow => (Counter::SessionsTooSlow, "too slow"),
            _ => (Counter::SessionsRemoved, "removed"),
        };
        if self.close(session, reason, now) {
            self.counters.count(counter);
            if let Some(held) = self.sessions.get_mut(session) {
                held.end = Some(end);
                held.wake();
            }
        }
    }

    /// The session is no more; what it had not settled waits for the next. Says whether it was still alive.
    fn close(&mut self, session: SessionId, reason: &'static str, now: Now) -> bool {
        let Some(live) = self.sessions.live_mut(session) else { return false };
        live.alive = false;
        let (place, who) = (live.place, live.who.clone());
        let unread = std::mem::take(&mut live.mailbox);
        self.sessions.living -= 1;
        let person = &mut self.people[place];
        person.session = None;
        person.record.connection_updated = Some(now.wall.as_microsecond());
        for endpoint in person.endpoints.clone() {
            for &queue in &self.queues.endpoints[endpoint].queues {
                if let Some(queue) = self.queues.queues[queue].as_mut() {
                    queue.release_all();
                }
            }
        }
        self.return_mail(place, session, now);
        self.return_calls(unread.into_iter().map(|(_, outgoing)| outgoing), now);
        self.show(&who, now, || What::Disconnected { reason });
        self.report_client(place, now);
        true
    }

    /// Something for a session's client, once the ticket is durable.
    pub(super) fn post(&mut self, session: SessionId, ticket: Ticket, outgoing: Outgoing, now: Now) {
        let Some(live) = self.sessions.live_mut(session) else { return };
        if live.mailbox.len() >= self.options.limits.mailbox_max {
            return self.end(session, Outgoing::TooSlow, now);
        }
        live.mailbox.push_back((ticket, outgoing));
        if ticket <= self.store.durable() {
            live.wake();
        } else {
            self.store.on_durable(ticket, Arc::clone(&live.wake));
        }
    }

    pub(super) fn wake_inputs(&mut self, place: usize) {
        self.wake_for(place, Feed::Inputs);
    }

    pub(super) fn wake_for(&mut self, place: usize, feed: Feed) {
        let session = self.people.at(place).and_then(|person| person.session);
        if let Some(live) = session.and_then(|session| self.sessions.live_mut(session))
            && live.feeds.of(feed).is_some()
        {
            live.wake();
        }
    }

    /// The inputs take turns; within one, the smallest priority number comes first.
    fn take_input(&mut self, place: usize, qos: u8, now: Now) -> Option<Outgoing> {
        let person = &mut self.people[place];
        let inputs = person.endpoints.len();
        for step in 0..inputs {
            let turn = (person.turn + step) % inputs;
            let endpoint = &self.queues.endpoints[person.endpoints[turn]];
            for &index in &endpoint.queues {
                let Some(queue) = self.queues.queues[index].as_mut() else { continue };
                let Some(taken) = queue.take(now, &self.options.limits, &self.counters) else { continue };
                if !std::mem::replace(&mut queue.timed, true) {
                    self.timers.set(now.instant + self.options.limits.ack_timeout, Timer::Ack(index));
                }
                person.turn = (turn + 1) % inputs;
                self.counters.count(Counter::MessagesSent);
                self.counters.add(Counter::MessagesRedelivered, u64::from(taken.redelivered));
                return Some(Outgoing::Input {
                    delivery: delivery_of(index, taken.offset),
                    input: Arc::clone(&endpoint.input),
                    message: taken.message,
                    qos,
                    redelivered: taken.redelivered,
                });
            }
        }
        None
    }

    /// Subscriptions of a session that is not clean outlive it, and the hub.
    fn keep_feeds(&mut self, session: SessionId) {
        let Some(live) = self.sessions.live(session).filter(|live| !live.clean) else { return };
        let kept = &mut self.people[live.place].kept;
        if *kept != Some(live.feeds) {
            *kept = Some(live.feeds);
            self.store.put(Table::Subscriptions, live.who.as_str(), live.feeds.written());
        }
    }

    fn time_expiry(&mut self, session: SessionId, until: Option<Timestamp>, now: Now) {
        if let Some(until) = until {
            let left = std::time::Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
            if let Some(at) = now.instant.checked_add(left) {
                self.timers.set(at, Timer::Expiry(session));
            }
        }
    }

    /// A token's time may be over; it may also have been renewed, or the wall clock set.
    pub(super) fn expire(&mut self, session: SessionId, now: Now) {
        let until = self.sessions.live(session).and_then(|live| live.until);
        match until {
            Some(until) if until <= now.wall => self.end(session, Outgoing::Expired, now),
            until => self.time_expiry(session, until, now),
        }
    }

    pub(super) fn expire_tokens(&mut self, now: Now) {
        for session in self.sessions.expired(now.wall) {
            self.end(session, Outgoing::Expired, now);
        }
    }

    /// `$edgeHub` reports which modules are connected.
    fn report_client(&mut self, place: usize, now: Now) {
        let person = &self.people[place];
        let hub = Identity::module(&self.options.device_id, "$edgeHub").ok();
        let Some(hub) = hub.filter(|_| person.ours).and_then(|hub| self.people.find(&hub)) else { return };
        let key = person.who.as_str().replace('.', "%2E").replace('$', "%24").replace(' ', "%20");
        let report = match person.session {
            Some(_) => json!({"status": "Connected", "lastConnectedTimeUtc": dotnet(now.wall)}),
            None => json!({"status": "Disconnected", "lastDisconnectedTimeUtc": dotnet(now.wall)}),
        };
        let twin = &mut self.people[hub].twin;
        if twin.reported.patch(&json!({"clients": {key: report}}), now.wall).is_ok_and(|changed| changed) {
            twin.version += 1;
            self.keep_twin(hub);
        }
    }
}
