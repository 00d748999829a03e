//! The isotherm itself: a line of equal temperature. Only what lies above it, not on it, exceeds it.

use std::time::Duration;

use isotherm_proto::Celsius;
use jiff::{SignedDuration, Timestamp};

use super::Crossing;
use crate::settings::Settings;

/// A threshold, and what it remembers of one sensor.
#[derive(Clone, Debug)]
pub struct Threshold {
    threshold: Celsius,
    /// With it, one alert for each time above; the next only after a fall to this much below the threshold.
    hysteresis: Option<f32>,
    /// With it, alerts are at least this far apart, by the times at which the readings were taken.
    minimum_interval: Option<Duration>,
    above: bool,
    alerted_at: Option<Timestamp>,
}

impl Threshold {
    /// The threshold that the settings ask for, with nothing above it yet.
    pub fn of(settings: &Settings) -> Self {
        Self {
            threshold: settings.threshold,
            hysteresis: settings.hysteresis,
            minimum_interval: settings.minimum_alert_interval,
            above: false,
            alerted_at: None,
        }
    }

    /// What the next reading means.
    pub fn decide(&mut self, celsius: Celsius, at: Timestamp) -> Option<Crossing> {
        if celsius > self.threshold {
            let told = self.above && self.hysteresis.is_some();
            // One that came too early stays untold: if it is still above afterwards, that will be an alert.
            return (!told && self.may_alert(at)).then(|| self.alert(at));
        }
        let down = celsius.get() < self.threshold.get() - self.hysteresis.unwrap_or(0.0);
        let on_the_line = self.hysteresis.is_none() && celsius == self.threshold;
        (self.above && (down || on_the_line)).then(|| {
            self.above = false;
            Crossing::Below
        })
    }

    /// Takes new settings over. What is above stays above until it has come down from the new threshold.
    pub fn apply(&mut self, settings: &Settings) {
        let Self { above, alerted_at, .. } = *self;
        *self = Self { above, alerted_at, ..Self::of(settings) };
    }

    fn alert(&mut self, at: Timestamp) -> Crossing {
        self.above = true;
        self.alerted_at = Some(at);
        Crossing::Above
    }

    /// A clock that was set back must not silence a sensor, so only times after the last alert are too early.
    fn may_alert(&self, at: Timestamp) -> bool {
        let (Some(interval), Some(last)) = (self.minimum_interval, self.alerted_at) else { return true };
        let since = at.duration_since(last);
        since.is_negative() || since >= SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Crossing::{Above, Below};
    use super::*;

    fn threshold(hysteresis: Option<f32>, minimum_alert_interval: Option<u64>) -> Threshold {
        Threshold::of(&Settings {
            threshold: Celsius::measured(30.0),
            hysteresis,
            minimum_alert_interval: minimum_alert_interval.map(Duration::from_secs),
            log_level: None,
        })
    }

    /// What the threshold says of readings a second apart.
    fn decide<const N: usize>(threshold: &mut Threshold, readings: [f32; N]) -> [Option<Crossing>; N] {
        let mut second = 0;
        readings.map(|celsius| {
            second += 1;
            threshold.decide(Celsius::measured(celsius), Timestamp::from_second(second).unwrap())
        })
    }

    #[test]
    fn every_reading_above_is_an_alert_and_the_line_itself_is_not_above() {
        let readings = [29.9, 30.0, 30.1, 31.0, 30.1, 30.0];
        let alerts = decide(&mut threshold(None, None), readings);
        assert_eq!(alerts, [None, None, Some(Above), Some(Above), Some(Above), Some(Below)]);
    }

    #[test]
    fn a_reading_that_hovers_at_the_threshold_alerts_once() {
        let alerts = decide(&mut threshold(Some(0.5), None), [29.9, 30.1, 29.9, 30.1, 29.4, 30.1]);
        assert_eq!(alerts, [None, Some(Above), None, None, Some(Below), Some(Above)]);
    }

    #[test]
    fn alerts_keep_their_distance() {
        let alerts = decide(&mut threshold(None, Some(3)), [31.0, 31.0, 31.0, 31.0, 29.0, 31.0, 31.0]);
        assert_eq!(alerts, [Some(Above), None, None, Some(Above), Some(Below), None, Some(Above)]);
    }

    #[test]
    fn an_alert_that_came_too_early_is_made_up_for_when_it_is_still_above() {
        let alerts = decide(&mut threshold(Some(1.0), Some(4)), [31.0, 28.0, 31.0, 31.0, 31.0, 31.0]);
        assert_eq!(alerts, [Some(Above), Some(Below), None, None, Some(Above), None]);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_silence_a_sensor() {
        let mut threshold = threshold(None, Some(60));
        let mut decide =
            |second| threshold.decide(Celsius::measured(31.0), Timestamp::from_second(second).unwrap());
        assert_eq!([decide(1_000_000), decide(10), decide(20)], [Some(Above), Some(Above), None]);
    }

    #[test]
    fn a_new_threshold_rules_from_the_next_reading_on() {
        let mut threshold = threshold(Some(1.0), None);
        assert_eq!(decide(&mut threshold, [31.0]), [Some(Above)]);
        let higher =
            Settings { threshold: Celsius::measured(40.0), hysteresis: Some(1.0), ..Settings::default() };
        threshold.apply(&higher);
        assert_eq!(decide(&mut threshold, [31.0, 41.0]), [Some(Below), Some(Above)]);
    }
}
