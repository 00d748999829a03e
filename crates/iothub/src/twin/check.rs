//! What no twin may hold, and where it was found: an error names the path, as in `machine.limits[2].high`.

use std::fmt;

use serde_json::{Map, Number, Value};

use crate::Refused;
use crate::error::excerpt;

/// Largest desired or reported section, in bytes as [`size`] counts.
pub const SECTION_BYTES_MAX: usize = 32 * 1024;
/// Largest tags, in bytes as [`size`] counts.
pub const TAGS_BYTES_MAX: usize = 8 * 1024;
/// Longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest text value, in bytes of UTF-8.
pub const STRING_BYTES_MAX: usize = 4096;
/// Largest whole number: 2^52 - 1.
pub const NUMBER_MAX: i64 = 4_503_599_627_370_495;
/// Smallest whole number: -2^52.
pub const NUMBER_MIN: i64 = -4_503_599_627_370_496;
/// Objects within objects, the section itself not counted. Arrays count only within arrays.
pub const DEPTH_MAX: usize = 10;

/// Where in the document: a chain of steps on the stack, written out only for an error.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root(&'a str),
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Key(Self::Root(_), key) => f.write_str(&excerpt(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", excerpt(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Place<'_> {
    fn refuse(&self, why: impl Into<String>) -> Refused {
        Refused::new(self.to_string(), why.into())
    }
}

/// Checks a whole document or a patch, of which `name` is what people call it.
pub(super) fn document<'v>(name: &str, value: &'v Value) -> Result<&'v Map<String, Value>, Refused> {
    let root = Place::Root(name);
    let Value::Object(map) = value else {
        return Err(root.refuse(format!("is {}; right is a JSON object", kind(value))));
    };
    object(root, map, 0)?;
    Ok(map)
}

/// Whether a merged document is still small enough.
pub(super) fn fits(name: &str, document: &Map<String, Value>, limit: usize) -> Result<(), Refused> {
    let bytes = map_size(document);
    if bytes <= limit {
        return Ok(());
    }
    Err(Refused::new(name.to_owned(), format!("would have {bytes} bytes; at most {limit} fit")))
}

fn object(place: Place<'_>, map: &Map<String, Value>, depth: usize) -> Result<(), Refused> {
    for (name, value) in map {
        let place = Place::Key(&place, name);
        key(place, name)?;
        property(place, value, depth)?;
    }
    Ok(())
}

fn property(place: Place<'_>, value: &Value, depth: usize) -> Result<(), Refused> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => whole_number(place, number),
        Value::String(text) if text.len() > STRING_BYTES_MAX => {
            Err(place.refuse(format!("has {} bytes; at most {STRING_BYTES_MAX} fit", text.len())))
        }
        Value::String(_) => Ok(()),
        Value::Object(map) => object(place, map, deeper(place, depth)?),
        Value::Array(items) => array(place, items, depth),
    }
}

fn array(place: Place<'_>, items: &[Value], depth: usize) -> Result<(), Refused> {
    for (index, item) in items.iter().enumerate() {
        let place = Place::Index(&place, index);
        match item {
            Value::Null => return Err(place.refuse("is null; an array has none, since null means to delete")),
            Value::Array(items) => array(place, items, deeper(place, depth)?)?,
            other => property(place, other, depth)?,
        }
    }
    Ok(())
}

fn deeper(place: Place<'_>, depth: usize) -> Result<usize, Refused> {
    if depth == DEPTH_MAX {
        return Err(place.refuse(format!("is more than {DEPTH_MAX} levels deep")));
    }
    Ok(depth + 1)
}

fn key(place: Place<'_>, name: &str) -> Result<(), Refused> {
    if name.is_empty() {
        return Err(place.refuse("has an empty name; a name has 1 to 1024 bytes"));
    }
    if name.len() > KEY_BYTES_MAX {
        return Err(place.refuse(format!("has a name of {} bytes; at most {KEY_BYTES_MAX} fit", name.len())));
    }
    let wrong = |c: &char| c.is_control() || c.is_whitespace() || matches!(c, '.' | '$' | '#');
    match name.chars().find(wrong) {
        None => Ok(()),
        Some(c) => {
            let why = format!("has {c:?} in its name; right is all but blanks, control characters and . $ #");
            Err(place.refuse(why))
        }
    }
}

