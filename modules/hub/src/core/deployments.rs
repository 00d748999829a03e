//! Configurations that are meant for every device of a kind: kept as documents, with their metrics counted when they
//! are read, and rolled out (`rollout.rs`). (Content for one device is applied with [`Core::apply_configuration`].)

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use isotherm_iothub::Refused;
use isotherm_iothub::time::dotnet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::query::{Collection, Query};
use super::registry::match_etag;
use super::rollout::check_content;
use super::{ApiError, Core, ErrorCode, Now, documents};
use crate::store::{StoreError, Table, Ticket};

/// Configurations in one hub, as IoT Hub has it for its standard tiers.
const CONFIGURATIONS_MAX: usize = 100;
/// Longest id, in characters.
const ID_CHARS_MAX: usize = 128;
/// What may begin the target condition of modules' configurations.
const OF_MODULES: &str = "from devices.modules where";

/// All configurations, by id.
pub(super) type Deployments = BTreeMap<String, Arc<Deployment>>;

/// A configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Deployment {
    /// What its author wrote, checked.
    said: Map<String, Value>,
    created: jiff::Timestamp,
    updated: jiff::Timestamp,
    etag: u64,
    /// Its target condition, read once.
    #[serde(skip)]
    target: OnceLock<Option<Query>>,
}

impl Core {
    /// Creates a configuration (no `if_match`) or updates it. Says its document.
    ///
    /// # Errors
    /// 409401, 404301, 412001, 400004 with the place, 403002 too many.
    pub fn put_configuration(
        &mut self,
        id: &str,
        document: &Value,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        let said = read(id, document).map_err(|refused| ApiError::argument(&refused))?;
        let known = self.deployments.get(id);
        let (created, etag) = match (known, if_match) {
            (Some(_), None) => {
                let message = format!("configuration {id} exists; to update it, send If-Match");
                return Err(ApiError::new(ErrorCode::ConfigurationAlreadyExists, message));
            }
            (None, Some(_)) => return Err(not_found(id)),
            (None, None) if self.deployments.len() >= CONFIGURATIONS_MAX => {
                let message = format!("{CONFIGURATIONS_MAX} configurations are as many as there may be");
                return Err(ApiError::new(ErrorCode::IotHubQuotaExceeded, message));
            }
            (None, None) => (now.wall, self.chance.u64() % 1_000_000_000),
            (Some(known), Some(_)) => {
                match_etag(&documents::etag(known.etag), if_match)?;
                (known.created, known.etag + 1)
            }
        };
        let deployment =
            Arc::new(Deployment { said, created, updated: now.wall, etag, target: OnceLock::new() });
        let kept = serde_json::to_vec(&*deployment).expect("a configuration is JSON");
        let ticket = self.store.put(Table::Configurations, id, kept);
        self.deployments.insert(id.to_owned(), Arc::clone(&deployment));
        let rolled_out = self.roll_out(now);
        Ok((self.configuration_document(&deployment), ticket.max(rolled_out)))
    }

    /// A configuration's document.
    ///
    /// # Errors
    /// 404301.
    pub fn configuration(&self, id: &str) -> Result<Value, ApiError> {
        let found = self.deployments.get(id).ok_or_else(|| not_found(id))?;
        Ok(self.configuration_document(found))
    }

    /// The first `top` configurations' documents, by id.
    pub fn configurations(&self, top: usize) -> Vec<Value> {
        self.deployments.values().take(top).map(|it| self.configuration_document(it)).collect()
    }

    /// Deletes a configuration. What it had brought stays where no other one takes its place.
    ///
    /// # Errors
    /// 404301, 412001.
    pub fn delete_configuration(
        &mut self,
        id: &str,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let found = self.deployments.get(id).ok_or_else(|| not_found(id))?;
        match_etag(&documents::etag(found.etag), if_match)?;
        self.deployments.remove(id);
        let ticket = self.store.delete(Table::Configurations, id);
        Ok(ticket.max(self.roll_out(now)))
    }

    /// At the start.
    pub(super) fn recall_deployments(&mut self, now: Now) -> Result<(), StoreError> {
        for (id, bytes) in self.store.load(Table::Configurations)? {
            if let Ok(deployment) = serde_json::from_slice(&bytes) {
                self.deployments.insert(id, Arc::new(deployment));
            }
        }
        self.roll_out(now); // the power may have gone in the middle of it
        Ok(())
    }

    fn configuration_document(&self, deployment: &Deployment) -> Value {
        let said = &deployment.said;
        let or_empty = |name: &str| said.get(name).cloned().unwrap_or_else(|| json!({}));
        let condition = said.get("targetCondition").and_then(Value::as_str).unwrap_or_default();
        let (targeted, applied) = self.reached(deployment);
        let queries = said.get("metrics").and_then(|metrics| metrics.get("queries")).cloned();
        let queries = queries.filter(Value::is_object).unwrap_or_else(|| json!({}));
        json!({
            "id": said.get("id"),
            "schemaVersion": said.get("schemaVersion").cloned().unwrap_or_else(|| "1.0".into()),
            "labels": or_empty("labels"),
            "content": or_empty("content"),
            "targetCondition": condition,
            "createdTimeUtc": dotnet(deployment.created),
            "lastUpdatedTimeUtc": dotnet(deployment.updated),
            "priority": said.get("priority").cloned().unwrap_or_else(|| 0.into()),
            "systemMetrics": {
                "results": {"targetedCount": targeted, "appliedCount": applied},
                "queries": queries_of(deployment.id(), condition),
            },
            "metrics": {"results": self.metrics(&queries), "queries": queries},
            "etag": documents::etag(deployment.etag),
        })
    }

