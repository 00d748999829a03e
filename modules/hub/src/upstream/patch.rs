//! What makes one JSON object of another, as a merge patch.

use serde_json::{Map, Value};

/// The patch that turns `before` into `after`: `null` for what is gone, whole values for what is new or differs,
/// objects compared member by member. Members that begin with `$` are the hub's own and stay out.
pub(super) fn between(before: &Value, after: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !name.starts_with('$') && !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in after.iter().filter(|(name, _)| !name.starts_with('$')) {
        match before.get(name) {
            Some(known) if known == value => {}
            Some(known) if known.is_object() && value.is_object() => {
                let inner = between(known, value);
                if !inner.is_empty() {
                    patch.insert(name.clone(), inner.into());
                }
            }
            _ => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use isotherm_iothub::merge;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_merged_into_what_was_makes_what_is() {
        let before = json!({"a": 1, "b": {"c": 2, "d": [1, 2]}, "gone": true, "$version": 3});
        let after = json!({"a": 1, "b": {"c": 5, "d": [1]}, "new": {"x": {"y": 1}}, "$version": 4});
        let patch = Value::from(between(&before, &after));
        assert_eq!(patch, json!({"gone": null, "b": {"c": 5, "d": [1]}, "new": {"x": {"y": 1}}}));
        let mut merged = before;
        merge(&mut merged, &patch);
        assert!(between(&merged, &after).is_empty());
    }

    #[test]
    fn from_nothing_everything_is_new_and_to_the_same_nothing_is() {
        let all = json!({"a": {"b": 1}});
        assert_eq!(Value::from(between(&Value::Null, &all)), all);
        assert!(between(&all, &all).is_empty());
    }
}
