//! MQTT 3.1.1 as IoT Hub speaks it: a fixed vocabulary of topics, each connection for one identity only.
//!
//! What a client publishes is heard into a batch and handed to the hub's mind under one lock; acknowledgements
//! wait, in order, until the store says that what they stand for is on disk.

mod greeting;
mod hearing;
mod owed;
mod resting;
mod speaking;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use isotherm_host::{BoxFuture, BoxStream, Ended, Flow, Pilot, drive};
use isotherm_iothub::{Identity, Message};
use isotherm_protocol::Session as _;
use isotherm_protocol::mqtt::{Limits, Server, ServerCommand, ServerEvent};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use self::hearing::Heard;
use self::owed::Owed;
use crate::bell::Bell;
use crate::core::{Outcome, Outgoing, SessionId, Wake};
use crate::listen::Arrival;
use crate::shared::Shared;

/// Room for this many things is kept by a connection that has nothing to do.
const KEPT_MAX: usize = 32;
/// And for a topic of this many bytes.
const TOPIC_KEPT_BYTES: usize = 512;

/// Serves one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: BoxStream, arrival: Arrival) {
    let mut server = Server::new(shared.host.now(), Limits::default());
    let mut connection = Connection::new(Arc::clone(&shared), arrival);
    let ended = drive(stream, &mut server, &mut connection).await;
    shared.counters.count(match &ended {
        Ended::PeerClosed => "mqtt_ended_by_peer",
        Ended::Finished => "mqtt_ended",
        Ended::Malformed(malformed) => {
            tracing::debug!(client = %connection.name(), %malformed, "MQTT connection ended");
            mqtt_fault(malformed.name())
        }
        Ended::Io(_) => "mqtt_ended_by_network",
        Ended::WriteStalled => "mqtt_ended_write_stalled",
    });
}

/// The name under which a fault of the protocol is counted.
fn mqtt_fault(name: &'static str) -> &'static str {
    match name {
        "qos_two" => "mqtt_malformed_qos_two",
        "too_large" => "mqtt_malformed_too_large",
        "second_connect" => "mqtt_malformed_second_connect",
        "not_connect" => "mqtt_malformed_not_connect",
        "wildcard" => "mqtt_malformed_wildcard",
        "keep_alive" => "mqtt_lapsed_keep_alive",
        "connect_late" => "mqtt_lapsed_connect_late",
        "impatient" => "mqtt_malformed_impatient",
        _ => "mqtt_malformed",
    }
}

/// One client's connection, between the protocol and the hub's mind.
struct Connection {
    shared: Arc<Shared>,
    arrival: Arrival,
    stage: Stage,
    /// Rung by the hub's mind: there is something to say.
    news: Arc<Bell>,
    /// Rung by the store: something is on disk, or there is room again.
    disk: Arc<Bell>,
    /// Rings it when the store has room: always the same one, so that it waits there once.
    room: Wake,
    stop: BoxFuture<'static, ()>,
    stopping: bool,
    /// There is something to do that nobody will ring for.
    due: bool,
    /// The hub's mind may have something for this client.
    look: bool,
    /// The store refuses what was heard.
    blocked: bool,
    /// Nothing more is heard until this is over: a quota, or a fault on request.
    resting: Option<Pin<Box<Sleep>>>,
    /// What was asked waits until earlier answers are on their way.
    behind: bool,
    heard: VecDeque<Heard>,
    settled: Vec<u64>,
    owed: Owed,
    /// Room for what is taken from the hub's mind in one go, kept for the next time.
    said: Vec<Outgoing>,
    /// Room for a topic, likewise.
    topic: String,
}

/// How far a connection has come.
enum Stage {
    /// Nobody has said who it is.
    Greeting,
    /// Let in, but not told yet: the same identity's older socket is still open.
    Waiting { client: Client, present: bool, older: Option<oneshot::Receiver<()>>, patience: Pin<Box<Sleep>> },
    /// In.
    Open(Client),
    /// Refused, or gone.
    Over,
}

/// Who is at the other end, once that is proven.
struct Client {
    who: Identity,
    session: SessionId,
    /// Published should the client vanish.
    will: Option<Message>,
    /// Dropped when this connection ends: the identity's next one waits for that.
    _open: oneshot::Sender<()>,
}

impl Connection {
    fn new(shared: Arc<Shared>, arrival: Arrival) -> Self {
        let disk = Bell::new();
        let stop = shared.host.stop.clone();
        Self {
            shared,
            arrival,
            stage: Stage::Greeting,
            news: Bell::new(),
            room: disk.ringer(),
            disk,
            stop: Box::pin(async move { stop.stopped().await }),
            stopping: false,
            due: false,
            look: false,
            blocked: false,
            resting: None,
            behind: false,
            heard: VecDeque::new(),
            settled: Vec::new(),
            owed: Owed::default(),
            said: Vec::new(),
            topic: String::new(),
        }
    }

    fn client(&self) -> Option<&Client> {
        match &self.stage {
            Stage::Waiting { client, .. } | Stage::Open(client) => Some(client),
            Stage::Greeting | Stage::Over => None,
        }
    }

    /// An idle connection is small, whatever it was before.
    fn forget_burst(&mut self) {
        self.owed.forget_burst();
        if self.heard.is_empty() && self.heard.capacity() > KEPT_MAX {
            self.heard = VecDeque::new();
        }
        if self.said.capacity() > KEPT_MAX {
            self.said = Vec::new();
        }
        if self.topic.capacity() > TOPIC_KEPT_BYTES {
            self.topic = String::new();
        }
        if self.settled.is_empty() && self.settled.capacity() > KEPT_MAX {
            self.settled = Vec::new();
        }
    }

    fn name(&self) -> &str {
        self.client().map_or("(nobody yet)", |client| client.who.as_str())
    }

    /// Ends the connection from our side, for a reason that is counted. The session ends at once: closing the
    /// stream may take the peer a while.
    fn close(&mut self, session: &mut Server, now: Instant, reason: &'static str) -> Flow {
        self.shared.counters.count(reason);
        session.handle_command(now, ServerCommand::Close);
        self.leave(false);
        Flow::End
    }

    /// The session with the hub's mind ends with the connection.
    fn leave(&mut self, graceful: bool) {
        let (Stage::Waiting { client, .. } | Stage::Open(client)) =
            std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return;
        };
        let now = self.shared.now();
        // When the hub itself ends, its clients did not vanish.
        let graceful = graceful || self.shared.host.stop.is_stopped();
        let will = client.will.filter(|_| !graceful);
        let mut core = self.shared.core();
        core.settle_all(client.session, self.settled.drain(..), Outcome::Accepted, now);
        // What came in the same breath as the end of the stream was said all the same.
        for message in self.heard.drain(..).filter_map(Heard::into_message) {
            let _ = core.publish(client.session, &client.who, message, now); // nobody is left to be told
        }
        core.detach(client.session, graceful, will, now);
        drop(core);
        self.shared.sockets.leave(&client.who, client.session);
    }
}

