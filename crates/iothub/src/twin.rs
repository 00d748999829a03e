//! Twins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use crate::Refused;

/// A twin: what the service wishes, what the client reports, and tags that only the service sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// Service side only.
    pub tags: Map<String, Value>,
    /// What the service wishes.
    pub desired: Section,
    /// What the client reports.
    pub reported: Section,
    /// +1 with any change.
    pub version: u64,
}

impl Twin {
    /// An empty twin.
    pub fn new(_now: Timestamp) -> Self { unimplemented!() }
    /// `{"desired":{…,"$version":1},"reported":{…,"$version":1}}`.
    pub fn client_view(&self) -> Value { unimplemented!() }
    /// `{"desired":{…,"$metadata":…,"$version":1},"reported":…}`: `properties` of the service's twin document.
    pub fn service_view(&self) -> Value { unimplemented!() }
    /// The version in base64, as the hub writes etags of twins.
    pub fn etag(&self) -> String { unimplemented!() }
    /// Merges into the tags: nothing changes on error.
    pub fn patch_tags(&mut self, _patch: &Value) -> Result<bool, Refused> { unimplemented!() }
    /// Replaces the tags: nothing changes on error.
    pub fn replace_tags(&mut self, _whole: &Value) -> Result<(), Refused> { unimplemented!() }
}

/// One half of a twin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    value: Map<String, Value>,
    metadata: Value,
    version: u64,
}

impl Section {
    /// An empty desired section, version 1.
    pub fn desired(_now: Timestamp) -> Self { unimplemented!() }
    /// An empty reported section, version 1.
    pub fn reported(_now: Timestamp) -> Self { unimplemented!() }
    /// Refuses what no twin may hold.
    pub fn check(_patch: &Value) -> Result<(), Refused> { unimplemented!() }
    /// Merges; says whether anything changed. Nothing changes on error.
    pub fn patch(&mut self, _patch: &Value, _now: Timestamp) -> Result<bool, Refused> { unimplemented!() }
    /// Replaces; the patch that leads there comes back, removed keys as null.
    pub fn replace(&mut self, _whole: &Value, _now: Timestamp) -> Result<Value, Refused> { unimplemented!() }
    /// `$version`.
    pub fn version(&self) -> u64 { unimplemented!() }
    /// The properties without `$version` and `$metadata`.
    pub fn value(&self) -> &Map<String, Value> { unimplemented!() }
    /// The properties and `$version`.
    pub fn client_view(&self) -> Value { unimplemented!() }
    /// The properties, `$metadata` and `$version`.
    pub fn service_view(&self) -> Value { unimplemented!() }
}

/// Merges as RFC 7396 says: objects merge, null deletes, all else replaces.
pub fn merge(_target: &mut Value, _patch: &Value) { unimplemented!() }
