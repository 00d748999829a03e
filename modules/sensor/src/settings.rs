//! What the twin says: how often, in which mode, how many at a time.
//!
//! | desired property | | default |
//! | --- | --- | --- |
//! | `SamplingInterval` | time from one reading to the next, 1 ms to 1 day | `"1s"` |
//! | `ChipMode` | `"normal"` (12 bits, to 127.9375 °C) or `"extended"` (13 bits, to 150 °C) | `"normal"` |
//! | `ConversionMode` | `"continuous"`, or `"one-shot"`: the chip sleeps between readings | `"continuous"` |
//! | `ConversionRate` | conversions a second when continuous: 0.25, 1, 4 or 8 | `4` |
//! | `LowLimit`, `HighLimit` | the chip's own thermostat, °C, low below high | `75`, `80` |
//! | `AlertMode` | `"comparator"` or `"interrupt"` | `"comparator"` |
//! | `AlertPolarity` | level of the ALERT pin that means alert: `"low"` or `"high"` | `"low"` |
//! | `FaultQueue` | conversions in a row past a limit before ALERT: 1, 2, 4 or 6 | `1` |
//! | `BatchSize` | readings in one message, 1 to 1024; from 2 on a message is an upload | `1` |
//! | `LogLevel` | how much is logged, as `LOG_LEVEL` is written; `"default"` is what that variable says | `"default"` |
//! | `BatchAge` | how long a reading waits for its batch to fill, 1 ms to 1 day | `"10s"` |
//!
//! A duration is text (`"1500ms"`, `"2s"`, `"5m"`, `"1h"`) or a number of milliseconds. Each property is
//! taken or refused by itself, and reported as `{"value", "ac", "av", "ad"}`: what is in force, 200 (or 400 if
//! the desired value was refused, or 203 for a default nobody asked to change), the desired `$version`, and why.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tmp1x2::{AlertPolarity, ConversionRate, FaultQueue, ThermostatMode};

mod property;
mod value;

use property::{PROPERTIES, Property};

/// All that can be changed while the sensor runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// From one reading to the next.
    pub sampling_interval: Duration,
    /// How the chip works.
    pub chip: ChipSettings,
    /// Readings in one message; 1 sends each by itself.
    pub batch_size: usize,
    /// How long the oldest reading of a batch waits for it to fill.
    pub batch_age: Duration,
    /// How much is logged; none: as the environment says.
    pub log_level: Option<String>,
}

/// How a TMP102 works; all of it is written to the chip at start and at each change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChipSettings {
    /// 13 bits, up to 150 °C, in place of 12.
    pub extended: bool,
    /// Sleep, and convert only when asked.
    pub one_shot: bool,
    /// How often it converts by itself.
    pub rate: ConversionRate,
    /// Below it the alert ends, °C.
    pub low: f32,
    /// From it on there is an alert, °C.
    pub high: f32,
    /// What ALERT says: the state, or that it changed.
    pub alert_mode: ThermostatMode,
    /// The level of the ALERT pin that means alert.
    pub alert_polarity: AlertPolarity,
    /// Conversions in a row past a limit before there is an alert.
    pub fault_queue: FaultQueue,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sampling_interval: Duration::from_secs(1),
            chip: ChipSettings::default(),
            batch_size: 1,
            batch_age: Duration::from_secs(10),
            log_level: None,
        }
    }
}

impl Default for ChipSettings {
    /// The chip's own state at power-up.
    fn default() -> Self {
        Self {
            extended: false,
            one_shot: false,
            rate: ConversionRate::_4Hz,
            low: 75.0,
            high: 80.0,
            alert_mode: ThermostatMode::Comparator,
            alert_polarity: AlertPolarity::ActiveLow,
            fault_queue: FaultQueue::_1,
        }
    }
}

