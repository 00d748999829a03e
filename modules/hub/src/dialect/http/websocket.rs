//! The way in for MQTT and AMQP over WebSocket: any path, as edgeHub has it; what counts is the sub-protocol.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use isotherm_host::{BoxFuture, BoxStream, websocket};

use super::Door;
use crate::dialect;

/// The sub-protocols that are spoken here.
const SPOKEN: [&str; 2] = ["mqtt", AMQP];
/// AMQP's.
const AMQP: &str = "AMQPWSB10";

/// Takes a request for a WebSocket; every other one goes on to its route.
pub(crate) async fn or_http(State(door): State<Door>, request: Request, next: Next) -> Response {
    if !says(request.headers(), &header::UPGRADE, "websocket") {
        return next.run(request).await;
    }
    match upgrade(door, request) {
        Ok(response) => response,
        Err(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
    }
}

fn upgrade(door: Door, mut request: Request) -> Result<Response, &'static str> {
    let headers = request.headers();
    if !says(headers, &header::CONNECTION, "upgrade") {
        return Err("Connection: Upgrade is missing");
    }
    if text(headers, &header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err("Sec-WebSocket-Version: 13 is spoken here");
    }
    let key = text(headers, &header::SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err("Sec-WebSocket-Key is missing");
    }
    let offered = text(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    let Some(agreed) = websocket::agree(offered, &SPOKEN) else {
        door.shared.counters.count("websocket_refused_protocol");
        return Err("Sec-WebSocket-Protocol: mqtt and AMQPWSB10 are spoken here");
    };
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, websocket::accept_key(key))
        .header(header::SEC_WEBSOCKET_PROTOCOL, agreed)
        .body(Body::empty())
        .map_err(|_| "the key is no key")?;
    let upgrading = hyper::upgrade::on(&mut request);
    let shared = Arc::clone(&door.shared);
    shared.room.spawn(serve(door, upgrading, agreed.eq_ignore_ascii_case(AMQP)));
    Ok(response)
}

async fn serve(Door { shared, arrival, .. }: Door, upgrading: hyper::upgrade::OnUpgrade, amqp: bool) {
    let Ok(upgraded) = upgrading.await else {
        return shared.counters.count("websocket_failed");
    };
    let stream: BoxStream = websocket::upgraded(Box::new(TokioIo::new(upgraded))).await;
    let of_the_site = arrival.of_the_site();
    let serving: BoxFuture<'static, ()> = if amqp {
        Box::pin(dialect::amqp::serve(Arc::clone(&shared), stream, arrival))
    } else {
        Box::pin(dialect::mqtt::serve(Arc::clone(&shared), stream, arrival))
    };
    shared.room.serve(serving, of_the_site).await;
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").trim()
}

/// Whether a comma-separated header has this word, in any letter case.
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    text(headers, name).split(',').any(|said| said.trim().eq_ignore_ascii_case(word))
}
