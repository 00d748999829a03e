//! How much the hub logs, while it runs: it has no twin of its own to say so.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use isotherm_client::setting;
use serde_json::{Value, json};

use super::Door;
use super::devices::document;
use super::failure::{Answer, Failure};
use crate::core::Right;

/// `GET /isotherm/v1/log`.
pub(crate) async fn get(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    Ok(shown(&door))
}

/// `PUT /isotherm/v1/log` with `{"level": "debug"}`; `"default"` is what `LOG_LEVEL` says.
pub(crate) async fn put(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    let wrong = |why: String| Failure::argument(&door.shared.host, why);
    let document = document(&door, &body)?;
    let level = setting::log_level(&document["level"]).map_err(|why| wrong(format!("level: {why}")))?;
    door.shared.host.log.turn(level.as_deref()).map_err(wrong)?;
    tracing::info!(level = door.shared.host.log.level(), "how much is logged was changed");
    Ok(shown(&door))
}

fn shown(door: &Door) -> Json<Value> {
    Json(json!({ "level": door.shared.host.log.level() }))
}
