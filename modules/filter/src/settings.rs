//! What the twin says: where the line is, and how gladly somebody is told.
//!
//! | desired property | | default |
//! | --- | --- | --- |
//! | `TemperatureThreshold` | °C, -55 to 150: readings above it are forwarded | `25` |
//! | `Hysteresis` | °C, 0 to 100: one alert for each time above; 0 is off | off |
//! | `MinimumAlertInterval` | time between alerts of one sensor, to 1 day; 0 is off | off |
//! | `LogLevel` | how much is logged, as `LOG_LEVEL` is written; `"default"` is what that variable says | `"default"` |
//!
//! A duration is text (`"1500ms"`, `"5s"`, `"2m"`, `"1h"`) or a number of milliseconds. Each property is taken or
//! refused by itself, and reported as `{"value", "ac", "av", "ad"}`: what is in force, 200 (or 400 if the desired
//! value was refused, or 203 for a default that nobody asked to change), the desired `$version`, and why.

mod value;

pub(crate) use value::show_number;

use std::time::Duration;

use isotherm_client::setting;
use isotherm_proto::Celsius;
use serde_json::{Map, Value, json};

/// All that can be changed while the filter runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Readings above it are forwarded.
    pub threshold: Celsius,
    /// °C below the threshold to which a sensor must fall before it can alert again.
    pub hysteresis: Option<f32>,
    /// How far apart the alerts of one sensor are at least.
    pub minimum_alert_interval: Option<Duration>,
    /// How much is logged; none: as the environment says.
    pub log_level: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: Celsius::measured(25.0),
            hysteresis: None,
            minimum_alert_interval: None,
            log_level: None,
        }
    }
}

/// One desired property: how it is taken, how it is shown.
struct Property {
    name: &'static str,
    take: fn(&mut Settings, &Value) -> Result<(), String>,
    show: fn(&Settings) -> Value,
}

const PROPERTIES: [Property; 4] = [
    Property {
        name: "TemperatureThreshold",
        take: |settings, given| value::celsius(given).map(|it| settings.threshold = it),
        show: |settings| value::show_number(settings.threshold.get()),
    },
    Property {
        name: "Hysteresis",
        take: |settings, given| value::hysteresis(given).map(|it| settings.hysteresis = it),
        show: |settings| value::show_number(settings.hysteresis.unwrap_or(0.0)),
    },
    Property {
        name: "MinimumAlertInterval",
        take: |settings, given| value::interval(given).map(|it| settings.minimum_alert_interval = it),
        show: |settings| setting::show_duration(settings.minimum_alert_interval.unwrap_or_default()),
    },
    Property {
        name: "LogLevel",
        take: |settings, given| setting::log_level(given).map(|it| settings.log_level = it),
        show: |settings| setting::show_log_level(settings.log_level.as_deref()),
    },
];

impl Settings {
    /// What was in force when the filter last reported, so that a desired value that was refused before a restart
    /// does not throw the filter back to the default after it.
    pub fn remembered(reported: &Value) -> Self {
        let mut settings = Self::default();
        for property in &PROPERTIES {
            if let Some(value) = reported.get(property.name).and_then(|report| report.get("value")) {
                let _ = (property.take)(&mut settings, value); // ours, unless somebody else wrote it: then the default
            }
        }
        settings
    }

    /// Takes over what the twin desires and gives what to report of it. A property that is not desired (any more)
    /// goes back to its default; one that makes no sense is refused and stays as it was.
    pub fn apply(&mut self, desired: &Value) -> Value {
        let version = desired.get("$version").cloned().unwrap_or(json!(0));
        let answers = PROPERTIES.iter().map(|property| {
            let mut answer = self.apply_one(property, desired.get(property.name));
            answer.insert("av".to_owned(), version.clone());
            (property.name.to_owned(), Value::Object(answer))
        });
        Value::Object(answers.collect())
    }

