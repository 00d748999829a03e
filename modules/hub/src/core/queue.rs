//! One queue: messages for an input, of one priority, in the order they came.
//!
//! It lies in its journal; the head of it is also in memory, the window. What is taken stays in the window until it
//! is settled, and the journal forgets only what has been settled from the front without a gap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use isotherm_iothub::Message;
use jiff::Timestamp;

use super::record::{Queued, read_queued};
use super::{Counter, Counters, Limits, Now};
use crate::store::{QueueHandle, QueueName, Store};

/// Records fetched from a journal at once.
const FETCH_RECORDS: usize = 256;

/// One queue.
pub(super) struct Queue {
    pub(super) handle: QueueHandle,
    pub(super) name: QueueName,
    pub(super) endpoint: usize,
    pub(super) priority: u32,
    /// Whether its acknowledgement timer is set.
    pub(super) timed: bool,
    /// Whether what is fresh goes before what an outage has left.
    pub(super) fresh_first: bool,
    /// Whether its reader acknowledges nothing: what it was handed is done with, and may never have reached it.
    pub(super) silent: bool,
    window: VecDeque<Slot>,
    /// Offset of the window's first.
    base: u64,
    /// Below this the journal was told to forget.
    forgotten: u64,
    /// Bytes in the window.
    bytes: usize,
    /// Place in the window of the first that may be ready.
    ready: usize,
}

struct Slot {
    state: State,
    /// Whether it was handed out before.
    tried: bool,
    expires: Option<Timestamp>,
    /// When it was put here, where that counts.
    since: Option<Timestamp>,
    /// Gone once it is done.
    message: Option<Arc<Message>>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Out(Instant),
    Done,
}

/// What a queue hands out.
pub(super) struct Taken {
    pub(super) offset: u64,
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
}

impl Queue {
    pub(super) fn new(handle: QueueHandle, name: QueueName, endpoint: usize) -> Self {
        let base = handle.journal.first();
        let priority = name.priority;
        Self {
            handle,
            name,
            endpoint,
            priority,
            timed: false,
            fresh_first: false,
            silent: false,
            window: VecDeque::new(),
            base,
            forgotten: base,
            bytes: 0,
            ready: 0,
        }
    }

    /// Offset of the first that is not in the window.
    pub(super) fn loaded(&self) -> u64 {
        self.base + self.window.len() as u64
    }

    pub(super) fn length(&self) -> u64 {
        self.handle.journal.next() - self.base
    }

