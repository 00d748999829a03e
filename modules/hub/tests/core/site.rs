//! A hub's mind on a disk in memory, with two clocks that stand still until they are moved.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use isotherm_host::{Chance, Disk, MemoryDisk, RealDisk};
use isotherm_hub::core::{Attached, Core, Counter, Limits, Now, Options, Outcome, Outgoing, SessionId, Wake};
use isotherm_hub::store::{Receipt, Round, Settings, Store, Ticket};
use isotherm_iothub::{Feed, Identity, Message, SystemProperty};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) const HOST: &str = "localhub.azure-devices.net";

/// The hub under test.
pub(crate) struct Site {
    pub(crate) core: Core,
    pub(crate) store: Store,
    pub(crate) disk: MemoryDisk,
    pub(crate) now: Now,
    settings: Settings,
    limits: Limits,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default(), Limits::default())
    }

    pub(crate) fn with(settings: Settings, limits: Limits) -> Self {
        let wall = "2026-01-02T03:04:05Z".parse().unwrap();
        let now = Now { instant: the_beginning(), wall };
        Self::on(MemoryDisk::new(), settings, limits, now)
    }

    /// The same on a real disk, in a folder of its own.
    pub(crate) fn on_real_disk(folder: &str) -> (Core, Store, Now) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let wall = "2026-01-02T03:04:05Z".parse().unwrap();
        let now = Now { instant: the_beginning(), wall };
        let (store, _) = Store::open(Arc::new(RealDisk), &dir, Settings::default()).unwrap();
        let core = Core::open(Options::new(HOST, "edge"), store.clone(), Chance::seeded(7), now).unwrap();
        (core, store, now)
    }

    fn on(disk: MemoryDisk, settings: Settings, limits: Limits, now: Now) -> Self {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, _) = Store::open(shared, Path::new("/state"), settings.clone()).unwrap();
        let fresh_first = vec!["fresh".to_owned()]; // whatever route a test gives this name
        let options = Options { limits: limits.clone(), fresh_first, ..Options::new(HOST, "edge") };
        let core = Core::open(options, store.clone(), Chance::seeded(7), now).unwrap();
        Self { core, store, disk, now, settings, limits }
    }

    /// Edge with `sensor` and `filter`, and a route between them.
    pub(crate) fn pipeline() -> Self {
        let mut site = Self::new();
        site.deploy(json!({
            "readings": "FROM /messages/modules/sensor/outputs/* INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")",
            "alerts": "FROM /messages/modules/filter/outputs/alert INTO $upstream",
        }));
        site
    }

    /// Applies a deployment of `sensor` and `filter` with these routes.
    pub(crate) fn deploy(&mut self, routes: Value) {
        let content = deployment(routes);
        self.core.apply_configuration("edge", &content, self.now).unwrap();
        self.commit();
    }

    /// The power goes, and comes back: what was not synced is gone.
    pub(crate) fn power_cut(self) -> Self {
        let Self { core, store, disk, now, settings, limits } = self;
        drop((core, store));
        Self::on(disk, settings, limits, now)
    }

    pub(crate) fn commit(&self) -> Ticket {
        match self.store.commit_round() {
            Round::Committed(ticket) => ticket,
            Round::Idle => self.store.durable(),
            Round::Failed(error) => panic!("the disk refused: {error}"),
        }
    }

    pub(crate) fn is_durable(&self, receipt: impl Into<Receipt>) -> bool {
        self.store.is_safe(&receipt.into())
    }

    /// Moves both clocks, and lets happen what is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall = self.now.wall.checked_add(time).unwrap();
        self.core.handle_timeout(self.now);
    }

    pub(crate) fn device(&mut self, name: &str) -> Identity {
        self.core.put_device(name, &json!({"deviceId": name}), None, self.now).unwrap();
        Identity::device(name).unwrap()
    }

    pub(crate) fn attach(&mut self, who: &str) -> SessionId {
        self.attach_as(who, true).session
    }

    pub(crate) fn attach_as(&mut self, who: &str, clean: bool) -> Attached {
        self.attach_waking(who, clean, Arc::new(|| {}))
    }

    pub(crate) fn attach_waking(&mut self, who: &str, clean: bool, wake: Wake) -> Attached {
        self.core.attach(&identity(who), clean, "mqtt", None, wake, self.now).unwrap()
    }

    /// Attaches and turns a feed on.
    pub(crate) fn attach_to(&mut self, who: &str, feed: Feed) -> SessionId {
        let session = self.attach(who);
        self.core.subscribe(session, feed, 1, self.now);
        session
    }

    /// Publishes on output `out` as whoever the session belongs to.
    pub(crate) fn publish(&mut self, session: SessionId, body: &str) -> Receipt {
        self.publish_message(session, message(body))
    }

    pub(crate) fn publish_message(&mut self, session: SessionId, message: Message) -> Receipt {
        let who = self.core.who(session).unwrap();
        self.core.publish(session, &who, message, self.now).unwrap()
    }

    pub(crate) fn poll(&mut self, session: SessionId) -> Option<Outgoing> {
        self.core.poll(session, 1, self.now)
    }

    /// Everything that comes out for a session at once: the bodies, and the deliveries.
    pub(crate) fn drain(&mut self, session: SessionId) -> (Vec<String>, Vec<u64>) {
        let mut all = (Vec::new(), Vec::new());
        while let Some(outgoing) = self.core.poll(session, usize::MAX, self.now) {
            let (body, delivery) = delivery(outgoing);
            all.0.push(body);
            all.1.push(delivery);
        }
        all
    }

    pub(crate) fn bodies(&mut self, session: SessionId) -> Vec<String> {
        self.drain(session).0
    }

    pub(crate) fn accept(&mut self, session: SessionId, delivery: u64) {
        self.core.settle(session, delivery, Outcome::Accepted, self.now);
    }

    pub(crate) fn counted(&self, counter: Counter) -> u64 {
        self.core.counters().get(counter)
    }

    /// The bodies of all durable events, partition by partition.
    pub(crate) fn upstream(&self) -> Vec<String> {
        let events = (0..Core::PARTITIONS).flat_map(|it| self.core.events(it, 0, 10_000).unwrap());
        events.map(|event| text(&event.message)).collect()
    }
}

/// Some moment; the tests only move away from it.
fn the_beginning() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) fn deployment(routes: Value) -> Value {
    json!({"modulesContent": {
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": routes}},
        "sensor": {"properties.desired": {"interval": 5}},
        "filter": {"properties.desired": {"TemperatureThreshold": 20}},
    }})
}

pub(crate) fn identity(name: &str) -> Identity {
    name.parse().unwrap()
}

pub(crate) fn message(body: &str) -> Message {
    Message::new(body.to_owned()).with_system(SystemProperty::OutputName, "out")
}

pub(crate) fn text(message: &Message) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

/// The body and the number of something delivered.
pub(crate) fn delivery(outgoing: Outgoing) -> (String, u64) {
    match outgoing {
        Outgoing::Input { delivery, message, .. } => (text(&message), delivery),
        Outgoing::CloudToDevice { delivery, message, .. } => (text(&message), delivery),
        other => panic!("expected a message, found {other:?}"),
    }
}

/// A wake that counts.
pub(crate) fn counting() -> (Wake, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let wake = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    (Arc::new(wake), count)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn in_seconds(now: Now, seconds: i64) -> Timestamp {
    now.wall.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap()
}
