//! One MQTT connection: what goes in and out of the outbox, and what the hub says, over the protocol as a value.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use isotherm_host::{Flow, Pilot};
use isotherm_iothub::{Message, method, method_response_topic, reported_topic, twin_get_topic};
use isotherm_journal::Offset;
use isotherm_protocol::{
    Session as _,
    mqtt::{ClientCommand, ClientEvent, ClientSession, ConnectCode, Qos},
};
use tokio::time::{Sleep, sleep};
use tracing::{debug, warn};

use super::{Dialect, Incoming};
use crate::{
    Call, Delivery, Event,
    shared::{Shared, State},
    twin::{Answered, Request},
};

/// Messages on their way to the hub at once.
const WINDOW: usize = 200;
/// What the session must hold: messages, and answers to methods.
pub(crate) const SESSION_WINDOW: usize = 512;
/// A smaller body is copied out of the read buffer, so that one that is kept does not keep the buffer.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// How long the hub may take to answer about the twin.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait before asking again what the hub could not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// An answer to a method that is older than any caller waits is not sent any more.
const RESPONSE_LIFE: Duration = Duration::from_secs(300);
/// How long a connection that is to be renewed waits for what is on its way.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// Tokens of answers to methods; those of messages are their offsets.
const RESPONSE: u64 = 1 << 63;

/// Whether the hub may be asked about the twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// Not before we hear the answers.
    Deaf,
    Free,
    /// An answer is due when the timer fires.
    Waiting,
    /// Not before the timer fires.
    Holding,
}

/// Steers one connection.
#[derive(Debug)]
pub(crate) struct Link<'a> {
    shared: &'a Shared,
    dialect: &'a Dialect,
    /// The hub has accepted us.
    pub(crate) open: bool,
    /// The hub has refused us.
    pub(crate) refused: Option<ConnectCode>,
    /// Why the session ended, if it knows.
    pub(crate) reason: Option<String>,
    /// The end was our own wish.
    pub(crate) planned: bool,
    clogged: bool,
    /// The next message to publish.
    cursor: Offset,
    /// Published and not yet forgotten, in order, with whether the hub has it.
    in_flight: VecDeque<(Offset, bool)>,
    renew: Option<Pin<Box<Sleep>>>,
    draining: bool,
    asking: Asking,
    ask_timer: Pin<Box<Sleep>>,
}

impl<'a> Link<'a> {
    /// `renew_after`: how long the password is good for.
    pub(crate) fn new(shared: &'a Shared, dialect: &'a Dialect, renew_after: Option<Duration>) -> Self {
        Self {
            shared,
            dialect,
            open: false,
            refused: None,
            reason: None,
            planned: false,
            clogged: false,
            cursor: 0,
            in_flight: VecDeque::new(),
            renew: renew_after.map(|after| Box::pin(sleep(after))),
            draining: false,
            asking: Asking::Deaf,
            ask_timer: Box::pin(sleep(Duration::ZERO)),
        }
    }

    fn connected(&mut self, now: Instant, session: &mut ClientSession) {
        self.open = true;
        {
            let mut state = self.shared.lock();
            state.connected();
            let fresh = |at: Instant| now.saturating_duration_since(at) < RESPONSE_LIFE;
            state.responses.retain(|response| fresh(response.at));
        }
        let filters = self.dialect.filters();
        if !filters.is_empty() {
            session.handle_command(now, ClientCommand::Subscribe { filters });
        }
    }

    fn subscribed(&mut self, filters: &[(String, Option<Qos>)]) {
        for (filter, _) in filters.iter().filter(|(_, granted)| granted.is_none()) {
            warn!(filter, "the hub refuses the subscription; nothing of that kind will come");
        }
        if self.dialect.is_hub() {
            self.shared.lock().mirror.connected();
            self.asking = Asking::Free;
        }
    }

    fn received(&mut self, now: Instant, topic: String, payload: Bytes, qos: Qos, packet_id: u16) {
        let small = payload.len() <= COPIED_BYTES_MAX;
        let payload = if small { Bytes::copy_from_slice(&payload) } else { payload };
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { packet_id };
        let read = self.dialect.read(topic, payload.clone());
        let mut state = self.shared.lock();
        let delivery = Delivery { epoch: state.epoch, packet_id };
        match read {
            Ok(Incoming::Input { name, message }) => {
                return state.push_input(Event::Input { name, message, delivery });
            }
            Ok(Incoming::CloudToDevice { message }) => {
                return state.push_input(Event::CloudToDevice { message, delivery });
            }
            Ok(Incoming::Method { name, rid }) => called(&mut state, now, name, rid, &payload),
            Ok(Incoming::TwinResult { status, rid }) => {
                let answered = state.mirror.answered(status, &rid, &payload);
                self.answered(&mut state, status, answered);
            }
            Ok(Incoming::Desired { version }) => match serde_json::from_slice(&payload) {
                Ok(patch) => state.mirror.desired(version, &patch),
                Err(_) => state.mirror.connected(), // whatever it was, the whole twin says it too
            },
            Err(reason) => warn!(reason, "the hub publishes what means nothing here"),
        }
        if packet_id != 0 {
            state.acknowledge.push_back(packet_id);
        }
        state.wake_user();
        drop(state);
        self.shared.keeper.notify_one();
    }

