//! What was counted, and what is said about it: enough in the log, all of it when asked.

use std::time::{Duration, Instant};

use isotherm_host::metrics::{Figures, Sample};
use isotherm_proto::Celsius;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::chip::Silence;

/// A chip that stays silent is told of at most this often.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// 2020-01-01T00:00:00Z: a wall clock before it was never set.
const CLOCK_SET_AFTER: i64 = 1_577_836_800;

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) sensed: u64,
    /// Answers that no chip can have measured.
    pub(crate) refused: u64,
    /// Times the chip gave no answer.
    silent: u64,
    last_error: Option<String>,
    /// What was last read, °C.
    last: Option<f32>,
    /// Since the chip last answered: how often it did not, and when that was last told of.
    silence: Option<(u64, Instant)>,
    clock_was_told_of: bool,
}

impl Status {
    /// A reading was taken.
    pub(crate) fn sensed(&mut self, celsius: Celsius, at: Timestamp) {
        self.sensed += 1;
        self.last = Some(celsius.get());
        if let Some((times, _)) = self.silence.take() {
            info!(times, "the chip answers again");
        }
        if at.as_second() < CLOCK_SET_AFTER && !self.clock_was_told_of {
            self.clock_was_told_of = true;
            warn!(clock = %at, "the wall clock is not set; readings go out with the time it shows");
        }
    }

    /// The chip gave no temperature.
    pub(crate) fn silent(&mut self, silence: &Silence, now: Instant) {
        match silence {
            Silence::Garbage(_) => self.refused += 1,
            _ => self.silent += 1,
        }
        self.last_error = Some(silence.to_string());
        let (times, told) = self.silence.get_or_insert((0, now));
        *times += 1;
        if *times == 1 || now.saturating_duration_since(*told) >= TELL_AGAIN {
            *told = now;
            warn!(%silence, times = *times, "the chip gave no temperature; it is asked again at the next reading");
        }
    }

    /// What `getStatus` answers; `more` adds to it.
    #[must_use]
    pub(crate) fn to_json(&self, more: Value) -> Value {
        let mut status = json!({
            "sensed": self.sensed,
            "refused": self.refused,
            "chipErrors": self.silent,
            "lastError": self.last_error,
        });
        if let (Value::Object(status), Value::Object(more)) = (&mut status, more) {
            status.extend(more);
        }
        status
    }
}

impl Figures for Status {
    fn samples(&self) -> Vec<Sample> {
        let mut samples = vec![
            Sample::counter("isotherm_sensor_readings", "Readings taken", self.sensed),
            Sample::counter(
                "isotherm_sensor_readings_refused",
                "Answers of the chip that no chip can have measured",
                self.refused,
            ),
            Sample::counter("isotherm_sensor_chip_errors", "Times the chip gave no answer", self.silent),
        ];
        let last = self.last.map(f64::from);
        samples.extend(last.map(|last| {
            Sample::gauge("isotherm_sensor_temperature_celsius", "What was last read, °C", last)
        }));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_nonsense_are_counted_apart() {
        let now = tokio::time::Instant::now().into_std();
        let mut status = Status::default();
        status.sensed(Celsius::measured(20.0), Timestamp::UNIX_EPOCH);
        status.silent(&Silence::Hole(7), now);
        status.silent(&Silence::Hole(8), now);
        status.silent(&Silence::Garbage("FF FF".into()), now);
        let expected = json!({"sensed": 1, "refused": 1, "chipErrors": 2, "lastError": "FF FF", "held": 3});
        assert_eq!(status.to_json(json!({"held": 3})), expected);
    }
}
