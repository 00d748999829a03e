//! Cloud-to-device messages as devices fetch and settle them by HTTP.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isotherm_iothub::time::dotnet;
use isotherm_iothub::{Message, SystemProperty};

use super::Door;
use super::events::{PROPERTY, SYSTEM, pairs};
use super::failure::Answer;
use crate::core::{Locked, Outcome};

/// 200 with the message and the lock token as an etag, or 204.
pub(crate) async fn receive(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let who = door.identity(&device, None)?;
    door.authorize_client(&headers, &who)?;
    let now = door.shared.now();
    let locked = door.shared.core().receive_cloud_to_device(&who, now);
    Ok(match locked {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(locked) => (dressed(&locked), locked.message.body.clone()).into_response(),
    })
}

/// `DELETE …/{lockToken}` completes, with `?reject` rejects.
pub(crate) async fn remove(
    State(door): State<Door>,
    Path((device, token)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    let reject = pairs(query.as_deref().unwrap_or("")).any(|(name, _)| name == "reject");
    let outcome = if reject { Outcome::Rejected } else { Outcome::Accepted };
    settle(&door, &device, &token, &headers, outcome)
}

pub(crate) async fn abandon(
    State(door): State<Door>,
    Path((device, token)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    settle(&door, &device, &token, &headers, Outcome::Released)
}

fn settle(
    door: &Door,
    device: &str,
    token: &str,
    headers: &HeaderMap,
    outcome: Outcome,
) -> Answer<StatusCode> {
    let who = door.identity(device, None)?;
    door.authorize_client(headers, &who)?;
    let now = door.shared.now();
    let settled = door.shared.core().settle_locked(&who, token.trim_matches('"'), outcome, now);
    settled.map_err(|error| door.failure(error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A message's properties as headers.
fn dressed(locked: &Locked) -> HeaderMap {
    let message: &Message = &locked.message;
    let mut headers = HeaderMap::new();
    put(&mut headers, "etag", &format!("\"{}\"", locked.lock_token));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    for (name, property) in SYSTEM {
        if let Some(value) = message.system.get(property) {
            put(&mut headers, name, value);
        }
    }
    for (name, property) in [("iothub-to", SystemProperty::To), ("iothub-ack", SystemProperty::Ack)] {
        if let Some(value) = message.system.get(property) {
            put(&mut headers, name, value);
        }
    }
    put(&mut headers, "iothub-enqueuedtime", &dotnet(locked.enqueued));
    put(&mut headers, "iothub-deliverycount", &locked.delivery_count.to_string());
    put(&mut headers, "iothub-sequencenumber", &locked.sequence.to_string());
    for (name, value) in message.properties.iter() {
        put(&mut headers, &format!("{PROPERTY}{name}"), value.unwrap_or(""));
    }
    headers
}

/// What no header can carry is left out.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::try_from(name.to_ascii_lowercase());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}
