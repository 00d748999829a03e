//! Queries over twins and jobs, page by page.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::Door;
use super::devices::document;
use super::failure::{Answer, Failure};
use crate::core::query::{Collection, Query};
use crate::core::{Page, Right};
use crate::jobs;

/// Rows on a page, as many as IoT Hub gives at most.
const PAGE_MAX: usize = 1_000;
const ITEM_COUNT: HeaderName = HeaderName::from_static("x-ms-max-item-count");
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

/// A page as it is answered.
pub(crate) type Paged = (HeaderMap, Json<Vec<Value>>);

pub(crate) async fn query(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Answer<Paged> {
    door.authorize(&headers, Right::ServiceConnect, "/devices")?;
    let body = document(&door, &body)?;
    let Some(sql) = body.get("query").and_then(Value::as_str) else {
        return Err(Failure::argument(&door.shared.host, "expected {\"query\":\"SELECT * FROM devices\"}"));
    };
    let query = Query::parse(sql).map_err(|refused| Failure::refused(&door.shared.host, &refused))?;
    let (after, count) = asked(&headers);
    let kind = match (query.is_whole(), query.from()) {
        (false, _) => "Raw",
        (true, Collection::Jobs) => "DeviceJob",
        (true, Collection::Devices | Collection::Modules) => "Twin",
    };
    let page = match query.from() {
        Collection::Jobs => jobs::query(&door.shared, &query, after, count),
        Collection::Devices | Collection::Modules => door.shared.core().query(&query, after, count),
    };
    Ok(paged(page, kind))
}

/// Where the page that a request asks for begins, and how long it may be.
pub(crate) fn asked(headers: &HeaderMap) -> (Option<&str>, usize) {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let count = text(&ITEM_COUNT).and_then(|text| text.parse().ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    (text(&CONTINUATION), count)
}

/// A page as it is answered: the continuation is absent on the last one, SDKs look for that.
pub(crate) fn paged(page: Page, kind: &'static str) -> Paged {
    let mut headers = HeaderMap::new();
    headers.insert(ITEM_TYPE, HeaderValue::from_static(kind));
    if let Some(next) = page.next.and_then(|next| HeaderValue::try_from(next).ok()) {
        headers.insert(CONTINUATION, next);
    }
    (headers, Json(page.rows))
}