    fn answered(&mut self, state: &mut State, status: u16, answered: Answered) {
        match answered {
            Answered::Refused(reason) => {
                state.stats.reports_refused += 1;
                warn!(reason, "the hub refuses reported properties; they are dropped");
            }
            Answered::Later => {
                debug!(status, "the hub cannot speak of the twin now; it is asked again");
                return self.ask_in(Asking::Holding, ASK_AGAIN_AFTER);
            }
            Answered::Fine | Answered::Unknown => {}
        }
        if !state.mirror.is_asking() && self.asking == Asking::Waiting {
            self.asking = Asking::Free;
        }
    }

    fn ask_in(&mut self, asking: Asking, after: Duration) {
        self.asking = asking;
        self.ask_timer.as_mut().reset(tokio::time::Instant::now() + after);
    }

    /// The hub has what was published with `token`; true if the outbox could forget something over it.
    fn acknowledged(&mut self, token: u64) -> bool {
        if token & RESPONSE != 0 {
            let mut state = self.shared.lock();
            state.responses.retain(|response| response.id | RESPONSE != token);
            state.told();
            return false;
        }
        if let Ok(index) = self.in_flight.binary_search_by_key(&token, |(offset, _)| *offset)
            && !std::mem::replace(&mut self.in_flight[index].1, true)
        {
            self.shared.lock().stats.delivered += 1;
        }
        let first = self.in_flight.front().is_some_and(|(_, there)| *there);
        if first {
            self.forget_delivered();
        }
        first
    }

    /// Lets the outbox forget all up to the first message that the hub does not have.
    fn forget_delivered(&mut self) {
        while self.in_flight.pop_front_if(|(_, there)| *there).is_some() {}
        let below = self.in_flight.front().map_or(self.cursor, |(offset, _)| *offset);
        self.shared.outbox.delivered(below);
    }

    fn tell_delivered(&self) {
        self.shared.lock().outbox_moved(self.shared.outbox.kept());
        self.shared.keeper.notify_one();
    }

    fn may_publish(&self, state: &State) -> bool {
        !self.draining
            && self.in_flight.len() < WINDOW
            && self.cursor < self.shared.outbox.publishable(state.disk_fails)
    }

    fn has_work(&self, state: &State) -> bool {
        let asks = matches!(self.asking, Asking::Free | Asking::Waiting) && state.mirror.has_request();
        let speaks = !state.acknowledge.is_empty() || state.responses.iter().any(|response| !response.sent);
        self.open && (speaks || asks || self.may_publish(state))
    }

    /// Says what is small and urgent: acknowledgements, answers, and what is asked about the twin.
    fn speak(&mut self, now: Instant, session: &mut ClientSession) {
        let shared = self.shared;
        let mut state = shared.lock();
        for packet_id in state.acknowledge.drain(..) {
            session.handle_command(now, ClientCommand::Acknowledge { packet_id });
        }
        state.told();
        for response in state.responses.iter_mut().filter(|response| !response.sent) {
            if session.window() == 0 {
                break;
            }
            response.sent = true;
            let topic = method_response_topic(response.status, &response.rid);
            let payload = Bytes::copy_from_slice(&response.payload);
            let token = response.id | RESPONSE;
            session
                .handle_command(now, ClientCommand::Publish { token, topic, payload, qos: Qos::AtLeastOnce });
        }
        while matches!(self.asking, Asking::Free | Asking::Waiting)
            && let Some(request) = state.mirror.request()
        {
            let (topic, payload) = match request {
                Request::Get { rid } => (twin_get_topic(&format!("{rid:x}")), Bytes::from_static(b" ")),
                Request::Report { rid, patch } => {
                    (reported_topic(&format!("{rid:x}")), patch.to_string().into())
                }
            };
            session.handle_command(
                now,
                ClientCommand::Publish { token: 0, topic, payload, qos: Qos::AtMostOnce },
            );
            self.ask_in(Asking::Waiting, ANSWER_WITHIN);
        }
    }

