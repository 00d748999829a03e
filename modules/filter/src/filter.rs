//! The filter as a value: a message and the time go in, a verdict comes out.

use std::time::{Duration, Instant};

use isotherm_iothub::{Message, SystemProperty};
use isotherm_proto::{Body, Reading, Upload};
use serde_json::Value;

use crate::repeats::Newest;
use crate::rule::Crossing;
use crate::sensors::Sensors;
use crate::settings::Settings;
use crate::status::Status;

/// What is no reading is spoken of at most this often.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

/// What the hub or the way here wrote on a message; it is not the sender's, and of no meaning further on.
const OF_THE_WAY: [SystemProperty; 8] = [
    SystemProperty::ConnectionDeviceId,
    SystemProperty::ConnectionModuleId,
    SystemProperty::ConnectionAuthMethod,
    SystemProperty::ConnectionGenerationId,
    SystemProperty::InputName,
    SystemProperty::OutputName,
    SystemProperty::LockToken,
    SystemProperty::DeliveryCount,
];

/// What is to happen with a message. It is accepted in any case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Something exceeds the threshold.
    Forward {
        /// To be sent on first.
        alert: Message,
        /// How many readings it holds.
        readings: u64,
    },
    /// Nothing in it exceeds the threshold.
    Nothing,
    /// It was no reading; worth a line in the log.
    Refused {
        /// What is wrong with it.
        why: isotherm_proto::Refused,
        /// How many were refused since the last such line, this one among them.
        times: u64,
    },
    /// It was no reading, and that was said not long ago.
    RefusedQuietly,
}

impl Verdict {
    fn of(alert: Message, readings: usize) -> Self {
        Self::Forward { alert, readings: readings as u64 }
    }
}

/// The settings in force, what is remembered of each sensor, and the counts.
#[derive(Debug)]
pub struct Filter {
    settings: Settings,
    sensors: Sensors,
    counts: Status,
    complained: Option<Instant>,
    refused_since: u64,
}

impl Filter {
    /// A filter that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        let (sensors, counts) = (Sensors::default(), Status::default());
        Self { settings, sensors, counts, complained: None, refused_since: 0 }
    }

    /// Decides about the next message.
    pub fn judge(&mut self, message: &Message, now: Instant) -> Verdict {
        match Body::decode(&message.body) {
            Ok(Body::Reading(reading)) => {
                // The body goes on as it came: nothing is gained by writing the same bytes again.
                if self.exceeds(&reading) { Verdict::of(alert(message), 1) } else { Verdict::Nothing }
            }
            Ok(Body::Upload(upload)) => self.judge_upload(message, upload),
            Err(why) => self.refuse(why, now),
        }
    }

    /// Takes over what the twin desires and gives what to report of it.
    pub fn apply(&mut self, desired: &Value) -> Value {
        let answer = self.settings.apply(desired);
        self.sensors.apply(&self.settings);
        answer
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The counts so far; `held` is what waits in the outbox.
    pub fn status(&self, held: u64) -> Status {
        let threshold = self.settings.threshold.get();
        Status { held, threshold, ..self.counts.clone() }
    }

    /// Corrects the counts after an alert of so many readings that could not be sent.
    pub fn not_sent(&mut self, readings: u64) {
        self.counts.forwarded -= readings;
        self.counts.refused += readings;
    }

    /// An upload keeps only what exceeds.
    fn judge_upload(&mut self, message: &Message, mut upload: Upload) -> Verdict {
        let before = upload.readings.len();
        upload.readings.retain(|reading| self.exceeds(reading));
        match upload.readings.len() {
            0 => Verdict::Nothing,
            after if after == before => Verdict::of(alert(message), after),
            after => Verdict::of(Message { body: upload.encode(), ..alert(message) }, after),
        }
    }

    fn exceeds(&mut self, reading: &Reading) -> bool {
        self.counts.received += 1;
        let sensor = self.sensors.of(&reading.sensor_id, &self.settings);
        if Newest::is_repeat(&mut sensor.newest, reading) {
            self.counts.repeats += 1;
            return false;
        }
        let above = sensor.rule.decide(reading) == Some(Crossing::Above);
        let count = if above { &mut self.counts.forwarded } else { &mut self.counts.below };
        *count += 1;
        above
    }

    fn refuse(&mut self, why: isotherm_proto::Refused, now: Instant) -> Verdict {
        self.counts.received += 1;
        self.counts.refused += 1;
        self.refused_since += 1;
        let quiet = |last: Instant| now.saturating_duration_since(last) < COMPLAINT_EVERY;
        if self.complained.is_some_and(quiet) {
            return Verdict::RefusedQuietly;
        }
        self.complained = Some(now);
        Verdict::Refused { why, times: std::mem::take(&mut self.refused_since) }
    }
}

/// The message as it goes on: all that its sender put on it, and that it is an alert.
fn alert(message: &Message) -> Message {
    let mut alert = message.clone();
    for property in OF_THE_WAY {
        alert.system.remove(property);
    }
    alert.properties.set("MessageType", "Alert");
    alert
}
