//! A client's numbers, for whoever operates the process.

use std::sync::{Arc, Weak};

use isotherm_host::metrics::{Sample, Source};

use crate::shared::Shared;

/// Says what one client has done; `module` tells it from the others in the process.
pub(crate) struct Meter {
    pub(crate) shared: Weak<Shared>,
    pub(crate) module: String,
}

impl Meter {
    /// Of the client that shares this, under its identity's own name.
    pub(crate) fn of(shared: &Arc<Shared>, identity: &str) -> Arc<Self> {
        let module = identity.rsplit('/').next().unwrap_or(identity).to_owned();
        Arc::new(Self { shared: Arc::downgrade(shared), module })
    }
}

impl Source for Meter {
    fn samples(&self) -> Vec<Sample> {
        let Some(shared) = self.shared.upgrade() else { return Vec::new() };
        let held = shared.outbox.held();
        let (stats, connected) = {
            let state = shared.lock();
            (state.stats, state.connected)
        };
        let samples = [
            Sample::counter("isotherm_messages_sent", "Messages taken into the outbox", stats.sent),
            Sample::counter(
                "isotherm_messages_delivered",
                "Messages that the hub acknowledged",
                stats.delivered,
            ),
            Sample::counter(
                "isotherm_messages_dropped",
                "Messages that gave way in a full outbox",
                stats.dropped,
            ),
            Sample::counter(
                "isotherm_messages_unreadable",
                "Messages that could not be read back from the disk",
                stats.unreadable,
            ),
            Sample::counter("isotherm_reconnects", "Connections after the first", stats.reconnects),
            Sample::counter(
                "isotherm_reports_refused",
                "Reported properties that were refused",
                stats.reports_refused,
            ),
            Sample::gauge(
                "isotherm_outbox_messages",
                "Messages that the hub has not acknowledged",
                held as f64,
            ),
            Sample::gauge(
                "isotherm_connected",
                "1 while the hub is connected",
                f64::from(u8::from(connected)),
            ),
        ];
        samples.map(|sample| sample.with("module", self.module.clone())).into()
    }
}
