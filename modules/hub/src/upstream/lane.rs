//! A lane: one client on the way upstream, and what comes back by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use isotherm_client::{Call, Client, Custody, Delivery, Event as Heard, Progress, SendError, WhenFull};
use isotherm_host::Host;
use isotherm_iothub::{Identity, Message, MethodCall, MethodResult};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::common::Common;
use super::ledger::{Entry, Ledger, Reader};
use super::options::{As, Peer};
use super::shape::{self, Shaped};
use super::twin::Twin;
use crate::core::{ApiError, Event};
use crate::shared::Shared;
use crate::store::Table;

/// Events that wait for one lane; the log is read no further for it meanwhile.
const WAITING_MAX: usize = 1_024;
/// Messages of one lane that upstream has not acknowledged: what goes far is long on its way.
const WINDOW: usize = 1_000;
/// Bytes of messages that one lane has on its way.
const LANE_BYTES_MAX: u64 = 4 << 20;
/// Clients on the way upstream at once; who comes later is told of, and what he sends waits for the next start.
const LANES_MAX: usize = 1_000;
/// How long the last words of a lane may take when the hub ends.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// All lanes, and what they have in common.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    host: Host,
    peer: Peer,
    folder: PathBuf,
    /// By who goes upstream by it.
    lanes: BTreeMap<Identity, Lane>,
    common: Arc<Common>,
}

/// The near end of a lane.
struct Lane {
    events: mpsc::Sender<Job>,
    reported: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

/// What a lane is to send.
struct Job {
    messages: Vec<Message>,
    entry: Entry,
}

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>, host: Host, peer: Peer, folder: PathBuf) -> Self {
        let kept = shared.store.load(Table::Upstream).unwrap_or_default();
        let recall = |partition: u8| {
            let name = cursor_key(partition);
            let bytes = kept.iter().find(|(key, _)| *key == name).map(|(_, bytes)| bytes.clone());
            (bytes, shared.core().partition(partition).first)
        };
        let partitions = 0..crate::core::Core::PARTITIONS;
        let ledger = Ledger::recall(partitions.clone().map(recall));
        for partition in partitions {
            let wanted_from = ledger.wanted_from(partition, &BTreeSet::new());
            shared.store.hold_events(usize::from(partition), wanted_from);
        }
        let common = Arc::new(Common::new(ledger));
        let _ = shared.upstream.set(Arc::clone(&common)); // a hub has one way upstream
        Self { shared, host, peer, folder, lanes: BTreeMap::new(), common }
    }

    pub(super) fn common(&self) -> Arc<Common> {
        Arc::clone(&self.common)
    }

    /// Those lanes that do not wait for an event: twins and calls come by them.
    pub(super) async fn open_first(&mut self) -> anyhow::Result<()> {
        match self.peer.identities() {
            As::Themselves => {
                let everybody = self.shared.core().identities();
                for who in everybody {
                    self.open(&who).await?;
                }
                Ok(())
            }
            As::OneDevice | As::Nobody => {
                let edge = self.edge()?;
                self.open(&edge).await
            }
        }
    }

    fn edge(&self) -> anyhow::Result<Identity> {
        Ok(Identity::device(&self.shared.core().options().device_id)?)
    }

    /// Opens the lane of `who`, unless it is open or there are too many. Those that the runtime itself would be are
    /// not taken along.
    pub(super) async fn open(&mut self, who: &Identity) -> anyhow::Result<()> {
        let own = who.module_id().is_some_and(|module| module.starts_with('$'));
        if own || self.lanes.contains_key(who) {
            return Ok(());
        }
        if self.lanes.len() >= LANES_MAX {
            if self.common.go_without(who) {
                tracing::error!(%who, LANES_MAX, "too many identities go upstream; what they send waits");
            }
            return Ok(());
        }
        let name = who.as_str().replace('/', "-");
        let client_id = format!("isotherm-{name}-upstream");
        let upstream_as = self.peer.device().unwrap_or(who);
        let (sink, mut options) = self.peer.options(upstream_as, &client_id);
        options.state_dir = self.folder.join(&name);
        options.custody = Custody::HandToHand;
        options.when_full = WhenFull::Refuse;
        options.outbox_bytes_max = LANE_BYTES_MAX;
        options.window = WINDOW;
        options.batches = true;
        let client = match &sink {
            Some(sink) => Client::to(&self.host, sink, options).await,
            None => Client::with(&self.host, options).await,
        };
        let client = client.with_context(|| format!("the way upstream of {who}"))?;
        let (events, jobs) = mpsc::channel(WAITING_MAX);
        let (answered, answers) = mpsc::channel(WAITING_MAX);
        let reported = Arc::new(Notify::new());
        let is_hub = self.peer.identities() != As::Nobody;
        let going = Going {
            shared: Arc::clone(&self.shared),
            common: Arc::clone(&self.common),
            client,
            jobs,
            answered,
            answers,
            reported: Arc::clone(&reported),
            twin: is_hub.then(|| Twin::recall(&self.shared, who.clone())),
            who: who.clone(),
            batch: self.peer.batch,
            sent: VecDeque::new(),
            delivered: 0,
            stalled: VecDeque::new(),
        };
        let task = tokio::spawn(going.run());
        self.lanes.insert(who.clone(), Lane { events, reported, task });
        self.common.one_lane_more();
        Ok(())
    }

    /// Takes an event along, if its lane has room; says whether it was taken.
    pub(super) async fn take(&mut self, event: &Event, reader: Reader) -> bool {
        let entry = Entry { partition: event.partition, sequence: event.sequence };
        let (who, messages) = match self.peer.identities() {
            As::Themselves => (event.from.clone(), vec![shape::for_hub(event.message.clone())]),
            As::OneDevice => {
                let Ok(edge) = self.edge() else { return false };
                (edge, vec![shape::for_one_device(event.message.clone(), event.from.as_str())])
            }
            As::Nobody => {
                let Ok(edge) = self.edge() else { return false };
                (edge, self.peer.template.fill(event, self.peer.has_topics()))
            }
        };
        if let Err(error) = self.open(&who).await {
            tracing::error!(%who, %error, "what it sends waits");
            return false;
        }
        let Some(lane) = self.lanes.get(&who) else { return false };
        match lane.events.try_reserve() {
            Ok(room) => {
                self.common.ledger().begin(entry, reader, &who, event.enqueued);
                room.send(Job { messages, entry });
                true
            }
            Err(_) => false,
        }
    }

    /// The twin of `who` reported something here.
    pub(super) fn reported(&self, who: &Identity) {
        let lane = match self.peer.identities() {
            As::OneDevice => {
                self.edge().ok().filter(|edge| edge == who).and_then(|edge| self.lanes.get(&edge))
            }
            As::Themselves => self.lanes.get(who),
            As::Nobody => None,
        };
        if let Some(lane) = lane {
            lane.reported.notify_one();
        }
    }

    /// Any twin may have reported something here.
    pub(super) fn all_reported(&self) {
        self.lanes.values().for_each(|lane| lane.reported.notify_one());
    }

    /// Whether somebody who comes is to have a lane.
    pub(super) fn are_for_everybody(&self) -> bool {
        self.peer.identities() == As::Themselves
    }

    /// Waits until every lane has ended.
    pub(super) async fn close(self) {
        for (_, lane) in self.lanes {
            drop(lane.events);
            let _ = tokio::time::timeout(LAST_WORDS, lane.task).await; // what is not said is said after the next start
        }
    }
}

