//! Values of desired properties, taken and shown. A reason says what was wrong and what would be right.

use std::ops::RangeInclusive;
use std::time::Duration;

use isotherm_client::setting::{self, excerpt};
use isotherm_proto::Celsius;
use serde_json::{Value, json};

/// The widest hysteresis, °C.
const HYSTERESIS_MAX: f32 = 100.0;
/// The longest interval between two alerts.
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

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

/// A time between two alerts; 0 is none.
pub(super) fn interval(value: &Value) -> Result<Option<Duration>, String> {
    let interval = setting::duration(value, Duration::ZERO..=INTERVAL_MAX)?;
    Ok((!interval.is_zero()).then_some(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_between_alerts_is_none_and_the_longest_is_a_day() {
        assert_eq!(interval(&json!("0s")), Ok(None));
        assert_eq!(interval(&json!(0)), Ok(None));
        assert_eq!(interval(&json!("24h")), Ok(Some(INTERVAL_MAX)));
        assert_eq!(interval(&json!("25h")).unwrap_err(), "\"25h\" is outside 0s to 24h");
    }
}
