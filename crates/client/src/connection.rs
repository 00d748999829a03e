//! Dials, lets the connection live as long as it can, and dials again: for as long as the client exists.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use isotherm_host::{BoxStream, Ended, Host, drive, tls::ClientTls, websocket};
use isotherm_protocol::{
    Backoff,
    mqtt::{ClientSession, ConnectCode},
};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::{
    Credentials, Transport,
    credentials::{self, Password},
    dialect::{
        Dialect,
        amqp::{self, Trunk},
        mqtt::Link,
    },
    shared::Shared,
};

/// How long one attempt may take, from the password to the open stream.
const DIAL_WITHIN: Duration = Duration::from_secs(20);
/// The longest first wait after a connection is lost, and the longest of all.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A connection that stood this long was a good one: the next wait begins at the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// Where hubs have their WebSocket.
const WEBSOCKET_PATH: &str = "/$iothub/websocket";
/// Where Event Hubs and Service Bus have it.
const WEBSOCKET_PATH_OF_ENTITIES: &str = "/$servicebus/websocket";

/// Where to connect, as whom, and with what.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) dialect: Dialect,
    /// Whom to dial.
    pub(crate) peer: String,
    /// Of MQTT.
    pub(crate) port: u16,
    pub(crate) amqps_port: u16,
    pub(crate) https_port: u16,
    /// A plain broker may be reached without.
    pub(crate) tls: bool,
    pub(crate) roots: Option<String>,
    pub(crate) transport: Transport,
    /// The connection over AMQP.
    pub(crate) trunk: Trunk,
    /// Messages on their way at once.
    pub(crate) window: usize,
    /// Several of them as one delivery, where AMQP and the hub allow it.
    pub(crate) batches: bool,
    /// `None` for a plain broker, whose password is part of its dialect.
    pub(crate) login: Option<Login>,
}

/// What proves that we may.
#[derive(Debug)]
pub(crate) struct Login {
    /// What tokens are made out for.
    pub(crate) resource: String,
    pub(crate) credentials: Credentials,
    pub(crate) token_life: Duration,
}

impl Target {
    pub(crate) async fn password(&self, host: &Host) -> io::Result<Password> {
        match &self.login {
            None => Ok(Password::default()),
            Some(login) => {
                let Login { resource, credentials, token_life } = login;
                let who = match &self.dialect {
                    Dialect::Hub(hub) => Some(&hub.identity),
                    _ => None,
                };
                credentials::password(host, credentials, resource, who, *token_life).await
            }
        }
    }

    /// What a token shown over AMQP is said to be for.
    pub(crate) fn audience(&self) -> String {
        self.login.as_ref().map(|login| login.resource.clone()).unwrap_or_default()
    }

    fn port(&self, by_websocket: bool) -> u16 {
        match (by_websocket, self.transport.is_amqp()) {
            (true, _) => self.https_port,
            (false, true) => self.amqps_port,
            (false, false) => self.port,
        }
    }

    pub(crate) async fn trust(&self, host: &Host) -> io::Result<ClientTls> {
        let credentials = self.login.as_ref().map(|login| &login.credentials);
        let identity = match credentials {
            Some(Credentials::Certificate(identity)) => Some(identity),
            _ => None,
        };
        let roots = match (&self.roots, credentials) {
            (None, Some(Credentials::Workload(workload))) => {
                Some(credentials::trust_bundle(host, workload).await?)
            }
            (roots, _) => roots.clone(),
        };
        ClientTls::new(host, roots.as_deref(), identity).map_err(io::Error::other)
    }
}

/// How an attempt ended.
struct Over {
    reason: String,
    refused: Option<ConnectCode>,
    /// The end was our own wish.
    planned: bool,
    /// Since when it stood.
    stood: Option<Instant>,
}

impl Over {
    fn failed(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), refused: None, planned: false, stood: None }
    }

    /// Whether it is this identity that is not let in; nothing else makes it better than that it is made known there.
    fn is_for_us(&self) -> bool {
        matches!(self.refused, Some(ConnectCode::NotAuthorized | ConnectCode::BadUserNameOrPassword))
    }
}

impl From<amqp::Over> for Over {
    fn from(over: amqp::Over) -> Self {
        let refused = over.refused.then_some(ConnectCode::NotAuthorized);
        Self { reason: over.reason, refused, planned: over.planned, stood: None }
    }
}

/// How far an attempt has come.
enum Reached {
    /// A stream, on which everything is still to be said.
    Stream(BoxStream, Password),
    /// All links of AMQP.
    Links(Box<amqp::Open>),
}

/// The connection's task.
pub(crate) struct Connection {
    host: Host,
    shared: Arc<Shared>,
    target: Arc<Target>,
    /// Made once: reading a system's roots is not cheap.
    tls: Option<ClientTls>,
    /// With either way: by which the next dial goes.
    by_websocket: bool,
    /// That it does not work has been told.
    told: bool,
}

