//! One identity's connection to a hub, a module's or a device's: IoT Hub, Azure IoT Edge's edgeHub, isotherm's own,
//! or any MQTT 3.1.1 broker.
//!
//! [`Client::connect`] reads the environment and returns at once; from then on a task of its own dials, renews the
//! token, and dials again whenever the link is lost, with jittered back-off. Its user sees none of that. It sends into
//! a durable outbox, takes [`Event`]s, and accepts what it has dealt with:
//!
//! ```no_run
//! # async fn run(host: isotherm_host::Host) -> Result<(), Box<dyn std::error::Error>> {
//! use isotherm_client::{Client, Event};
//!
//! let mut client = Client::connect(&host).await?;
//! loop {
//!     match client.next().await {
//!         Event::Input { message, delivery, .. } => {
//!             client.send("output1", message, None).await?; // on disk when this returns
//!             client.accept(delivery); // only now may the hub forget it
//!         }
//!         Event::Method(call) => client.respond(call, 200, serde_json::json!({"ok": true})),
//!         Event::Desired(desired) => println!("settings are now {desired}"),
//!         Event::Stop => return Ok(()),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # What holds
//! - **Sent is kept.** [`Client::send`] returns once the message is synced. It is published again after every
//!   reconnect and restart until the hub has acknowledged it: at least once, in the order it was sent. Whoever reads
//!   drops repeats by a number that the sender puts into the message. Only a full outbox lets the oldest go
//!   ([`WhenFull`]), and says how many.
//! - **Taken is not accepted.** The hub delivers an input again until [`Client::accept`] was called for it, and the
//!   acknowledgement waits for all that was sent before it. A module that forwards can thus [`Client::post`] and
//!   accept without waiting for the disk, and nothing is lost.
//! - **The twin is whole.** [`Event::Desired`] always carries the whole desired section; a gap in versions makes the
//!   client fetch it. The last one is kept, and comes first at the next start, hub or no hub. What is reported is
//!   merged while there is no connection, and told again until the hub has it.
//! - **A method's answer is not lost** with the connection that the call came by: it goes out by the next one.
//!
//! # Variables
//! | variable | |
//! | --- | --- |
//! | `EdgeHubConnectionString` | `HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…;GatewayHostName=…`, or with `SharedAccessSignature` or `x509=true` in place of the key. `GatewayHostName` (or `HostName`, without a gateway) may carry the port of MQTT over TLS: `localhost:18883` |
//! | `EdgeModuleCACertificateFile` | whom to trust, PEM; without it the system's roots |
//! | `X509_CERTIFICATE_FILE`, `X509_KEY_FILE` | the certificate (chain) and key that `x509=true` speaks of, PEM |
//! | `IOTEDGE_WORKLOADURI`, `IOTEDGE_DEVICEID`, `IOTEDGE_MODULEID`, `IOTEDGE_MODULEGENERATIONID`, `IOTEDGE_IOTHUBHOSTNAME`, `IOTEDGE_GATEWAYHOSTNAME`, `IOTEDGE_APIVERSION`, `IOTEDGE_AUTHSCHEME` | as edgeAgent sets them; used without a connection string |
//! | `TransportType` | `Mqtt_Tcp_Only` (the default), `Mqtt_WebSocket_Only`, or `Mqtt`: either, in turn |
//! | `EdgeHubHttpsPort` | the port of WebSocket and REST, 443 |
//! | `BROKER_URL`, `INPUT_TOPIC`, `OUTPUT_TOPIC`, `BROKER_CA_FILE`, `MODULE_SETTINGS`, `BROKER_CLIENT_ID` | a plain broker in place of a hub: `mqtts://user:key@host:port`, a topic in, a topic out, whom to trust, the desired properties, the name of the session. Bodies only: there are no properties, and outputs are one |
//! | `OUTBOX_BYTES_MAX`, `OUTBOX_WHEN_FULL` (`drop-oldest`, `refuse`), `OUTBOX` (`disk`, `hand-to-hand`) | see [`Options`] |
//! | `ISOTHERM_STATE` | the folder that has a folder for each identity; `.isotherm` |
//!
//! Over AMQP nothing is spoken yet; `TransportType` says so.

mod connection;
mod credentials;
mod dialect;
mod event;
mod invoke;
mod keeper;
mod options;
mod outbox;
mod shared;
mod twin;
mod wiring;

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
use isotherm_iothub::{Identity, Message, MethodCall, MethodResult, SystemProperty, method, telemetry_topic};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};
use tracing::warn;

pub use event::{Call, ConnectError, Delivery, Event, InvokeError, SendError, Stats};
pub use options::{
    Credentials, Custody, HTTPS_PORT, MQTTS_PORT, OUTBOX_BYTES_MAX, Options, TOKEN_LIFE, Transport, WhenFull,
    Workload,
};

use connection::{Connection, Login, Target};
use dialect::{Dialect, Hub};
use keeper::Keeper;
use outbox::Outbox;
use shared::Shared;
use twin::Mirror;
use wiring::Wiring;

