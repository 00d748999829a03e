//! The registry: devices and their modules.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Door;
use super::access::{if_match, path_of};
use super::failure::{Answer, Failure};
use crate::core::Right;

/// Devices in one answer, as many as IoT Hub gives at most.
const TOP_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Top {
    pub(crate) top: Option<usize>,
}

pub(crate) async fn list(
    State(door): State<Door>,
    Query(query): Query<Top>,
    headers: HeaderMap,
) -> Answer<Json<Vec<Value>>> {
    door.authorize(&headers, Right::RegistryRead, "/devices")?;
    let top = query.top.unwrap_or(TOP_MAX).min(TOP_MAX);
    Ok(Json(door.shared.core().devices(top)))
}

pub(crate) async fn get(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryRead, &path_of(&device, None))?;
    let found = door.shared.core().device(&device);
    found.map(Json).map_err(|error| door.failure(error))
}

pub(crate) async fn put(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryWrite, &path_of(&device, None))?;
    let document = document(&door, &body)?;
    let now = door.shared.now();
    let put = door.shared.core().put_device(&device, &document, if_match(&headers), now);
    let (document, ticket) = put.map_err(|error| door.failure(error))?;
    door.shared.durable(ticket).await;
    Ok(Json(document))
}

pub(crate) async fn delete(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::RegistryWrite, &path_of(&device, None))?;
    let now = door.shared.now();
    let deleted = door.shared.core().delete_device(&device, if_match(&headers), now);
    door.shared.durable(deleted.map_err(|error| door.failure(error))?).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn modules(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Vec<Value>>> {
    door.authorize_modules(&headers, Right::RegistryRead, &path_of(&device, None))?;
    let modules = door.shared.core().modules(&device);
    modules.map(Json).map_err(|error| door.failure(error).structured())
}

pub(crate) async fn get_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize_modules(&headers, Right::RegistryRead, &path_of(&device, Some(&module)))?;
    let found = door.shared.core().module(&device, &module);
    found.map(Json).map_err(|error| door.failure(error).structured())
}

pub(crate) async fn put_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    door.authorize_modules(&headers, Right::RegistryWrite, &path_of(&device, Some(&module)))?;
    let document = document(&door, &body)?;
    let now = door.shared.now();
    let put = door.shared.core().put_module(&device, &module, &document, if_match(&headers), now);
    let (document, ticket) = put.map_err(|error| door.failure(error).structured())?;
    door.shared.durable(ticket).await;
    Ok(Json(document))
}

pub(crate) async fn delete_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    door.authorize_modules(&headers, Right::RegistryWrite, &path_of(&device, Some(&module)))?;
    let now = door.shared.now();
    let deleted = door.shared.core().delete_module(&device, &module, if_match(&headers), now);
    door.shared.durable(deleted.map_err(|error| door.failure(error).structured())?).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn statistics(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryRead, "/statistics")?;
    let counted = door.shared.core().statistics();
    Ok(Json(json!({
        "totalDeviceCount": counted.total,
        "enabledDeviceCount": counted.enabled,
        "disabledDeviceCount": counted.disabled,
    })))
}

pub(crate) async fn service_statistics(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, "/statistics")?;
    let counted = door.shared.core().statistics();
    Ok(Json(json!({"connectedDeviceCount": counted.connected})))
}

/// A body that must be JSON.
pub(crate) fn document(door: &Door, body: &[u8]) -> Answer<Value> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::argument(&door.shared.host, format!("the body is no JSON: {error}")))
}
