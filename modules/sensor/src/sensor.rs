//! The loop: news from the hub first, then whatever is due.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use isotherm_client::{Client, Event};
use isotherm_host::Host;
use isotherm_iothub::Message;
use isotherm_proto::Reading;
use serde_json::Value;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use crate::{
    OUTPUT,
    chip::{Answer, Chip, Silence, Socket},
    pace::Pace,
    readings::{Bookmark, Readings},
    settings::Settings,
    status::Status,
    wiring::Wiring,
};

/// How long the first reading waits for a twin that was never seen, so that it is taken as desired.
const TWIN_WAIT: Duration = Duration::from_millis(500);

/// How long to wait before what the outbox did not take is offered again. No reading is taken meanwhile.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

/// The sensor at work.
pub(crate) struct Sensor {
    pub(crate) host: Host,
    pub(crate) client: Client,
    pub(crate) socket: Socket,
    pub(crate) settings: Settings,
    pub(crate) readings: Readings,
    pub(crate) status: Status,
    pub(crate) finished: bool,
    /// The first reading waits for the twin.
    waits_for_twin: bool,
    /// Which file is replayed.
    fingerprint: u64,
    pace: Pace,
    /// What the outbox did not take, and when it is offered again.
    unsent: Option<(Instant, Vec<Message>)>,
}

impl Sensor {
    pub(crate) fn new(
        host: Host,
        client: Client,
        wiring: &Wiring,
        mut chip: Chip,
        bookmark: Bookmark,
    ) -> Self {
        let twin = client.twin();
        let reported = twin.as_ref().and_then(|twin| twin.get("reported"));
        let settings = reported.map(Settings::remembered).unwrap_or_default();
        chip.configure(&settings.chip);
        let first = if twin.is_some() { host.now() } else { host.now() + TWIN_WAIT };
        Self {
            pace: Pace::new(wiring.speed(), settings.sampling_interval, first),
            readings: Readings::of(&wiring.sensor_id, bookmark),
            fingerprint: chip.fingerprint(),
            socket: Socket::new(host.clone(), chip),
            status: Status::default(),
            finished: false,
            waits_for_twin: twin.is_none(),
            unsent: None,
            host,
            client,
            settings,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let batch_due = self.readings.due(self.settings.batch_age).filter(|_| self.unsent.is_none());
            let offer_due = self.unsent.as_ref().map(|(at, _)| *at);
            let reading_due = !self.finished && self.unsent.is_none();
            tokio::select! {
                biased; // news from the hub first: a new interval should not wait for the old one
                event = self.client.next() => match event {
                    Event::Desired(desired) => self.change(&desired).await,
                    Event::Method(call) => self.answer(call).await,
                    Event::Input { delivery, .. } | Event::CloudToDevice { delivery, .. } => {
                        debug!("a sensor takes no messages");
                        self.client.accept(delivery); // so that it cannot come back
                    }
                    Event::Connected => info!("connected"),
                    Event::Disconnected { reason } => info!(reason, "disconnected"),
                    Event::Stop => return self.end().await,
                },
                () = at(offer_due) => self.offer_again().await,
                () = at(batch_due) => self.close_batch().await,
                () = self.pace.wait(), if reading_due => self.take_readings().await,
            }
        }
    }

    /// Takes over what the twin desires.
    pub(crate) async fn change(&mut self, desired: &Value) {
        for name in Settings::unknown(desired) {
            warn!(name, "the twin desires a property that the sensor does not have");
        }
        let chip_is_ours = self.socket.chip().is_ours();
        let report = self.settings.apply(desired, chip_is_ours);
        for refused in report.as_object().into_iter().flatten().filter(|(_, answer)| answer["ac"] == 400) {
            warn!(reason = %refused.1["ad"], "a desired property was refused");
        }
        self.client.report(report);
        self.socket.chip().configure(&self.settings.chip);
        self.pace.change(self.settings.sampling_interval, self.host.now());
        if std::mem::take(&mut self.waits_for_twin) {
            self.pace.hurry(self.host.now());
        }
        if self.readings.waiting() >= self.settings.batch_size && self.unsent.is_none() {
            self.close_batch().await;
        }
    }

    /// Takes all readings that are due and hands them on with one sync.
    async fn take_readings(&mut self) {
        let mut messages = Vec::new();
        for _ in 0..self.pace.take(self.host.now()) {
            if let Ok(Some(_)) = self.read().await
                && self.readings.waiting() >= self.settings.batch_size
            {
                messages.extend(self.readings.close(self.settings.batch_size, self.host.wall()));
            }
            if self.finished {
                messages.extend(self.readings.close(self.settings.batch_size, self.host.wall()));
                break;
            }
        }
        self.hand_on(messages).await;
    }

    /// Reads the chip once and puts the reading into the batch; `None` if a replay has come to its end.
    pub(crate) async fn read(&mut self) -> Result<Option<Reading>, Silence> {
        let answer = self.socket.read().await;
        let now = self.host.now();
        match answer {
            Ok(Answer::Celsius(celsius)) => {
                let at = self.host.wall();
                self.status.sensed(at);
                let replay = self.socket.chip().row().map(|row| (self.fingerprint, row));
                Ok(Some(self.readings.add(celsius, at, now, replay).clone()))
            }
            Ok(_) => {
                info!(last = self.readings.sequence(), "the replay has come to its end");
                self.finished = true;
                Ok(None)
            }
            Err(silence) => {
                self.status.silent(&silence, now);
                Err(silence)
            }
        }
    }

    /// Sends what waits in the batch, full or not.
    pub(crate) async fn close_batch(&mut self) {
        let message = self.readings.close(self.settings.batch_size, self.host.wall());
        self.hand_on(message.into_iter().collect()).await;
    }

    /// Puts messages into the outbox. Those it does not take are kept, and no more readings are taken before them.
    async fn hand_on(&mut self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let mark = self.readings.mark().encode();
        if let Err(error) = self.client.send_all(OUTPUT, messages.clone(), Some(&mark)).await {
            warn!(%error, messages = messages.len(), "the outbox takes nothing; no readings until it does");
            self.unsent = Some((self.host.now() + OFFER_AGAIN, messages));
        }
    }

    async fn offer_again(&mut self) {
        if let Some((_, messages)) = self.unsent.take() {
            self.hand_on(messages).await;
        }
    }

    /// Whether the outbox did not take what was last offered.
    pub(crate) fn is_held_up(&self) -> bool {
        self.unsent.is_some()
    }

    /// Messages that the hub has not acknowledged yet, and readings that are not in a message yet.
    pub(crate) fn held(&self) -> u64 {
        let unsent = self.unsent.as_ref().map_or(0, |(_, messages)| messages.len());
        self.client.held() + (unsent + self.readings.waiting()) as u64
    }

    /// Puts what was read into the outbox, where it outlives the process.
    async fn end(mut self) {
        self.offer_again().await;
        if self.unsent.is_none() {
            self.close_batch().await;
        }
        info!(last = self.readings.sequence(), held = self.held(), "the sensor ends");
    }
}

/// Waits until then; for ever if there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
