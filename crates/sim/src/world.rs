//! A whole site in one thread and in virtual time, from its first start until all that was sensed has arrived.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use isotherm_host::{Chance, Env};
use isotherm_hub::{READY_FILE, Ready};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::{Watch, millis};
use crate::cloud::Cloud;
use crate::faults::{Blow, Draw, EVENTS, Fault};
use crate::ledger::Ledger;
use crate::life::Name;
use crate::machine::{Machine, Outside, Role};
use crate::network::Net;
use crate::site::{self, STATE, TEMPLATE, THRESHOLD};
use crate::trace::Trace;
use crate::{Outcome, Plan, panics};

/// Before the chips fall silent, so long nothing goes wrong any more.
const CALM: Duration = Duration::from_secs(20);
/// How long what is under way may take to arrive once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(300);
/// What was being written when the chips fell silent is written by then.
const SETTLED: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Sensors of a site, at most.
const SENSORS_MAX: u64 = 3;
/// What an outbox may hold on disk when everything has arrived: a segment of 4 MiB that a long game has filled, and the
/// one begun behind it.
const OUTBOX_REST: u64 = 5 << 20;
/// Connections that the hub may have then: the modules', the watch, and one that asks.
const CONNECTIONS_MAX: u64 = 10;

/// The modules of a new deployment start at some time within so many milliseconds, and find what the others did meanwhile.
const LATE_MILLISECONDS: u64 = 10_000;

struct World {
    outside: Outside,
    chance: Chance,
    site_clock: Arc<AtomicI64>,
    hub: Arc<Machine>,
    filter: Arc<Machine>,
    sensors: Vec<Arc<Machine>>,
    /// The hub that the site's own hub sends on to.
    upstream: Option<Arc<Machine>>,
    thresholds: mpsc::Sender<f64>,
}

/// Who looks at the site from afar.
struct Clouds {
    /// At the site's own hub.
    near: Arc<Cloud>,
    /// Where everything is to arrive: at the hub upstream, or at the site's own.
    far: Arc<Cloud>,
}

/// Plays one seed; to be called inside of a runtime whose time is virtual.
pub(crate) async fn play(seed: u64, plan: &Plan) -> Outcome {
    let began = Instant::now();
    let chance = Chance::seeded(seed);
    let kinds = match &plan.faults {
        Some(kinds) => kinds.clone(),
        None => Fault::drawn(seed, &chance),
    };
    let (thresholds, wanted) = mpsc::channel(64);
    let has_upstream = kinds.iter().any(|kind| kind.needs_upstream());
    let world = World::new(&chance, plan, has_upstream, thresholds);
    let until = Duration::from_secs(plan.minutes * 60);
    let sensors: Vec<Name> = world.sensors.iter().map(|sensor| sensor.name.clone()).collect();
    let draw = Draw {
        chance: &chance.fork(),
        hub: &world.hub.name,
        filter: &world.filter.name,
        sensors: &sensors,
        upstream: world.upstream.as_ref().map(|upstream| &upstream.name),
        until: until.saturating_sub(CALM),
        blows: Vec::new(),
    };
    let blows = draw.all(&kinds);
    let ledger = Arc::clone(&world.outside.ledger);
    let trace = world.outside.trace.clone();
    let strikes = async {
        for (at, blow) in blows {
            sleep_until(began + at).await;
            world.strike(blow).await;
        }
        sleep_until(began + until).await;
    };
    let (clouds, ()) = tokio::join!(biased; world.begin(wanted, until), strikes);
    match clouds {
        Ok(clouds) => world.finish(&clouds).await,
        Err(error) => ledger.books().problem(format!("the site never came up: {error:#}")),
    }
    let mut books = ledger.books();
    panics::take().into_iter().for_each(|panic| books.problem(panic));
    Outcome {
        seed,
        faults: kinds,
        trace: trace.hash(),
        sensed: books.sensed(),
        delivered: books.delivered,
        repeats: books.repeats,
        lost: books.missing().len() as u64,
        problems: books.take_problems(),
        virtual_time: began.elapsed(),
    }
}

