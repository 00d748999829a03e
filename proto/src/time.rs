//! Timestamps on the wire: RFC 3339.

use jiff::Timestamp;

use crate::Refused;

/// The longest timestamp looked at. `2026-03-01T06:30:00.123456789+00:00` has 35 bytes.
const TIMESTAMP_BYTES_MAX: usize = 48;

/// 0000-01-01T00:00:00Z: before it, a year does not fit RFC 3339's four digits.
const YEAR_ZERO: i64 = -62_167_219_200;

/// Reads the timestamp in the field `what`. Another offset than UTC is understood: it names the same moment.
pub(crate) fn parse(what: &str, text: &str) -> Result<Timestamp, Refused> {
    const RIGHT: &str = "it must be RFC 3339 in UTC, like 2026-03-01T06:30:00Z";
    if text.is_empty() {
        return Err(Refused::new(what, format!("is missing; {RIGHT}")));
    }
    if text.len() > TIMESTAMP_BYTES_MAX {
        return Err(Refused::new(what, format!("has {} bytes; {RIGHT}", text.len())));
    }
    match text.parse::<Timestamp>() {
        Ok(at) if at.as_second() >= YEAR_ZERO => Ok(at),
        _ => Err(Refused::new(what, format!("{text:?} is not a moment; {RIGHT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_written_with_another_offset_is_the_same_moment() {
        let utc = parse("timestamp", "2026-03-01T06:30:00Z").unwrap();
        assert_eq!(parse("timestamp", "2026-03-01T07:30:00+01:00").unwrap(), utc);
    }

    #[test]
    fn a_time_without_an_offset_is_refused_since_it_names_no_moment() {
        let refused = parse("timestamp", "2026-03-01T06:30:00").unwrap_err().to_string();
        assert!(refused.starts_with("timestamp: \"2026-03-01T06:30:00\" is not a moment"), "{refused}");
        assert!(refused.ends_with("like 2026-03-01T06:30:00Z"), "{refused}");
    }

    #[test]
    fn what_rfc_3339_cannot_write_is_refused() {
        for text in ["", "now", "-000001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", &"9".repeat(49)] {
            assert!(parse("timestamp", text).is_err(), "{text}");
        }
    }
}
