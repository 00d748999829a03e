//! The hub's mind, as a value: who exists, who is connected, what goes where, and what each twin says.
//!
//! No socket, no clock and no `tokio` in here: the time comes in as [`Now`], what is to be sent comes out of
//! [`Core::poll`], and whatever must survive a power cut goes through the [`Store`], which answers with a
//! [`Ticket`](crate::store::Ticket), or for a message with a [`Receipt`](crate::store::Receipt). Dialects keep one `Core` behind one `std::sync::Mutex`, lock it for one call, and never hold it
//! across an `.await`.
//!
//! How a dialect uses it: `authenticate`, `attach`, `subscribe`; for every message of the peer `publish`, and the
//! acknowledgement once `Store::is_safe` says so of its receipt; whenever woken, `poll` until `None`, and `settle`
//! each delivery when the peer has acknowledged it; at the end `detach`.

mod access;
mod bulk;
mod chain;
mod configuration;
mod counters;
mod deployments;
mod devicebound;
mod documents;
mod endings;
mod error;
mod events;
mod feedback;
mod identities;
mod inject;
mod mail;
mod mailbox;
mod methods;
mod people;
pub mod query;
mod queue;
mod queues;
mod record;
mod registry;
mod rollout;
mod router;
mod search;
mod seats;
mod sessions;
mod taps;
mod timers;
mod twins;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use isotherm_host::Chance;
use isotherm_iothub::{Identity, Key, Refused, Twin};
use jiff::Timestamp;

pub use access::{Authenticated, Authorized, Credential, Right, Unauthorized};
pub use counters::{Counter, Counters};
pub use deployments::test_queries;
pub use devicebound::Locked;
pub use error::{ApiError, ErrorCode};
pub use events::{Event, EventSource, Partition, Position};
pub use feedback::{Feedback, FeedbackBatch};
pub use methods::Answer;
pub use queues::QueueGauge;
pub use registry::Statistics;
pub use search::Page;
pub use sessions::{Attached, Outcome, Outgoing, Refusal, SessionId};
pub use taps::{Glimpse, Seen, Subject, Tap, What};
pub use twins::Change;

use crate::store::{QueueHandle, Store, StoreError, Table};
use deployments::Deployments;
use documents::Wishes;
use feedback::Shelf;
use methods::Calls;
use people::{People, Person, Record};
use queues::Queues;
use record::Scratch;
use router::Router;
use seats::{Feeds, Sessions};
use taps::TapRing;
use timers::{SWEEP, Timer, Timers};

/// Called when there is something to do. Must be cheap and must never call back into the core: it is called under its lock.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Both clocks at one moment, as the host reads them: `Now { instant: host.now(), wall: host.wall() }`.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The monotonic clock: time-outs.
    pub instant: Instant,
    /// The wall clock: tokens, time to live, what is written into messages.
    pub wall: Timestamp,
}

/// What a hub is, apart from what is in its store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The IoT Hub's name, as in tokens and user names.
    pub host_name: String,
    /// Other names it goes by, the gateway's for one; tokens may be made out for any of them. Case does not matter.
    pub other_names: Vec<String>,
    /// The edge device whose modules live here; created with `$edgeAgent` and `$edgeHub` at first start.
    pub device_id: String,
    /// Keys of shared access policies; those of the five standard ones not named here are drawn once and kept.
    pub policies: Vec<(String, Key)>,
    /// Whether a device's own token also opens its modules' sessions. IoT Edge does not by default.
    pub device_token_for_modules: bool,
    /// Names of routes on which fresh data goes first after an outage, into modules and upstream; `*` is all of them.
    pub fresh_first: Vec<String>,
    /// The generation of the edge device's modules when they are made; none: drawn from the time.
    pub module_generation: Option<u64>,
    /// Limits and waiting times.
    pub limits: Limits,
}

impl Options {
    /// A hub of that name for that edge device, all else as by default.
    pub fn new(host_name: &str, device_id: &str) -> Self {
        Self {
            host_name: host_name.to_owned(),
            other_names: Vec::new(),
            device_id: device_id.to_owned(),
            policies: Vec::new(),
            device_token_for_modules: false,
            fresh_first: Vec::new(),
            module_generation: None,
            limits: Limits::default(),
        }
    }
}

/// Limits and waiting times of the core; what is kept on disk is limited by [`crate::store::Settings`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions attached at once; one more is refused with [`Refusal::Busy`].
    pub sessions_max: usize,
    /// Identities in the registry, modules included; one more is refused with 413002.
    pub identities_max: usize,
    /// Messages of one queue kept in memory; the rest waits in its journal.
    pub window_messages: usize,
    /// Bytes of one queue kept in memory; the rest waits in its journal.
    pub window_bytes: usize,
    /// How long a module may take to accept a message before it is sent again (`MessageAckTimeoutSecs`).
    pub ack_timeout: Duration,
    /// How long a device may keep a cloud-to-device message before it goes back to its queue.
    pub lock_timeout: Duration,
    /// How often a cloud-to-device message is tried before it is given up (`maxDeliveryCount`, 1 to 100).
    pub delivery_count_max: u32,
    /// Time to live of a cloud-to-device message that does not say its own.
    pub devicebound_ttl: Duration,
    /// Bytes of cloud-to-device messages waiting, over all devices; past it senders get 403002.
    pub devicebound_bytes_max: usize,
    /// Feedback records kept for the service; past it the oldest give way and are counted.
    pub feedback_max: usize,
    /// Method calls waiting for one identity; one more is refused with 429001.
    pub calls_max: usize,
    /// Twin changes and calls waiting for one session to read them; past it the session is ended as too slow.
    pub mailbox_max: usize,
    /// Things one watcher may lag behind; past it the oldest are lost to it, and it is told how many.
    pub tap_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 10_000,
            identities_max: 20_000,
            window_messages: 1_024,
            window_bytes: 512 << 10,
            ack_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(60),
            delivery_count_max: 10,
            devicebound_ttl: Duration::from_secs(3_600),
            devicebound_bytes_max: 64 << 20,
            feedback_max: 1_000,
            calls_max: 100,
            mailbox_max: 1_000,
            tap_max: 4_096,
        }
    }
}

