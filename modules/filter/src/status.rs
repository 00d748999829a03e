//! What the filter has done, in numbers.

use isotherm_host::metrics::{Figures, Sample};
use serde_json::{Value, json};

use crate::settings::show_number;

/// Counts since the start, of readings except where it says otherwise. All that was received is forwarded, below,
/// a repeat or refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Readings that came in, and messages that were none.
    pub received: u64,
    /// Readings that exceeded the threshold and went on.
    pub forwarded: u64,
    /// Readings that the rule let go: not above, or held back by hysteresis or the interval between alerts.
    pub below: u64,
    /// Messages that were no readings, or could not be sent on.
    pub refused: u64,
    /// Readings that had been here before.
    pub repeats: u64,
    /// Messages in the outbox.
    pub held: u64,
    /// The threshold in force, °C.
    pub threshold: f32,
}

impl Figures for Status {
    fn samples(&self) -> Vec<Sample> {
        vec![
            Sample::counter("isotherm_filter_readings_received", "Readings that came in", self.received),
            Sample::counter(
                "isotherm_filter_readings_forwarded",
                "Readings that exceeded the threshold",
                self.forwarded,
            ),
            Sample::counter("isotherm_filter_readings_below", "Readings that the rule let go", self.below),
            Sample::counter(
                "isotherm_filter_readings_refused",
                "Messages that were no readings or could not go on",
                self.refused,
            ),
            Sample::counter(
                "isotherm_filter_readings_repeated",
                "Readings that had been here before",
                self.repeats,
            ),
            Sample::gauge(
                "isotherm_filter_threshold_celsius",
                "The threshold in force, °C",
                f64::from(self.threshold),
            ),
        ]
    }
}

impl Status {
    /// As the method `getStatus` answers it.
    pub fn to_json(&self) -> Value {
        json!({
            "received": self.received,
            "forwarded": self.forwarded,
            "below": self.below,
            "refused": self.refused,
            "repeats": self.repeats,
            "held": self.held,
            "threshold": show_number(self.threshold),
        })
    }
}
