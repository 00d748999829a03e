//! One MQTT connection: what goes in and out of the outbox, and what the hub says, over the protocol as a value.

mod hear;
mod speak;

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use isotherm_host::{Flow, Pilot};
use isotherm_journal::Offset;
use isotherm_protocol::{
    Session as _,
    mqtt::{ClientCommand, ClientEvent, ClientSession, ConnectCode, Qos},
};
use tokio::time::{Sleep, sleep};

use super::{Dialect, Incoming};
use crate::shared::Shared;

/// What the session must hold besides messages: answers to methods, subscriptions.
pub(crate) const BESIDES: usize = 312;
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
    /// So many at once.
    window: usize,
    renew: Option<Pin<Box<Sleep>>>,
    draining: bool,
    asking: Asking,
    ask_timer: Pin<Box<Sleep>>,
    /// What is not subscribed to before the twin is known: a module's inputs, if it never was.
    inputs: Option<(String, Qos)>,
}

impl<'a> Link<'a> {
    /// `renew_after`: how long the password is good for.
    pub(crate) fn new(
        shared: &'a Shared,
        dialect: &'a Dialect,
        renew_after: Option<Duration>,
        window: usize,
    ) -> Self {
        let knows_twin = shared.lock().mirror.twin().is_some();
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
            window,
            renew: renew_after.map(|after| Box::pin(sleep(after))),
            draining: false,
            asking: Asking::Deaf,
            ask_timer: Box::pin(sleep(Duration::ZERO)),
            inputs: dialect.inputs().filter(|_| !knows_twin),
        }
    }

    /// Whether nothing is to come by a subscription of an earlier process, whose twin was lost with its disk.
    pub(crate) fn is_new(&self) -> bool {
        self.inputs.is_some()
    }

    fn ask_in(&mut self, asking: Asking, after: Duration) {
        self.asking = asking;
        self.ask_timer.as_mut().reset(tokio::time::Instant::now() + after);
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

    fn may_nap(&self) -> bool {
        true
    }
}
