//! Deployments: to one device, and configurations for all devices of a kind.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::Door;
use super::access::{if_match, path_of};
use super::devices::{Top, document};
use super::failure::Answer;
use crate::core::{Right, test_queries};

/// Configurations in one answer.
const TOP_MAX: usize = 100;
/// What the paths are compared with in tokens.
const PATH: &str = "/configurations";

pub(crate) async fn apply(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::RegistryWrite, &path_of(&device, None))?;
    let content = document(&door, &body)?;
    let now = door.shared.now();
    let applied = door.shared.core().apply_configuration(&device, &content, now);
    door.shared.durable(applied.map_err(|error| door.failure(error))?).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn list(
    State(door): State<Door>,
    Query(query): Query<Top>,
    headers: HeaderMap,
) -> Answer<Json<Vec<Value>>> {
    door.authorize(&headers, Right::RegistryRead, PATH)?;
    Ok(Json(door.shared.core().configurations(query.top.unwrap_or(TOP_MAX).min(TOP_MAX))))
}

pub(crate) async fn get(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryRead, PATH)?;
    let found = door.shared.core().configuration(&id);
    found.map(Json).map_err(|error| door.failure(error).structured())
}

pub(crate) async fn put(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryWrite, PATH)?;
    let document = document(&door, &body)?;
    let now = door.shared.now();
    let put = door.shared.core().put_configuration(&id, &document, if_match(&headers), now);
    let (document, ticket) = put.map_err(|error| door.failure(error).structured())?;
    door.shared.durable(ticket).await;
    Ok(Json(document))
}

pub(crate) async fn delete(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::RegistryWrite, PATH)?;
    let now = door.shared.now();
    let deleted = door.shared.core().delete_configuration(&id, if_match(&headers), now);
    door.shared.durable(deleted.map_err(|error| door.failure(error).structured())?).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn test(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryRead, PATH)?;
    Ok(Json(test_queries(&document(&door, &body)?)))
}