/// The shortest interval: the timers' own resolution, and far faster than the chip converts.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// The longest interval.
pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Settings {
    /// What was in force when the sensor last reported; so that a desired value that was refused before a
    /// restart does not throw the sensor back to the default after it.
    #[must_use]
    pub fn remembered(reported: &Value) -> Self {
        let mut settings = Self::default();
        for property in &PROPERTIES {
            if let Some(value) = reported.get(property.name).and_then(|report| report.get("value")) {
                let _ = (property.take)(&mut settings, value); // ours, unless somebody else wrote it: then the default
            }
        }
        settings.hold_limits_apart(&ChipSettings::default());
        settings
    }

    /// Takes over what the twin desires and says in reported properties what came of it.
    ///
    /// A property that is not desired (any more) goes back to its default; one that makes no sense is refused
    /// and stays as it was. With `chip_is_ours` false the kernel's driver owns the chip, and properties of the chip
    /// are answered with 501.
    pub fn apply(&mut self, desired: &Value, chip_is_ours: bool) -> Value {
        let version = desired.get("$version").cloned().unwrap_or(json!(0));
        let old = self.clone();
        let mut answers: Vec<Answer> = PROPERTIES
            .iter()
            .map(|property| self.apply_one(property, desired.get(property.name), chip_is_ours))
            .collect();
        if let Some(why) = self.hold_limits_apart(&old.chip) {
            for (answer, property) in answers.iter_mut().zip(&PROPERTIES) {
                if matches!(property.name, "LowLimit" | "HighLimit") && *answer == Answer::Taken {
                    *answer = Answer::Refused(why.to_owned());
                }
            }
        }
        let reports = answers.into_iter().zip(&PROPERTIES).map(|(answer, property)| {
            let wanted = desired.get(property.name);
            (property.name.to_owned(), answer.report(property, wanted, (property.show)(self), &version))
        });
        Value::Object(reports.collect::<Map<_, _>>())
    }

    /// The names in a desired section that are no property of ours.
    pub fn unknown(desired: &Value) -> impl Iterator<Item = &str> {
        let names = desired.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        names
            .filter(|name| !name.starts_with('$') && PROPERTIES.iter().all(|property| property.name != *name))
    }

    fn apply_one(&mut self, property: &Property, wanted: Option<&Value>, chip_is_ours: bool) -> Answer {
        match wanted {
            Some(_) if property.of_chip && !chip_is_ours => Answer::NotOurs,
            Some(wanted) => match (property.take)(self, wanted) {
                Ok(()) => Answer::Taken,
                Err(why) => Answer::Refused(why),
            },
            None => {
                let default = (property.show)(&Self::default());
                (property.take)(self, &default).expect("a default is a value that would be taken");
                Answer::Default
            }
        }
    }

    /// Puts limits that cannot be back to what they were, or to the chip's own, and says what was wrong.
    fn hold_limits_apart(&mut self, old: &ChipSettings) -> Option<&'static str> {
        let why = self.chip.limits_fault()?;
        (self.chip.low, self.chip.high) = (old.low, old.high);
        if self.chip.limits_fault().is_some() {
            let default = ChipSettings::default();
            (self.chip.low, self.chip.high) = (default.low, default.high);
        }
        Some(why)
    }
}

impl ChipSettings {
    fn limits_fault(&self) -> Option<&'static str> {
        if self.low >= self.high {
            return Some("LowLimit must be below HighLimit");
        }
        (!self.extended && self.high > NORMAL_MAX)
            .then_some("above 127.9375 °C the limits need ChipMode \"extended\"")
    }
}

/// The highest temperature in twelve bits, °C.
const NORMAL_MAX: f32 = 127.9375;

/// What came of one property.
#[derive(Debug, PartialEq)]
enum Answer {
    Taken,
    Default,
    Refused(String),
    NotOurs,
}

