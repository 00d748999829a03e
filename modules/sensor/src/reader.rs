//! The side of the sensor that faces the chip: reads it when a reading is due, whatever the outbox is doing.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use isotherm_host::Host;
use isotherm_iothub::Message;
use isotherm_proto::Reading;
use serde_json::Value;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use crate::{
    chip::{Answer, Chip, Silence, Socket},
    pace::Pace,
    readings::{Bookmark, Readings},
    settings::Settings,
    status::Status,
    wiring::Wiring,
};

/// The most messages that wait for the outbox. With so many, nothing more is read: a replay stands still, and a
/// chip's moments pass unread.
pub(crate) const READY_MAX: usize = 1024;

/// How long the first reading waits for a twin that was never seen, so that it is taken as desired.
const TWIN_WAIT: Duration = Duration::from_millis(500);

/// Reads the chip and makes messages of what it read.
pub(crate) struct Reader {
    pub(crate) settings: Settings,
    pub(crate) readings: Readings,
    pub(crate) status: Status,
    pub(crate) socket: Socket,
    /// The replay has come to its end.
    pub(crate) finished: bool,
    host: Host,
    pace: Pace,
    /// The first reading waits for the twin.
    waits_for_twin: bool,
    /// Which file is replayed.
    fingerprint: u64,
    /// Messages, and the bookmark that is true once the outbox has them.
    ready: VecDeque<(Message, Bookmark)>,
}

impl Reader {
    /// Begins with what the twin last said, if it ever did.
    pub(crate) fn new(
        host: Host,
        wiring: &Wiring,
        mut chip: Chip,
        mark: Bookmark,
        twin: Option<&Value>,
    ) -> Self {
        let reported = twin.and_then(|twin| twin.get("reported"));
        let settings = reported.map(Settings::remembered).unwrap_or_default();
        chip.configure(&settings.chip);
        let waits_for_twin = twin.is_none() && host.env.get("BROKER_URL").is_none(); // a plain broker has none
        let first = if waits_for_twin { host.now() + TWIN_WAIT } else { host.now() };
        Self {
            pace: Pace::new(wiring.speed(), settings.sampling_interval, first),
            waits_for_twin,
            readings: Readings::of(&wiring.sensor_id, mark),
            fingerprint: chip.fingerprint(),
            socket: Socket::new(host.clone(), chip),
            status: Status::default(),
            finished: false,
            ready: VecDeque::new(),
            host,
            settings,
        }
    }

    /// Waits until [`Reader::act`] has something to do. Cancel safe.
    pub(crate) async fn due(&self) {
        let reading = (!self.finished && !self.is_full()).then(|| self.pace.next());
        let batch = self.readings.due(self.settings.batch_age);
        match reading.into_iter().chain(batch).min() {
            Some(moment) => sleep_until(moment.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Takes all readings that are due, and closes a batch that is old.
    pub(crate) async fn act(&mut self) {
        let now = self.host.now();
        if self.readings.due(self.settings.batch_age).is_some_and(|due| due <= now) {
            self.close_batch();
        }
        if self.finished || self.is_full() || now < self.pace.next() {
            return;
        }
        for _ in 0..self.pace.take(now) {
            let _ = self.read().await; // silence was counted and told of
            if self.finished || self.is_full() {
                break;
            }
        }
    }

    /// Reads the chip once and puts the reading into the batch; `None` if a replay has come to its end.
    pub(crate) async fn read(&mut self) -> Result<Option<Reading>, Silence> {
        let answer = self.socket.read().await;
        let now = self.host.now();
        match answer {
            Ok(Answer::Celsius(celsius)) => {
                let at = self.host.wall();
                self.status.sensed(celsius, at);
                let replay = self.socket.chip().row().map(|row| (self.fingerprint, row));
                let reading = self.readings.add(celsius, at, now, replay).clone();
                debug!(celsius = celsius.get(), sequence = reading.sequence, "read");
                self.close_full_batch();
                Ok(Some(reading))
            }
            Ok(_) => {
                info!(last = self.readings.sequence(), "the replay has come to its end");
                self.finished = true;
                self.close_batch();
                Ok(None)
            }
            Err(silence) => {
                self.status.silent(&silence, now);
                Err(silence)
            }
        }
    }

    /// Takes over what the twin desires; what came of it is to be reported.
    pub(crate) fn change(&mut self, desired: &Value) -> Value {
        let chip_is_ours = self.socket.chip().is_ours();
        let report = self.settings.apply(desired, chip_is_ours);
        if let Err(why) = self.host.log.turn(self.settings.log_level.as_deref()) {
            warn!(why, "the log level stays"); // it was checked when it was taken
        }
        let now = self.host.now();
        self.socket.chip().configure(&self.settings.chip);
        self.pace.change(self.settings.sampling_interval, now);
        if mem::take(&mut self.waits_for_twin) {
            self.pace.hurry(now);
        }
        self.close_full_batch();
        report
    }

    /// Whether so much waits for the outbox that nothing more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.ready.len() >= READY_MAX
    }

    /// How many messages wait for the outbox.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The first messages that wait for the outbox, and the bookmark that is true once it has them.
    pub(crate) fn take_ready(&mut self, most: usize) -> Vec<(Message, Bookmark)> {
        self.ready.drain(..most.min(self.ready.len())).collect()
    }

    /// Puts back what the outbox did not take, before all that was read since.
    pub(crate) fn put_back(&mut self, messages: Vec<(Message, Bookmark)>) {
        messages.into_iter().rev().for_each(|message| self.ready.push_front(message));
    }

    /// Makes a message of what waits in the batch, full or not.
    pub(crate) fn close_batch(&mut self) {
        let message = self.readings.close(self.settings.batch_size, self.host.wall());
        self.ready.extend(message.map(|message| (message, self.readings.mark())));
    }

    fn close_full_batch(&mut self) {
        if self.readings.waiting() >= self.settings.batch_size {
            self.close_batch();
        }
    }

    /// The time by which moments are told.
    pub(crate) fn now(&self) -> Instant {
        self.host.now()
    }
}