pub(super) fn cursor_key(partition: u8) -> String {
    format!("cursor/{partition}")
}

/// The far end of a lane: a client and what it has on its way.
struct Going {
    shared: Arc<Shared>,
    common: Arc<Common>,
    client: Client,
    jobs: mpsc::Receiver<Job>,
    answered: mpsc::Sender<(Call, Result<MethodResult, ApiError>)>,
    answers: mpsc::Receiver<(Call, Result<MethodResult, ApiError>)>,
    reported: Arc<Notify>,
    twin: Option<Twin>,
    who: Identity,
    batch: bool,
    /// What was posted, and up to which number of the client's the events behind it reach.
    sent: VecDeque<(u64, Vec<Entry>)>,
    delivered: u64,
    /// What does not fit into the client at the moment.
    stalled: VecDeque<Shaped>,
}

impl Going {
    async fn run(mut self) {
        let stop = self.shared.host.stop.clone();
        loop {
            let has_room = self.stalled.is_empty();
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                progress = self.client.next_or_delivered(self.delivered) => match progress {
                    Progress::Delivered(below) => self.arrived(below),
                    Progress::Event(event) => self.hear(event).await,
                    Progress::Refused { reason } => self.refused(&reason),
                },
                Some((call, result)) = self.answers.recv() => self.respond(call, result),
                () = self.reported.notified() => self.report(),
                job = self.jobs.recv(), if has_room => match job {
                    Some(job) => self.send(job),
                    None => break,
                },
            }
        }
        if self.client.is_connected() {
            let _ = self.client.flush(LAST_WORDS).await; // else it is sent again after the next start
        }
        let below = self.client.posted() - self.client.held();
        self.arrived(below);
    }

    /// Posts what waits.
    fn send(&mut self, first: Job) {
        let mut waiting = vec![shaped(first)];
        while waiting.len() < WAITING_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            waiting.push(shaped(job));
        }
        self.common.moved.notify_one(); // there is room
        if self.batch {
            waiting = shape::batch(waiting, self.shared.host.wall());
        }
        self.stalled.extend(waiting);
        self.post();
    }

    fn post(&mut self) {
        while let Some(mut shaped) = self.stalled.pop_front() {
            while let Some(message) = shaped.messages.first() {
                let output =
                    message.system.get(isotherm_iothub::SystemProperty::OutputName).unwrap_or_default();
                match self.client.post(output, message) {
                    Ok(()) => drop(shaped.messages.remove(0)),
                    Err(SendError::Full) if self.client.held() > 0 => {
                        self.stalled.push_front(shaped);
                        return;
                    }
                    Err(error) => {
                        self.shared.counters.count("upstream_messages_dropped");
                        tracing::error!(who = %self.who, %error, "a message can never go upstream; it is dropped");
                        shaped.messages.remove(0);
                    }
                }
            }
            self.sent.push_back((self.client.posted(), shaped.entries));
        }
        self.settle();
    }

    fn arrived(&mut self, below: u64) {
        self.delivered = below;
        self.settle();
        self.post();
    }

    /// What upstream has acknowledged need not be kept here any more.
    fn settle(&mut self) {
        let now = self.shared.host.wall();
        let mut ledger = self.common.ledger();
        let mut any = false;
        while let Some((_, entries)) = self.sent.pop_front_if(|(end, _)| *end <= self.delivered) {
            entries.into_iter().for_each(|entry| ledger.done(entry, now));
            any = true;
        }
        drop(ledger);
        if any {
            self.common.moved.notify_one();
        }
    }

    async fn hear(&mut self, event: Heard) {
        match event {
            Heard::Desired(whole) => {
                if let Some(twin) = &mut self.twin {
                    twin.desire(&self.shared, whole);
                }
                self.report();
            }
            Heard::Connected => {
                self.common.let_in(&self.who);
                if let Some(twin) = &mut self.twin {
                    twin.begin();
                }
                self.report();
            }
            Heard::Method(call) => self.call(call),
            Heard::CloudToDevice { message, delivery } => self.pass_on(message, delivery).await,
            Heard::Input { delivery, .. } => self.client.accept(delivery), // no route of upstream's leads here
            Heard::Disconnected { .. } => self.common.turned_away(&self.who, false),
            Heard::Stop => {}
        }
    }

    fn refused(&self, reason: &str) {
        let who = &self.who;
        tracing::error!(%who, reason, "is refused upstream; what it sends waits, and holds up nobody else");
        self.common.turned_away(who, true);
    }

    fn report(&mut self) {
        if let Some(twin) = &mut self.twin {
            twin.report(&self.shared, &mut self.client);
        }
    }

    /// A call from upstream goes on to whoever it is for.
    fn call(&mut self, call: Call) {
        let wanted = match MethodCall::new(&call.name, call.payload.clone()) {
            Ok(wanted) => wanted,
            Err(refused) => return self.client.respond(call, 400, Value::from(refused.to_string())),
        };
        let answered = self.answered.clone();
        let answer = Box::new(move |result| {
            let _ = answered.try_send((call, result)); // no more calls wait than the core allows one identity
        });
        let now = self.shared.now();
        self.shared.core().invoke(&self.who, wanted, now, answer);
    }

    fn respond(&mut self, call: Call, result: Result<MethodResult, ApiError>) {
        match result {
            Ok(MethodResult { status, payload }) => self.client.respond(call, status, payload),
            Err(error) => {
                let status = i32::from(error.code.http_status());
                self.client.respond(call, status, Value::from(error.message));
            }
        }
    }

    /// A message from upstream is accepted once it is on disk here.
    async fn pass_on(&mut self, message: Message, delivery: Delivery) {
        let now = self.shared.now();
        let taken = self.shared.core().send_cloud_to_device(self.who.device_id(), message, now);
        match taken {
            Ok(ticket) => {
                self.shared.durable(ticket).await;
                self.client.accept(delivery);
            }
            Err(error) => {
                tracing::warn!(who = %self.who, %error, "a message from upstream is not taken here; it comes again");
            }
        }
    }
}

fn shaped(job: Job) -> Shaped {
    Shaped { messages: job.messages, entries: vec![job.entry] }
}
