//! WebSocket as a stream of bytes: binary frames, whose bounds mean nothing.

use crate::{BoxStream, Stream};
use std::io;
use tokio_tungstenite::WebSocketStream;

/// Dials the WebSocket at `path` over a stream to `host`, asking for `subprotocol` (`mqtt`, `AMQPWSB10`).
pub async fn connect(_stream: BoxStream, _host: &str, _path: &str, _subprotocol: &str) -> io::Result<BoxStream> {
    unimplemented!()
}

/// Takes in a WebSocket on a fresh stream; answers which of the `supported` sub-protocols was agreed on.
pub async fn accept(_stream: BoxStream, _supported: &[&str]) -> io::Result<(BoxStream, String)> {
    unimplemented!()
}

/// The server's end of a stream that an HTTP server has already upgraded.
pub async fn upgraded(_stream: BoxStream) -> BoxStream {
    unimplemented!()
}

/// Binary frames as a stream of bytes.
pub fn over<S: Stream + 'static>(_socket: WebSocketStream<S>) -> BoxStream {
    unimplemented!()
}

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_key(_key: &str) -> String {
    unimplemented!()
}

/// The first of the client's `offered` sub-protocols (`Sec-WebSocket-Protocol`, comma-separated) that is supported.
pub fn agree<'a>(_offered: &str, _supported: &[&'a str]) -> Option<&'a str> {
    unimplemented!()
}
