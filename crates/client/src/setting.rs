//! Values of desired properties that more than one module has, taken and shown as IoT Edge's users write them. A reason
//! says what was wrong and what would be right.

use std::ops::RangeInclusive;
use std::time::Duration;

use isotherm_host::{duration, log};
use serde_json::{Value, json};

/// The most of somebody else's value that a reason repeats.
const EXCERPT_CHARS_MAX: usize = 60;
/// What a `LogLevel` says where `LOG_LEVEL` is to count.
const DEFAULT_LEVEL: &str = "default";

/// `"1500ms"`, `"2s"`, `"5m"`, `"1h"`, or a number of milliseconds.
///
/// # Errors
/// It is none, or out of this range.
pub fn duration(value: &Value, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let found = match value {
        Value::Number(number) => number.as_f64().and_then(|ms| duration::of_seconds(ms / 1e3)),
        Value::String(text) => duration::parse(text),
        _ => None,
    };
    let shown = excerpt(value);
    let found = found.ok_or_else(|| {
        format!("{shown} is not a duration; write it like \"1500ms\", \"2s\", \"5m\" or as a number of milliseconds")
    })?;
    if !range.contains(&found) {
        let (from, to) = (duration::show(*range.start()), duration::show(*range.end()));
        return Err(format!("{shown} is outside {from} to {to}"));
    }
    Ok(found)
}

/// The duration as it could have been written.
#[must_use]
pub fn show_duration(duration: Duration) -> Value {
    json!(duration::show(duration))
}

/// A level as `LOG_LEVEL` takes it; none (`"default"`) where that variable is to count.
///
/// # Errors
/// It is none.
pub fn log_level(value: &Value) -> Result<Option<String>, String> {
    match value.as_str() {
        Some(DEFAULT_LEVEL) => Ok(None),
        Some(level) => match log::parse(level) {
            Ok(_) => Ok(Some(level.to_owned())),
            Err(why) => Err(format!("{why}, or \"default\"")),
        },
        None => {
            Err(format!("{} is no text; it wants a level such as \"debug\", or \"default\"", excerpt(value)))
        }
    }
}

/// The level as it could have been written.
#[must_use]
pub fn show_log_level(level: Option<&str>) -> Value {
    json!(level.unwrap_or(DEFAULT_LEVEL))
}

/// The value as it was written, cut where it gets long.
#[must_use]
pub fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(value: &Value) -> Result<Duration, String> {
        duration(value, Duration::from_millis(1)..=Duration::from_secs(86_400))
    }

    #[test]
    fn a_duration_is_text_with_a_unit_or_a_number_of_milliseconds() {
        assert_eq!(day(&json!("1500ms")), Ok(Duration::from_millis(1_500)));
        assert_eq!(day(&json!(250)), Ok(Duration::from_millis(250)));
        assert_eq!(day(&json!(0.5e4)), Ok(Duration::from_secs(5)));
        assert_eq!(show_duration(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn what_is_no_duration_is_refused_with_how_to_write_one() {
        for value in [json!("soon"), json!("-1s"), json!(-1), json!(true), json!({}), json!(1e300)] {
            let why = day(&value).unwrap_err();
            assert!(why.starts_with(&format!("{value} is not a duration; write it like")), "{why}");
        }
    }

    #[test]
    fn a_duration_out_of_range_is_refused_with_the_range() {
        for value in [json!(0), json!("25h"), json!("999us")] {
            assert_eq!(day(&value).unwrap_err(), format!("{value} is outside 1ms to 24h"));
        }
    }

    #[test]
    fn a_level_is_one_of_the_loggers_or_the_environments() {
        assert_eq!(log_level(&json!("default")), Ok(None));
        assert_eq!(log_level(&json!("debug")), Ok(Some("debug".to_owned())));
        for value in [json!("loud"), json!(3)] {
            assert!(log_level(&value).unwrap_err().ends_with("or \"default\""));
        }
        assert_eq!(show_log_level(None), "default");
    }

    #[test]
    fn a_long_value_is_cut_in_the_reason() {
        let why = day(&json!("ü".repeat(100_000))).unwrap_err();
        assert!(why.chars().count() < 200, "{why}");
    }
}
