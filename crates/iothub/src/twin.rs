//! Twins: what the service wishes of a client (`desired`), what the client says of itself (`reported`), and tags,
//! which only the service sees. Read, checked, merged and shown as IoT Hub does.

mod check;
mod merge;
mod section;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Refused;

pub use check::{
    DEPTH_MAX, KEY_BYTES_MAX, NUMBER_MAX, NUMBER_MIN, SECTION_BYTES_MAX, STRING_BYTES_MAX, TAGS_BYTES_MAX,
    size,
};
pub use merge::merge;
pub use section::{Section, notification};

/// The twin of one device or module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// The service's own notes; at most [`TAGS_BYTES_MAX`].
    pub tags: Map<String, Value>,
    /// What the service wishes.
    pub desired: Section,
    /// What the client says of itself.
    pub reported: Section,
    /// Goes up by one with every change; whoever changes a section counts it with [`Twin::touch`].
    pub version: u64,
}

impl Twin {
    /// The twin of somebody new: both sections empty and at version 1.
    pub fn new(now: Timestamp) -> Self {
        Self {
            tags: Map::new(),
            desired: Section::desired(now),
            reported: Section::reported(now),
            version: 1,
        }
    }

    /// Counts a change.
    pub fn touch(&mut self) {
        self.version += 1;
    }

    /// What the client sees: `{"desired":{…,"$version":1},"reported":{…,"$version":1}}`.
    pub fn client_view(&self) -> Value {
        json!({ "desired": self.desired.client_view(), "reported": self.reported.client_view() })
    }

    /// What stands under `properties` in the service's document: the same with `$metadata`.
    pub fn service_view(&self) -> Value {
        json!({ "desired": self.desired.service_view(), "reported": self.reported.service_view() })
    }

    /// The version as an etag, without quotes: `AAAAAAAAAAE=` for 1.
    pub fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.version.to_be_bytes())
    }

    /// Merges into the tags; says whether anything changed. On an error nothing has.
    pub fn patch_tags(&mut self, patch: &Value) -> Result<bool, Refused> {
        let patch = check::document("tags", patch)?;
        let mut tags = self.tags.clone();
        merge::merge_map(&mut tags, patch);
        check::fits("tags", &tags, TAGS_BYTES_MAX)?;
        let changed = tags != self.tags;
        self.tags = tags;
        Ok(changed)
    }

    /// Replaces the tags. On an error nothing has changed.
    pub fn replace_tags(&mut self, whole: &Value) -> Result<(), Refused> {
        let mut tags = Map::new();
        merge::merge_map(&mut tags, check::document("tags", whole)?);
        check::fits("tags", &tags, TAGS_BYTES_MAX)?;
        self.tags = tags;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin() -> Twin {
        Twin::new("2024-03-14T09:54:49.6536567Z".parse().unwrap())
    }

    #[test]
    fn a_new_twin_shows_two_empty_sections_at_version_1() {
        let shown = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
        assert_eq!(twin().client_view(), shown);
        assert_eq!(
            twin().service_view()["reported"],
            json!({"$metadata": {"$lastUpdated": "2024-03-14T09:54:49.6536567Z"}, "$version": 1})
        );
        assert_eq!(
            twin().service_view()["desired"]["$metadata"],
            json!({"$lastUpdated": "2024-03-14T09:54:49.6536567Z", "$lastUpdatedVersion": 1})
        );
    }

    #[test]
    fn the_etag_is_the_version() {
        let mut twin = twin();
        assert_eq!(twin.etag(), "AAAAAAAAAAE=");
        twin.touch();
        assert_eq!(twin.etag(), "AAAAAAAAAAI=");
    }

    #[test]
    fn tags_merge_and_have_a_limit_of_their_own() {
        let mut twin = twin();
        assert_eq!(twin.patch_tags(&json!({"site": "a", "floor": {"level": 2}})), Ok(true));
        assert_eq!(twin.patch_tags(&json!({"site": null})), Ok(true));
        assert_eq!(twin.patch_tags(&json!({"site": null})), Ok(false));
        assert_eq!(Value::from(twin.tags.clone()), json!({"floor": {"level": 2}}));

        let fits = json!({"a": "x".repeat(4096), "b": "x".repeat(4094)});
        assert_eq!(twin.replace_tags(&fits), Ok(()));
        let before = twin.clone();
        let why = twin.patch_tags(&json!({"c": true})).unwrap_err().to_string();
        assert!(why.contains("8192"), "{why}");
        assert!(twin.replace_tags(&json!({"a": "x".repeat(4096), "b": "x".repeat(4095)})).is_err());
        assert!(twin.replace_tags(&json!([])).is_err());
        assert_eq!(twin, before);
    }

    #[test]
    fn a_twin_survives_its_own_json() {
        let mut twin = twin();
        twin.desired.patch(&json!({"a": {"b": [1, 2]}}), "2024-03-15T00:00:00Z".parse().unwrap()).unwrap();
        let text = serde_json::to_string(&twin).unwrap();
        assert_eq!(serde_json::from_str::<Twin>(&text).unwrap(), twin);
    }
}
