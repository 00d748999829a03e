//! The registry, many devices at once.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::Value;

use super::Door;
use super::devices::document;
use super::failure::Answer;
use crate::core::Right;

/// 200 also if some failed: then the body says which.
pub(crate) async fn post(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryWrite, "/devices")?;
    let entries = document(&door, &body)?;
    let now = door.shared.now();
    let done = door.shared.core().bulk(&entries, now);
    let (result, ticket) = done.map_err(|error| door.failure(error))?;
    door.shared.durable(ticket).await;
    Ok(Json(result))
}
