//! AMQP 1.0 as IoT Hub speaks it: tokens come over `$cbs`, several identities may share a connection, and a link's
//! address says what it is for. The Event Hubs-compatible endpoint is here too.
//!
//! What a client sends is heard into a batch and handed to the hub's mind under one lock; outcomes wait, in order,
//! until the store says that what they stand for is on disk.

mod access;
mod address;
mod alarm;
mod asking;
mod convert;
mod events;
mod filter;
mod hearing;
mod links;
mod management;
mod owed;
mod readers;
mod service;
mod speaking;
mod twin;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use isotherm_host::{BoxFuture, BoxStream, Ended, Flow, Pilot, drive};
use isotherm_iothub::Identity;
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{Error, LinkId, Options, Server, ServerCommand, ServerEvent, Text};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use self::access::Proof;
use self::hearing::Heard;
use self::links::Link;
use self::owed::Owed;
use crate::bell::Bell;
use crate::core::{SessionId, Wake};
use crate::listen::Arrival;
use crate::shared::Shared;

pub(crate) use readers::Readers;

/// What is offered to those who show no certificate.
static WITHOUT_CERTIFICATE: LazyLock<Arc<Options>> = LazyLock::new(|| {
    let mechanisms = ["MSSBCBS", "ANONYMOUS", "PLAIN"].map(Text::from_static).into();
    Arc::new(Options { mechanisms, ..Options::default() })
});
/// What is offered to those who do.
static WITH_CERTIFICATE: LazyLock<Arc<Options>> = LazyLock::new(|| Arc::new(Options::default()));

/// Serves one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: BoxStream, arrival: Arrival) {
    let options = if arrival.has_certificate() { &WITH_CERTIFICATE } else { &WITHOUT_CERTIFICATE };
    let mut server = Server::new(shared.host.now(), Arc::clone(options));
    let mut connection = Connection::new(Arc::clone(&shared), arrival);
    let ended = drive(stream, &mut server, &mut connection).await;
    shared.counters.count(match &ended {
        Ended::PeerClosed => "amqp_ended_by_peer",
        Ended::Finished => "amqp_ended",
        Ended::Malformed(malformed) => {
            tracing::debug!(%malformed, "AMQP connection ended");
            "amqp_malformed"
        }
        Ended::Io(_) => "amqp_ended_by_network",
        Ended::WriteStalled => "amqp_ended_write_stalled",
    });
}

/// One client's connection, between the protocol and the hub's mind.
struct Connection {
    shared: Arc<Shared>,
    arrival: Arrival,
    /// Rung by the hub's mind: there is something to say.
    news: Arc<Bell>,
    /// Rung by the store: something is on disk, or there is room again.
    disk: Arc<Bell>,
    /// Rings it when the store has room: always the same one, so that it waits there once.
    room: Wake,
    /// Rung by the store: the upstream log has grown.
    log: Arc<Bell>,
    /// Whether the store will ring for the log.
    log_watched: bool,
    stop: BoxFuture<'static, ()>,
    stopping: bool,
    /// There is something to do that nobody will ring for.
    due: bool,
    /// The hub's mind may have something for somebody here.
    look: bool,
    /// The store refuses what was heard.
    blocked: bool,
    /// Whether the protocol takes more; it is asked after all that is done to it.
    readable: bool,
    /// Nothing more is heard until this is over: a quota, or a fault on request.
    resting: Option<Pin<Box<Sleep>>>,
    /// When something has to be looked at although nobody rings: feedback, a token that ends.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The host that the client means, as it said in `open`.
    hostname: Option<Text>,
    proofs: Vec<Proof>,
    seats: BTreeMap<Identity, Seat>,
    links: BTreeMap<LinkId, Link>,
    heard: VecDeque<Heard>,
    owed: Owed,
    /// Numbers the deliveries, so that no two have the same tag.
    deliveries: u64,
}

/// An identity's session with the hub's mind, for as long as it has a link here.
struct Seat {
    session: SessionId,
    /// The gateways in between, as its first link named them.
    chain: Option<String>,
    /// Dropped when this seat is: the identity's next connection waits for that.
    _open: oneshot::Sender<()>,
}

impl Connection {
    fn new(shared: Arc<Shared>, arrival: Arrival) -> Self {
        let disk = Bell::new();
        let stop = shared.host.stop.clone();
        Self {
            shared,
            arrival,
            news: Bell::new(),
            room: disk.ringer(),
            disk,
            log: Bell::new(),
            log_watched: false,
            stop: Box::pin(async move { stop.stopped().await }),
            stopping: false,
            due: false,
            look: false,
            blocked: false,
            readable: true,
            resting: None,
            alarm: None,
            hostname: None,
            proofs: Vec::new(),
            seats: BTreeMap::new(),
            links: BTreeMap::new(),
            heard: VecDeque::new(),
            owed: Owed::default(),
            deliveries: 0,
        }
    }