impl Connection {
    pub(crate) fn new(host: Host, shared: Arc<Shared>, target: Arc<Target>) -> Self {
        let by_websocket = target.transport.is_websocket();
        Self { host, shared, target, tls: None, by_websocket, told: false }
    }

    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        while !self.shared.lock().closing {
            let over = self.attempt().await;
            let lost = (!over.planned).then(|| over.reason.clone());
            self.shared.lock().disconnected(lost);
            if over.is_for_us() {
                self.shared.lock().refused(&over.reason);
            }
            if over.planned {
                continue;
            }
            if over.stood.is_some_and(|since| self.host.now() - since >= GOOD_AFTER) {
                backoff.reset();
            }
            let wait = backoff.next(self.host.chance.f64());
            self.tell(&over, wait);
            tokio::select! {
                biased;
                () = self.shared.closing.notified() => return,
                () = sleep(wait) => {}
            }
        }
    }

    async fn attempt(&mut self) -> Over {
        let shared = self.shared.clone();
        let dialled = tokio::select! {
            biased;
            () = shared.closing.notified() => return Over { planned: true, ..Over::failed("the client is closed") },
            dialled = timeout(DIAL_WITHIN, self.reach()) => dialled,
        };
        let reached = dialled.unwrap_or_else(|_| {
            Err(Over::failed(format_args!("no connection within {} s", DIAL_WITHIN.as_secs())))
        });
        match reached {
            Ok(Reached::Stream(stream, password)) => self.speak(stream, password).await,
            Ok(Reached::Links(open)) => {
                let begun = self.host.now();
                if std::mem::take(&mut self.told) {
                    info!(peer = self.target.peer, "connected again");
                }
                let over = amqp::speak(&self.host, &self.shared, &self.target, open).await;
                Over { stood: Some(begun), ..over.into() }
            }
            Err(over) => {
                self.by_websocket ^= self.target.transport.is_either();
                over
            }
        }
    }

    async fn reach(&mut self) -> Result<Reached, Over> {
        let target = self.target.clone();
        let password = target.password(&self.host).await.map_err(Over::failed)?;
        if !target.transport.is_amqp() {
            let stream = self.dial().await.map_err(Over::failed)?;
            return Ok(Reached::Stream(stream, password));
        }
        let host = self.host.clone();
        Ok(Reached::Links(amqp::open(&host, &target, password, self.dial()).await?))
    }

    async fn dial(&mut self) -> io::Result<BoxStream> {
        let (host, target) = (&self.host, self.target.clone());
        let port = target.port(self.by_websocket);
        if !target.tls {
            return host.network.dial(&target.peer, port).await;
        }
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => self.tls.insert(target.trust(host).await?).clone(),
        };
        let stream = self.host.network.dial(&target.peer, port).await?;
        let mut stream = tls.connect(stream, &target.peer).await?;
        if self.by_websocket {
            let (path, subprotocol) = match (&target.dialect, target.transport.is_amqp()) {
                (Dialect::Entity(_), _) => (WEBSOCKET_PATH_OF_ENTITIES, "AMQPWSB10"),
                (_, true) => (WEBSOCKET_PATH, "AMQPWSB10"),
                (_, false) => (WEBSOCKET_PATH, "mqtt"),
            };
            stream = websocket::connect(stream, &target.peer, path, subprotocol).await?;
        }
        Ok(stream)
    }

    async fn speak(&mut self, stream: BoxStream, password: Password) -> Over {
        let begun = self.host.now();
        let window = self.target.window;
        let mut link = Box::new(Link::new(&self.shared, &self.target.dialect, password.renew_after, window));
        let options = self.target.dialect.connect(password.token, window, link.is_new());
        let mut session = Box::new(ClientSession::new(begun, options));
        let ended = drive(stream, session.as_mut(), link.as_mut()).await;
        if link.open && self.told {
            info!(peer = self.target.peer, "connected again");
        }
        self.told &= !link.open;
        let reason = link.reason.take().unwrap_or_else(|| match ended {
            Ended::PeerClosed => "the hub closed the connection".to_owned(),
            Ended::Finished => "the connection was ended".to_owned(),
            Ended::Malformed(malformed) => {
                format!("the hub speaks no MQTT that is understood here: {malformed}")
            }
            Ended::Io(error) => error.to_string(),
            Ended::WriteStalled => "the hub takes nothing any more".to_owned(),
        });
        Over { reason, refused: link.refused, planned: link.planned, stood: link.open.then_some(begun) }
    }

    /// Tells the first of several failures aloud, the others only to who asks for them.
    fn tell(&mut self, over: &Over, wait: Duration) {
        let peer = &self.target.peer;
        let first = !std::mem::replace(&mut self.told, true);
        match over.refused {
            Some(code @ (ConnectCode::NotAuthorized | ConnectCode::BadUserNameOrPassword)) if first => {
                error!(
                    peer,
                    ?code,
                    reason = over.reason,
                    "the hub does not let us in: unknown or disabled there, a wrong key, or this machine's clock ({}) is wrong; \
                 it is tried again",
                    self.host.wall()
                )
            }
            Some(code) if first => warn!(peer, ?code, "the hub does not let us in now; it is tried again"),
            None if first => warn!(peer, reason = over.reason, "no connection to the hub; it is tried again"),
            refused => debug!(peer, ?refused, reason = over.reason, ?wait, "still no connection"),
        }
    }
}
