//! Digital twins, the little of them that does not need the models: the twin's properties in one document, a patch of
//! them, and commands, which are direct methods.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use isotherm_iothub::MethodCall;
use serde_json::{Map, Value, json};

use super::Door;
use super::access::{if_match, path_of};
use super::devices::document;
use super::failure::{Answer, Failure};
use super::methods::invoke;
use crate::core::{Change, Right};

/// The status that a command's own answer has.
const COMMAND_STATUS: HeaderName = HeaderName::from_static("x-ms-command-statuscode");

pub(crate) async fn get(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, &path_of(&id, None))?;
    let who = door.identity(&id, None)?;
    let twin = door.shared.core().twin_document(&who).map_err(|error| door.failure(error))?;
    Ok(Json(digital(&id, &twin)))
}

/// A JSON patch of properties; each becomes a desired property.
pub(crate) async fn patch(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::ServiceConnect, &path_of(&id, None))?;
    let who = door.identity(&id, None)?;
    let desired = desired(&document(&door, &body)?);
    let desired = desired.map_err(|why| Failure::argument(&door.shared.host, why))?;
    let change = Change::Patch { tags: None, desired: Some(desired) };
    let now = door.shared.now();
    let changed = door.shared.core().desired(&who, change, if_match(&headers), now);
    let (_, ticket) = changed.map_err(|error| door.failure(error))?;
    door.shared.durable(ticket).await;
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn command(
    State(door): State<Door>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(HeaderMap, Json<Value>)> {
    call(&door, &id, &name, &headers, &body).await
}

pub(crate) async fn component_command(
    State(door): State<Door>,
    Path((id, component, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(HeaderMap, Json<Value>)> {
    call(&door, &id, &format!("{component}*{name}"), &headers, &body).await
}

async fn call(
    door: &Door,
    id: &str,
    name: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer<(HeaderMap, Json<Value>)> {
    door.authorize(headers, Right::ServiceConnect, &path_of(id, None))?;
    let who = door.identity(id, None)?;
    let payload = if body.is_empty() { Value::Null } else { document(door, body)? };
    let call =
        MethodCall::new(name, payload).map_err(|refused| Failure::refused(&door.shared.host, &refused))?;
    let result = invoke(door, &who, call).await.map_err(|error| door.failure(error))?;
    let mut answer = HeaderMap::new();
    answer.insert(COMMAND_STATUS, HeaderValue::from(result.status));
    Ok((answer, Json(result.payload)))
}

/// Properties as they are: what is reported wins over what is desired.
fn digital(id: &str, twin: &Value) -> Value {
    let mut document = Map::new();
    document.insert("$dtId".to_owned(), id.into());
    for half in ["desired", "reported"] {
        let properties = twin.pointer(&format!("/properties/{half}")).and_then(Value::as_object);
        for (name, value) in properties.into_iter().flatten().filter(|(name, _)| !name.starts_with('$')) {
            document.insert(name.clone(), value.clone());
        }
    }
    document.insert("$metadata".to_owned(), json!({"$model": twin.get("modelId")}));
    Value::Object(document)
}

/// `[{"op":"add","path":"/a/b","value":1}]` as a patch of desired properties.
fn desired(patch: &Value) -> Result<Value, &'static str> {
    let wrong = "a JSON patch is wanted: [{\"op\":\"replace\",\"path\":\"/name\",\"value\":1}]";
    let mut desired = json!({});
    for step in patch.as_array().ok_or(wrong)? {
        let value = match step.get("op").and_then(Value::as_str) {
            Some("add" | "replace") => step.get("value").cloned().ok_or(wrong)?,
            Some("remove") => Value::Null,
            _ => return Err("op wants add, replace or remove"),
        };
        let path = step.get("path").and_then(Value::as_str).and_then(|path| path.strip_prefix('/'));
        let mut at = &mut desired;
        for name in path.ok_or(wrong)?.split('/') {
            let name = name.replace("~1", "/").replace("~0", "~");
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[name.as_str()];
        }
        *at = value;
    }
    Ok(desired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_patch_becomes_desired_properties() {
        let patch = json!([
            {"op": "replace", "path": "/target", "value": 20},
            {"op": "add", "path": "/thermostat/max", "value": 30},
            {"op": "remove", "path": "/old"},
        ]);
        assert_eq!(desired(&patch), Ok(json!({"target": 20, "thermostat": {"max": 30}, "old": null})));
        assert!(desired(&json!({})).is_err());
        assert!(desired(&json!([{"op": "move", "path": "/a"}])).is_err());
        assert!(desired(&json!([{"op": "add", "path": "a", "value": 1}])).is_err());
    }
}
