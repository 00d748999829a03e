//! Queues: one for each input of a module and priority, in the order things came.
//!
//! A queue lies in its journal; the head of it is also in memory, the window. What is taken stays in the window until it
//! is settled, and the journal forgets only what has been settled from the front without a gap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use isotherm_iothub::{Identity, Message};
use jiff::Timestamp;

use super::record::read_queued;
use super::timers::Timer;
use super::{Core, Counter, Counters, Limits, Now};
use crate::store::{QueueHandle, QueueName, Store, StoreError};

/// A delivery's number: which queue, and the offset in its journal.
const OFFSET_BITS: u32 = 44;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
/// Records fetched from a journal at once.
const FETCH_RECORDS: usize = 256;

/// How many wait in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueGauge {
    /// `device/module/input`.
    pub endpoint: String,
    /// 0 (first) to 9, or 2000000000 (no priority given).
    pub priority: u32,
    /// How many messages.
    pub length: u64,
}

/// An input of a module.
pub(super) struct Endpoint {
    pub(super) owner: Identity,
    /// The owner's place among the people, if there is such a one.
    pub(super) person: Option<usize>,
    pub(super) input: Arc<str>,
    /// By priority.
    pub(super) queues: Vec<usize>,
    /// `device/module/input`.
    pub(super) name: String,
}

/// All inputs and their queues. Removed ones leave their place empty, so numbers stay what they were.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) queues: Vec<Option<Queue>>,
}

/// One queue.
pub(super) struct Queue {
    pub(super) handle: QueueHandle,
    name: QueueName,
    pub(super) endpoint: usize,
    pub(super) priority: u32,
    /// Whether its acknowledgement timer is set.
    pub(super) timed: bool,
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
    fn new(handle: QueueHandle, name: QueueName, endpoint: usize) -> Self {
        let base = handle.journal.first();
        let priority = name.priority;
        Self {
            handle,
            name,
            endpoint,
            priority,
            timed: false,
            window: VecDeque::new(),
            base,
            forgotten: base,
            bytes: 0,
            ready: 0,
        }
    }

    /// Offset of the first that is not in the window.
    fn loaded(&self) -> u64 {
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
        expires: Option<Timestamp>,
        limits: &Limits,
    ) {
        if offset == self.loaded() && self.has_room(limits) {
            self.push(Arc::clone(message), expires);
        }
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.window.len() < limits.window_messages && self.bytes < limits.window_bytes
    }

