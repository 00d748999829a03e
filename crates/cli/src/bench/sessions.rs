//! A thousand devices with a session each: how long until they are in, and what an idle one costs; the hub's own start
//! and rest.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use isotherm_host::{BoxStream, Flow, Host, Pilot, drive};
use isotherm_iothub::{ConnectionString, Identity, Token, UserName};
use isotherm_protocol::amqp::Role;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::child::Folder;
use super::peers::Peers;
use super::relay::{Hub, deployment};
use super::report::Report;
use super::talk::{Heard, Mqtt, Talk};
use super::talk_amqp::Amqp;
use crate::service::{Request, Service};

/// Devices, each with one connection.
const DEVICES: usize = 1_000;
/// Devices that dial in the same moment.
const AT_ONCE: usize = 500;
/// Devices made in one request.
const MADE_AT_ONCE: usize = 100;
/// How long everybody has to come to rest before memory is looked at.
const REST: Duration = Duration::from_secs(2);
/// How long one may wait to be let in.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than a run.
const TOKEN_SECONDS: i64 = 3_600;

/// One round.
pub(super) async fn round(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    for kind in [Kind::Mqtt, Kind::Amqp] {
        let begun = host.now();
        let nothing = deployment(&[], serde_json::Map::new());
        let hub = Hub::start(host, peers, folder, &nothing, &["--ephemeral"]).await?;
        report.take("hub_ready", "isotherm", "ms", (host.now() - begun).as_secs_f64() * 1_000.0);
        tokio::time::sleep(REST).await;
        report.take("hub_idle_memory", "isotherm", "bytes", hub.child.memory() as f64);
        make_devices(host, &hub).await?;
        tokio::time::sleep(REST).await;
        let before = hub.child.own_memory();
        let name = kind.name();
        let mut crowd = Crowd::default();
        let begun = host.now();
        let turned_away = crowd.enter(host, &hub, kind, 0..AT_ONCE).await;
        report.take(
            &format!("{name}_500_at_once"),
            "isotherm",
            "ms",
            (host.now() - begun).as_secs_f64() * 1_000.0,
        );
        let turned_away = turned_away + crowd.enter(host, &hub, kind, AT_ONCE..DEVICES).await;
        if turned_away > 0 {
            report.trouble(format!("{name}: {turned_away} of {DEVICES} were not let in within {PATIENCE:?}"));
        }
        tokio::time::sleep(REST).await;
        let each = hub.child.own_memory().saturating_sub(before) as f64 / DEVICES as f64;
        report.take(&format!("{name}_memory_per_session"), "isotherm", "bytes", each);
        if crowd.left() < DEVICES {
            report.trouble(format!("{name}: only {} of {DEVICES} sessions stayed", crowd.left()));
        }
    }
    Ok(())
}

async fn make_devices(host: &Host, hub: &Hub) -> io::Result<()> {
    let trouble = |failure| io::Error::other(format!("{failure:?}"));
    let service = Service::of_ready(host.clone(), &hub.ready).map_err(trouble)?;
    for first in (0..DEVICES).step_by(MADE_AT_ONCE) {
        let entries =
            (first..first + MADE_AT_ONCE).map(|it| json!({"id": format!("d{it}"), "importMode": "create"}));
        let made = service.json(Request::post("/devices", Value::Array(entries.collect()))).await;
        let made = made.map_err(trouble)?;
        if made["isSuccessful"] != true {
            return Err(io::Error::other(format!("the devices were not made: {made}")));
        }
    }
    Ok(())
}

/// How they come in.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Mqtt,
    Amqp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Mqtt => "mqtt_tls",
            Kind::Amqp => "amqp_tls",
        }
    }
}

/// Everybody who came in.
#[derive(Default)]
struct Crowd(JoinSet<()>);

