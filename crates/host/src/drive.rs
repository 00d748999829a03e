//! The loop that moves bytes for every session.
//!
//! It reads all there is, hands it to the session, tells the pilot what the session has to say, and lets everything
//! that came of it go out in a single write. A busy connection is read again before anything is written. An idle
//! one costs no buffer: reading and writing use one scratch buffer for each thread, and only what could not be
//! dealt with (the start of a packet, bytes for a slow peer) is kept with the connection.

mod alarm;
pub(crate) mod nap;
mod scratch;
mod share;

use crate::BoxStream;
use alarm::Alarm;
use bytes::{Buf, BufMut, BytesMut};
use isotherm_protocol::{Malformed, Session};
use share::Share;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// While more than this many bytes wait for a slow peer, nothing is read from it and its pilot is not woken.
pub const TRANSMIT_BYTES_MAX: usize = 1 << 20;
/// A peer that takes nothing for this long is let go.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long a peer may take to see the end of the stream, so that our last words are not cut off by a reset.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many bytes of a peer that is being let go are thrown away meanwhile.
const CLOSE_BYTES_MAX: usize = 256 << 10;
/// How often a busy stream is read before what came of it is written.
const READS_A_TURN: usize = 4;
/// How many turns a busy connection takes before the others of its thread have theirs.
const TURNS_A_POLL: usize = 2;
/// The start of a packet is copied in front of the next read up to this size; longer ones grow where they are.
const COPIED_BYTES_MAX: usize = 4 << 10;

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
    /// True if a thread that has nothing else to do may let a moment pass so that more of this peer's bytes come
    /// together.
    fn may_nap(&self) -> bool {
        false
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
///
/// Payloads that the session cuts out of its bytes are slices of the thread's read buffer (64 KiB): who keeps one
/// for long keeps all of that, and had better copy it.
pub async fn drive<S: Session, P: Pilot<S>>(stream: BoxStream, session: &mut S, pilot: &mut P) -> Ended {
    let mut line = Line {
        stream,
        session,
        pilot,
        begun: BytesMut::new(),
        waiting: BytesMut::new(),
        unflushed: false,
        stalled: None,
        alarm: Alarm::default(),
        share: Share::new(),
        end: None,
    };
    let ended = poll_fn(|cx| line.poll(cx)).await;
    if matches!(ended, Ended::Finished | Ended::Malformed(_)) {
        Box::pin(close(line.stream)).await; // boxed: only few connections are here at a time
    }
    ended
}

/// Ends our half and waits a moment for the peer to end its own: closing at once with bytes unread would reset the
/// connection, and the peer might never see our last words.
async fn close(mut stream: BoxStream) {
    let farewell = async {
        stream.shutdown().await?;
        let mut thrown_away = [0; 1024];
        let mut left = CLOSE_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut thrown_away).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await; // it is over either way
}

/// One connection.
struct Line<'a, S, P> {
    stream: BoxStream,
    session: &'a mut S,
    pilot: &'a mut P,
    /// The start of a packet whose rest has not come.
    begun: BytesMut,
    /// What the peer has not taken yet.
    waiting: BytesMut,
    /// Something was written that a layer of the stream may still hold.
    unflushed: bool,
    /// Since when the peer has taken nothing of what waits.
    stalled: Option<Instant>,
    alarm: Alarm,
    share: Share,
    /// Set once it is decided how this ends; what waits is still written.
    end: Option<Ended>,
}

