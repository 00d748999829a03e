//! A small HTTP/1.1 client over any stream, a Unix socket's too: one request a stream.

mod lines;

use crate::BoxStream;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::task::JoinHandle;

pub use lines::{LINE_BYTES_MAX, Lines};

/// The largest body that [`request`] takes in.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A header's value, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn of(parts: &hyper::http::response::Parts) -> Self {
        let text = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = parts.headers.iter().map(text).collect();
        Self { status: parts.status.as_u16(), headers, body: Bytes::new() }
    }
}

/// Asks, and waits for the whole answer. `Host` is `localhost` unless it is among the headers.
///
/// There is no limit in time: the caller knows how long its question may take.
///
/// # Errors
/// When the stream breaks, the answer is no HTTP, or its body is larger than [`BODY_BYTES_MAX`].
pub async fn request(
    stream: BoxStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<Response> {
    let (response, _connection) = ask(stream, method, path, headers, body.into()).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(broken)?;
    Ok(Response { body: body.to_bytes(), ..Response::of(&parts) })
}

/// Asks, and hands out the answer line by line as it comes.
///
/// # Errors
/// When the stream breaks or the answer is no HTTP. A status that says no is an answer: see [`Lines::head`].
pub async fn lines(
    stream: BoxStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> io::Result<Lines> {
    let (response, connection) = ask(stream, method, path, headers, body.into()).await?;
    let (parts, body) = response.into_parts();
    Ok(Lines::new(Response::of(&parts), body, connection))
}

/// The task that moves the bytes of a request; ends with the answer that needs it.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(
    stream: BoxStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> io::Result<(hyper::Response<Incoming>, Connection)> {
    let mut request = hyper::Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let wrong = |why| io::Error::new(io::ErrorKind::InvalidInput, format!("{method} {path}: {why}"));
    let request = request.body(Full::new(body)).map_err(wrong)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = Connection(tokio::spawn(async move {
        let _ = connection.await; // what goes wrong is told to whoever reads the answer
    }));
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok((response, connection))
}

/// In one line, with the cause that hyper keeps behind its own words.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    let error = error.into();
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    io::Error::new(io::ErrorKind::InvalidData, format!("HTTP: {error}{cause}"))
}