    /// Takes what was just appended into the window, if there is room and nothing waits before it.
    pub(super) fn appended(
        &mut self,
        offset: u64,
        message: &Arc<Message>,
        (expires, since): (Option<Timestamp>, Option<Timestamp>),
        limits: &Limits,
    ) {
        if offset == self.loaded() && self.has_room(limits) {
            self.push(Arc::clone(message), expires, since);
        }
    }

    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.window.len() < limits.window_messages && self.bytes < limits.window_bytes
    }

    pub(super) fn push(
        &mut self,
        message: Arc<Message>,
        expires: Option<Timestamp>,
        since: Option<Timestamp>,
    ) {
        let bytes = message.size();
        self.bytes += bytes;
        self.window.push_back(Slot {
            state: State::Ready,
            tried: false,
            expires,
            since,
            message: Some(message),
            bytes,
        });
    }

    /// The next that nobody has.
    pub(super) fn take(&mut self, now: Now, limits: &Limits, counters: &Counters) -> Option<Taken> {
        loop {
            if self.ready == self.window.len() && !self.fetch(limits, counters) {
                return None;
            }
            let place = self.ready;
            self.ready += 1;
            let slot = &mut self.window[place];
            if slot.state != State::Ready {
                continue;
            }
            if slot.expires.is_some_and(|at| at <= now.wall) {
                counters.count(Counter::DroppedTtlExpiry);
                self.done(place);
                continue;
            }
            slot.state = State::Out(now.instant);
            let redelivered = std::mem::replace(&mut slot.tried, true);
            let message = Arc::clone(slot.message.as_ref().expect("only what is done has no message"));
            return Some(Taken { offset: self.base + place as u64, message, redelivered });
        }
    }

    /// Reads on from the journal; says whether there is something new in the window.
    pub(super) fn fetch(&mut self, limits: &Limits, counters: &Counters) -> bool {
        self.trim();
        let (from, next) = (self.loaded(), self.handle.journal.next());
        if from >= next || !self.has_room(limits) {
            return false;
        }
        let records = FETCH_RECORDS.min(limits.window_messages - self.window.len());
        let Ok(records) = self.handle.journal.read(from, records, limits.window_bytes - self.bytes) else {
            return false; // the disk may come back; whoever polls next tries again
        };
        let until = records.last().map_or(next, |(offset, _)| offset + 1);
        let mut records = records.into_iter().peekable();
        let mut damaged = 0;
        for offset in from..until {
            let record = records.next_if(|(at, _)| *at == offset);
            match record.and_then(|(_, record)| read_queued(record)) {
                Some(Queued { message, expires, since }) => self.push(Arc::new(message), expires, since),
                None => {
                    counters.count(Counter::DroppedUnreadable);
                    damaged += 1;
                    self.window.push_back(Slot {
                        state: State::Done,
                        tried: false,
                        expires: None,
                        since: None,
                        message: None,
                        bytes: 0,
                    });
                }
            }
        }
        if damaged > 0 {
            let QueueName { owner, input, .. } = &self.name;
            tracing::error!(
                owner,
                input,
                damaged,
                "messages are damaged on disk; they are lost and never delivered"
            );
        }
        true
    }

    pub(super) fn place(&self, offset: u64) -> Option<usize> {
        let place = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        (place < self.window.len()).then_some(place)
    }

    /// Closes a message; says whether it was open.
    pub(super) fn settle(&mut self, offset: u64) -> bool {
        let Some(place) = self.place(offset).filter(|&place| self.window[place].state != State::Done) else {
            return false;
        };
        self.done(place);
        true
    }

    pub(super) fn done(&mut self, place: usize) {
        let slot = &mut self.window[place];
        slot.state = State::Done;
        slot.message = None;
        self.bytes -= std::mem::take(&mut slot.bytes);
    }

    /// Drops what is done at the front.
    pub(super) fn trim(&mut self) {
        while self.window.front().is_some_and(|slot| slot.state == State::Done) {
            self.window.pop_front();
            self.base += 1;
            self.ready = self.ready.saturating_sub(1);
        }
    }

    /// Since when the first waits that nobody has, if that was written down.
    pub(super) fn waiting_since(&mut self, limits: &Limits, counters: &Counters) -> Option<Timestamp> {
        if self.ready == self.window.len() && !self.fetch(limits, counters) {
            return None;
        }
        self.window.get(self.ready)?.since
    }

    /// The journal has let go of its oldest: so does the window.
    pub(super) fn dropped(&mut self) {
        let first = self.handle.journal.first();
        while self.base < first
            && let Some(slot) = self.window.pop_front()
        {
            self.base += 1;
            self.bytes -= slot.bytes;
            self.ready = self.ready.saturating_sub(1);
        }
        self.base = self.base.max(first);
        self.forgotten = self.forgotten.max(self.base);
    }

    /// Trims, and lets the journal forget what it may.
    pub(super) fn forget(&mut self, store: &Store) {
        self.trim();
        if self.base > self.forgotten {
            self.forgotten = self.base;
            store.forget(&self.handle, self.base, !self.silent);
        }
    }

    /// Gives one back.
    pub(super) fn release(&mut self, offset: u64) {
        if let Some(place) = self.place(offset)
            && matches!(self.window[place].state, State::Out(_))
        {
            self.window[place].state = State::Ready;
            self.ready = self.ready.min(place);
        }
    }

    /// Gives back all that is out, from this place on.
    pub(super) fn release_from(&mut self, place: usize) {
        for slot in self.window.range_mut(place..) {
            if matches!(slot.state, State::Out(_)) {
                slot.state = State::Ready;
            }
        }
        self.ready = self.ready.min(place);
    }

    pub(super) fn release_all(&mut self) {
        self.release_from(0);
    }

    /// When the oldest that is out was handed out.
    pub(super) fn oldest_out(&self) -> Option<(usize, Instant)> {
        let out = self.window.iter().enumerate().filter_map(|(place, slot)| match slot.state {
            State::Out(since) => Some((place, since)),
            _ => None,
        });
        out.min_by_key(|(_, since)| *since)
    }

    /// Drops what is past its time at the front; that is where the oldest are.
    pub(super) fn expire(&mut self, now: Now, limits: &Limits, counters: &Counters) {
        loop {
            self.trim();
            if self.window.is_empty() && !self.fetch(limits, counters) {
                return;
            }
            let Some(front) = self.window.front() else { return };
            let over = front.state == State::Ready && front.expires.is_some_and(|at| at <= now.wall);
            if front.state != State::Done {
                if !over {
                    return;
                }
                counters.count(Counter::DroppedTtlExpiry);
                self.done(0);
            }
        }
    }
}