    /// Publishes from the outbox while there is room on the way.
    fn publish(&mut self, now: Instant, session: &mut ClientSession) {
        let limit = self.shared.outbox.publishable(self.shared.lock().disk_fails);
        let room = (WINDOW - self.in_flight.len()).min(session.window());
        if self.draining || self.cursor >= limit || room == 0 {
            return;
        }
        let most = usize::try_from(limit - self.cursor).unwrap_or(room).min(room);
        let records = match self.shared.outbox.read(self.cursor, most) {
            Ok(records) => records,
            Err(error) => {
                warn!(%error, "the outbox cannot be read; the connection is begun anew");
                self.reason = Some(format!("the outbox cannot be read: {error}"));
                return;
            }
        };
        if records.is_empty() {
            self.cursor = limit; // what was there is dropped or damaged
        }
        for (offset, record) in records.into_iter().take_while(|(offset, _)| *offset < limit) {
            self.cursor = offset + 1;
            match Message::decode(record) {
                Ok(message) => self.publish_one(now, session, offset, message),
                Err(refused) => {
                    self.shared.lock().stats.unreadable += 1;
                    warn!(%refused, offset, "a message in the outbox cannot be read; it is dropped");
                    self.in_flight.push_back((offset, true));
                }
            }
        }
        if self.in_flight.front().is_none_or(|(_, there)| *there) {
            self.forget_delivered();
        }
    }

    fn publish_one(&mut self, now: Instant, session: &mut ClientSession, offset: Offset, message: Message) {
        let topic = self.dialect.topic(&message);
        self.in_flight.push_back((offset, false));
        let command =
            ClientCommand::Publish { token: offset, topic, payload: message.body, qos: Qos::AtLeastOnce };
        session.handle_command(now, command);
    }

    /// A new password is needed soon: stop publishing, and give what is on its way a moment.
    fn drain(&mut self) {
        if self.draining {
            self.in_flight.clear(); // waited long enough: it is published again
        }
        self.draining = true;
        self.renew = Some(Box::pin(sleep(DRAIN_WITHIN)));
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut due = Poll::Pending;
        if self.renew.as_mut().is_some_and(|renew| renew.as_mut().poll(cx).is_ready()) {
            self.drain();
            due = Poll::Ready(());
        }
        if matches!(self.asking, Asking::Waiting | Asking::Holding)
            && self.ask_timer.as_mut().poll(cx).is_ready()
        {
            if self.asking == Asking::Waiting {
                self.shared.lock().mirror.give_up_waiting();
            }
            self.asking = Asking::Free;
            due = Poll::Ready(());
        }
        due
    }
}

fn called(state: &mut State, now: Instant, name: String, rid: String, payload: &[u8]) {
    match method::read_payload(payload) {
        Ok(payload) => state.push(Event::Method(Call { name, payload, rid })),
        Err(refused) => {
            state.respond(rid, 400, serde_json::json!(refused.to_string()).to_string().into(), now)
        }
    }
}

impl Pilot<ClientSession> for Link<'_> {
    fn on_event(&mut self, now: Instant, event: ClientEvent, session: &mut ClientSession) -> Flow {
        match event {
            ClientEvent::Connected { .. } => self.connected(now, session),
            ClientEvent::Refused(code) => {
                self.refused = Some(code);
                return Flow::End;
            }
            ClientEvent::Publish { topic, payload, qos, packet_id, .. } => {
                self.received(now, topic, payload, qos, packet_id);
            }
            ClientEvent::Acknowledged { token } => {
                if self.acknowledged(token) {
                    self.tell_delivered();
                }
            }
            ClientEvent::Subscribed { filters } => self.subscribed(&filters),
            ClientEvent::Unsubscribed { .. } => {}
            ClientEvent::Closed(fault) => {
                self.reason = Some(fault.to_string());
                return Flow::End;
            }
        }
        Flow::Go
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timers = self.poll_timers(cx);
        let mut state = self.shared.lock();
        let drained = self.draining && self.in_flight.is_empty();
        if timers.is_ready() || std::mem::take(&mut state.poke) || drained || self.has_work(&state) {
            return Poll::Ready(());
        }
        state.listen_link(cx.waker());
        Poll::Pending
    }

    fn on_wake(&mut self, now: Instant, session: &mut ClientSession) -> Flow {
        let (closing, clogged) = {
            let state = self.shared.lock();
            (state.closing, state.is_clogged())
        };
        if std::mem::replace(&mut self.clogged, clogged) && !clogged {
            session.excuse(now);
        }
        if self.open {
            self.speak(now, session);
            self.publish(now, session);
        }
        if self.reason.is_some() {
            return Flow::End;
        }
        if closing || (self.draining && self.in_flight.is_empty()) {
            self.planned = true;
            session.handle_command(now, ClientCommand::Disconnect);
            return Flow::End;
        }
        Flow::Go
    }

    fn may_read(&self) -> bool {
        !self.shared.lock().is_clogged()
    }

    fn may_time_out(&self) -> bool {
        self.may_read()
    }
}
