//! Queries over twins.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::Door;
use super::devices::document;
use super::failure::{Answer, Failure};
use crate::core::Right;

/// Rows on a page, as many as IoT Hub gives at most.
const PAGE_MAX: usize = 1_000;
const ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

pub(crate) async fn query(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<(HeaderMap, Json<Vec<Value>>)> {
    door.authorize(&headers, Right::ServiceConnect, "/devices")?;
    let body = document(&door, &body)?;
    let Some(sql) = body.get("query").and_then(Value::as_str) else {
        return Err(Failure::argument(&door.shared.host, "expected {\"query\":\"SELECT * FROM devices\"}"));
    };
    let found = door.shared.core().query(sql);
    let rows = found.map_err(|error| door.failure(error))?;

    let count = number(&headers, &ITEM_COUNT).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    // Where the last page ended: the rows come in a fixed order, so their number is enough.
    let first = number(&headers, &CONTINUATION).unwrap_or(0);
    let more = rows.len() > first.saturating_add(count);
    let page: Vec<Value> = rows.into_iter().skip(first).take(count).collect();
    let mut answer = HeaderMap::new();
    answer.insert(ITEM_TYPE, HeaderValue::from_static("Twin"));
    if more {
        answer.insert(CONTINUATION, HeaderValue::from(first + count)); // absent on the last page: SDKs look for that
    }
    Ok((answer, Json(page)))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<usize> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
