//! WebSocket as a stream of bytes: binary frames, whose bounds mean nothing (as MQTT and AMQP over it demand).

mod carried;

use crate::{BoxStream, Stream};
use carried::Carried;
use std::io;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{HOST, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

/// The largest frame (and message) that is taken in; a larger one ends the connection.
pub const FRAME_BYTES_MAX: usize = 512 << 10;
/// The largest frame that is sent; more bytes go out as several.
pub const SENT_FRAME_BYTES_MAX: usize = 64 << 10;

/// Dials the WebSocket at `path` over a stream to `host`, asking for `subprotocol` (`mqtt`, `AMQPWSB10`).
///
/// # Errors
/// When the server does not agree to it. There is no limit in time.
pub async fn connect(stream: BoxStream, host: &str, path: &str, subprotocol: &str) -> io::Result<BoxStream> {
    let mut request = format!("ws://{host}{path}").into_client_request().map_err(refused)?;
    let wrong =
        |_| io::Error::new(io::ErrorKind::InvalidInput, "a host or sub-protocol with control characters");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(subprotocol).map_err(wrong)?);
    request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(wrong)?);
    let (socket, _) = client_async_with_config(request, stream, Some(config())).await.map_err(refused)?;
    Ok(over(socket))
}

/// Takes in a WebSocket on a fresh stream; answers which of the `supported` sub-protocols was agreed on.
///
/// # Errors
/// When the client asks for none of them, or for no WebSocket at all. There is no limit in time.
pub async fn accept(stream: BoxStream, supported: &[&str]) -> io::Result<(BoxStream, String)> {
    let mut agreed = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let choose = |request: &Request, mut response: Response| {
        let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|offered| offered.to_str().ok());
        let Some(chosen) = offered.and_then(|offered| agree(offered, supported)) else {
            let reason = format!("Sec-WebSocket-Protocol: one of {} is needed", supported.join(", "));
            let mut refusal = ErrorResponse::new(Some(reason));
            *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::BAD_REQUEST;
            return Err(refusal);
        };
        if let Ok(value) = HeaderValue::from_str(chosen) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        agreed = chosen.to_owned();
        Ok(response)
    };
    let socket = accept_hdr_async_with_config(stream, choose, Some(config())).await.map_err(refused)?;
    Ok((over(socket), agreed))
}

/// The server's end of a stream that an HTTP server has already upgraded.
pub async fn upgraded(stream: BoxStream) -> BoxStream {
    over(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await)
}

/// Binary frames as a stream of bytes.
pub fn over<S: Stream + 'static>(socket: WebSocketStream<S>) -> BoxStream {
    Box::new(Carried::new(socket))
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_key(key: &str) -> String {
    derive_accept_key(key.trim().as_bytes())
}

/// The first of the client's `offered` sub-protocols (`Sec-WebSocket-Protocol`, comma-separated) that is supported,
/// in any case.
pub fn agree<'a>(offered: &str, supported: &[&'a str]) -> Option<&'a str> {
    let mut offers = offered.split(',').map(str::trim);
    offers.find_map(|offer| supported.iter().copied().find(|known| known.eq_ignore_ascii_case(offer)))
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_frame_size(Some(FRAME_BYTES_MAX))
        .max_message_size(Some(FRAME_BYTES_MAX))
        .read_buffer_size(4 << 10) // held by each connection, idle or not
        .write_buffer_size(0)
        .max_write_buffer_size(4 * SENT_FRAME_BYTES_MAX)
}

fn refused(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Http(response) => {
            let reason = format!("the server answers {} where a WebSocket was asked for", response.status());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        }
        other => io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {other}")),
    }
}
