//! Deployments.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::Door;
use super::access::path_of;
use super::devices::document;
use super::failure::Answer;
use crate::core::Right;

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
