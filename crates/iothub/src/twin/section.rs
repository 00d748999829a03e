//! One half of a twin: its properties, when each was last updated, and its version.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::{self, SECTION_BYTES_MAX};
use super::merge::{merge_map, patch_to};
use crate::{Refused, time};

const VERSION: &str = "$version";
const METADATA: &str = "$metadata";
const LAST_UPDATED: &str = "$lastUpdated";
const LAST_UPDATED_VERSION: &str = "$lastUpdatedVersion";

/// The desired or the reported properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    half: Half,
    version: u64,
    value: Map<String, Value>,
    /// Mirrors `value`; every node carries `$lastUpdated`, under desired `$lastUpdatedVersion`, too.
    metadata: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Half {
    Desired,
    Reported,
}

impl Half {
    const fn name(self) -> &'static str {
        match self {
            Self::Desired => "desired",
            Self::Reported => "reported",
        }
    }
}

impl Section {
    /// An empty desired section at version 1.
    pub fn desired(now: Timestamp) -> Self {
        Self::new(Half::Desired, now)
    }

    /// An empty reported section at version 1.
    pub fn reported(now: Timestamp) -> Self {
        Self::new(Half::Reported, now)
    }

    fn new(half: Half, now: Timestamp) -> Self {
        let mut metadata = Map::new();
        Stamp::new(half, now, 1).put(&mut metadata);
        Self { half, version: 1, value: Map::new(), metadata }
    }

    /// Refuses what no section may hold: all limits but the size, which only the merged whole has.
    pub fn check(patch: &Value) -> Result<(), Refused> {
        check::document("properties", patch).map(|_| ())
    }

    /// Merges a patch; says whether it changed anything. One that does moves `$version` up by one and stamps all that
    /// it names. On an error nothing has changed.
    ///
    /// A service often sends back what it read: `$metadata` and `$version` at the top of a desired patch are passed
    /// over. In a reported patch they are refused, as IoT Edge does.
    pub fn patch(&mut self, patch: &Value, now: Timestamp) -> Result<bool, Refused> {
        let patch = self.without_annotations(patch);
        let patch = check::document(self.half.name(), &patch)?;
        let mut value = self.value.clone();
        merge_map(&mut value, patch);
        check::fits(self.half.name(), &value, SECTION_BYTES_MAX)?;
        if value == self.value {
            return Ok(false);
        }
        self.value = value;
        self.version += 1;
        Stamp::new(self.half, now, self.version).stamp(&mut self.metadata, patch);
        Ok(true)
    }

    /// Replaces all of it. Counts as one change, also if nothing differs. Returns the patch that leads there: the new
    /// whole, and null for what is gone. On an error nothing has changed.
    pub fn replace(&mut self, whole: &Value, now: Timestamp) -> Result<Value, Refused> {
        let whole = self.without_annotations(whole);
        let mut value = Map::new();
        merge_map(&mut value, check::document(self.half.name(), &whole)?);
        check::fits(self.half.name(), &value, SECTION_BYTES_MAX)?;
        let patch = patch_to(&self.value, &value);
        self.version += 1;
        self.metadata = Map::new();
        Stamp::new(self.half, now, self.version).stamp(&mut self.metadata, &value);
        self.value = value;
        Ok(Value::Object(patch))
    }

    fn without_annotations<'v>(&self, document: &'v Value) -> std::borrow::Cow<'v, Value> {
        use std::borrow::Cow;
        let annotated = |map: &Map<String, Value>| map.contains_key(VERSION) || map.contains_key(METADATA);
        match document {
            Value::Object(map) if self.half == Half::Desired && annotated(map) => {
                let mut map = map.clone();
                map.shift_remove(VERSION);
                map.shift_remove(METADATA);
                Cow::Owned(Value::Object(map))
            }
            other => Cow::Borrowed(other),
        }
    }

    /// `$version`: 1 for a new section.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The properties alone.
    pub fn value(&self) -> &Map<String, Value> {
        &self.value
    }

    /// The properties and `$version`: what clients see.
    pub fn client_view(&self) -> Value {
        let mut view = self.value.clone();
        view.insert(VERSION.to_owned(), self.version.into());
        Value::Object(view)
    }

    /// The properties, `$metadata` and `$version`: what services see.
    pub fn service_view(&self) -> Value {
        let mut view = self.value.clone();
        view.insert(METADATA.to_owned(), Value::Object(self.metadata.clone()));
        view.insert(VERSION.to_owned(), self.version.into());
        Value::Object(view)
    }
}

