//! Cloud-to-device messages by HTTP: a path of isotherm's own, since IoT Hub takes them by AMQP only.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use isotherm_iothub::SystemProperty;
use serde_json::{Value, json};

use super::Door;
use super::access::path_of;
use super::events;
use super::failure::Answer;
use crate::core::Right;

pub(crate) async fn send(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::ServiceConnect, &path_of(&device, None))?;
    let mut message = events::message(&door, &headers, body)?;
    message.system.set(SystemProperty::To, format!("/devices/{device}/messages/devicebound"));
    if let Some(ack) = headers.get("iothub-ack").and_then(|value| value.to_str().ok()) {
        message.system.set(SystemProperty::Ack, ack);
    }
    let now = door.shared.now();
    let sent = door.shared.core().send_cloud_to_device(&device, message, now);
    door.shared.durable(sent.map_err(|error| door.failure(error))?).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn purge(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, &path_of(&device, None))?;
    let now = door.shared.now();
    let purged = door.shared.core().purge_cloud_to_device(&device, now);
    let purged = purged.map_err(|error| door.failure(error))?;
    Ok(Json(json!({"totalMessagesPurged": purged, "deviceId": device, "moduleId": null})))
}
