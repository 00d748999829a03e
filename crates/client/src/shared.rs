//! What the client's user, its connection and its keeper share: one small state behind one lock, which is held for a
//! few instructions and never across an await.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    task::Waker,
    time::Instant,
};

use isotherm_journal::Offset;
use tokio::sync::Notify;

use crate::{Delivery, Event, Stats, outbox::Outbox, twin::Mirror};

/// At this many events that nobody has taken, reading from the hub stops.
const EVENTS_MAX: usize = 512;
/// Answers to methods that wait for the hub; the oldest gives way.
const RESPONSES_MAX: usize = 256;
/// Tidings of the connection itself that nobody has taken; only the last ones are of interest.
const TIDINGS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) outbox: Outbox,
    /// Something is to be written to disk.
    pub(crate) keeper: Notify,
    /// The client was dropped.
    pub(crate) closing: Notify,
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn new(outbox: Outbox, mirror: Mirror) -> Self {
        let state = State { epoch: 1, mirror, ..State::default() };
        Self { outbox, keeper: Notify::new(), closing: Notify::new(), state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the client's state")
    }

    /// The disk, or the hub, has taken more of the outbox.
    pub(crate) fn kept(&self, disk_fails: bool) {
        let mut state = self.lock();
        state.disk_fails = disk_fails;
        state.outbox_moved(self.outbox.kept());
        state.wake_link();
    }
}

/// The answer to a method on its way to the hub.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) id: u64,
    pub(crate) rid: String,
    pub(crate) status: i32,
    pub(crate) payload: Vec<u8>,
    /// When it was given.
    pub(crate) at: Instant,
    pub(crate) sent: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Counts connections: what belongs to an earlier one means nothing any more.
    pub(crate) epoch: u64,
    pub(crate) connected: bool,
    pub(crate) closing: bool,
    /// The user takes no more inputs: they are for the next process.
    pub(crate) stopping: bool,
    /// The last commit failed, so nothing can be promised for the moment.
    pub(crate) disk_fails: bool,
    pub(crate) mirror: Mirror,
    pub(crate) stats: Stats,
    /// Something has changed that the connection should look at.
    pub(crate) poke: bool,
    pub(crate) responses: VecDeque<Response>,
    /// Deliveries to be acknowledged to the hub now, by their numbers.
    pub(crate) acknowledge: VecDeque<u32>,
    events: VecDeque<Event>,
    /// What was accepted, with how far the outbox has to be kept before the hub may know.
    accepted: VecDeque<(Offset, Delivery)>,
    last_response: u64,
    /// The hub does not let us in.
    refused: bool,
    /// Why, if nobody has heard it yet.
    refusal: Option<String>,
    /// The user waits for the outbox and not only for events.
    pub(crate) watched: bool,
    user: Option<Waker>,
    link: Option<Waker>,
}

impl State {
    pub(crate) fn push(&mut self, event: Event) {
        self.events.push_back(event);
        self.wake_user();
    }