/// A patch as clients are told of it: with the `$version` that it leads to.
pub fn notification(patch: &Value, version: u64) -> Value {
    let mut told = patch.as_object().cloned().unwrap_or_default();
    told.shift_remove(METADATA);
    told.insert(VERSION.to_owned(), version.into());
    Value::Object(told)
}

/// What an update leaves on every node that it names.
struct Stamp {
    at: Value,
    version: Option<Value>,
}

impl Stamp {
    fn new(half: Half, now: Timestamp, version: u64) -> Self {
        Self { at: time::dotnet(now).into(), version: (half == Half::Desired).then(|| version.into()) }
    }

    fn put(&self, node: &mut Map<String, Value>) {
        node.insert(LAST_UPDATED.to_owned(), self.at.clone());
        if let Some(version) = &self.version {
            node.insert(LAST_UPDATED_VERSION.to_owned(), version.clone());
        }
    }

    /// Stamps `node` and all below it that `patch` names, forgetting what it deletes. (No property begins with `$`,
    /// so stamps and properties never meet.)
    fn stamp(&self, node: &mut Map<String, Value>, patch: &Map<String, Value>) {
        self.put(node);
        for (key, value) in patch {
            match value {
                Value::Null => {
                    node.shift_remove(key);
                }
                Value::Object(patch) => {
                    let child = node.entry(key).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(child) = child {
                        self.stamp(child, patch);
                    }
                }
                _ => {
                    let mut leaf = Map::new();
                    self.put(&mut leaf);
                    node.insert(key.clone(), Value::Object(leaf));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::twin::merge::tests::document;

    fn at(day: i8) -> Timestamp {
        format!("2024-03-{day:02}T00:00:00Z").parse().unwrap()
    }

    fn stamp(day: i8, version: u64) -> Value {
        json!({"$lastUpdated": format!("2024-03-{day:02}T00:00:00.0000000Z"), "$lastUpdatedVersion": version})
    }

    #[test]
    fn a_patch_that_changes_something_counts_and_one_that_does_not_does_not() {
        let mut desired = Section::desired(at(1));
        assert_eq!(desired.patch(&json!({"TemperatureThreshold": 30}), at(2)), Ok(true));
        assert_eq!(desired.client_view(), json!({"TemperatureThreshold": 30, "$version": 2}));
        let before = desired.clone();
        for patch in [json!({}), json!({"TemperatureThreshold": 30}), json!({"gone": null})] {
            assert_eq!(desired.patch(&patch, at(3)), Ok(false), "{patch}");
        }
        assert_eq!(desired, before);
    }

    #[test]
    fn every_node_that_a_patch_names_is_stamped_and_no_other() {
        let mut desired = Section::desired(at(1));
        desired.patch(&json!({"a": {"b": 1, "c": 2}, "d": [1]}), at(2)).unwrap();
        desired.patch(&json!({"a": {"b": 3}, "d": null}), at(3)).unwrap();
        let metadata = &desired.service_view()["$metadata"];
        assert_eq!(metadata["a"]["b"], stamp(3, 3));
        assert_eq!(metadata["a"]["c"], stamp(2, 2));
        assert_eq!(metadata["a"]["$lastUpdated"], stamp(3, 3)["$lastUpdated"]);
        assert_eq!(metadata["$lastUpdatedVersion"], 3);
        assert_eq!(metadata.get("d"), None);
    }

    #[test]
    fn a_value_that_takes_an_objects_place_takes_its_stamps_too() {
        let mut desired = Section::desired(at(1));
        desired.patch(&json!({"a": {"b": 1}}), at(2)).unwrap();
        desired.patch(&json!({"a": 1}), at(3)).unwrap();
        assert_eq!(desired.service_view()["$metadata"]["a"], stamp(3, 3));
    }

    #[test]
    fn reported_properties_are_stamped_without_a_version() {
        let mut reported = Section::reported(at(1));
        reported.patch(&json!({"a": 1}), at(2)).unwrap();
        assert_eq!(
            reported.service_view()["$metadata"]["a"],
            json!({"$lastUpdated": "2024-03-02T00:00:00.0000000Z"})
        );
    }

    #[test]
    fn a_replacement_counts_once_and_says_what_is_gone() {
        let mut desired = Section::desired(at(1));
        desired.patch(&json!({"a": 1, "b": {"c": 1, "d": 2}}), at(2)).unwrap();
        let patch = desired.replace(&json!({"b": {"c": 3}, "e": 4}), at(3)).unwrap();
        assert_eq!(patch, json!({"b": {"c": 3, "d": null}, "e": 4, "a": null}));
        assert_eq!(desired.client_view(), json!({"b": {"c": 3}, "e": 4, "$version": 3}));
        let metadata = &desired.service_view()["$metadata"];
        assert_eq!((metadata.get("a"), &metadata["b"]["c"]), (None, &stamp(3, 3)));
        assert_eq!(
            notification(&patch, 3),
            json!({"b": {"c": 3, "d": null}, "e": 4, "a": null, "$version": 3})
        );
    }

    #[test]
    fn a_service_may_send_back_what_it_read_but_a_client_may_not() {
        let mut desired = Section::desired(at(1));
        desired.patch(&json!({"a": 1}), at(2)).unwrap();
        let read = desired.service_view();
        assert_eq!(desired.patch(&read, at(3)), Ok(false));
        assert!(desired.replace(&read, at(3)).is_ok());
        assert!(desired.patch(&json!({"a": {"$version": 1}}), at(3)).is_err());
        assert!(Section::reported(at(1)).patch(&json!({"$version": 1}), at(2)).is_err());
    }

    #[test]
    fn a_section_is_filled_to_its_limit_and_not_past_it() {
        let mut reported = Section::reported(at(1));
        let full: Map<_, _> = (0..8).map(|at| (at.to_string(), Value::from("x".repeat(4095)))).collect();
        assert_eq!(reported.patch(&Value::Object(full), at(2)), Ok(true));
        let before = reported.clone();
        let why = reported.patch(&json!({"8": null, "9": ""}), at(3)).unwrap_err().to_string();
        assert_eq!(why, "reported: would have 32769 bytes; at most 32768 fit");
        assert_eq!(reported, before);
        assert_eq!(reported.patch(&json!({"0": null, "9": true}), at(3)), Ok(true));
    }

    #[test]
    fn an_error_names_the_path_and_changes_nothing() {
        let mut desired = Section::desired(at(1));
        let before = desired.clone();
        let why = desired.patch(&json!({"ok": 1, "a": {"b": [null]}}), at(2)).unwrap_err();
        assert_eq!(why.what(), "a.b[0]");
        assert!(desired.replace(&json!({"a": {"b c": 1}}), at(2)).is_err());
        assert_eq!(desired, before);
    }

    /// The metadata has exactly the nodes that the value has.
    fn mirrors(value: &Value, metadata: &Value) -> bool {
        let Some(metadata) = metadata.as_object() else { return false };
        let keys = metadata.keys().filter(|key| !key.starts_with('$'));
        match value.as_object() {
            None => keys.count() == 0 && metadata.contains_key(LAST_UPDATED),
            Some(value) => {
                keys.count() == value.len()
                    && metadata.contains_key(LAST_UPDATED)
                    && value.iter().all(|(key, value)| {
                        metadata.get(key).is_some_and(|metadata| mirrors(value, metadata))
                    })
            }
        }
    }

    proptest! {
        #[test]
        fn metadata_mirrors_the_properties_after_any_patches(
            patches in proptest::collection::vec((any::<bool>(), document(true)), 0..6),
        ) {
            let mut section = Section::desired(at(1));
            for (whole, patch) in patches {
                let before = section.version();
                let changed = if whole {
                    section.replace(&patch, at(2)).map(|_| true)
                } else {
                    section.patch(&patch, at(2))
                };
                prop_assert_eq!(section.version(), before + u64::from(changed.unwrap()));
                let metadata = Value::Object(section.metadata.clone());
                prop_assert!(mirrors(&Value::Object(section.value.clone()), &metadata));
            }
        }
    }
}
