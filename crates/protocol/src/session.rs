//! What every protocol here looks like from outside.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use bytes::BytesMut;

/// A protocol as a value: bytes and time go in, bytes and events come out.
///
/// `handle_` takes something in, `poll_` gives something out. Whoever moves the bytes hands in all it has read,
/// takes the events until there are none, and then writes what [`Session::poll_transmit`] gives in a single write.
pub trait Session {
    /// What the session has to tell.
    type Event;
    /// What the session can be asked to do.
    type Command;

    /// Takes whole packets off the front; what stays in `bytes` is the start of the next one.
    ///
    /// # Errors
    /// The peer broke the protocol. What [`Session::poll_transmit`] still gives is written, then the stream ends.
    fn handle_bytes(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Malformed>;

    /// Does what is asked; what has to be said for it waits in [`Session::poll_transmit`].
    fn handle_command(&mut self, now: Instant, command: Self::Command);

    /// Called at or after the instant that [`Session::poll_timeout`] named; earlier calls do no harm.
    fn handle_timeout(&mut self, now: Instant);

    /// The next thing to tell, in the order in which things happened.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// Appends everything that is to be written.
    fn poll_transmit(&mut self, into: &mut BytesMut);

    /// When [`Session::handle_timeout`] wants to be called. It changes rarely, so a timer need not follow every packet.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// Why a connection was ended: a name to count it under and a sentence that says what would have been right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    name: &'static str,
    sentence: Cow<'static, str>,
}

impl Malformed {
    /// `name` is a counter's label in `snake_case`; `sentence` says what was wrong and what would be right.
    pub fn new(name: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { name, sentence: sentence.into() }
    }

    /// The label under which this is counted. There are few of them and they never carry the peer's bytes.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Malformed {}