fn whole_number(place: Place<'_>, number: &Number) -> Result<(), Refused> {
    let right = match (number.as_i64(), number.as_u64()) {
        (Some(number), _) => (NUMBER_MIN..=NUMBER_MAX).contains(&number),
        (None, Some(_)) => false, // beyond what an i64 holds
        (None, None) => true,     // a double
    };
    if right {
        return Ok(());
    }
    Err(place.refuse(format!("{number} is out of range; whole numbers go from {NUMBER_MIN} to {NUMBER_MAX}")))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What the hub counts: keys and texts in bytes of UTF-8, a number 8, a boolean 4, null nothing.
pub fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map_size(map),
    }
}

fn map_size(map: &Map<String, Value>) -> usize {
    map.iter().map(|(key, value)| key.len() + size(value)).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value) -> Result<(), String> {
        document("reported", &value).map(|_| ()).map_err(|refused| refused.to_string())
    }

    #[track_caller]
    fn refused(value: Value, beginning: &str) {
        let why = check(value).unwrap_err();
        assert!(why.starts_with(beginning), "{why}");
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        refused(json!({"machine": {"limits": [{"high": [1, null]}]}}), "machine.limits[0].high[1]: is null");
        refused(json!({"machine": {"a b": 1}}), "machine.a b: has ' ' in its name");
        refused(json!([1]), "reported: is an array; right is a JSON object");
        refused(json!(null), "reported: is null");
    }

    #[test]
    fn ten_levels_are_taken_and_eleven_refused() {
        // The section, ten objects in it, and the number.
        assert_eq!(check(nested(11)), Ok(()));
        refused(nested(12), "a.a.a.a.a.a.a.a.a.a.a: is more than 10 levels deep");
        let arrays = |levels| json!({ "a": (0..levels).fold(json!(1), |inner, _| json!([inner])) });
        assert_eq!(check(arrays(11)), Ok(()));
        assert!(check(arrays(12)).is_err());
    }

    #[test]
    fn names_are_taken_to_their_limit_and_without_reserved_characters() {
        assert_eq!(check(json!({ "k".repeat(1024): 1, "ü-_/:%": 1 })), Ok(()));
        assert!(check(json!({ "k".repeat(1025): 1 })).is_err());
        for name in ["", "a.b", "$version", "a b", "a\tb", "a\u{85}b", "a\u{7f}", "a#", "a\u{2003}b", "\u{0}"]
        {
            assert!(check(json!({ name: 1 })).is_err(), "{name:?} got through");
        }
    }

    #[test]
    fn texts_are_taken_to_four_kibibytes_also_in_arrays() {
        let text = |length: usize| "x".repeat(length);
        assert_eq!(check(json!({"a": text(4096), "b": [text(4096)]})), Ok(()));
        refused(json!({"a": text(4097)}), "a: has 4097 bytes; at most 4096 fit");
        refused(json!({"a": [text(4097)]}), "a[0]: has 4097 bytes");
        assert!(check(json!({"a": "ü".repeat(2049)})).is_err());
    }

    #[test]
    fn whole_numbers_are_taken_to_two_to_the_52nd_and_doubles_any() {
        assert_eq!(check(json!({"a": NUMBER_MAX, "b": NUMBER_MIN, "c": 1e300, "d": -0.5})), Ok(()));
        refused(json!({"a": NUMBER_MAX + 1}), "a: 4503599627370496 is out of range");
        refused(json!({"a": NUMBER_MIN - 1}), "a: -4503599627370497 is out of range");
        refused(json!({"a": u64::MAX}), "a: 18446744073709551615 is out of range");
    }

    #[test]
    fn sizes_are_counted_as_the_hub_counts() {
        assert_eq!(size(&json!({"ab": 1, "c": true, "d": null, "e": "ü", "f": [1, "x", {"g": 2.5}]})), {
            (2 + 8) + (1 + 4) + 1 + (1 + 2) + (1 + 8 + 1 + 1 + 8)
        });
    }
}
