//! Merging as RFC 7396 says and twins use it: objects merge, null deletes, everything else replaces. And the way back:
//! which patch leads from one document to another.

use serde_json::{Map, Value};

/// Merges `patch` into `target`. Arrays are replaced, never merged; the order of what stays is kept.
///
/// Goes as deep as `patch` does, so a patch from outside is checked first.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        merge_map(target, patch);
    }
}

pub(super) fn merge_map(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key); // not `remove`, which would move the last one to its place
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The patch that leads from `old` to `new`: all of `new`, and null for what `old` has and `new` has not. So clients
/// that know only a part of `old` get there, too.
pub(super) fn patch_to(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let kept = new.iter().map(|(key, value)| match (old.get(key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => (key.clone(), Value::Object(patch_to(old, new))),
        _ => (key.clone(), value.clone()),
    });
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    kept.chain(removed).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn merged(mut target: Value, patch: Value) -> Value {
        merge(&mut target, &patch);
        target
    }

    #[test]
    fn the_examples_of_rfc_7396_hold() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": "foo"}), json!({"a": {"b": {"c": null}}}), json!({"a": {"b": {}}})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merged(target, patch), result);
        }
    }

    #[test]
    fn what_stays_keeps_its_order() {
        let merged = merged(json!({"a": 1, "b": 2, "c": 3, "d": 4}), json!({"a": null, "c": 5}));
        assert_eq!(merged.to_string(), r#"{"b":2,"c":5,"d":4}"#);
    }

    /// A document that a twin may hold; with nulls it is a patch.
    pub(in crate::twin) fn document(nulls: bool) -> BoxedStrategy<Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-1000..1000i32).prop_map(Value::from),
            "[a-z]{0,5}".prop_map(Value::from),
            vec(0..9i32, 0..3).prop_map(Value::from),
        ];
        let leaf = if nulls { prop_oneof![3 => leaf, 1 => Just(Value::Null)].boxed() } else { leaf.boxed() };
        let object = |inner: BoxedStrategy<Value>| {
            btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
        };
        let tree = leaf.prop_recursive(3, 24, 4, move |inner| object(inner).boxed());
        object(tree.boxed()).boxed()
    }

    proptest! {
        #[test]
        fn a_merged_document_has_no_null_and_merging_again_changes_nothing(
            target in document(false),
            patch in document(true),
        ) {
            let once = merged(target, patch.clone());
            prop_assert!(!once.to_string().contains("null"));
            prop_assert_eq!(merged(once.clone(), patch), once);
        }

        #[test]
        fn the_patch_between_two_documents_leads_from_one_to_the_other(
            old in document(false),
            new in document(false),
        ) {
            let (Value::Object(from), Value::Object(to)) = (&old, &new) else { unreachable!() };
            let patch = Value::Object(patch_to(from, to));
            prop_assert_eq!(merged(old, patch), new);
        }
    }
}
