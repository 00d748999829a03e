//! Two patches told as one.

use serde_json::{Map, Value};

/// Whether `later` after `earlier` can be told in one patch: not where an object follows what was removed or was none,
/// for merged it would bring back what the object had before.
pub(super) fn fits(earlier: &Value, later: &Value) -> bool {
    let (Some(earlier), Some(later)) = (earlier.as_object(), later.as_object()) else { return true };
    later.iter().filter(|(_, value)| value.is_object()).all(|(name, value)| match earlier.get(name) {
        None => true,
        Some(before) => before.is_object() && fits(before, value),
    })
}

/// Makes one patch of two. Unlike a merge it keeps the nulls, which remove.
pub(super) fn compose(earlier: &mut Value, later: Value) {
    match (earlier, later) {
        (Value::Object(earlier), Value::Object(later)) => {
            for (name, value) in later {
                compose(earlier.entry(name).or_insert_with(|| empty_like(&value)), value);
            }
        }
        (earlier, later) => *earlier = later,
    }
}

fn empty_like(value: &Value) -> Value {
    if value.is_object() { Value::Object(Map::new()) } else { Value::Null }
}