    fn push(&mut self, message: Arc<Message>, expires: Option<Timestamp>) {
        let bytes = message.size();
        self.bytes += bytes;
        self.window.push_back(Slot {
            state: State::Ready,
            tried: false,
            expires,
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
    fn fetch(&mut self, limits: &Limits, counters: &Counters) -> bool {
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
        for offset in from..until {
            let record = records.next_if(|(at, _)| *at == offset);
            match record.and_then(|(_, record)| read_queued(record)) {
                Some((expires, message)) => self.push(Arc::new(message), expires),
                None => {
                    counters.count(Counter::DroppedUnreadable);
                    let slot =
                        Slot { state: State::Done, tried: false, expires: None, message: None, bytes: 0 };
                    self.window.push_back(slot);
                }
            }
        }
        true
    }

    fn place(&self, offset: u64) -> Option<usize> {
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

    fn done(&mut self, place: usize) {
        let slot = &mut self.window[place];
        slot.state = State::Done;
        slot.message = None;
        self.bytes -= std::mem::take(&mut slot.bytes);
    }

    /// Drops what is done at the front.
    fn trim(&mut self) {
        while self.window.front().is_some_and(|slot| slot.state == State::Done) {
            self.window.pop_front();
            self.base += 1;
            self.ready = self.ready.saturating_sub(1);
        }
    }

    /// Trims, and lets the journal forget what it may.
    fn forget(&mut self, store: &Store) {
        self.trim();
        if self.base > self.forgotten {
            self.forgotten = self.base;
            store.forget(&self.handle, self.base);
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
    fn release_from(&mut self, place: usize) {
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
    fn oldest_out(&self) -> Option<(usize, Instant)> {
        let out = self.window.iter().enumerate().filter_map(|(place, slot)| match slot.state {
            State::Out(since) => Some((place, since)),
            _ => None,
        });
        out.min_by_key(|(_, since)| *since)
    }

    /// Drops what is past its time at the front; that is where the oldest are.
    fn expire(&mut self, now: Now, limits: &Limits, counters: &Counters) {
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

impl Queues {
    /// Recalls the queues that the store holds.
    pub(super) fn open(store: &Store) -> Self {
        let mut queues = Self::default();
        for (name, handle) in store.queues() {
            if let Ok(owner) = name.owner.parse::<Identity>() {
                queues.add(owner, name, handle);
            }
        }
        queues
    }

    /// The queue of that input and priority, made if need be. Says whether its endpoint is new.
    pub(super) fn find_or_make(
        &mut self,
        store: &Store,
        owner: &Identity,
        input: &str,
        priority: u32,
    ) -> Result<usize, StoreError> {
        let name = QueueName { owner: owner.as_str().to_owned(), input: input.to_owned(), priority };
        let known = self.queues.iter().position(|queue| queue.as_ref().is_some_and(|it| it.name == name));
        match known {
            Some(queue) => Ok(queue),
            None => {
                let handle = store.queue(&name)?;
                Ok(self.add(owner.clone(), name, handle))
            }
        }
    }

    fn add(&mut self, owner: Identity, name: QueueName, handle: QueueHandle) -> usize {
        let same = |it: &Endpoint| it.owner == owner && *it.input == *name.input;
        let endpoint = self.endpoints.iter().position(same).unwrap_or_else(|| {
            let input = Arc::from(name.input.as_str());
            let full = format!("{owner}/{}", name.input);
            self.endpoints.push(Endpoint { owner, person: None, input, queues: Vec::new(), name: full });
            self.endpoints.len() - 1
        });
        let index = self.queues.len();
        let priority = name.priority;
        self.queues.push(Some(Queue::new(handle, name, endpoint)));
        let (queues, sorted) = (&self.queues, &mut self.endpoints[endpoint].queues);
        let before = |&it: &usize| queues[it].as_ref().is_some_and(|it| it.priority <= priority);
        let place = sorted.partition_point(before);
        sorted.insert(place, index);
        index
    }

    /// The inputs of a module.
    pub(super) fn endpoints_of(&self, owner: &Identity) -> Vec<usize> {
        (0..self.endpoints.len()).filter(|&it| self.endpoints[it].owner == *owner).collect()
    }

    /// Forgets a module's queues and all in them.
    pub(super) fn remove(&mut self, store: &Store, owner: &Identity) {
        for endpoint in self.endpoints_of(owner) {
            for queue in std::mem::take(&mut self.endpoints[endpoint].queues) {
                if let Some(queue) = self.queues[queue].take() {
                    store.remove_queue(&queue.name);
                }
            }
        }
    }
}

pub(super) fn delivery_of(queue: usize, offset: u64) -> u64 {
    (queue as u64) << OFFSET_BITS | (offset & OFFSET_MASK)
}

pub(super) fn queue_of(delivery: u64) -> (usize, u64) {
    ((delivery >> OFFSET_BITS) as usize, delivery & OFFSET_MASK)
}

impl Core {
    /// How many wait in each queue, by endpoint and priority.
    pub fn queues(&self) -> Vec<QueueGauge> {
        let mut gauges: Vec<QueueGauge> = (self.queues.queues.iter().flatten())
            .map(|queue| QueueGauge {
                endpoint: self.queues.endpoints[queue.endpoint].name.clone(),
                priority: queue.priority,
                length: queue.length(),
            })
            .collect();
        gauges.sort_by(|a, b| (&a.endpoint, a.priority).cmp(&(&b.endpoint, b.priority)));
        gauges
    }

    /// How many messages wait for modules.
    pub fn held(&self) -> u64 {
        self.queues.queues.iter().flatten().map(Queue::length).sum()
    }

    /// After something was settled: the journal forgets what it may.
    pub(super) fn trim(&mut self, queue: usize) {
        if let Some(queue) = self.queues.queues[queue].as_mut() {
            queue.forget(&self.store);
        }
    }

    /// The oldest delivery of a queue has been out for too long: it and all after it are sent again, so that the
    /// order holds.
    pub(super) fn ack_timeout(&mut self, index: usize, now: Now) {
        let Some(queue) = self.queues.queues[index].as_mut() else { return };
        queue.timed = false;
        let Some((place, since)) = queue.oldest_out() else { return };
        let due = since + self.options.limits.ack_timeout;
        if due > now.instant {
            queue.timed = true;
            self.timers.set(due, Timer::Ack(index));
            return;
        }
        queue.release_from(place);
        if let Some(person) = self.queues.endpoints[queue.endpoint].person {
            self.wake_inputs(person);
        }
    }

    pub(super) fn expire_queued(&mut self, now: Now) {
        for queue in self.queues.queues.iter_mut().flatten() {
            queue.expire(now, &self.options.limits, &self.counters);
            queue.forget(&self.store);
        }
    }
}