impl<S: Session, P: Pilot<S>> Line<'_, S, P> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let clock = || tokio::time::Instant::now().into_std();
        self.share.begin(clock());
        for _ in 0..TURNS_A_POLL {
            let now = clock();
            let held_back = self.waiting.len() > TRANSMIT_BYTES_MAX;
            let mut moved = self.read(cx, now);
            moved |= self.wake(cx, now);
            moved |= self.time_out(now);
            let written = self.write(cx, now);
            moved |= held_back && self.waiting.len() <= TRANSMIT_BYTES_MAX;
            if let Some(ended) = self.ended(now, written.is_ready()) {
                return Poll::Ready(ended);
            }
            if !moved && self.alarm.poll(cx, self.deadline()).is_pending() {
                self.forget_buffers();
                return Poll::Pending;
            }
            if self.share.left() == 0 {
                break;
            }
        }
        self.share.give_way(clock());
        cx.waker().wake_by_ref(); // there is more, but it is the others' turn
        Poll::Pending
    }

    /// Reads while there is something to read, up to a limit; true if it did.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for done in 0..READS_A_TURN {
            let held_back = self.waiting.len() > TRANSMIT_BYTES_MAX || !self.pilot.may_read();
            let held_back = held_back || self.share.left() == 0;
            if self.end.is_some() || held_back || self.read_once(cx, now).is_pending() {
                return done > 0;
            }
        }
        true
    }

    fn read_once(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut scratch = scratch::reading();
        let copied = self.begun.len() <= COPIED_BYTES_MAX;
        if copied {
            scratch.extend_from_slice(&self.begun);
        }
        let mut room = (&mut *scratch).limit(self.share.left());
        let polled = pin!(self.stream.read_buf(&mut room)).poll(cx);
        if let Poll::Ready(Ok(count)) = &polled {
            self.share.took(*count);
            if self.pilot.may_nap() {
                nap::took(*count);
            }
        }
        match ready!(polled) {
            Ok(0) => self.end_as(Ended::PeerClosed),
            Err(error) => self.end_as(Ended::Io(error)),
            Ok(_) if copied => {
                self.begun.clear();
                self.take_in(now, &mut scratch);
                self.begun.extend_from_slice(&scratch);
            }
            Ok(_) => self.take_in_long(now, &scratch),
        }
        Poll::Ready(())
    }

    /// Takes in more of a packet that is too long to be copied at each read.
    fn take_in_long(&mut self, now: Instant, more: &[u8]) {
        let mut begun = mem::take(&mut self.begun);
        begun.extend_from_slice(more);
        let before = begun.len();
        self.take_in(now, &mut begun);
        let untouched = begun.len() == before;
        self.begun = if untouched { begun } else { BytesMut::from(&begun[..]) }; // let go of the long one
    }

    fn take_in(&mut self, now: Instant, bytes: &mut BytesMut) {
        let taken = self.session.handle_bytes(now, bytes);
        self.tell(now);
        if let Err(malformed) = taken {
            self.end_as(Ended::Malformed(malformed));
        }
    }

    /// Tells the pilot what the session has to say.
    fn tell(&mut self, now: Instant) {
        while self.end.is_none()
            && let Some(event) = self.session.poll_event()
        {
            let flow = self.pilot.on_event(now, event, self.session);
            self.follow(flow);
        }
    }

    fn wake(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let held_back = self.end.is_some() || self.waiting.len() > TRANSMIT_BYTES_MAX;
        if held_back || self.pilot.poll_wake(cx).is_pending() {
            return false;
        }
        let flow = self.pilot.on_wake(now, self.session);
        self.follow(flow);
        self.tell(now);
        true
    }

    fn time_out(&mut self, now: Instant) -> bool {
        let due = self.end.is_none() && self.session_deadline().is_some_and(|at| at <= now);
        if due {
            self.session.handle_timeout(now);
            self.tell(now);
        }
        due
    }

    /// Writes all that the session has for the peer; pending while the peer has not taken it.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let (taken, written) = if self.waiting.is_empty() {
            let mut scratch = scratch::writing();
            self.session.poll_transmit(&mut scratch);
            let (taken, written) = write_all(&mut self.stream, cx, &mut scratch);
            self.waiting.extend_from_slice(&scratch);
            (taken, written)
        } else {
            self.session.poll_transmit(&mut self.waiting);
            write_all(&mut self.stream, cx, &mut self.waiting)
        };
        self.unflushed |= taken > 0;
        let polled = match written {
            Poll::Ready(Ok(())) if self.unflushed => Pin::new(&mut self.stream).poll_flush(cx),
            other => other,
        };
        self.stalled = match (polled.is_pending(), taken) {
            (false, _) => None,
            (true, 0) => self.stalled.or(Some(now)),
            (true, _) => Some(now),
        };
        polled.map(|done| match done {
            Ok(()) => self.unflushed = false,
            Err(error) => self.break_off(error),
        })
    }

    fn follow(&mut self, flow: Flow) {
        if flow == Flow::End {
            self.end_as(Ended::Finished);
        }
    }

    /// The first reason to end is the one that is told.
    fn end_as(&mut self, ended: Ended) {
        self.end.get_or_insert(ended);
    }

    /// Nothing can be written any more, so what was to be said at the end is not said.
    fn break_off(&mut self, error: io::Error) {
        if matches!(self.end, None | Some(Ended::Finished)) {
            self.end = Some(Ended::Io(error));
        }
    }

    /// How it ended, once nothing is left to do about it. `flushed`: the peer has taken everything, or never will.
    fn ended(&mut self, now: Instant, flushed: bool) -> Option<Ended> {
        let stalled = self.stalled.is_some_and(|since| now >= since + WRITE_STALL);
        match &self.end {
            Some(Ended::PeerClosed | Ended::Io(_)) => self.end.take(),
            Some(_) if flushed => self.end.take(),
            Some(Ended::Malformed(_)) if stalled => self.end.take(),
            _ if stalled => Some(Ended::WriteStalled),
            _ => None,
        }
    }

    fn session_deadline(&self) -> Option<Instant> {
        if self.pilot.may_time_out() { self.session.poll_timeout() } else { None }
    }

    /// When to look again although nothing has come.
    fn deadline(&self) -> Option<Instant> {
        let stall = self.stalled.map(|since| since + WRITE_STALL);
        let session = if self.end.is_none() { self.session_deadline() } else { None };
        stall.into_iter().chain(session).min()
    }

    /// An idle connection holds no buffer.
    fn forget_buffers(&mut self) {
        for buffer in [&mut self.begun, &mut self.waiting] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                *buffer = BytesMut::new();
            }
        }
    }
}

/// Writes until all is taken or the stream takes no more; how much it took comes back too.
fn write_all(
    stream: &mut BoxStream,
    cx: &mut Context<'_>,
    bytes: &mut BytesMut,
) -> (usize, Poll<io::Result<()>>) {
    let before = bytes.len();
    let polled = loop {
        if bytes.is_empty() {
            break Poll::Ready(Ok(()));
        }
        match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => bytes.advance(count),
            Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            Poll::Pending => break Poll::Pending,
        }
    };
    (before - bytes.len(), polled)
}
