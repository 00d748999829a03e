//! Feedback on cloud-to-device messages, fetched by HTTP.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Door;
use super::failure::Answer;
use crate::core::Right;

/// What the paths are compared with in tokens.
const PATH: &str = "/messages/serviceBound/feedback";

/// 200 with the records and the lock token as an etag, or 204.
pub(crate) async fn receive(State(door): State<Door>, headers: HeaderMap) -> Answer<Response> {
    door.authorize(&headers, Right::ServiceConnect, PATH)?;
    let now = door.shared.now();
    let Some(batch) = door.shared.core().receive_feedback(now) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let etag = format!("\"{}\"", batch.lock_token);
    Ok(([(header::ETAG, etag)], Json(batch.records)).into_response())
}

pub(crate) async fn complete(
    State(door): State<Door>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    settle(&door, &token, &headers, true)
}

pub(crate) async fn abandon(
    State(door): State<Door>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    settle(&door, &token, &headers, false)
}

fn settle(door: &Door, token: &str, headers: &HeaderMap, complete: bool) -> Answer<StatusCode> {
    door.authorize(headers, Right::ServiceConnect, PATH)?;
    let settled = door.shared.core().settle_feedback(token.trim_matches('"'), complete);
    settled.map_err(|error| door.failure(error))?;
    Ok(StatusCode::NO_CONTENT)
}