    /// News of the connection itself. Who does not listen for long hears only the last of them.
    pub(crate) fn push_tidings(&mut self, event: Event) {
        let tidings = |event: &Event| matches!(event, Event::Connected | Event::Disconnected { .. });
        if self.events.iter().filter(|event| tidings(event)).count() >= TIDINGS_MAX
            && let Some(oldest) = self.events.iter().position(tidings)
        {
            self.events.remove(oldest);
        }
        self.push(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if self.events.len() + 1 == EVENTS_MAX / 2 {
            self.wake_link(); // it may have stopped reading
        }
        Some(event)
    }

    /// Takes a message in from the hub, unless whoever would take it ends: then it stays with the hub.
    pub(crate) fn push_input(&mut self, event: Event) {
        if !self.stopping {
            self.push(event);
        }
    }

    pub(crate) fn is_clogged(&self) -> bool {
        self.events.len() >= EVENTS_MAX && !self.stopping
    }

    /// Whether the hub is to be told that something was accepted.
    pub(crate) fn has_accepted(&self) -> bool {
        !self.acknowledge.is_empty()
    }

    /// Whether the hub has been told all it is to be told, the outbox aside.
    pub(crate) fn is_quiet(&self) -> bool {
        self.accepted.is_empty() && self.acknowledge.is_empty() && self.responses.is_empty()
    }

    /// The connection has told the hub something that the user may wait for.
    pub(crate) fn told(&mut self) {
        if std::mem::take(&mut self.watched) {
            self.wake_user();
        }
    }

    /// Accepted, but told to the hub only once all of the outbox below `next` is kept.
    pub(crate) fn accept(&mut self, delivery: Delivery, next: Offset, kept: Offset) {
        if delivery.epoch != self.epoch || delivery.id == 0 {
            return; // the hub delivers it again, or wants no answer
        }
        self.accepted.push_back((next, delivery));
        self.settle(kept);
        if !self.acknowledge.is_empty() {
            self.wake_link();
        }
    }

    /// All of the outbox below `kept` is in safe hands.
    pub(crate) fn outbox_moved(&mut self, kept: Offset) {
        self.settle(kept);
        self.told();
    }

    fn settle(&mut self, kept: Offset) {
        while let Some((_, delivery)) = self.accepted.pop_front_if(|(needed, _)| *needed <= kept) {
            self.acknowledge.push_back(delivery.id);
        }
    }

    pub(crate) fn respond(&mut self, rid: String, status: i32, payload: Vec<u8>, at: Instant) {
        if self.responses.len() >= RESPONSES_MAX {
            self.responses.pop_front();
        }
        self.last_response += 1;
        self.responses.push_back(Response { id: self.last_response, rid, status, payload, at, sent: false });
        self.wake_link();
    }

    /// A new connection stands.
    pub(crate) fn connected(&mut self) {
        self.stats.reconnects += u64::from(self.epoch > 1);
        self.connected = true;
        (self.refused, self.refusal) = (false, None);
        self.push_tidings(Event::Connected);
    }

    /// The hub does not let us in.
    pub(crate) fn refused(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.refused, true) {
            self.refusal = Some(reason.to_owned());
            self.wake_user();
        }
    }

    /// Why the hub does not let us in, once.
    pub(crate) fn take_refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// The connection is gone: what came by it and was not accepted will come again.
    pub(crate) fn disconnected(&mut self, reason: Option<String>) {
        if !std::mem::take(&mut self.connected) {
            return;
        }
        self.epoch += 1;
        self.acknowledge.clear();
        self.accepted.clear();
        self.events.retain(|event| match event {
            Event::Input { delivery, .. } | Event::CloudToDevice { delivery, .. } => delivery.id == 0,
            _ => true,
        });
        self.responses.iter_mut().for_each(|response| response.sent = false);
        self.mirror.disconnected();
        if let Some(reason) = reason {
            self.push_tidings(Event::Disconnected { reason });
        }
    }

    pub(crate) fn listen(&mut self, user: &Waker) {
        match &mut self.user {
            Some(known) => known.clone_from(user),
            none => *none = Some(user.clone()),
        }
    }

    pub(crate) fn listen_link(&mut self, link: &Waker) {
        match &mut self.link {
            Some(known) => known.clone_from(link),
            none => *none = Some(link.clone()),
        }
    }

    pub(crate) fn wake_user(&mut self) {
        if let Some(waker) = self.user.take() {
            waker.wake();
        }
    }

    pub(crate) fn wake_link(&mut self) {
        self.poke = true;
        if let Some(waker) = self.link.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_listen_hears_only_the_last_tidings() {
        let mut state = State::default();
        for number in 0..=TIDINGS_MAX {
            state.push_tidings(Event::Disconnected { reason: number.to_string() });
        }
        assert_eq!(state.events.len(), TIDINGS_MAX);
        let first = state.pop();
        assert!(matches!(&first, Some(Event::Disconnected { reason }) if reason == "1"), "{first:?}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn so_many_answers_wait_for_the_hub_and_the_oldest_gives_way_to_one_more() {
        let (mut state, now) = (State::default(), Instant::now());
        for number in 0..=RESPONSES_MAX {
            state.respond(number.to_string(), 200, Vec::new(), now);
        }
        assert_eq!(state.responses.len(), RESPONSES_MAX);
        assert_eq!(state.responses[0].rid, "1");
    }
}
