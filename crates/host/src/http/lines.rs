//! An answer that goes on, line by line.

use super::{Connection, Response, broken};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io;

/// The longest line that [`Lines`] takes in; a longer one is an error.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// An answer that goes on, line by line.
#[derive(Debug)]
pub struct Lines {
    /// The status and headers; the body is empty here.
    pub head: Response,
    body: Incoming,
    pending: BytesMut,
    over: bool,
    _connection: Connection,
}

impl Lines {
    pub(super) fn new(head: Response, body: Incoming, connection: Connection) -> Self {
        Self { head, body, pending: BytesMut::new(), over: false, _connection: connection }
    }

    /// The next line without its end; `None` when the answer is over. Can be dropped and called again.
    ///
    /// # Errors
    /// When the stream breaks or a line is longer than [`LINE_BYTES_MAX`].
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.pending.split_to(searched + at + 1);
                return Ok(Some(text(&line[..line.len() - 1])));
            }
            searched = self.pending.len();
            if searched > LINE_BYTES_MAX {
                let reason = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            if self.over {
                let rest = self.pending.split();
                return Ok(if rest.is_empty() { None } else { Some(text(&rest)) });
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.body.frame().await {
            None => self.over = true,
            Some(frame) => {
                if let Some(bytes) = frame.map_err(broken)?.data_ref() {
                    self.pending.extend_from_slice(bytes);
                }
            }
        }
        Ok(())
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}
