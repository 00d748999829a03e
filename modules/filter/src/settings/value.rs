//! Values of desired properties, taken and shown. A reason says what was wrong and what would be right.

use std::ops::RangeInclusive;
use std::time::Duration;

use isotherm_proto::Celsius;
use serde_json::{Value, json};

/// The widest hysteresis, °C.
const HYSTERESIS_MAX: f32 = 100.0;
/// The longest interval between two alerts.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The most of somebody else's value that a reason repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// A temperature that the chip can read.
pub(super) fn celsius(value: &Value) -> Result<Celsius, String> {
    let degrees = number(value, Celsius::SENSIBLE, "outside of what the chip can read")?;
    Celsius::new(degrees).map_err(|refused| refused.to_string())
}

/// A difference of temperatures; 0 is none.
pub(super) fn hysteresis(value: &Value) -> Result<Option<f32>, String> {
    let degrees = number(value, 0.0..=HYSTERESIS_MAX, "no hysteresis")?;
    Ok((degrees > 0.0).then_some(degrees))
}

fn number(value: &Value, range: RangeInclusive<f32>, otherwise: &str) -> Result<f32, String> {
    let wanted = format!("it wants °C from {} to {}", range.start(), range.end());
    #[expect(clippy::cast_possible_truncation, reason = "readings are f32, and must be compared as they are")]
    let number = value.as_f64().map(|number| number as f32);
    match number {
        Some(number) if range.contains(&number) => Ok(number),
        Some(_) => Err(format!("{} is {otherwise}; {wanted}", excerpt(value))),
        None => Err(format!("{} is not a number; {wanted}", excerpt(value))),
    }
}

/// The number as it could have been written: 21.6, and not 21.600000381469727; 30, and not 30.0.
pub(crate) fn show_number(number: f32) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "no temperature here is beyond 150")]
    if number.fract() == 0.0 { json!(number as i64) } else { json!(shortest(number)) }
}

/// The `f64` that prints as this `f32` does.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().expect("a printed f32 is a number")
}

/// What `LogLevel` says where `LOG_LEVEL` is to count.
pub(super) const DEFAULT_LEVEL: &str = "default";

/// A level as `LOG_LEVEL` takes it; none where that variable is to count.
pub(super) fn log_level(value: &Value) -> Result<Option<String>, String> {
    match value.as_str() {
        Some(DEFAULT_LEVEL) => Ok(None),
        Some(level) => match isotherm_host::log::parse(level) {
            Ok(_) => Ok(Some(level.to_owned())),
            Err(why) => Err(format!("{why}, or \"default\"")),
        },
        None => {
            Err(format!("{} is no text; it wants a level such as \"debug\", or \"default\"", excerpt(value)))
        }
    }
}

/// A time between two alerts; 0 is none.
pub(super) fn interval(value: &Value) -> Result<Option<Duration>, String> {
    const WANTED: &str =
        "write it like \"1500ms\", \"5s\", \"2m\", \"1h\" or as a number of milliseconds, up to 1 day";
    let seconds = match value {
        Value::Number(number) => number.as_f64().map(|milliseconds| milliseconds / 1e3),
        Value::String(text) => seconds(text),
        _ => None,
    };
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match duration {
        Some(duration) if duration <= INTERVAL_MAX => Ok((!duration.is_zero()).then_some(duration)),
        _ => Err(format!("{} is no such duration; {WANTED}", excerpt(value))),
    }
}

fn seconds(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let factor = match text[digits..].trim_start() {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    text[..digits].parse::<f64>().ok().map(|number| number * factor)
}

/// The duration in a unit that leaves no rest, as it could have been written.
pub(super) fn show_duration(duration: Duration) -> Value {
    const UNITS: [(&str, u128); 4] =
        [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return json!("0s");
    }
    let whole = UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
    json!(match whole {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{}ms", duration.as_secs_f64() * 1e3),
    })
}

fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_taken_as_text_and_as_milliseconds_and_shown_as_they_could_have_been_written() {
        for (given, shown) in [
            (json!("1500ms"), "1500ms"),
            (json!("5s"), "5s"),
            (json!("1.5m"), "90s"),
            (json!("24h"), "24h"),
            (json!(2000), "2s"),
            (json!("0.5ms"), "0.5ms"),
        ] {
            let interval = interval(&given).unwrap().unwrap();
            assert_eq!(show_duration(interval), shown, "{given}");
        }
        assert_eq!(interval(&json!("0s")), Ok(None));
        assert_eq!(interval(&json!(0)), Ok(None));
    }

    #[test]
    fn what_is_no_duration_is_refused_and_cut_short_in_the_reason() {
        for given in [
            json!("5"),
            json!("s"),
            json!("-5s"),
            json!("5 days"),
            json!("25h"),
            json!(-1),
            json!(true),
            json!("1.2.3s"),
        ] {
            assert!(interval(&given).is_err(), "{given}");
        }
        let reason = interval(&json!("ü".repeat(1000))).unwrap_err();
        assert!(reason.chars().count() < 200, "{reason}");
    }
}