impl World {
    fn new(chance: &Chance, plan: &Plan, has_upstream: bool, thresholds: mpsc::Sender<f64>) -> Self {
        let trace = Trace::begin(plan.trace);
        let net = Net::new(chance.fork(), trace.clone());
        let ledger = Arc::new(Ledger::default());
        let site_clock = Arc::new(AtomicI64::new(0));
        let machine =
            |name: &str, role| Machine::new(&Name::from(name), role, Watch::new(&site_clock), chance.fork());
        let hub = machine("hub", Role::Hub);
        let filter = machine("filter", Role::Filter);
        let count = 1 + chance.u64() % SENSORS_MAX;
        let sensors: Vec<Arc<Machine>> =
            (1..=count).map(|number| machine(&format!("sensor{number}"), Role::Sensor)).collect();
        let names: Vec<Name> = sensors.iter().map(|sensor| sensor.name.clone()).collect();
        hub.platter.put(TEMPLATE.as_ref(), site::template(&names, chance).as_bytes());
        for name in &names {
            ledger.books().open(name, chance.fork());
        }
        ledger.books().desired(THRESHOLD);
        let outside = Outside { net, ledger, trace, lives: Arc::default() };
        let chance = chance.fork();
        let upstream = || {
            let name = Name::from(site::UPSTREAM);
            Machine::new(&name, Role::Hub, Watch::new(&site_clock), chance.fork())
        };
        let upstream = has_upstream.then(upstream);
        Self { outside, chance, site_clock, hub, filter, sensors, upstream, thresholds }
    }

    /// Starts the hub upstream, if there is one, then the site's own, then everybody else.
    async fn begin(&self, mut wanted: mpsc::Receiver<f64>, within: Duration) -> anyhow::Result<Clouds> {
        let far = match &self.upstream {
            None => None,
            Some(upstream) => {
                tokio::spawn(Arc::clone(upstream).keep_running(self.outside.clone(), site::upstream_env()));
                let ready = ready(upstream, within).await?;
                let ca = upstream.platter.get(ready.ca.as_ref());
                self.hub.platter.put(site::ca(), ca.as_deref().unwrap_or_default());
                let far = self.cloud("far", upstream, &ready)?;
                let modules = self.sensors.iter().chain([&self.filter]).map(|machine| machine.name.clone());
                far.make_known(&modules.collect::<Vec<_>>()).await;
                far.desire(THRESHOLD).await;
                Some((far, ready))
            }
        };
        let env = site::hub_env(far.as_ref().map(|(_, ready)| ready), &self.chance);
        tokio::spawn(Arc::clone(&self.hub).keep_running(self.outside.clone(), env));
        let ready = ready(&self.hub, within).await?;
        let ca = self.hub.platter.get(ready.ca.as_ref());
        for machine in self.sensors.iter().chain([&self.filter]) {
            machine.platter.put(site::ca(), ca.as_deref().unwrap_or_default());
            let env = site::module_env(&machine.name, &ready, &self.chance);
            let late = Duration::from_millis(self.chance.u64() % LATE_MILLISECONDS);
            let running = Arc::clone(machine).keep_running(self.outside.clone(), env);
            tokio::spawn(async move {
                sleep(late).await;
                running.await;
            });
        }
        let near = self.cloud("cloud", &self.hub, &ready)?;
        let far = far.map_or_else(|| Arc::clone(&near), |(far, _)| far);
        let (reader, writer) = (Arc::clone(&far), Arc::clone(&far));
        tokio::spawn(async move { reader.watch().await });
        tokio::spawn(async move {
            while let Some(celsius) = wanted.recv().await {
                writer.desire(celsius).await;
            }
        });
        Ok(Clouds { near, far })
    }

    /// Somebody who looks at a hub, from a machine of his own.
    fn cloud(&self, name: &str, hub: &Machine, ready: &Ready) -> anyhow::Result<Arc<Cloud>> {
        let own = Machine::new(&Name::from(name), Role::Hub, hub.watch.clone(), self.chance.fork());
        let life = self.outside.new_life(&own.name);
        let host = own.host(&self.outside, &life, Env::default());
        Ok(Arc::new(Cloud::new(host, ready, &hub.name, Arc::clone(&self.outside.ledger))?))
    }

    fn machine(&self, name: &Name) -> &Arc<Machine> {
        self.everybody()
            .find(|machine| machine.name == *name)
            .expect("faults are drawn for those who are there")
    }

    fn everybody(&self) -> impl Iterator<Item = &Arc<Machine>> {
        [&self.hub, &self.filter].into_iter().chain(&self.sensors).chain(&self.upstream)
    }

