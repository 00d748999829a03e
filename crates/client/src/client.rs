//! The client itself: what its user holds.

use std::{
    fmt,
    future::{Future, poll_fn},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use isotherm_host::{Host, Lock};
use isotherm_iothub::{Identity, MethodCall, MethodResult, method};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};
use tracing::warn;

use crate::{
    Call, ConnectError, Delivery, Event, InvokeError, Options, Progress, Sink, Stats,
    connection::{Connection, Login, Target},
    dialect::{Dialect, Hub, amqp::Trunk},
    invoke,
    keeper::Keeper,
    meter::Meter,
    outbox::Outbox,
    shared::Shared,
    twin::Mirror,
    wiring::{self, Wiring},
};

mod send;

/// The file in the state folder that holds the last known twin.
const TWIN_FILE: &str = "twin.json";

/// One identity's connection to a hub. The connection lives until this is dropped.
pub struct Client {
    host: Host,
    shared: Arc<Shared>,
    target: Arc<Target>,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The word to stop has come.
    stopping: bool,
    keeper: JoinHandle<()>,
    _lock: Arc<Lock>,
    _meter: Arc<Meter>,
}

impl Client {
    /// Reads the environment and begins to dial. Does not wait for the hub.
    ///
    /// # Errors
    /// When a variable is missing or makes no sense, or the state folder cannot be used.
    pub async fn connect(host: &Host) -> Result<Self, ConnectError> {
        match Wiring::from_env(host)? {
            Wiring::Hub(options) => Self::with(host, *options).await,
            Wiring::Broker(options) => {
                let mirror = options.desired.map_or_else(Mirror::default, Mirror::fixed);
                Self::begin(host, options.target, &options.kept, Some(mirror)).await
            }
        }
    }

    /// The same with what the environment would have said.
    ///
    /// # Errors
    /// When the state folder cannot be used.
    pub async fn with(host: &Host, options: Options) -> Result<Self, ConnectError> {
        let hub = wiring::peer(&options.host_name).0.to_owned();
        let (peer, port) = wiring::peer(options.gateway.as_deref().unwrap_or(&options.host_name));
        let identity = options.identity.clone();
        let target = Target {
            login: Some(Login {
                resource: identity.resource(&hub),
                credentials: options.credentials.clone(),
                token_life: options.token_life,
            }),
            dialect: Dialect::Hub(Hub { identity, name: hub }),
            peer: peer.to_owned(),
            port,
            amqps_port: options.amqps_port,
            https_port: options.https_port,
            tls: true,
            roots: options.roots.clone(),
            transport: options.transport,
            trunk: options.trunk.clone().unwrap_or_else(Trunk::private),
            window: options.in_flight_max(),
            batches: options.batches,
        };
        Self::begin(host, target, &options, None).await
    }

    /// To somebody who is no hub: messages go there, and nothing comes back but that they have arrived. Of the
    /// options counts what is said of the outbox, the state folder, and whom to trust.
    ///
    /// # Errors
    /// When the address makes no sense, or the state folder cannot be used.
    pub async fn to(host: &Host, sink: &Sink, options: Options) -> Result<Self, ConnectError> {
        Self::begin(host, sink.target(&options)?, &options, Some(Mirror::default())).await
    }

    async fn begin(
        host: &Host,
        target: Target,
        kept: &Options,
        mirror: Option<Mirror>,
    ) -> Result<Self, ConnectError> {
        let (door, options) = (host.clone(), kept.clone());
        let (lock, outbox, saved) = host.blocking(move || open(&door, &options)).await?;
        let twin_file = mirror.is_none().then(|| kept.state_dir.join(TWIN_FILE));
        let mirror = mirror.unwrap_or_else(|| Mirror::restored(saved.as_deref()));
        let shared = Arc::new(Shared::new(outbox, mirror));
        let (lock, target) = (Arc::new(lock), Arc::new(target));
        let keeper =
            Keeper { host: host.clone(), shared: shared.clone(), twin_file, lock: Arc::downgrade(&lock) };
        let connection = Connection::new(host.clone(), shared.clone(), target.clone());
        tokio::spawn(connection.run());
        let meter = Meter::of(&shared, kept.identity.as_str());
        host.metrics.ask(&meter);
        let stop = host.stop.clone();
        Ok(Self {
            host: host.clone(),
            shared,
            target,
            stopped: Box::pin(async move { stop.stopped().await }),
            stopping: false,
            keeper: tokio::spawn(keeper.run()),
            _lock: lock,
            _meter: meter,
        })
    }