    /// Ends the connection from our side, for a reason that is counted.
    fn close(&mut self, now: Instant, session: &mut Server, counter: &'static str, error: Error) -> Flow {
        self.shared.counters.count(counter);
        session.handle_command(now, ServerCommand::Close(Some(error)));
        self.leave();
        Flow::End
    }

    /// Ends the connection as a network would, without a word; whoever shares it goes with it.
    fn cut(&mut self) -> Flow {
        self.shared.counters.count("amqp_ended_by_fault");
        self.leave();
        Flow::End
    }

    /// Every session with the hub's mind ends with the connection.
    fn leave(&mut self) {
        let everybody: Vec<Identity> = self.seats.keys().cloned().collect();
        self.flush_last();
        self.links.values_mut().for_each(|link| link.give_back(&self.shared, &self.seats));
        self.links.clear();
        for who in everybody {
            self.stand_up(&who);
        }
    }

    /// An identity's session ends.
    fn stand_up(&mut self, who: &Identity) {
        if let Some(seat) = self.seats.remove(who) {
            self.shared.core().detach(seat.session, true, None, self.shared.now());
            self.shared.sockets.leave(who, seat.session);
        }
    }

    fn event(&mut self, now: Instant, event: ServerEvent, session: &mut Server) -> Flow {
        match event {
            ServerEvent::Sasl(init) => self.sasl(now, &init, session),
            ServerEvent::Opened(open) => {
                self.hostname = open.hostname.clone();
                self.shared.counters.count("amqp_opened");
            }
            ServerEvent::Attached { link, attach } => return self.attached(now, link, &attach, session),
            ServerEvent::Message { link, delivery, settled, format, message, .. } => {
                let came = hearing::Came { link, delivery, settled, format, message: *message };
                return self.hear(now, came, session);
            }
            ServerEvent::Disposition { link, delivery, token, state, settled } => {
                self.disposed(link, token, state.as_ref());
                if !settled {
                    let state = state.unwrap_or(isotherm_protocol::amqp::DeliveryState::Accepted);
                    session.handle_command(now, ServerCommand::Settle { link, delivery, state });
                }
            }
            ServerEvent::Credit { link, drain, .. } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.drain = drain;
                }
                self.look = true;
            }
            ServerEvent::WindowOpened => self.look = true,
            ServerEvent::Detached { link, .. } => self.detached(link),
            ServerEvent::Closed(_) => {
                self.shared.counters.count("amqp_ended_close");
                self.leave();
                return Flow::End;
            }
            ServerEvent::Lapsed(fault) => {
                tracing::debug!(%fault, "AMQP connection lapsed");
                self.shared.counters.count("amqp_lapsed");
                return Flow::End;
            }
        }
        Flow::Go
    }
}

impl Pilot<Server> for Connection {
    fn on_event(&mut self, now: Instant, event: ServerEvent, session: &mut Server) -> Flow {
        let flow = self.event(now, event, session);
        self.readable = session.may_read();
        flow
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.resting.as_mut().is_some_and(|rest| rest.as_mut().poll(cx).is_ready()) {
            self.resting = None;
            self.due = true;
        }
        if self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready()) {
            self.alarm = None;
            self.look = true;
        }
        self.look |= self.news.poll(cx).is_ready();
        if self.log.poll(cx).is_ready() {
            self.log_watched = false;
            self.look = true;
        }
        let paid = self.disk.poll(cx).is_ready();
        let stopped = !self.stopping && self.stop.as_mut().poll(cx).is_ready();
        self.stopping |= stopped;
        if self.look || paid || stopped || self.due { Poll::Ready(()) } else { Poll::Pending }
    }

    fn on_wake(&mut self, now: Instant, session: &mut Server) -> Flow {
        self.due = false;
        self.flush(now, session);
        self.pay(now, session);
        if std::mem::take(&mut self.look) {
            if self.speak(now, session) == Flow::End {
                return Flow::End;
            }
            self.set_alarm(now);
        }
        self.readable = session.may_read();
        // A hub that ends hears nothing more, and first pays what it owes: that saves everybody the repeats.
        if self.stopping && (self.owed.is_empty() || self.blocked) {
            let error = Error::new("amqp:connection:forced", "the hub ends");
            return self.close(now, session, "amqp_ended_hub_stops", error);
        }
        Flow::Go
    }

    fn may_read(&self) -> bool {
        !self.stopping && !self.blocked && self.readable && self.resting.is_none() && self.owed.has_room()
    }

    fn may_time_out(&self) -> bool {
        self.may_read() // what it said may lie unread before us
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The hub's mind may be what panicked; a second panic from here would end the process.
        if catch_unwind(AssertUnwindSafe(|| self.leave())).is_err() {
            tracing::error!("a session could not be ended");
        }
    }
}