/// The longest topic that MQTT can say, in bytes.
const TOPIC_BYTES_MAX: usize = 65_535;
/// Properties of more bytes than this might make too long a topic, where each byte may become three.
const PROPERTIES_BYTES_SAFE: usize = 16 << 10;
/// A dropped message is told of at once, and then once for this many.
const TELL_DROPPED_EVERY: u64 = 1000;
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
            dialect: Dialect::Hub(Hub { identity: identity.clone(), name: hub.clone() }),
            peer: peer.to_owned(),
            port,
            https_port: options.https_port,
            tls: true,
            roots: options.roots.clone(),
            transport: options.transport,
            login: Some(Login {
                identity,
                credentials: options.credentials.clone(),
                hub,
                token_life: options.token_life,
            }),
        };
        Self::begin(host, target, &options, None).await
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
        let stop = host.stop.clone();
        Ok(Self {
            host: host.clone(),
            shared,
            target,
            stopped: Box::pin(async move { stop.stopped().await }),
            stopping: false,
            keeper: tokio::spawn(keeper.run()),
            _lock: lock,
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

    /// Takes a message into the outbox, for an output of a module or, with `""`, as plain telemetry, and returns once
    /// it is on disk. A bookmark is kept beside it, for [`Client::bookmark`].
    ///
    /// While the disk fails this waits: until the disk takes the message, or the hub has.
    ///
    /// # Errors
    /// When the message is too large, or the outbox is full and told to refuse; or the process ends before the disk
    /// has taken it.
    pub async fn send(
        &mut self,
        output: &str,
        message: Message,
        bookmark: Option<&[u8]>,
    ) -> Result<(), SendError> {
        self.send_all(output, vec![message], bookmark).await
    }

    /// Like [`Client::send`], for many messages with one sync. The bookmark is for all of them.
    ///
    /// # Errors
    /// As `send`; those before the one that was refused are taken.
    pub async fn send_all(
        &mut self,
        output: &str,
        messages: Vec<Message>,
        bookmark: Option<&[u8]>,
    ) -> Result<(), SendError> {
        let taken = messages.iter().try_for_each(|message| self.put(output, message));
        self.shared.outbox.disk_first();
        taken?;
        if let Some(bookmark) = bookmark {
            self.shared.outbox.set_bookmark(bookmark);
        }
        self.shared.keeper.notify_one();
        let next = self.shared.outbox.next();
        poll_fn(|cx| self.poll_taken(cx, next)).await
    }

    /// Takes a message into the outbox without waiting for the disk. It is published at once, and what is accepted
    /// after it is acknowledged to the hub only once it is safe: on disk, or acknowledged itself. The quick way for a
    /// module that forwards: should the process die, the input comes again, and the message is made again.
    ///
    /// # Errors
    /// When the message is too large, or the outbox is full and told to refuse.
    pub fn post(&mut self, output: &str, message: &Message) -> Result<(), SendError> {
        self.put(output, message)?;
        self.shared.keeper.notify_one();
        self.shared.lock().wake_link();
        Ok(())
    }

    fn put(&mut self, output: &str, message: &Message) -> Result<(), SendError> {
        let mut message = message.clone(); // shares the body
        if !output.is_empty() {
            message.system.set(SystemProperty::OutputName, output);
        }
        self.check(&message)?;
        let dropped = self.shared.outbox.put(&message)?;
        let mut state = self.shared.lock();
        state.stats.sent += 1;
        if dropped > 0 {
            let before = state.stats.dropped;
            let dropped = before + dropped;
            state.stats.dropped = dropped;
            if before == 0 || before / TELL_DROPPED_EVERY != dropped / TELL_DROPPED_EVERY {
                warn!(dropped, "the outbox is full; the oldest messages give way");
            }
        }
        Ok(())
    }

    /// What the hub would close the connection over is refused here, before it can come back for ever.
    fn check(&self, message: &Message) -> Result<(), SendError> {
        if !self.target.dialect.has_output() {
            return Err(SendError::NoOutput);
        }
        let properties = message.size().saturating_sub(message.body.len());
        if properties > PROPERTIES_BYTES_SAFE
            && let Some(login) = &self.target.login
        {
            let bytes = telemetry_topic(&login.identity, message).len();
            if bytes > TOPIC_BYTES_MAX {
                return Err(SendError::TooManyProperties { bytes });
            }
        }
        Ok(())
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>, below: u64) -> Poll<Result<(), SendError>> {
        let stopped = self.poll_stopped(cx);
        let mut state = self.shared.lock();
        if self.shared.outbox.taken() >= below {
            state.wake_link(); // without a disk nobody else tells it
            return Poll::Ready(Ok(()));
        }
        if stopped && state.disk_fails {
            return Poll::Ready(Err(SendError::Stopped));
        }
        state.listen(cx.waker());
        state.watched = true;
        Poll::Pending
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

    /// Messages in the outbox: sent, and not yet acknowledged by the hub.
    pub fn held(&self) -> u64 {
        self.shared.outbox.held()
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
