//! Dials, lets the connection live as long as it can, and dials again: for as long as the client exists.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use isotherm_host::{BoxStream, Ended, Host, drive, tls::ClientTls, websocket};
use isotherm_iothub::Identity;
use isotherm_protocol::{
    Backoff,
    mqtt::{ClientSession, ConnectCode},
};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::{
    Credentials, Transport,
    credentials::{self, Password},
    dialect::{Dialect, mqtt::Link},
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

/// Where to connect, as whom, and with what.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) dialect: Dialect,
    /// Whom to dial.
    pub(crate) peer: String,
    pub(crate) port: u16,
    pub(crate) https_port: u16,
    /// A plain broker may be reached without.
    pub(crate) tls: bool,
    pub(crate) roots: Option<String>,
    pub(crate) transport: Transport,
    /// `None` for a plain broker, whose password is part of its dialect.
    pub(crate) login: Option<Login>,
}

/// Who proves to be whom, at which hub.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) identity: Identity,
    pub(crate) credentials: Credentials,
    /// The hub's name, without a port.
    pub(crate) hub: String,
    pub(crate) token_life: Duration,
}

impl Target {
    pub(crate) async fn password(&self, host: &Host) -> io::Result<Password> {
        match &self.login {
            None => Ok(Password::default()),
            Some(login) => {
                let Login { identity, credentials, hub, token_life } = login;
                credentials::password(host, credentials, identity, hub, *token_life).await
            }
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
}

/// The connection's task.
pub(crate) struct Connection {
    host: Host,
    shared: Arc<Shared>,
    target: Arc<Target>,
    /// Made once: reading a system's roots is not cheap.
    tls: Option<ClientTls>,
    /// With [`Transport::MqttEither`]: by which the next dial goes.
    by_websocket: bool,
    /// That it does not work has been told.
    told: bool,
}

impl Connection {
    pub(crate) fn new(host: Host, shared: Arc<Shared>, target: Arc<Target>) -> Self {
        let by_websocket = target.transport == Transport::MqttWebSocket;
        Self { host, shared, target, tls: None, by_websocket, told: false }
    }

    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        while !self.shared.lock().closing {
            let over = self.attempt().await;
            let lost = (!over.planned).then(|| over.reason.clone());
            self.shared.lock().disconnected(lost);
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
            dialled = timeout(DIAL_WITHIN, self.dial()) => dialled,
        };
        let (stream, password) = match dialled {
            Ok(Ok(dialled)) => dialled,
            Ok(Err(error)) => {
                self.by_websocket ^= self.target.transport == Transport::MqttEither;
                return Over::failed(error);
            }
            Err(_) => return Over::failed(format_args!("no connection within {} s", DIAL_WITHIN.as_secs())),
        };
        self.speak(stream, password).await
    }

    async fn dial(&mut self) -> io::Result<(BoxStream, Password)> {
        let (host, target) = (&self.host, self.target.clone());
        let password = target.password(host).await?;
        let port = if self.by_websocket { target.https_port } else { target.port };
        if !target.tls {
            return Ok((host.network.dial(&target.peer, port).await?, password));
        }
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => self.tls.insert(target.trust(host).await?).clone(),
        };
        let stream = self.host.network.dial(&target.peer, port).await?;
        let mut stream = tls.connect(stream, &target.peer).await?;
        if self.by_websocket {
            stream = websocket::connect(stream, &target.peer, WEBSOCKET_PATH, "mqtt").await?;
        }
        Ok((stream, password))
    }

    async fn speak(&mut self, stream: BoxStream, password: Password) -> Over {
        let begun = self.host.now();
        let options = self.target.dialect.connect(password.token);
        let mut session = Box::new(ClientSession::new(begun, options));
        let mut link = Box::new(Link::new(&self.shared, &self.target.dialect, password.renew_after));
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
