//! The one way in which IoT Hub's clients read a time: .NET's round-trip form, always seven digits after the second.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `2024-03-14T09:54:49.6536567Z`: UTC, always seven fraction digits, since .NET's parser accepts no other number.
/// What is finer than 100 ns is cut off.
pub fn dotnet(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC).datetime();
    let mut text = String::with_capacity(28);
    write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:07}Z",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.subsec_nanosecond() / 100
    )
    .expect("a String takes whatever is written to it");
    text
}

/// What the hub writes for a time that never came, such as the last activity of a device that was never seen.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_seven_digits_after_the_second_whatever_it_had_before() {
        for (given, written) in [
            ("2024-03-14T09:54:49.653656789Z", "2024-03-14T09:54:49.6536567Z"),
            ("2024-03-14T09:54:49Z", "2024-03-14T09:54:49.0000000Z"),
            ("2024-03-14T09:54:49.5+02:00", "2024-03-14T07:54:49.5000000Z"),
        ] {
            assert_eq!(dotnet(given.parse().unwrap()), written);
        }
    }
}
