//! Where a reader of the event endpoint wants to begin, as it says in a filter.

use isotherm_protocol::amqp::{Error, Map};
use jiff::{SignedDuration, Timestamp};

use crate::core::Position;

/// The name of the only filter there is.
const SELECTOR: &str = "apache.org:selector-filter:string";
/// What is written in front of a property in it.
const PREFIX: &str = "amqp.annotation.x-opt-";

/// Understands a source's filters; without one everything is wanted.
pub(super) fn position(filters: &Map) -> Result<Position, Error> {
    let Some(text) = filters.get(SELECTOR).and_then(|filter| filter.undescribed().as_text()) else {
        return Ok(Position::Earliest);
    };
    parse(text).ok_or_else(|| {
        let why = format!(
            "the filter {text:?} is not understood; this one would be: amqp.annotation.x-opt-offset > '@latest'"
        );
        Error::new("com.microsoft:argument-error", why)
    })
}

fn parse(text: &str) -> Option<Position> {
    let (property, value) = text.split_once('>')?;
    let property = property.trim().strip_prefix(PREFIX)?;
    let (inclusive, value) = match value.strip_prefix('=') {
        Some(value) => (true, value),
        None => (false, value),
    };
    let value = value.trim().trim_matches('\'').trim();
    match property {
        "offset" if value == "@latest" => Some(Position::Latest),
        "offset" | "sequence-number" => {
            let number: i64 = value.parse().ok()?;
            let first = if inclusive { number } else { number.checked_add(1)? };
            Some(u64::try_from(first).map_or(Position::Earliest, Position::At))
        }
        "enqueued-time" | "enqueuedtimeutc" => {
            // Clients know milliseconds only: what came in the same one is not after it.
            let wanted: i64 = value.parse().ok()?;
            let begin = if inclusive { wanted } else { wanted.checked_add(1)? };
            let begin = Timestamp::from_millisecond(begin).ok()?;
            let before = begin.checked_sub(SignedDuration::from_micros(1)).ok()?;
            Some(Position::After(before))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_that_clients_ask_for_is_understood() {
        let after = |text: &str| Position::After(text.parse().unwrap());
        for (text, position) in [
            ("amqp.annotation.x-opt-offset > '-1'", Position::At(0)),
            ("amqp.annotation.x-opt-offset >= '-1'", Position::Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", Position::Latest),
            ("amqp.annotation.x-opt-offset > '512'", Position::At(513)),
            ("amqp.annotation.x-opt-sequence-number >= '7'", Position::At(7)),
            ("amqp.annotation.x-opt-sequence-number > 7", Position::At(8)),
            ("amqp.annotation.x-opt-enqueued-time > '1000'", after("1970-01-01T00:00:01.000999Z")),
            ("amqp.annotation.x-opt-enqueuedtimeutc >= 1000", after("1970-01-01T00:00:00.999999Z")),
        ] {
            assert_eq!(parse(text), Some(position), "{text}");
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in [
            "",
            ">",
            "amqp.annotation.x-opt-offset > 'x'",
            "x-opt-offset > '1'",
            "amqp.annotation.x-opt-offset = '1'",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("amqp.annotation.x-opt-offset > '9223372036854775807'"), None);
    }
}
