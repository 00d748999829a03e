//! The loop that moves bytes for every session.

use crate::BoxStream;
use isotherm_protocol::{Malformed, Session};
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// While more than this many bytes wait for a slow peer, nothing is read from it and its pilot is not woken.
pub const TRANSMIT_BYTES_MAX: usize = 1 << 20;
/// A peer that takes nothing for this long is let go.
pub const WRITE_STALL: Duration = Duration::from_secs(30);

/// What steers a session: hears its events, and hears from the rest of the process.
pub trait Pilot<S: Session> {
    /// Takes an event. Commands to the session may be given at once.
    fn on_event(&mut self, now: Instant, event: S::Event, session: &mut S) -> Flow;
    /// Ready when there is something to do for the session (then [`on_wake`](Pilot::on_wake) is called), or when
    /// [`may_read`](Pilot::may_read) may have changed. Must keep the waker when it is pending.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Does what there is to do.
    fn on_wake(&mut self, now: Instant, session: &mut S) -> Flow;
    /// False holds reading back: back-pressure on this peer.
    fn may_read(&self) -> bool {
        true
    }
    /// False makes the session's timeouts wait: so that a peer is not blamed for silence while we do not read.
    fn may_time_out(&self) -> bool {
        true
    }
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Go,
    /// Send what is to be sent, then close.
    End,
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The peer closed it.
    PeerClosed,
    /// The pilot did, and the peer has been told all there was to say.
    Finished,
    /// The peer said what it may not.
    Malformed(Malformed),
    /// The stream broke.
    Io(io::Error),
    /// The peer took nothing for [`WRITE_STALL`].
    WriteStalled,
}

/// Moves bytes between a stream and a session until either ends.
pub async fn drive<S, P>(_stream: BoxStream, _session: &mut S, _pilot: &mut P) -> Ended
where
    S: Session,
    P: Pilot<S>,
{
    unimplemented!()
}
