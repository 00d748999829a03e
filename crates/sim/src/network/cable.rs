//! A stream between two processes, as TCP would carry it.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Link, Net};
use crate::life::Life;

/// How much one end may have sent that the other has not read.
const WINDOW: usize = 64 << 10;
/// One write in so many is taken only in part.
const PARTLY: u64 = 8;

/// One of a cable's two directions: what is under way to an end.
#[derive(Debug)]
struct Way {
    segments: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    last: Instant,
    fin: Option<Instant>,
    reset: Option<Instant>,
    /// Nobody is at the end any more.
    deserted: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Cable {
    number: u64,
    link: Arc<Link>,
    owners: [Arc<Life>; 2],
    /// Whether the bytes count for the trace's fingerprint, or only how many they are.
    hashed: bool,
    net: Net,
    /// Towards each end.
    ways: Mutex<[Way; 2]>,
}

impl Cable {
    pub(super) fn new(
        number: u64,
        link: Arc<Link>,
        ends: [&Arc<Life>; 2],
        hashed: bool,
        net: Net,
    ) -> Arc<Self> {
        let way = || Way {
            segments: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
            fin: None,
            reset: None,
            deserted: false,
            reader: None,
            writer: None,
        };
        let owners = ends.map(Arc::clone);
        Arc::new(Self { number, link, owners, hashed, net, ways: Mutex::new([way(), way()]) })
    }

    fn ways(&self) -> MutexGuard<'_, [Way; 2]> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn runs_over(&self, link: &Arc<Link>) -> bool {
        Arc::ptr_eq(&self.link, link)
    }

    /// A process at either end is gone.
    pub(super) fn bury(&self, life: &Arc<Life>, told: bool) {
        for side in 0..2 {
            if Arc::ptr_eq(&self.owners[side], life) {
                let delay = self.link.delay(&self.net.chance, 0);
                let mut ways = self.ways();
                ways[side].desert();
                if told && !self.link.is_cut() {
                    ways[1 - side].reset_at(Instant::now() + delay);
                }
            }
        }
        self.wake();
    }

    /// One end hears that the stream is over; the other does not.
    pub(super) fn tear(&self, side: usize) {
        let mut ways = self.ways();
        ways[side].reset_at(Instant::now());
        ways[side].desert();
    }

    pub(super) fn wake(&self) {
        let mut ways = self.ways();
        ways.iter_mut().for_each(Way::wake);
    }
}

impl Way {
    fn desert(&mut self) {
        self.deserted = true;
        self.segments.clear();
        self.bytes = 0;
    }

    fn reset_at(&mut self, at: Instant) {
        self.reset = Some(self.reset.map_or(at, |before| before.min(at)));
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn is_reset(&self, now: Instant) -> bool {
        self.reset.is_some_and(|at| at <= now)
    }

    /// When something is to be seen at this end, if anything is under way.
    fn next(&self) -> Option<Instant> {
        let segment = self.segments.front().map(|(at, _)| *at);
        let arrives = segment.or(self.fin);
        arrives.into_iter().chain(self.reset).min()
    }
}

/// One end of a cable, in somebody's hand.
#[derive(Debug)]
pub(super) struct Plug {
    cable: Arc<Cable>,
    side: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Plug {
    pub(super) fn new(cable: Arc<Cable>, side: usize) -> Self {
        Self { cable, side, sleep: None }
    }

    fn is_alive(&self) -> bool {
        self.cable.owners[self.side].is_alive()
    }

    fn take(&self, into: &mut ReadBuf<'_>, now: Instant) -> Option<io::Result<()>> {
        let mut ways = self.cable.ways();
        let way = &mut ways[self.side];
        if self.cable.link.is_cut() {
            return None;
        }
        if way.is_reset(now) {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut taken = 0;
        while into.remaining() > 0
            && let Some((at, segment)) = way.segments.front_mut()
            && *at <= now
        {
            let count = segment.len().min(into.remaining());
            into.put_slice(&segment[..count]);
            segment.advance(count);
            taken += count;
            if segment.is_empty() {
                way.segments.pop_front();
            }
        }
        if taken > 0 {
            way.bytes -= taken;
            way.writer.take().into_iter().for_each(Waker::wake);
            return Some(Ok(()));
        }
        let over = way.segments.is_empty() && way.fin.is_some_and(|at| at <= now);
        over.then_some(Ok(()))
    }

    fn give(&self, cx: &Context<'_>, bytes: &[u8], now: Instant) -> Poll<io::Result<usize>> {
        let cable = &self.cable;
        let cut = cable.link.is_cut();
        let mut ways = cable.ways();
        if ways[self.side].is_reset(now) && !cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let other = &cable.owners[1 - self.side].machine;
        if ways[1 - self.side].deserted && !cut && cable.net.is_powered(other) {
            // The machine answers for a stream that it does not know.
            ways[self.side].reset_at(now + cable.link.delay(&cable.net.chance, 0) * 2);
            return Poll::Ready(Ok(bytes.len()));
        }
        let way = &mut ways[1 - self.side];
        if way.fin.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut count = bytes.len().min(WINDOW - way.bytes.min(WINDOW));
        if count == 0 {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if cable.net.chance.u64().is_multiple_of(PARTLY) {
            count = 1 + (cable.net.chance.u64() % count as u64) as usize;
        }
        way.last = way.last.max(now + cable.link.delay(&cable.net.chance, count));
        way.segments.push_back((way.last, Bytes::copy_from_slice(&bytes[..count])));
        way.bytes += count;
        way.reader.take().into_iter().for_each(Waker::wake);
        drop(ways);
        let from = &cable.owners[self.side];
        cable.net.trace.say(format_args!("cable {} {from:?} > {other} {count} bytes", cable.number));
        if cable.hashed {
            cable.net.trace.mix(&bytes[..count]);
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Plug {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.is_alive() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if let Some(done) = self.take(into, Instant::now()) {
                return Poll::Ready(done);
            }
            let next = {
                let mut ways = self.cable.ways();
                let way = &mut ways[self.side];
                way.reader = Some(cx.waker().clone());
                way.next().filter(|_| !self.cable.link.is_cut())
            };
            let Some(next) = next else { return Poll::Pending };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Plug {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_alive() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.give(cx, bytes, Instant::now())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_alive() {
            let delay = self.cable.link.delay(&self.cable.net.chance, 0);
            let mut ways = self.cable.ways();
            let way = &mut ways[1 - self.side];
            if way.fin.is_none() {
                way.last = way.last.max(Instant::now() + delay);
                way.fin = Some(way.last);
                way.wake();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Plug {
    /// As a kernel closes a socket: with an end, or with a reset if something was left unread.
    fn drop(&mut self) {
        if !self.is_alive() {
            return;
        }
        let delay = self.cable.link.delay(&self.cable.net.chance, 0);
        let mut ways = self.cable.ways();
        let unread = !ways[self.side].segments.is_empty();
        ways[self.side].desert();
        let other = &mut ways[1 - self.side];
        let at = other.last.max(Instant::now() + delay);
        if unread {
            other.reset_at(at);
        } else {
            other.fin.get_or_insert(at);
        }
        ways.iter_mut().for_each(Way::wake);
    }
}