impl Crowd {
    /// Has them all dial at once; says how many were not let in in time.
    async fn enter(&mut self, host: &Host, hub: &Hub, kind: Kind, which: std::ops::Range<usize>) -> usize {
        let mut entering = JoinSet::new();
        for number in which {
            let dialled = Dialled::of(host, hub, kind, number);
            entering.spawn(async move { tokio::time::timeout(PATIENCE, dialled.enter()).await });
        }
        let mut turned_away = 0;
        while let Some(entered) = entering.join_next().await {
            match entered {
                Ok(Ok(Ok(stays))) => drop(self.0.spawn(stays)),
                _ => turned_away += 1,
            }
        }
        turned_away
    }

    fn left(&mut self) -> usize {
        while self.0.try_join_next().is_some() {}
        self.0.len()
    }
}

/// A device on its way in.
struct Dialled {
    host: Host,
    trust: isotherm_host::tls::ClientTls,
    port: u16,
    kind: Kind,
    hub: String,
    who: Identity,
    token: String,
}

impl Dialled {
    fn of(host: &Host, hub: &Hub, kind: Kind, number: usize) -> Self {
        let owner: ConnectionString = hub.ready.policies["iothubowner"].parse().expect("one of its own");
        let key = owner.key.expect("a policy has a key");
        let until = host.wall().as_second() + TOKEN_SECONDS;
        let ports = &hub.ready.ports;
        Self {
            host: host.clone(),
            trust: hub.trust.clone(),
            port: match kind {
                Kind::Mqtt => ports.mqtts,
                Kind::Amqp => ports.amqps.expect("it is open"),
            },
            kind,
            hub: hub.ready.host_name.clone(),
            who: Identity::device(&format!("d{number}")).expect("a short name"),
            token: Token::mint(&key, &hub.ready.host_name, until, Some("iothubowner")),
        }
    }

    /// Says who it is and waits to be let in; what comes back keeps the connection for as long as it runs.
    async fn enter(self) -> io::Result<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
        let stream = super::filter::dial_tls(&self.host, self.port, &self.trust).await?;
        let path = format!("/{}", self.who.path());
        Ok(match self.kind {
            Kind::Mqtt => {
                let user = UserName::new(&self.hub, self.who.clone(), "2021-04-12").to_string();
                let session = Mqtt::new(self.who.as_str(), Some((&user, &self.token)));
                let filter = format!("devices/{}/messages/devicebound/#", self.who);
                stay(stream, session, Some(filter)).await?
            }
            Kind::Amqp => {
                let links = vec![
                    (Role::Sender, "$cbs".to_owned()),
                    (Role::Receiver, "$cbs".to_owned()),
                    (Role::Receiver, format!("{path}/messages/devicebound")),
                ];
                let name = self.hub.split('.').next().unwrap_or_default();
                let user = format!("iothubowner@sas.root.{name}");
                let session =
                    Amqp::new(&self.hub, (&user, &self.token), &format!("{path}/messages/events"), links);
                stay(stream, session, None).await?
            }
        })
    }
}

async fn stay<T: Talk + Send + 'static>(
    stream: BoxStream,
    mut session: T,
    filter: Option<String>,
) -> io::Result<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
    let entered = Arc::new(Notify::new());
    let told = Arc::clone(&entered);
    let mut staying: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        let mut guest = Guest { entered: told, filter };
        drive(stream, &mut session, &mut guest).await;
    });
    tokio::select! {
        biased;
        () = entered.notified() => Ok(staying),
        () = &mut staying => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}

/// Is let in, and says nothing more.
struct Guest {
    entered: Arc<Notify>,
    /// What it subscribes to first.
    filter: Option<String>,
}

impl<T: Talk> Pilot<T> for Guest {
    fn on_event(&mut self, _: Instant, event: Heard, session: &mut T) -> Flow {
        match (event, self.filter.take()) {
            (Heard::Open, Some(filter)) => session.subscribe(&filter),
            (Heard::Open | Heard::Subscribed, None) => self.entered.notify_one(),
            (Heard::Refused(why), _) => {
                tracing::warn!(why, "not let in");
                return Flow::End;
            }
            _ => {}
        }
        Flow::Go
    }

    fn poll_wake(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_wake(&mut self, _: Instant, _: &mut T) -> Flow {
        Flow::Go
    }
}