    /// How many rows each of the author's own queries finds.
    fn metrics(&self, queries: &Value) -> Map<String, Value> {
        let queries = queries.as_object().into_iter().flatten();
        let counted = queries.filter_map(|(name, query)| {
            let query = Query::parse(query.as_str()?).ok()?;
            Some((name.clone(), self.identities_where(&query).len().into()))
        });
        counted.collect()
    }
}

/// What is wrong with a target condition and with metrics' queries, as `testQueries` says it.
pub fn test_queries(body: &Value) -> Value {
    let condition = body.get("targetCondition").and_then(Value::as_str).unwrap_or_default();
    let error = target(condition).err().map(|refused| refused.to_string()).unwrap_or_default();
    let queries = body.get("customMetricQueries").and_then(Value::as_object).into_iter().flatten();
    let errors: Map<String, Value> = queries
        .filter_map(|(name, query)| {
            let refused = Query::parse(query.as_str().unwrap_or_default()).err()?;
            Some((name.clone(), refused.to_string().into()))
        })
        .collect();
    json!({"targetConditionError": error, "customMetricQueryErrors": errors})
}

impl Deployment {
    pub(super) fn id(&self) -> &str {
        self.said.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn content(&self) -> Option<&Value> {
        self.said.get("content")
    }

    /// Whom it is meant for; nobody without a condition.
    pub(super) fn target(&self) -> Option<&Query> {
        let read = || {
            let condition = self.said.get("targetCondition").and_then(Value::as_str)?;
            target(condition).ok().filter(|_| !condition.trim().is_empty())
        };
        self.target.get_or_init(read).as_ref()
    }

    /// Of two, the one that counts less comes first: by priority, then by age.
    pub(super) fn rank(&self) -> (u64, jiff::Timestamp, String) {
        let priority = self.said.get("priority").and_then(Value::as_u64).unwrap_or(0);
        (priority, self.created, self.id().to_owned())
    }
}

/// The queries behind the system's own metrics.
fn queries_of(id: &str, condition: &str) -> Value {
    let trimmed = condition.trim();
    let of_modules = trimmed.get(..OF_MODULES.len()).filter(|start| start.eq_ignore_ascii_case(OF_MODULES));
    let (key, from, rest) = match of_modules {
        Some(start) => ("deviceId, moduleId", "devices.modules", trimmed[start.len()..].trim()),
        None => ("deviceId", "devices", trimmed),
    };
    let rest = if rest.is_empty() || rest == "*" { String::new() } else { format!(" where {rest}") };
    let joint = if rest.is_empty() { " where " } else { " and " };
    json!({
        "targetedCount": format!("select {key} from {from}{rest}"),
        "appliedCount": format!("select {key} from {from}{rest}{joint}configurations.[[{id}]].status = 'Applied'"),
    })
}

fn target(condition: &str) -> Result<Query, Refused> {
    let trimmed = condition.trim();
    match trimmed.get(..OF_MODULES.len()).filter(|start| start.eq_ignore_ascii_case(OF_MODULES)) {
        Some(start) => Query::of_condition(&trimmed[start.len()..], Collection::Modules),
        None => Query::of_condition(trimmed, Collection::Devices),
    }
}

fn read(id: &str, document: &Value) -> Result<Map<String, Value>, Refused> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-:+%_#*?!(),=@;'.".contains(letter);
    if id.is_empty() || id.chars().count() > ID_CHARS_MAX || !id.chars().all(fits) {
        return Err(Refused::new("id", "wants 1 to 128 letters, digits or `-:+%_#*?!(),=@;'.`"));
    }
    let Some(document) = document.as_object() else {
        return Err(Refused::new("the body", "wants a JSON object"));
    };
    if document.get("id").is_some_and(|it| !it.is_null() && it.as_str() != Some(id)) {
        return Err(Refused::new("id", "is not the one in the path"));
    }
    for name in ["labels", "content", "metrics"] {
        if document.get(name).is_some_and(|it| !it.is_null() && !it.is_object()) {
            return Err(Refused::new(name, "wants an object"));
        }
    }
    if document.get("priority").is_some_and(|it| !it.is_null() && !it.is_u64()) {
        return Err(Refused::new("priority", "wants a whole number from 0 on"));
    }
    check_content(document.get("content").unwrap_or(&Value::Null))?;
    match document.get("targetCondition") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => drop(target(text)?),
        Some(_) => return Err(Refused::new("targetCondition", "wants a text, such as `tags.site = 'a'`")),
    }
    let author = ["id", "schemaVersion", "labels", "content", "targetCondition", "priority", "metrics"];
    let said = author.iter().filter_map(|name| Some(((*name).to_owned(), document.get(*name)?.clone())));
    let mut said: Map<String, Value> = said.filter(|(_, value)| !value.is_null()).collect();
    said.insert("id".to_owned(), id.into());
    Ok(said)
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(ErrorCode::ConfigurationNotFound, format!("configuration {id} does not exist"))
}
