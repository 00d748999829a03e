//! HTTP: IoT Hub's service API as far as the SDKs and `isotherm` call it, edgeHub's own copy of direct methods, the
//! few paths that are isotherm's own, and the way in for MQTT over WebSocket.

mod access;
mod bulk;
mod configuration;
mod devicebound;
mod devices;
mod digital_twins;
mod events;
pub(crate) mod failure;
mod faults;
mod feedback;
mod inbox;
mod jobs;
mod lines;
mod log;
mod methods;
mod query;
mod twins;
mod watch;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use futures_util::StreamExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use isotherm_host::BoxStream;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::core::{ApiError, ErrorCode};
use crate::listen::Arrival;
use crate::shared::Shared;

/// How long the head of a request may take, and how long a connection may idle between two.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long the body of a request may take.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of a request's body: the largest is a deployment of many modules with their desired properties.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a body that are read at all. What is too large is read on and let go of: who still writes when the connection
/// ends does not hear the answer.
const READ_BYTES_MAX: usize = 4 << 20;

/// What a handler needs besides the request.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) arrival: Arrival,
    /// Ends the connection without another word.
    pub(crate) cut: Arc<Notify>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: BoxStream, arrival: Arrival) {
    let cut = Arc::new(Notify::new());
    let door = Door { shared: Arc::clone(&shared), arrival, cut: Arc::clone(&cut) };
    let service = TowerToHyperService::new(router(door));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let ended = tokio::select! {
        biased;
        () = shared.host.stop.stopped() => return,
        () = cut.notified() => return shared.counters.count("http_ended_by_fault"),
        ended = connection => ended,
    };
    match ended {
        Ok(()) => shared.counters.count("http_ended"),
        Err(error) => {
            tracing::debug!(%error, "HTTP connection ended");
            shared.counters.count("http_ended_by_error");
        }
    }
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/devices", get(devices::list).post(bulk::post))
        .route("/devices/", get(devices::list).post(bulk::post))
        .route("/devices/query", post(query::query))
        .route("/devices/{device}", get(devices::get).put(devices::put).delete(devices::delete))
        .route("/devices/{device}/modules", get(devices::modules))
        .route(
            "/devices/{device}/modules/{module}",
            get(devices::get_module).put(devices::put_module).delete(devices::delete_module),
        )
        .route("/devices/{device}/applyConfigurationContent", post(configuration::apply))
        .route("/configurations", get(configuration::list))
        .route("/configurations/", get(configuration::list))
        .route("/configurations/testQueries", post(configuration::test))
        .route(
            "/configurations/{id}",
            get(configuration::get).put(configuration::put).delete(configuration::delete),
        )
        .route("/devices/{device}/messages/deviceBound", get(inbox::receive))
        .route("/devices/{device}/messages/devicebound", get(inbox::receive))
        .route("/devices/{device}/messages/deviceBound/{token}", delete(inbox::remove))
        .route("/devices/{device}/messages/devicebound/{token}", delete(inbox::remove))
        .route("/devices/{device}/messages/deviceBound/{token}/abandon", post(inbox::abandon))
        .route("/devices/{device}/messages/devicebound/{token}/abandon", post(inbox::abandon))
        .route("/messages/serviceBound/feedback", get(feedback::receive))
        .route("/messages/serviceBound/feedback/{token}", delete(feedback::complete))
        .route("/messages/serviceBound/feedback/{token}/abandon", post(feedback::abandon))
        .route("/jobs", get(jobs::imports))
        .route("/jobs/create", post(jobs::create))
        .route("/jobs/{id}", get(jobs::import).delete(jobs::import))
        .route("/jobs/v2/query", get(jobs::list))
        .route("/jobs/v2/{id}", get(jobs::get).put(jobs::put))
        .route("/jobs/v2/{id}/cancel", post(jobs::cancel))
        .route("/digitaltwins/{id}", get(digital_twins::get).patch(digital_twins::patch))
        .route("/digitaltwins/{id}/commands/{command}", post(digital_twins::command))
        .route(
            "/digitaltwins/{id}/components/{component}/commands/{command}",
            post(digital_twins::component_command),
        )
        .route("/devices/{device}/commands", delete(devicebound::purge))
        .route("/devices/{device}/messages/events", post(events::from_device))
        .route("/devices/{device}/modules/{module}/messages/events", post(events::from_module))
        .route("/statistics/devices", get(devices::statistics))
        .route("/statistics/service", get(devices::service_statistics))
        .route("/twins/{device}", get(twins::get).patch(twins::patch).put(twins::put))
        .route(
            "/twins/{device}/modules/{module}",
            get(twins::get_module).patch(twins::patch_module).put(twins::put_module),
        )
        .route("/twins/{device}/methods", post(methods::device))
        .route("/twins/{device}/modules/{module}/methods", post(methods::module))
        .route("/isotherm/v1/status", get(watch::status))
        .route("/isotherm/v1/watch", get(watch::watch))
        .route("/isotherm/v1/faults", get(faults::list).post(faults::add).delete(faults::clear))
        .route("/isotherm/v1/faults/{id}", delete(faults::clear_one))
        .route("/isotherm/v1/log", get(log::get).put(log::put))
        .route("/isotherm/v1/messages", post(events::send))
        .route("/isotherm/v1/inputs", post(events::into_input))
        .route("/isotherm/v1/devices/{device}/messages/devicebound", post(devicebound::send))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::disable()) // `whole` has limited it
        .layer(axum::middleware::from_fn_with_state(door.clone(), faults::strike))
        .layer(axum::middleware::from_fn_with_state(door.clone(), whole))
        .layer(axum::middleware::from_fn_with_state(door.clone(), websocket::or_http))
        .layer(axum::middleware::from_fn_with_state(door.clone(), counted))
        .with_state(door)
}

/// Counts what is refused, under the name of its kind.
async fn counted(State(door): State<Door>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let name = match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "http_answered_not_authorized",
        StatusCode::NOT_FOUND => "http_answered_not_found",
        StatusCode::PAYLOAD_TOO_LARGE => "http_answered_too_large",
        StatusCode::TOO_MANY_REQUESTS => "http_answered_too_many",
        status if status.is_client_error() => "http_answered_malformed",
        status if status.is_server_error() => "http_answered_not_now",
        _ => return response,
    };
    door.shared.counters.count(name);
    response
}

/// Reads a request's body, within limits of size and time, before anybody looks at it.
async fn whole(State(door): State<Door>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let error = match timeout(BODY_WITHIN, within_limits(body)).await {
        Ok(Some(body)) => return next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(None) => {
            let reason = format!("the body is cut off or has more than {BODY_BYTES_MAX} bytes");
            ApiError::new(ErrorCode::MessageTooLarge, reason)
        }
        Err(_) => ApiError::new(ErrorCode::GatewayTimeout, "the body did not come in time"),
    };
    let mut response = door.failure(error).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body that came whole and is not too large.
async fn within_limits(body: Body) -> Option<Vec<u8>> {
    let (mut pieces, mut kept, mut bytes) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        bytes += piece.len();
        if bytes <= BODY_BYTES_MAX {
            kept.extend_from_slice(&piece);
        } else if bytes <= READ_BYTES_MAX {
            kept = Vec::new();
        } else {
            return None;
        }
    }
    (bytes <= BODY_BYTES_MAX).then_some(kept)
}

async fn nothing_here(request: Request) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("{} {} is not served here\n", request.method(), request.uri().path()))
}
