//! The hub's numbers, for whoever operates it.

use std::sync::Arc;

use isotherm_host::metrics::{Sample, Source};

use crate::shared::Shared;

/// Says what the hub has counted and what it holds.
pub(crate) struct Meter(pub(crate) Arc<Shared>);

impl Source for Meter {
    fn samples(&self) -> Vec<Sample> {
        let shared = &self.0;
        let mut samples = counted(shared);
        let gauge = |name, help, value: u64| Sample::gauge(name, help, value as f64);
        let core = shared.core();
        let connected = core.identities().iter().filter(|who| core.connected(who)).count();
        samples.extend([
            gauge(
                "isotherm_hub_messages_held",
                "Messages in all queues, handed out ones among them",
                core.held(),
            ),
            gauge(
                "isotherm_hub_identities_connected",
                "Devices and modules with a session",
                connected as u64,
            ),
        ]);
        let queues = core.queues();
        drop(core);
        samples.extend(queues.into_iter().map(|queue| {
            gauge("isotherm_hub_queue_length", "Messages that wait for a module's input", queue.length)
                .with("endpoint", queue.endpoint)
                .with("priority", queue.priority.to_string())
        }));
        let store = &shared.store;
        if let Some(way) = shared.upstream.get() {
            samples.extend(way.samples(|it| shared.core().partition(it).next));
        }
        samples.extend([
            gauge("isotherm_hub_connections", "Open connections", shared.room.open() as u64),
            gauge("isotherm_hub_queues_bytes", "Bytes of all queues on disk", store.queues_bytes()),
            gauge("isotherm_hub_events_bytes", "Bytes of the event log on disk", store.events_bytes()),
            gauge(
                "isotherm_hub_store_refusing",
                "1 while nothing is taken in because the store is full or fails",
                u64::from(store.refusing()),
            ),
            gauge(
                "isotherm_hub_upstream_log_full",
                "1 while what goes upstream is not taken in because its log is full",
                u64::from(store.is_upstream_full()),
            ),
        ]);
        samples
    }
}

/// What the mind and the doors have counted.
fn counted(shared: &Shared) -> Vec<Sample> {
    let mind = shared.core().counters().list();
    let doors = shared.counters.snapshot();
    let counter = |name: &str, value| {
        let name = name.strip_suffix("_total").unwrap_or(name);
        Sample::counter(format!("isotherm_hub_{name}"), name.replace('_', " "), value)
    };
    let mind = mind.into_iter().map(|(name, value)| counter(name, value));
    // A door's name stands apart: `mqtt_refused_topic` and a core counter could else be one.
    mind.chain(doors.into_iter().map(|(name, value)| counter(&format!("door_{name}"), value))).collect()
}
