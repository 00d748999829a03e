//! Faults on request, and what they do to requests; quotas too, since both say 429.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Door;
use super::devices::document;
use super::failure::{Answer, Failure};
use crate::core::{ApiError, ErrorCode, Right};
use crate::faults::{Blow, Kind, SERVICE, Wanted};
use crate::quotas::Operation;
use crate::shared::Shared;

/// How long a request that is dropped is left hanging; its client has given up by then.
const HANG: Duration = Duration::from_secs(300);

/// `POST /isotherm/v1/faults`.
pub(crate) async fn add(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    let refuse = |refused: isotherm_iothub::Refused| Failure::refused(&door.shared.host, &refused);
    let wanted = Wanted::read(&document(&door, &body)?).map_err(refuse)?;
    let now = door.shared.now();
    let kind = wanted.kind;
    let cut = if kind == Kind::Disconnect { door.shared.cut(&wanted, now) } else { Vec::new() };
    let mut added = door.shared.faults.add(wanted, now.instant).map_err(refuse)?;
    for who in &cut {
        // Those who were cut off at once count, so that "once" does not strike them again when they are back.
        let _ = door.shared.faults.strike(who, now.instant, &door.shared.host.chance);
    }
    if kind == Kind::Enospc {
        door.shared.fill_disk(now.instant);
        if let Some(left) = added["leftMs"].as_u64() {
            tokio::spawn(empty_disk_after(Arc::clone(&door.shared), Duration::from_millis(left)));
        }
    }
    added["disconnected"] = cut.into();
    Ok(Json(added))
}

/// The disk has room again when the fault is over.
async fn empty_disk_after(shared: Arc<Shared>, duration: Duration) {
    tokio::time::sleep(duration).await;
    shared.fill_disk(shared.host.now());
}

/// `GET /isotherm/v1/faults`.
pub(crate) async fn list(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Vec<Value>>> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    Ok(Json(door.shared.faults.list(door.shared.host.now())))
}

/// `DELETE /isotherm/v1/faults`.
pub(crate) async fn clear(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Value>> {
    cleared(&door, &headers, None)
}

/// `DELETE /isotherm/v1/faults/{id}`.
pub(crate) async fn clear_one(
    State(door): State<Door>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    cleared(&door, &headers, Some(id))
}

fn cleared(door: &Door, headers: &HeaderMap, id: Option<u64>) -> Answer<Json<Value>> {
    door.authorize(headers, Right::ServiceConnect, "/")?;
    let cleared = door.shared.faults.clear(id);
    door.shared.fill_disk(door.shared.host.now());
    Ok(Json(json!({ "cleared": cleared })))
}

/// What happens to a request before its handler sees it.
pub(crate) async fn strike(State(door): State<Door>, request: Request, next: Next) -> Response {
    let Some((name, operation)) = meaning(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let now = door.shared.host.now();
    match door.shared.faults.strike(&name, now, &door.shared.host.chance) {
        None => {}
        Some(Blow::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Blow::Throttle) => return throttled(&door, "a fault on request"),
        Some(Blow::Drop) => tokio::time::sleep(HANG).await,
        Some(Blow::Disconnect) => {
            door.cut.notify_one();
            tokio::time::sleep(HANG).await; // the connection ends meanwhile, and this with it
        }
    }
    match door.shared.throttles.take(operation, now) {
        Ok(()) => next.run(request).await,
        Err(_) => throttled(&door, "more than 12 operations of this kind in a second"),
    }
}

fn throttled(door: &Door, why: &str) -> Response {
    door.shared.counters.count("http_throttled");
    let message = format!("throttled: {why}; wait and try again");
    door.failure(ApiError::new(ErrorCode::ThrottlingException, message)).into_response()
}

/// Who asks, as faults name them, and for what. What is isotherm's own is never struck.
fn meaning(method: &Method, path: &str) -> Option<(String, Operation)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let service = |operation| Some((SERVICE.to_owned(), operation));
    match parts.as_slice() {
        ["isotherm", ..] => None,
        ["devices", device, "messages", what, ..] => {
            let telemetry = *what == "events";
            let operation = if telemetry { Operation::Telemetry } else { Operation::CloudToDevice };
            Some((decoded(device), operation))
        }
        ["devices", device, "modules", module, "messages", ..] => {
            Some((format!("{}/{}", decoded(device), decoded(module)), Operation::Telemetry))
        }
        ["devices", "query"] => service(Operation::Query),
        ["devices", _, "applyConfigurationContent"] | ["configurations", ..] => {
            service(Operation::Configuration)
        }
        ["devices", _, "commands"] | ["messages", ..] => service(Operation::CloudToDevice),
        ["twins", .., "methods"] => service(Operation::Method),
        ["digitaltwins", ..] if method == Method::POST => service(Operation::Method),
        ["twins" | "digitaltwins", ..] => service(Operation::Twin),
        ["jobs", ..] => service(Operation::Job),
        _ => service(Operation::Registry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_path() {
        let who = |path| meaning(&Method::POST, path);
        let device = Some(("d 1".to_owned(), Operation::Telemetry));
        assert_eq!(who("/devices/d%201/messages/events"), device);
        let module = Some(("d/m".to_owned(), Operation::Telemetry));
        assert_eq!(who("/devices/d/modules/m/messages/events"), module);
        let service = |operation| Some((SERVICE.to_owned(), operation));
        assert_eq!(who("/devices/query"), service(Operation::Query));
        assert_eq!(who("/devices/d"), service(Operation::Registry));
        assert_eq!(who("/twins/d/modules/m/methods"), service(Operation::Method));
        assert_eq!(who("/isotherm/v1/faults"), None);
    }
}