/// The hub's mind.
pub struct Core {
    options: Options,
    store: Store,
    chance: Chance,
    counters: Counters,
    policies: Vec<(String, Key)>,
    people: People,
    /// So that of two made at the same moment each has a generation of its own.
    last_generation: u64,
    sessions: Sessions,
    queues: Queues,
    /// The partitions of the upstream log.
    events: Vec<QueueHandle>,
    /// How many of them were given up, as far as it has been counted.
    events_given_up: u64,
    router: Router,
    /// Whether the routes in force are those last desired.
    configured: Result<(), String>,
    calls: Calls,
    /// Bytes of cloud-to-device messages.
    mail_bytes: usize,
    feedback: Shelf,
    deployments: Deployments,
    taps: Vec<Weak<TapRing>>,
    timers: Timers,
    /// Who is to be woken once nobody holds the core, if somebody sees to that.
    held_wakes: Option<Vec<Wake>>,
    scratch: Scratch,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("host_name", &self.options.host_name).finish_non_exhaustive()
    }
}

impl Core {
    /// Recalls everything from the store. At first start: makes the edge device, its system modules, and the policies.
    ///
    /// # Errors
    /// When the store cannot be read, or the edge device's id is none.
    pub fn open(options: Options, store: Store, chance: Chance, now: Now) -> Result<Self, StoreError> {
        let queues = Queues::open(&store);
        let events = (0..usize::from(Self::PARTITIONS)).map(|partition| store.events(partition)).collect();
        let mut core = Self {
            options,
            store,
            chance,
            counters: Counters::default(),
            policies: Vec::new(),
            people: People::default(),
            last_generation: 0,
            sessions: Sessions::default(),
            queues,
            events,
            events_given_up: 0,
            router: Router::new(),
            configured: Ok(()),
            calls: Calls::default(),
            mail_bytes: 0,
            feedback: Shelf::default(),
            deployments: Deployments::default(),
            taps: Vec::new(),
            timers: Timers::default(),
            held_wakes: None,
            scratch: Scratch::default(),
        };
        core.recall_policies()?;
        core.recall_people()?;
        core.recall_mail()?;
        core.ensure_edge_device(now)?;
        core.recall_configuration(now)?;
        core.recall_deployments(now)?;
        core.timers.set(now.instant + SWEEP, Timer::Sweep);
        Ok(core)
    }

    /// The store underneath: `durable`, `on_durable`, `refusing`, `on_room`, `on_events` need no lock on the core.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it was told at the start.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What happened, counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The keys of the standard policies: the given ones, the kept ones, or ones drawn now. Then those given besides.
    fn recall_policies(&mut self) -> Result<(), StoreError> {
        let kept = self.store.load(Table::Policies)?;
        for name in Self::policy_names() {
            let given = self.options.policies.iter().find(|(policy, _)| policy == name);
            let known = kept.iter().find(|(policy, _)| policy == name);
            let known = known.and_then(|(_, key)| Key::from_base64(str::from_utf8(key).ok()?).ok());
            let key = given.map(|(_, key)| key.clone()).or(known).unwrap_or_else(|| {
                let drawn = self.draw_key();
                self.store.put(Table::Policies, name, drawn.clone().into_bytes());
                Key::from_base64(&drawn).expect("32 bytes make a key")
            });
            self.policies.push((name.to_owned(), key));
        }
        Ok(())
    }

    /// Whether this is a module of the hub's own device.
    pub fn is_of_the_site(&self, who: &Identity) -> bool {
        who.device_id() == self.options.device_id && who.module_id().is_some()
    }

    fn recall_people(&mut self) -> Result<(), StoreError> {
        let twins: HashMap<String, Vec<u8>> = self.store.load(Table::Twins)?.into_iter().collect();
        let feeds: HashMap<String, Vec<u8>> = self.store.load(Table::Subscriptions)?.into_iter().collect();
        for (name, record) in self.store.load(Table::Registry)? {
            let broken = |reason: String| StoreError { path: format!("registry: {name}"), reason };
            let who: Identity = name.parse().map_err(|refused: Refused| broken(refused.to_string()))?;
            let record: Record =
                serde_json::from_slice(&record).map_err(|error| broken(error.to_string()))?;
            let twin = twins.get(&name).ok_or_else(|| broken("has no twin".to_owned()))?;
            let twin: Twin = serde_json::from_slice(twin).map_err(|error| broken(error.to_string()))?;
            let ours = self.is_of_the_site(&who);
            self.last_generation = self.last_generation.max(record.generation);
            let mut person = Person::new(who.clone(), record, twin, ours);
            person.kept = feeds.get(&name).and_then(|bytes| Feeds::read(bytes));
            self.people.add(person);
            self.link_endpoints(&who);
        }
        Ok(())
    }

    fn ensure_edge_device(&mut self, now: Now) -> Result<(), StoreError> {
        let wrong = |reason: String| StoreError { path: "the edge device".to_owned(), reason };
        let who = Identity::device(&self.options.device_id).map_err(|refused| wrong(refused.to_string()))?;
        if self.people.find(&who).is_none() {
            let wishes = Wishes { edge: Some(true), ..Wishes::default() };
            self.create(&who, wishes, now).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(())
    }
}
