//! The router: a message comes in, one entry goes into each endpoint that a route leads to.

use std::sync::Arc;

use isotherm_iothub::{Identity, MESSAGE_BYTES_MAX, Message, Routes, Sink, Source, SystemProperty};
use jiff::SignedDuration;

use super::events::EventSource;
use super::people::Person;
use super::{Core, Counter, Now, Refusal};
use crate::store::{Full, Receipt, StoreError, Ticket};

/// Where a route leads, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To a module whose name no module can have.
    Nowhere,
    /// Into the upstream log, and whether what is fresh goes first from there.
    Upstream {
        fresh: bool,
    },
    Queue {
        queue: usize,
        endpoint: usize,
    },
}

/// The routes in force.
pub(super) struct Router {
    routes: Routes,
    /// For each route in their order.
    leads: Vec<Leads>,
    /// For each place among the people, the places of the routes that a module there can take at all: with many modules
    /// that is few of all routes. Found when its first message comes.
    open_to: Vec<Option<Box<[usize]>>>,
    /// Where the present message goes; kept only so that it need not be allocated each time.
    targets: Vec<(Leads, Option<SignedDuration>)>,
}

impl Router {
    pub(super) fn new() -> Self {
        Self {
            routes: Routes::default_upstream(),
            leads: vec![Leads::Upstream { fresh: false }],
            open_to: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Somebody is gone, and another may take the place.
    pub(super) fn forget_people(&mut self) {
        self.open_to.clear();
    }

    /// Whether the present message goes upstream, wherever else it goes.
    fn leads_upstream(&self) -> bool {
        self.targets.iter().any(|(leads, _)| matches!(leads, Leads::Upstream { .. }))
    }
}

impl Core {
    /// Puts routes into force; their queues are made now, so that no message has to wait for that.
    pub(super) fn set_routes(&mut self, routes: Routes) -> Result<(), StoreError> {
        self.store.limit_queues(routes.store_bytes_max());
        self.queues.queues.iter_mut().flatten().for_each(|queue| queue.fresh_first = false);
        let mut leads = Vec::new();
        for entry in routes.iter() {
            let fresh = self.options.fresh_first.iter().any(|it| it == "*" || **it == *entry.name);
            leads.push(match entry.route.sink() {
                Sink::Upstream => Leads::Upstream { fresh },
                Sink::Input { module, input } => {
                    let Ok(owner) = Identity::module(&self.options.device_id, module) else {
                        leads.push(Leads::Nowhere);
                        continue;
                    };
                    let queue = self.queues.find_or_make(&self.store, &owner, input, entry.priority)?;
                    let endpoint = self.queues.queues[queue].as_mut().map_or(0, |it| {
                        it.fresh_first |= fresh;
                        it.endpoint
                    });
                    self.link_endpoints(&owner);
                    Leads::Queue { queue, endpoint }
                }
            });
        }
        self.router = Router { routes, leads, open_to: Vec::new(), targets: Vec::new() };
        Ok(())
    }

    /// A module's queues are found through it.
    pub(super) fn link_endpoints(&mut self, owner: &Identity) {
        let person = self.people.find(owner);
        let endpoints = self.queues.endpoints_of(owner);
        for &endpoint in &endpoints {
            self.queues.endpoints[endpoint].person = person;
        }
        if let Some(person) = person {
            self.people[person].endpoints = endpoints;
        }
    }

    /// Takes a message from a sender who may send it.
    pub(super) fn take(&mut self, sender: usize, mut message: Message, now: Now) -> Result<Receipt, Refusal> {
        let person = &mut self.people[sender];
        let bytes = message.size_as_sent(&person.who);
        if bytes > MESSAGE_BYTES_MAX {
            self.counters.count(Counter::RefusedTooLarge);
            return Err(Refusal::TooLarge { bytes });
        }
        person.record.last_activity = Some(now.wall.as_microsecond());
        message.stamp(&person.who);
        self.route(sender, EventSource::Telemetry, message, now)
    }

    /// Finds where it goes, and puts it there.
    pub(super) fn route(
        &mut self,
        sender: usize,
        kind: EventSource,
        message: Message,
        now: Now,
    ) -> Result<Receipt, Refusal> {
        let bytes = message.size();
        if self.store.excess(bytes) > 0 {
            self.make_room(bytes);
        }
        self.store.has_room(bytes).map_err(|Full| self.full())?;
        self.find_targets(sender, kind, &message);
        if self.store.is_upstream_full() && self.router.leads_upstream() {
            return Err(Refusal::UpstreamFull(Box::new(message)));
        }
        self.counters.count(Counter::MessagesReceived);
        let message = Arc::new(message);
        if !self.taps.is_empty() {
            self.show_message(sender, &message, now);
        }
        if self.router.targets.is_empty() {
            self.counters.count(Counter::DroppedNoRoute);
            return Ok(Ticket::DURABLE.into());
        }
        self.put_into_targets(sender, kind, &message, now).map_err(|Full| self.full())
    }

    pub(super) fn full(&self) -> Refusal {
        self.counters.count(Counter::RefusedStoreFull);
        Refusal::Full
    }

    /// Whether somebody stands outside this edge: neither it itself nor a child of it (by `deviceScope`), and so
    /// connected straight to IoT Hub, though the door is the same.
    fn is_straight(&self, sender: usize) -> bool {
        let Person { who, ours, .. } = &self.people[sender];
        if *ours || who.device_id() == self.options.device_id {
            return false;
        }
        let edge = Identity::device(&self.options.device_id).ok();
        let scope = edge.and_then(|edge| self.people.get(&edge)).and_then(|edge| edge.record.scope.as_ref());
        let Some(scope) = scope else { return true };
        let device = if who.module_id().is_none() {
            Some(&self.people[sender])
        } else {
            self.people.get(&who.owner())
        };
        !device.is_some_and(|it| it.record.scope.as_ref() == Some(scope) || it.record.parents.contains(scope))
    }

    /// One for each endpoint: of several routes the first counts, and they are in the order of their priority. What
    /// comes straight to IoT Hub knows no routes of the edge: it goes where all telemetry of a hub goes.
    fn find_targets(&mut self, sender: usize, kind: EventSource, message: &Message) {
        if kind == EventSource::Telemetry && self.is_straight(sender) {
            self.router.targets.clear();
            let fresh = self.options.fresh_first.iter().any(|it| it == "*");
            return self.router.targets.push((Leads::Upstream { fresh }, None));
        }
        let Router { routes, leads, open_to, targets } = &mut self.router;
        let source = source_of(&self.people[sender], kind, message);
        targets.clear();
        let mut try_route = |place: usize| {
            let (Some(entry), leads) = (routes.at(place), leads[place]) else { return };
            if leads != Leads::Nowhere
                && !targets.iter().any(|(taken, _)| same_endpoint(*taken, leads))
                && entry.route.matches(&source, message)
            {
                let time_to_live = entry.time_to_live.and_then(|it| SignedDuration::try_from(it).ok());
                targets.push((leads, time_to_live));
            }
        };
        match source {
            Source::Module { module, .. } => {
                if open_to.len() <= sender {
                    open_to.resize(sender + 1, None);
                }
                let open = open_to[sender].get_or_insert_with(|| open_to_module(routes, module));
                open.iter().for_each(|&place| try_route(place));
            }
            Source::Device | Source::TwinChange => (0..leads.len()).for_each(try_route),
        }
    }

    /// Whether any route wants it.
    pub(super) fn is_wanted(&mut self, sender: usize, kind: EventSource, message: &Message) -> bool {
        self.find_targets(sender, kind, message);
        !self.router.targets.is_empty()
    }

    /// Encodes once, appends to each journal, and wakes who waits for it.
    fn put_into_targets(
        &mut self,
        sender: usize,
        kind: EventSource,
        message: &Arc<Message>,
        now: Now,
    ) -> Result<Receipt, Full> {
        self.scratch.encode(message);
        let mut full = Ok(());
        for place in 0..self.router.targets.len() {
            let (leads, time_to_live) = self.router.targets[place];
            full = full.and(match leads {
                Leads::Nowhere => Ok(()),
                Leads::Upstream { fresh } => self.put_upstream(sender, (kind, fresh), now),
                Leads::Queue { queue, endpoint } => {
                    let queue = self.fresh_queue(queue, now);
                    self.router.targets[place].0 = Leads::Queue { queue, endpoint };
                    let expires = time_to_live.and_then(|ttl| now.wall.checked_add(ttl).ok());
                    self.put_into_queue(queue, message, expires, Some(now.wall))
                }
            });
        }
        let (router, queues, events) = (&self.router, &self.queues, &self.events);
        let partition = usize::from(self.people[sender].partition);
        let handles = router.targets.iter().filter_map(|(leads, _)| match *leads {
            Leads::Nowhere => None,
            Leads::Upstream { .. } => Some(&events[partition]),
            Leads::Queue { queue, .. } => queues.queues[queue].as_ref().map(|it| &it.handle),
        });
        let receipt = self.store.appended(handles);
        full.map(|()| receipt)
    }

    /// Whether what is fresh goes upstream first, on any route.
    pub(crate) fn is_fresh_first_upstream(&self) -> bool {
        let named = |leads: &Leads| matches!(leads, Leads::Upstream { fresh: true });
        self.router.leads.iter().any(named) || self.options.fresh_first.iter().any(|it| it == "*")
    }

    fn put_upstream(
        &mut self,
        sender: usize,
        (kind, fresh): (EventSource, bool),
        now: Now,
    ) -> Result<(), Full> {
        let person = &self.people[sender];
        let record = self.scratch.for_events((kind, fresh), person.record.generation, now.wall);
        self.store.append(&self.events[usize::from(person.partition)], record)?;
        self.counters.count(Counter::MessagesUpstream);
        Ok(())
    }

    pub(super) fn put_into_queue(
        &mut self,
        index: usize,
        message: &Arc<Message>,
        expires: Option<jiff::Timestamp>,
        since: Option<jiff::Timestamp>,
    ) -> Result<(), Full> {
        let Some(queue) = self.queues.queues[index].as_mut() else { return Ok(()) };
        let since = since.filter(|_| queue.fresh_first);
        let offset = self.store.append(&queue.handle, self.scratch.for_queue(expires, since))?;
        queue.appended(offset, message, (expires, since), &self.options.limits);
        let owner = self.queues.endpoints[queue.endpoint].person;
        if let Some(person) = owner {
            self.wake_inputs(person);
        }
        Ok(())
    }

    /// What led to a queue leads to a newer one.
    pub(super) fn lead_to(&mut self, older: usize, newer: usize) {
        for leads in &mut self.router.leads {
            if let Leads::Queue { queue, .. } = leads
                && *queue == older
            {
                *queue = newer;
            }
        }
    }

    /// Finds the queues of the routes in force again, after some were removed.
    pub(super) fn refresh_routes(&mut self) {
        let routes = self.router.routes.clone();
        // A disk that fails now fails at the next message too, and is told there.
        let _ = self.set_routes(routes);
    }

    /// The endpoints of the present message, for watchers.
    pub(super) fn target_names(&self) -> Vec<String> {
        let name = |(leads, _): &(Leads, _)| match *leads {
            Leads::Nowhere => String::new(),
            Leads::Upstream { .. } => "$upstream".to_owned(),
            Leads::Queue { endpoint, .. } => self.queues.endpoints[endpoint].name.clone(),
        };
        self.router.targets.iter().map(name).collect()
    }
}

fn same_endpoint(a: Leads, b: Leads) -> bool {
    match (a, b) {
        (Leads::Upstream { .. }, Leads::Upstream { .. }) => true,
        (Leads::Queue { endpoint: a, .. }, Leads::Queue { endpoint: b, .. }) => a == b,
        _ => false,
    }
}

/// The places of those routes that name no other module.
fn open_to_module(routes: &Routes, module: &str) -> Box<[usize]> {
    let all = routes.iter().enumerate();
    let open = all.filter(|(_, entry)| {
        entry.route.source_module().is_none_or(|named| named.eq_ignore_ascii_case(module))
    });
    open.map(|(place, _)| place).collect()
}

/// Modules of other devices are no modules of this edge: to its routes they are devices behind it.
fn source_of<'a>(sender: &'a Person, kind: EventSource, message: &'a Message) -> Source<'a> {
    match (kind, sender.who.module_id()) {
        (EventSource::TwinChange, _) => Source::TwinChange,
        (EventSource::Telemetry, Some(module)) if sender.ours => {
            Source::Module { module, output: message.system.get(SystemProperty::OutputName) }
        }
        (EventSource::Telemetry, _) => Source::Device,
    }
}