    /// The next event. It can be dropped and called again without losing one.
    pub async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.poll_stopped(cx) {
            return Poll::Ready(Event::Stop);
        }
        let mut state = self.shared.lock();
        if let Some(desired) = state.mirror.take_news() {
            return Poll::Ready(Event::Desired(desired));
        }
        if let Some(event) = state.pop() {
            return Poll::Ready(event);
        }
        state.listen(cx.waker());
        Poll::Pending
    }

    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> bool {
        self.stopping = self.stopping || self.stopped.as_mut().poll(cx).is_ready();
        self.stopping
    }

    /// The last bookmark that was kept, whatever has become of the message it came with.
    pub fn bookmark(&self) -> Option<Vec<u8>> {
        self.shared.outbox.bookmark().map(Vec::from)
    }

    /// Acknowledges an input or a message from the cloud, as soon as all that was sent or posted before is safe. A
    /// claim that belongs to an earlier connection is let go: the hub delivers that message again.
    pub fn accept(&mut self, delivery: Delivery) {
        let (next, kept) = (self.shared.outbox.next(), self.shared.outbox.kept());
        self.shared.lock().accept(delivery, next, kept);
    }

    /// Merges `patch` into what is to be reported. It is told again until the hub has it; what the hub refuses for
    /// good is logged, counted and dropped.
    pub fn report(&mut self, patch: Value) {
        let mut state = self.shared.lock();
        if let Err(reason) = state.mirror.report(patch) {
            state.stats.reports_refused += 1;
            warn!(reason, "these properties cannot be reported");
        }
        if !self.target.dialect.is_hub() {
            state.mirror.forget_reports();
        }
        state.wake_link();
    }

    /// Answers a direct method. If the connection is lost meanwhile, the answer goes out by the next one.
    pub fn respond(&mut self, call: Call, status: i32, payload: Value) {
        let now = self.host.now();
        let (status, payload) = match method::wire_payload(&payload) {
            Ok(payload) => (status, payload),
            Err(refused) => {
                warn!(method = call.name, %refused, "the answer cannot be sent");
                (500, Value::from(refused.to_string()).to_string().into_bytes())
            }
        };
        self.shared.lock().respond(call.rid, status, payload, now);
    }

    /// The twin as far as it is known: `{"desired":{..},"reported":{..}}`, with what the hub has taken of the reports.
    pub fn twin(&self) -> Option<Value> {
        self.shared.lock().mirror.twin().cloned()
    }

    /// Calls a method of another module or device, by REST through the gateway.
    ///
    /// # Errors
    /// When the hub cannot be reached, or says no.
    pub async fn invoke(&self, target: &Identity, call: MethodCall) -> Result<MethodResult, InvokeError> {
        invoke::invoke(&self.host, &self.target, target, &call).await
    }

    /// The next event, or how far the hub has acknowledged what was sent, once that is further than `seen`: all below
    /// that number, as [`Client::posted`] counts. It can be dropped and called again without losing one.
    pub async fn next_or_delivered(&mut self, seen: u64) -> Progress {
        poll_fn(|cx| {
            if let Poll::Ready(event) = self.poll_next(cx) {
                return Poll::Ready(Progress::Event(event));
            }
            let mut state = self.shared.lock();
            if let Some(reason) = state.take_refusal() {
                return Poll::Ready(Progress::Refused { reason });
            }
            state.watched = true;
            drop(state);
            match self.shared.outbox.first() {
                below if below > seen => Poll::Ready(Progress::Delivered(below)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// How many messages were ever taken into the outbox, those of earlier processes among them.
    pub fn posted(&self) -> u64 {
        self.shared.outbox.next()
    }

    /// Messages in the outbox: sent, and not yet acknowledged by the hub.
    pub fn held(&self) -> u64 {
        self.shared.outbox.held()
    }

    /// Of these, the ones that are held back because the disk has not taken them yet.
    pub fn held_back(&self) -> u64 {
        self.shared.outbox.held_back()
    }

    /// Whether the hub has accepted the connection that stands now.
    pub fn is_connected(&self) -> bool {
        self.shared.lock().connected
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats
    }

    /// Waits until the hub has all that was sent, and has been told all that was accepted and answered; no longer than
    /// `limit`. Says whether it has. Takes no events meanwhile; after [`Event::Stop`] no more inputs are taken in.
    pub async fn flush(&mut self, limit: Duration) -> bool {
        self.shared.lock().stopping = self.stopping;
        let quiet = poll_fn(|cx| {
            let mut state = self.shared.lock();
            state.listen(cx.waker());
            state.watched = true;
            if self.shared.outbox.held() == 0 && state.is_quiet() { Poll::Ready(()) } else { Poll::Pending }
        });
        timeout(limit, quiet).await.is_ok()
    }
}

/// Takes the state folder for this process, and reads what is in it.
fn open(host: &Host, options: &Options) -> Result<(Lock, Outbox, Option<Vec<u8>>), ConnectError> {
    let folder: &Path = &options.state_dir;
    host.disk.create_dir(folder).map_err(ConnectError::State)?;
    let lock = host.disk.lock(&folder.join("lock")).map_err(ConnectError::State)?;
    let outbox = Outbox::open(host, options).map_err(ConnectError::Outbox)?;
    Ok((lock, outbox, host.disk.read(&folder.join(TWIN_FILE)).ok()))
}

impl Drop for Client {
    /// Says good-bye to the hub, if the process lives on for a moment.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        state.wake_link();
        drop(state);
        self.shared.closing.notify_one();
        self.keeper.abort();
        // A process that ends in peace remembers what was delivered, so that nothing is repeated at the next start.
        if self.host.stop.is_stopped() && self.shared.outbox.is_dirty() {
            let _ = self.shared.outbox.commit(); // else it is repeated
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.target.peer)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