impl Pilot<Server> for Connection {
    fn on_event(&mut self, now: Instant, event: ServerEvent, session: &mut Server) -> Flow {
        match event {
            ServerEvent::Connect(connect) => self.greet(now, &connect, session),
            ServerEvent::Publish { topic, payload, qos, packet_id, dup, retain } => {
                let packet = hearing::Packet { topic, payload, qos, packet_id, dup, retain };
                self.hear(now, packet, session)
            }
            ServerEvent::Acknowledged { token } => {
                self.settled.push(token);
                self.due = true;
                Flow::Go
            }
            ServerEvent::Subscribe { packet_id, filters } => {
                self.subscribe(now, packet_id, &filters, session)
            }
            ServerEvent::Unsubscribe { packet_id, filters } => {
                self.unsubscribe(now, packet_id, &filters, session)
            }
            ServerEvent::Disconnected => {
                self.flush(now, session); // what it said before goodbye counts
                self.leave(true);
                self.shared.counters.count("mqtt_ended_disconnect");
                Flow::End
            }
            ServerEvent::Lapsed(fault) => {
                tracing::debug!(client = %self.name(), %fault, "MQTT connection lapsed");
                self.shared.counters.count(mqtt_fault(fault.name()));
                Flow::End
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.stage, Stage::Waiting { .. }) {
            return self.poll_seat(cx);
        }
        self.poll_rest(cx);
        self.look |= self.news.poll(cx).is_ready();
        let paid = self.disk.poll(cx).is_ready();
        let stopped = !self.stopping && self.stop.as_mut().poll(cx).is_ready();
        self.stopping |= stopped;
        if self.look || paid || stopped || self.due {
            return Poll::Ready(());
        }
        self.forget_burst();
        Poll::Pending
    }

    fn on_wake(&mut self, now: Instant, session: &mut Server) -> Flow {
        if matches!(self.stage, Stage::Waiting { .. }) {
            self.admit(now, session);
            return Flow::Go;
        }
        self.due = false;
        if self.flush(now, session) == Flow::End {
            return Flow::End;
        }
        if std::mem::take(&mut self.look) && self.speak(now, session) == Flow::End {
            return Flow::End;
        }
        self.pay(now, session);
        // A hub that ends hears nothing more, and first pays what it owes: that saves everybody the repeats.
        if self.stopping && (self.owed.is_empty() || self.blocked || self.behind) {
            return self.close(session, now, "mqtt_ended_hub_stops");
        }
        Flow::Go
    }

    fn may_read(&self) -> bool {
        match self.stage {
            Stage::Greeting => !self.stopping,
            Stage::Open(_) => {
                let held_up = self.blocked || self.behind || self.resting.is_some();
                !self.stopping && !held_up && self.owed.has_room()
            }
            Stage::Waiting { .. } | Stage::Over => false,
        }
    }

    fn may_time_out(&self) -> bool {
        self.may_read() // its keep-alive may lie unread before us
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The hub's mind may be what panicked; a second panic from here would end the process.
        let left = catch_unwind(AssertUnwindSafe(|| self.leave(false)));
        if left.is_err() {
            tracing::error!("a session could not be ended");
        }
    }
}
