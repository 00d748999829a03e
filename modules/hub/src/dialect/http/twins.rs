//! Twins, as the service side sees them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::Value;

use super::Door;
use super::access::{if_match, path_of};
use super::devices::document;
use super::failure::{Answer, Failure};
use crate::core::{Change, Right};

/// Whether a body is merged or put in place of what is there.
#[derive(Clone, Copy)]
enum How {
    Patch,
    Replace,
}

pub(crate) async fn get(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    read(&door, &device, None, &headers)
}

pub(crate) async fn get_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    read(&door, &device, Some(&module), &headers)
}

pub(crate) async fn patch(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    write(&door, &device, None, &headers, &body, How::Patch).await
}

pub(crate) async fn patch_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    write(&door, &device, Some(&module), &headers, &body, How::Patch).await
}

pub(crate) async fn put(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    write(&door, &device, None, &headers, &body, How::Replace).await
}

pub(crate) async fn put_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    write(&door, &device, Some(&module), &headers, &body, How::Replace).await
}

fn read(door: &Door, device: &str, module: Option<&str>, headers: &HeaderMap) -> Answer<Json<Value>> {
    door.authorize(headers, Right::ServiceConnect, &path_of(device, module))?;
    let who = door.identity(device, module)?;
    let twin = door.shared.core().twin_document(&who);
    twin.map(Json).map_err(|error| door.failure(error))
}

async fn write(
    door: &Door,
    device: &str,
    module: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
    how: How,
) -> Answer<Json<Value>> {
    door.authorize(headers, Right::ServiceConnect, &path_of(device, module))?;
    let who = door.identity(device, module)?;
    let change = change(door, &document(door, body)?, how)?;
    let now = door.shared.now();
    let changed = door.shared.core().desired(&who, change, if_match(headers), now);
    let (twin, ticket) = changed.map_err(|error| door.failure(error))?;
    door.shared.durable(ticket).await;
    Ok(Json(twin))
}

/// The sections that a body names. What services cannot change is refused rather than passed over in silence.
fn change(door: &Door, body: &Value, how: How) -> Answer<Change> {
    let wrong = |what: &str| Err(Failure::argument(&door.shared.host, what));
    let Some(twin) = body.as_object() else {
        return wrong("a twin is a JSON object such as {\"properties\":{\"desired\":{\"interval\":5}}}");
    };
    let properties = twin.get("properties");
    if properties.is_some_and(|properties| !properties.is_object()) {
        return wrong("properties: expected an object with \"desired\" in it");
    }
    let tags = twin.get("tags").cloned();
    let desired = properties.and_then(|properties| properties.get("desired")).cloned();
    // A whole twin may come back as it was read (PUT), its reported half included: that half stays as it is.
    let reported = properties.is_some_and(|properties| properties.get("reported").is_some());
    Ok(match how {
        How::Patch if reported => return wrong("properties.reported: only the client itself can change it"),
        How::Patch => Change::Patch { tags, desired },
        How::Replace => Change::Replace { tags, desired },
    })
}
