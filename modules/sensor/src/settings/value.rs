//! Values of desired properties, taken and shown. A reason says what was wrong and what would be right.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use isotherm_proto::Celsius;
use serde_json::{Value, json};

/// Units a duration may be written in, longest name first so that `ms` is not taken for `s`.
const UNITS: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// The most of somebody else's value that a reason repeats.
const EXCERPT_CHARS_MAX: usize = 60;

/// `"1500ms"`, `"2s"`, `"5m"`, `"1h"`, or a number of milliseconds.
pub(super) fn duration(value: &Value, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let seconds = match value {
        Value::Number(number) => number.as_f64().map(|ms| ms / 1e3),
        Value::String(text) => parse_seconds(text),
        _ => None,
    };
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
        let shown = excerpt(value);
        format!("{shown} is not a duration; write it like \"1500ms\", \"2s\", \"5m\" or as a number of milliseconds")
    })?;
    if !range.contains(&duration) {
        let (from, to) = (in_words(*range.start()), in_words(*range.end()));
        return Err(format!("{} is outside {from} to {to}", excerpt(value)));
    }
    Ok(duration)
}

fn parse_seconds(text: &str) -> Option<f64> {
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.trim().strip_suffix(unit)?, *factor)))?;
    let number = number.trim_end();
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'); // no "inf", no "1e3", no sign
    (plain && !number.is_empty()).then(|| number.parse::<f64>().ok()).flatten().map(|number| number * factor)
}

/// The duration as it could have been written.
pub(super) fn show_duration(duration: Duration) -> Value {
    json!(in_words(duration))
}

/// The duration in the largest unit that leaves no rest.
fn in_words(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    let whole = units.iter().find(|(_, size)| micros != 0 && micros.is_multiple_of(*size));
    let (unit, size) = whole.unwrap_or(&("us", 1));
    format!("{}{unit}", micros / size)
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

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| value.as_str() == Some(word));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        format!(
            "{} is not one of {}",
            excerpt(value),
            list(choices.iter().map(|(word, _)| format!("{word:?}")))
        )
    })
}

/// The word for `meaning`.
pub(super) fn show_choice<T: Copy + PartialEq>(meaning: T, choices: &[(&str, T)]) -> Value {
    let found = choices.iter().find(|(_, each)| *each == meaning);
    json!(found.expect("every meaning has a word").0)
}

/// One of a few numbers.
pub(super) fn one_of<T: Copy>(value: &Value, choices: &[(f64, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(number, _)| value.as_f64() == Some(*number));
    found
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| format!("{} is not one of {}", excerpt(value), list(choices.iter().map(|(n, _)| n))))
}

/// The number for `meaning`, as an integer where it is one.
pub(super) fn show_one_of<T: Copy + PartialEq>(meaning: T, choices: &[(f64, T)]) -> Value {
    let number = choices.iter().find(|(_, each)| *each == meaning).expect("every meaning has a number").0;
    if number.fract() == 0.0 { json!(number as u64) } else { json!(number) }
}

/// A temperature that the chip could measure.
pub(super) fn celsius(value: &Value) -> Result<f32, String> {
    let degrees = value.as_f64().ok_or_else(|| format!("{} is not a number of °C", excerpt(value)))? as f32;
    let range = Celsius::SENSIBLE;
    if !range.contains(&degrees) {
        return Err(format!(
            "{degrees} is outside what the chip can read, {} to {} °C",
            range.start(),
            range.end()
        ));
    }
    Ok(degrees)
}

/// A whole number.
pub(super) fn count(value: &Value, range: RangeInclusive<usize>) -> Result<usize, String> {
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    count.filter(|count| range.contains(count)).ok_or_else(|| {
        format!("{} is not a whole number from {} to {}", excerpt(value), range.start(), range.end())
    })
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// The value as it was written, cut where it gets long.
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

    fn duration_of(value: Value) -> Result<Duration, String> {
        duration(&value, Duration::from_millis(1)..=Duration::from_secs(86_400))
    }

    #[test]
    fn a_duration_is_text_with_a_unit_or_a_number_of_milliseconds() {
        for (value, millis) in [
            (json!("1500ms"), 1_500),
            (json!("2s"), 2_000),
            (json!("0.5 s"), 500),
            (json!("5m"), 300_000),
            (json!("24h"), 86_400_000),
            (json!(250), 250),
        ] {
            assert_eq!(duration_of(value.clone()), Ok(Duration::from_millis(millis)), "{value}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_how_to_write_one() {
        for value in
            [json!("soon"), json!("-1s"), json!("1e3s"), json!("infs"), json!("s"), json!(true), json!({})]
        {
            let why = duration_of(value.clone()).unwrap_err();
            assert!(why.starts_with(&format!("{value} is not a duration; write it like")), "{why}");
        }
    }

    #[test]
    fn a_duration_out_of_range_is_refused_with_the_range() {
        for value in [json!(0), json!("25h"), json!("999us")] {
            assert_eq!(duration_of(value.clone()).unwrap_err(), format!("{value} is outside 1ms to 24h"));
        }
        assert!(duration_of(json!(1e300)).is_err());
    }

    #[test]
    fn a_duration_is_shown_in_the_largest_unit_that_leaves_no_rest() {
        for (millis, shown) in
            [(1, "1ms"), (1_500, "1500ms"), (2_000, "2s"), (60_000, "1m"), (7_200_000, "2h")]
        {
            assert_eq!(show_duration(Duration::from_millis(millis)), json!(shown));
        }
    }

    #[test]
    fn a_long_value_is_cut_in_the_reason() {
        let why = celsius(&json!("x".repeat(100_000))).unwrap_err();
        assert!(why.len() < 100, "{why}");
    }
}
