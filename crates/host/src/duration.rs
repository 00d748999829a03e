//! Durations as people write them: `"1500ms"`, `"2s"`, `"5m"`, `"1h"`.

use std::time::Duration;

/// Longest name first, so that `ms` is not taken for `s`.
const UNITS: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
/// The same in nanoseconds, the largest first.
const SIZES: [(&str, u128); 5] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

/// A plain number and its unit, which may stand apart: `"1.5 m"`. `None` if it is no such thing or too long.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (number, seconds) =
        UNITS.iter().find_map(|(unit, seconds)| Some((text.trim().strip_suffix(unit)?, *seconds)))?;
    let number = number.trim_end();
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'); // no "inf", no "1e3", no sign
    if !plain {
        return None;
    }
    of_seconds(number.parse::<f64>().ok()? * seconds)
}

/// To the nearest microsecond, so that what [`show`] says is what was understood. `None` if it is negative or too long.
#[must_use]
pub fn of_seconds(seconds: f64) -> Option<Duration> {
    let exact = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from((exact.as_nanos() + 500) / 1_000).ok().map(Duration::from_micros)
}

/// As [`parse`] takes it, in the largest unit that leaves no rest; what is no whole microsecond is rounded down.
#[must_use]
pub fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let whole = SIZES.iter().find(|(_, size)| nanos.is_multiple_of(*size));
    let (unit, size) = whole.unwrap_or(&("us", 1_000));
    format!("{}{unit}", nanos / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_unit_are_a_duration() {
        for (text, millis) in [
            ("1500ms", 1_500),
            ("2s", 2_000),
            ("0.5 s", 500),
            (" 1.5m ", 90_000),
            ("24h", 86_400_000),
            ("7000us", 7),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_what_was_understood() {
        for text in ["2888888.8888888889ms", "0.0000004s", "0.0000006s", "1.0000005s", "86399.9999996s"] {
            let duration = parse(text).expect("it is one");
            assert_eq!(parse(&show(duration)), Some(duration), "{text}");
        }
    }

    #[test]
    fn everything_else_is_none() {
        for text in
            ["", "5", "s", "soon", "-1s", "1e3s", "infs", "1.2.3s", "5 days", &format!("{}h", u64::MAX)]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_shown_in_the_largest_unit_that_leaves_no_rest_and_can_be_read_again() {
        for (micros, shown) in [
            (0, "0s"),
            (500, "500us"),
            (1_000, "1ms"),
            (1_500_000, "1500ms"),
            (2_000_000, "2s"),
            (60_000_000, "1m"),
            (7_200_000_000, "2h"),
        ] {
            let duration = Duration::from_micros(micros);
            assert_eq!(show(duration), shown);
            assert_eq!(parse(shown), Some(duration));
        }
    }
}
