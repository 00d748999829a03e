//! A small HTTP/1.1 client over any stream, a Unix socket's too: one request a stream.

use crate::BoxStream;
use bytes::Bytes;
use std::io;

/// The largest body that [`request`] takes in.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// The longest line that [`Lines`] takes in.
pub const LINE_BYTES_MAX: usize = 1 << 20;

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
}

/// Asks, and waits for the whole answer. `Host` is `localhost` unless it is among the headers.
///
/// There is no limit in time: the caller knows how long its question may take.
pub async fn request(
    _stream: BoxStream,
    _method: &str,
    _path: &str,
    _headers: &[(&str, &str)],
    _body: impl Into<Bytes>,
) -> io::Result<Response> {
    unimplemented!()
}

/// Asks, and hands out the answer line by line as it comes.
pub async fn lines(
    _stream: BoxStream,
    _method: &str,
    _path: &str,
    _headers: &[(&str, &str)],
    _body: impl Into<Bytes>,
) -> io::Result<Lines> {
    unimplemented!()
}

/// An answer that goes on, line by line.
#[derive(Debug)]
pub struct Lines {
    /// The status and headers; the body is empty here.
    pub head: Response,
}

impl Lines {
    /// The next line without its end; `None` when the answer is over. Can be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        unimplemented!()
    }
}