    async fn strike(&self, blow: Blow) {
        self.outside.trace.say(format_args!("{blow:?}"));
        let net = &self.outside.net;
        match blow {
            Blow::Kill { whom, end, fuse, down } => self.machine(&whom).end(end, fuse, down),
            Blow::Cut { one, other } => net.cut(&one, &other, true, false),
            Blow::Join { one, other, forgets } => net.cut(&one, &other, false, forgets),
            Blow::Quality { one, other, quality } => net.link(&one, &other).set_quality(quality),
            Blow::Fill { whose, full } => self.machine(&whose).platter.fill(full),
            Blow::Slow { whose, slowness } => self.machine(&whose).platter.slow_down(slowness),
            Blow::Jump { whose: Some(whose), by } => self.machine(&whose).watch.jump(by),
            Blow::Jump { whose: None, by } => {
                self.site_clock.fetch_add(millis(by), std::sync::atomic::Ordering::Relaxed);
            }
            Blow::Lie { whose, lies } => self.machine(&whose).platter.lie(lies),
            Blow::Rot { whose, part } => {
                if let Some(around) = self.machine(&whose).platter.rot(part, &self.chance) {
                    let mut books = self.outside.ledger.books();
                    if part == EVENTS { books.damaged_upstream(&around) } else { books.damaged(&around) }
                }
            }
            Blow::Threshold(celsius) => {
                let _ = self.thresholds.send(celsius).await; // the receiver lives as long as the world
            }
        }
    }

    /// Lets everything arrive, and looks whether it has.
    async fn finish(&self, Clouds { near, far }: &Clouds) {
        let ledger = &self.outside.ledger;
        ledger.books().hush();
        self.outside.trace.say(format_args!("the chips fall silent"));
        let calm = Instant::now();
        let mut twin = Err(std::io::Error::other("nobody asked"));
        while calm.elapsed() < PATIENCE {
            sleep(LOOK).await;
            if calm.elapsed() >= SETTLED && self.is_up() && ledger.books().missing().is_empty() {
                twin = far.thresholds().await;
                let converged = twin.as_ref().is_ok_and(|(reported, desired)| reported == desired);
                if converged && self.is_at_rest(near).await.is_ok() {
                    break;
                }
            }
        }
        let missing = ledger.books().missing();
        missing.into_iter().for_each(|what| ledger.books().problem(format!("{what} has not arrived")));
        match twin {
            Ok((reported, desired)) if reported == desired => {}
            Ok((reported, desired)) => {
                let said = format!("the filter's twin desires {desired:?}, and {reported:?} is reported");
                ledger.books().problem(said);
            }
            Err(error) => ledger.books().problem(format!("the filter's twin cannot be read: {error}")),
        }
        if let Err(restless) = self.is_at_rest(near).await {
            ledger.books().problem(restless);
        }
        if let Err(error) = far.read_again().await {
            ledger
                .books()
                .problem(format!("the event log does not show again all that it has shown: {error}"));
        }
        ledger.books().check();
    }

    /// Whether everybody runs: one who is still away may bring more when it comes back.
    fn is_up(&self) -> bool {
        self.everybody().all(|machine| machine.is_up())
    }

    /// Whether nothing is held back anywhere, and nothing is left over.
    async fn is_at_rest(&self, cloud: &Cloud) -> Result<(), String> {
        let status =
            cloud.status().await.map_err(|error| format!("the hub does not tell its status: {error}"))?;
        if status["queued"] != json!(0) {
            return Err(format!("the hub still holds {} messages", status["queued"]));
        }
        if status["connections"].as_u64().is_none_or(|open| open > CONNECTIONS_MAX) {
            return Err(format!("the hub has {} connections open", status["connections"]));
        }
        for machine in self.sensors.iter().chain([&self.filter]) {
            let bytes = machine.platter.bytes_in("/outbox/");
            if bytes > OUTBOX_REST {
                return Err(format!("{}'s empty outbox takes {bytes} bytes", machine.name));
            }
        }
        Ok(())
    }
}

/// What a hub says once it is ready for the first time.
async fn ready(hub: &Machine, within: Duration) -> anyhow::Result<Ready> {
    let began = Instant::now();
    loop {
        let bytes = hub.platter.get(&std::path::Path::new(STATE).join(READY_FILE));
        if let Some(ready) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(ready);
        }
        anyhow::ensure!(began.elapsed() < within + PATIENCE, "{} was never ready", hub.name);
        sleep(LOOK).await;
    }
}