    fn apply_one(&mut self, property: &Property, desired: Option<&Value>) -> Map<String, Value> {
        let (code, why) = match desired.filter(|value| !value.is_null()) {
            None => {
                let default = (property.show)(&Self::default());
                (property.take)(self, &default).expect("a default can be taken");
                (203, None)
            }
            Some(value) => match (property.take)(self, value) {
                Ok(()) => (200, None),
                Err(why) => (400, Some(why)),
            },
        };
        let mut answer = Map::new();
        answer.insert("value".to_owned(), (property.show)(self));
        answer.insert("ac".to_owned(), json!(code));
        answer.extend(why.map(|why| ("ad".to_owned(), json!(why))));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(settings: &mut Settings, desired: Value) -> Value {
        settings.apply(&desired)["TemperatureThreshold"].take()
    }

    #[test]
    fn without_any_wish_the_defaults_hold_and_say_so() {
        let mut settings = Settings::remembered(&Value::Null);
        let answers = settings.apply(&json!({"$version": 1}));
        assert_eq!(settings, Settings::default());
        assert_eq!(
            answers,
            json!({
                "TemperatureThreshold": {"value": 25, "ac": 203, "av": 1},
                "Hysteresis": {"value": 0, "ac": 203, "av": 1},
                "MinimumAlertInterval": {"value": "0s", "ac": 203, "av": 1},
                "LogLevel": {"value": "default", "ac": 203, "av": 1},
            })
        );
    }

    #[test]
    fn a_wish_that_makes_sense_is_granted() {
        let mut settings = Settings::default();
        let wish = json!({"TemperatureThreshold": 30, "Hysteresis": 0.5, "MinimumAlertInterval": "5s", "$version": 8});
        let answers = settings.apply(&wish);
        assert_eq!(settings.threshold.get(), 30.0);
        assert_eq!(settings.hysteresis, Some(0.5));
        assert_eq!(settings.minimum_alert_interval, Some(Duration::from_secs(5)));
        assert_eq!(answers["TemperatureThreshold"], json!({"value": 30, "ac": 200, "av": 8}));
        assert_eq!(answers["MinimumAlertInterval"], json!({"value": "5s", "ac": 200, "av": 8}));
    }

    #[test]
    fn a_nonsensical_threshold_is_refused_with_a_reason_and_the_old_one_stays() {
        let mut settings = Settings::default();
        settings.apply(&json!({"TemperatureThreshold": 21.6, "$version": 1}));
        for (wish, why) in [
            (json!("hot"), "\"hot\" is not a number; it wants °C from -55 to 150"),
            (json!(true), "true is not a number; it wants °C from -55 to 150"),
            (json!(1000), "1000 is outside of what the chip can read; it wants °C from -55 to 150"),
            (json!({"c": 30}), "{\"c\":30} is not a number; it wants °C from -55 to 150"),
        ] {
            let answer = answer(&mut settings, json!({"TemperatureThreshold": wish, "$version": 2}));
            assert_eq!(answer, json!({"value": 21.6, "ac": 400, "ad": why, "av": 2}));
            assert_eq!(settings.threshold.get(), 21.6);
        }
    }

    #[test]
    fn one_refused_property_does_not_keep_the_others_from_being_taken() {
        let mut settings = Settings::default();
        let answers = settings
            .apply(&json!({"TemperatureThreshold": 30, "Hysteresis": -1, "MinimumAlertInterval": "x"}));
        assert_eq!(settings.threshold.get(), 30.0);
        assert_eq!(
            (&answers["Hysteresis"]["ac"], &answers["MinimumAlertInterval"]["ac"]),
            (&json!(400), &json!(400))
        );
    }

    #[test]
    fn what_is_wished_no_more_goes_back_to_the_default() {
        let mut settings = Settings::default();
        settings.apply(&json!({"TemperatureThreshold": 30, "Hysteresis": 1, "MinimumAlertInterval": 500}));
        settings.apply(&json!({"TemperatureThreshold": null}));
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn after_a_restart_a_refused_wish_leaves_the_threshold_that_was_in_force() {
        let mut before = Settings::default();
        before.apply(&json!({"TemperatureThreshold": 30, "MinimumAlertInterval": "1500ms"}));
        let reported =
            before.apply(&json!({"TemperatureThreshold": "hot", "MinimumAlertInterval": "1500ms"}));
        let mut after = Settings::remembered(&reported);
        assert_eq!(after, before);
        after.apply(&json!({"TemperatureThreshold": "hot", "MinimumAlertInterval": "1500ms"}));
        assert_eq!(after, before);
    }
}
