//! What a person should know of the running site, kept up to date from the hub's lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::decode;

/// Readings kept for the curve; older ones leave it on the left.
const CURVE_MAX: usize = 600;
/// Alerts kept for the list.
const ALERTS_MAX: usize = 50;
/// The rates are measured over this long.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Arrivals kept to measure a rate by; beyond this many in the window the rate is a lower bound.
const ARRIVALS_MAX: usize = 20_000;

/// The live state of a site. Built from lines; no socket, no terminal.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// °C, oldest first.
    pub(crate) curve: VecDeque<f64>,
    pub(crate) threshold: Option<f64>,
    pub(crate) read: Rate,
    pub(crate) delivered: Rate,
    /// Readings delivered that others than the filter sent upstream.
    pub(crate) past_the_filter: u64,
    pub(crate) repeats: u64,
    /// Messages that this watcher was too slow to see (they were delivered all the same).
    pub(crate) unseen: u64,
    pub(crate) alerts: VecDeque<Alert>,
    /// Module → versions of its twin, desired and reported.
    pub(crate) twins: BTreeMap<String, (u64, u64)>,
    pub(crate) connected: BTreeMap<String, bool>,
    /// The newest sequence number seen upstream, by sensor: what comes again is a repeat.
    newest: BTreeMap<String, u64>,
}

/// One reading that crossed the line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alert {
    pub(crate) celsius: f64,
    pub(crate) at: String,
    pub(crate) sensor: String,
    pub(crate) sequence: u64,
}

/// How many, and how many a second lately.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    pub(crate) total: u64,
    arrivals: VecDeque<Instant>,
}

impl Rate {
    fn count(&mut self, now: Instant) {
        self.total += 1;
        self.arrivals.push_back(now);
        if self.arrivals.len() > ARRIVALS_MAX {
            self.arrivals.pop_front();
        }
    }

    /// Arrivals a second over the last few seconds.
    pub(crate) fn per_second(&self, now: Instant) -> f64 {
        let recent = self.arrivals.iter().rev().take_while(|at| now.duration_since(**at) < RATE_WINDOW);
        recent.count() as f64 / RATE_WINDOW.as_secs_f64()
    }
}

impl Picture {
    /// Takes in one decoded line; `false` if it only repeats what was upstream before.
    pub(crate) fn take(&mut self, line: &Map<String, Value>, now: Instant) -> bool {
        match text(line, "event") {
            "message" if text(line, "from").ends_with("/sensor") => self.take_message(line, now),
            "upstream" => return self.take_upstream(line, now),
            "twin" => self.take_twin(line),
            "connection" => {
                let up = text(line, "status") == "Connected";
                self.connected.insert(text(line, "identity").to_owned(), up);
            }
            "lost" => self.unseen += line.get("lost").and_then(Value::as_u64).unwrap_or_default(),
            _ => {}
        }
        true
    }

    fn take_message(&mut self, line: &Map<String, Value>, now: Instant) {
        for reading in decode::readings(line) {
            self.read.count(now);
            self.curve.push_back(celsius(reading));
            if self.curve.len() > CURVE_MAX {
                self.curve.pop_front();
            }
        }
    }

    fn take_upstream(&mut self, line: &Map<String, Value>, now: Instant) -> bool {
        let mut fresh = decode::readings(line).next().is_none();
        let past_the_filter = !text(line, "from").ends_with("/filter");
        for reading in decode::readings(line) {
            let alert = Alert {
                celsius: celsius(reading),
                at: field(reading, "timestamp").as_str().unwrap_or_default().to_owned(),
                sensor: field(reading, "sensorId").as_str().unwrap_or_default().to_owned(),
                sequence: field(reading, "sequence").as_u64().unwrap_or_default(),
            };
            if self.is_repeat(&alert) {
                self.repeats += 1;
                continue;
            }
            fresh = true;
            self.delivered.count(now);
            self.past_the_filter += u64::from(past_the_filter);
            self.alerts.push_front(alert);
            self.alerts.truncate(ALERTS_MAX);
        }
        fresh
    }

    /// `sensor_id` and `sequence` let whoever reads drop what came twice; a stranger's reading has neither.
    fn is_repeat(&mut self, alert: &Alert) -> bool {
        if alert.sequence == 0 {
            return false;
        }
        let newest = self.newest.entry(alert.sensor.clone()).or_default();
        let repeat = alert.sequence <= *newest;
        *newest = alert.sequence.max(*newest);
        repeat
    }

    fn take_twin(&mut self, line: &Map<String, Value>) {
        let identity = text(line, "identity");
        let Some((_, module)) = identity.split_once('/') else { return };
        let versions = self.twins.entry(module.to_owned()).or_default();
        for (section, version) in [("desired", &mut versions.0), ("reported", &mut versions.1)] {
            if let Some(value) = line.get(section).and_then(|section| section.get("$version")) {
                *version = value.as_u64().unwrap_or(*version);
            }
        }
        let applied = line.get("reported").and_then(|reported| reported.get("TemperatureThreshold"));
        if let Some(value) = applied.and_then(|applied| applied.get("value")).and_then(Value::as_f64) {
            self.threshold = Some(value);
        }
    }
}

fn text<'a>(line: &'a Map<String, Value>, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn field<'a>(reading: &'a Value, name: &str) -> &'a Value {
    reading.get(name).unwrap_or(&Value::Null)
}

fn celsius(reading: &Value) -> f64 {
    field(reading, "reading").as_f64().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn start() -> Instant {
        Instant::now()
    }

    fn line(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object was written").clone()
    }

    fn upstream(sequence: u64) -> Map<String, Value> {
        line(json!({"event": "upstream", "from": "edge/filter",
            "reading": {"reading": 31.0, "timestamp": "", "sensorId": "s", "sequence": sequence}}))
    }

    #[test]
    fn what_comes_upstream_twice_is_counted_once_and_as_a_repeat() {
        let (mut picture, now) = (Picture::default(), start());
        let fresh = [7, 8, 7, 8, 9].map(|sequence| picture.take(&upstream(sequence), now));
        assert_eq!(fresh, [true, true, false, false, true]);
        assert_eq!((picture.delivered.total, picture.repeats), (3, 2));
    }

    #[test]
    fn what_others_than_the_filter_send_upstream_is_delivered_and_counted_apart() {
        let (mut picture, now) = (Picture::default(), start());
        let mut others = upstream(3);
        others.insert("from".to_owned(), json!("boiler"));
        [upstream(1), upstream(2), others].iter().for_each(|line| assert!(picture.take(line, now)));
        assert_eq!((picture.delivered.total, picture.past_the_filter), (3, 1));
    }

    #[test]
    fn the_threshold_shown_is_the_one_the_filter_says_it_applies() {
        let mut picture = Picture::default();
        let desired = json!({"event": "twin", "identity": "edge/filter", "desired": {"TemperatureThreshold": 30, "$version": 2}});
        picture.take(&line(desired), start());
        assert_eq!(picture.threshold, None);
        let reported = json!({"event": "twin", "identity": "edge/filter",
            "reported": {"TemperatureThreshold": {"value": 30, "ac": 200, "av": 2}, "$version": 3}});
        picture.take(&line(reported), start());
        assert_eq!((picture.threshold, picture.twins["filter"]), (Some(30.0), (2, 3)));
    }

    #[test]
    fn a_rate_forgets_what_is_old() {
        let (mut rate, now) = (Rate::default(), start());
        (0..10).for_each(|_| rate.count(now));
        assert_eq!(rate.per_second(now), 2.0);
        assert_eq!(rate.per_second(now + RATE_WINDOW), 0.0);
    }
}