impl Answer {
    /// The property in the plug-and-play form; an accepted value is echoed as it was written.
    fn report(self, property: &Property, wanted: Option<&Value>, in_force: Value, version: &Value) -> Value {
        match self {
            Self::Taken => {
                json!({"value": wanted.cloned().unwrap_or(in_force), "ac": 200, "av": version, "ad": "applied"})
            }
            Self::Default => json!({"value": in_force, "ac": 203, "av": version, "ad": "default"}),
            Self::Refused(why) => {
                json!({"value": in_force, "ac": 400, "av": version, "ad": format!("{}: {why}", property.name)})
            }
            Self::NotOurs => json!({
                "ac": 501, "av": version,
                "ad": "the kernel's driver owns this chip; SENSOR_CHIP=tmp102 would let it be set here",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(settings: &mut Settings, mut desired: Value) -> Value {
        desired["$version"] = json!(8);
        settings.apply(&desired, true)
    }

    #[test]
    fn what_is_desired_is_taken_over_and_reported_with_the_version_it_came_from() {
        let mut settings = Settings::default();
        let report = apply(&mut settings, json!({"SamplingInterval": "250ms", "ConversionMode": "one-shot"}));
        assert_eq!(settings.sampling_interval, Duration::from_millis(250));
        assert!(settings.chip.one_shot);
        let taken = json!({"value": "250ms", "ac": 200, "av": 8, "ad": "applied"});
        assert_eq!(report["SamplingInterval"], taken);
        assert_eq!(report["BatchSize"], json!({"value": 1, "ac": 203, "av": 8, "ad": "default"}));
    }

    #[test]
    fn a_nonsensical_value_is_refused_with_a_reason_and_the_old_one_stays() {
        let mut settings = Settings::default();
        apply(&mut settings, json!({"BatchSize": 16, "ConversionRate": 8}));
        let report =
            apply(&mut settings, json!({"BatchSize": 0, "ConversionRate": 8, "SamplingInterval": "2s"}));
        assert_eq!((settings.batch_size, settings.sampling_interval), (16, Duration::from_secs(2)));
        assert_eq!(
            report["BatchSize"],
            json!({"value": 16, "ac": 400, "av": 8, "ad": "BatchSize: 0 is not a whole number from 1 to 1024"})
        );
        assert_eq!(report["ConversionRate"]["ac"], 200);
    }

    #[test]
    fn a_property_that_is_no_longer_desired_goes_back_to_its_default() {
        let mut settings = Settings::default();
        apply(&mut settings, json!({"ChipMode": "extended", "FaultQueue": 6}));
        apply(&mut settings, json!({}));
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn every_property_refuses_nonsense_in_words_that_name_it() {
        for property in &PROPERTIES {
            for nonsense in [json!(null), json!("?"), json!(-1e9), json!([]), json!({"a": 1})] {
                let mut settings = Settings::default();
                let report = apply(&mut settings, json!({property.name: nonsense}));
                let answer = &report[property.name];
                assert_eq!(answer["ac"], 400, "{}: {nonsense} -> {answer}", property.name);
                assert!(answer["ad"].as_str().unwrap().starts_with(property.name), "{answer}");
                assert_eq!(settings, Settings::default());
            }
        }
    }

    #[test]
    fn limits_the_wrong_way_round_are_both_refused() {
        let mut settings = Settings::default();
        let report = apply(&mut settings, json!({"LowLimit": 30, "HighLimit": 25}));
        assert_eq!((settings.chip.low, settings.chip.high), (75.0, 80.0));
        assert_eq!(report["LowLimit"]["ad"], "LowLimit: LowLimit must be below HighLimit");
        assert_eq!(
            (report["HighLimit"]["ac"].clone(), report["HighLimit"]["value"].clone()),
            (json!(400), json!(80.0))
        );
    }

    #[test]
    fn a_limit_that_needs_the_extended_mode_is_refused_without_it() {
        let mut settings = Settings::default();
        let report = apply(&mut settings, json!({"HighLimit": 140, "ChipMode": "extended"}));
        assert_eq!((report["HighLimit"]["ac"].clone(), settings.chip.high), (json!(200), 140.0));
        let report = apply(&mut settings, json!({"HighLimit": 140}));
        assert_eq!((report["HighLimit"]["ac"].clone(), settings.chip.high), (json!(400), 80.0));
    }

    #[test]
    fn what_was_in_force_is_remembered_from_the_reported_half() {
        let mut settings = Settings::default();
        let mut reported =
            apply(&mut settings, json!({"BatchSize": 16, "ChipMode": "extended", "HighLimit": 140}));
        reported["BatchAge"]["value"] = json!("nonsense");
        assert_eq!(Settings::remembered(&reported), settings);

        let mut after_restart = Settings::remembered(&reported);
        apply(&mut after_restart, json!({"BatchSize": "many", "ChipMode": "extended", "HighLimit": 140}));
        assert_eq!(after_restart.batch_size, 16);
    }

    #[test]
    fn properties_of_the_chip_are_not_ours_to_set_where_the_kernel_owns_it() {
        let mut settings = Settings::default();
        let desired = json!({"ChipMode": "extended", "BatchSize": 2, "$version": 3});
        let report = settings.apply(&desired, false);
        assert_eq!(
            (report["ChipMode"]["ac"].clone(), report["BatchSize"]["ac"].clone()),
            (json!(501), json!(200))
        );
        assert!(!settings.chip.extended);
    }
}
