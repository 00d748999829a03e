//! The inputs of modules and their queues: one for each priority.

use std::sync::Arc;

use isotherm_iothub::{Feed, Identity};
use jiff::SignedDuration;

use super::queue::Queue;
use super::timers::Timer;
use super::{Core, Counter, Now};
use crate::store::{QueueHandle, QueueName, Store, StoreError, WhenFull};

/// What has waited for so long was left by an outage.
const FRESH_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// At least so many bytes give way at once, so that not every message has to make room.
const DROP_BYTES: u64 = 256 << 10;

/// Queues that an input may have for one priority: the fresh one, and what that many outages less one have left.
pub(super) const ERAS_MAX: usize = 8;

/// A delivery's number: which queue, and the offset in its journal.
const OFFSET_BITS: u32 = 44;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

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
    /// Places of queues that were emptied; nothing that was taken from them is still out.
    free: Vec<usize>,
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
        let name = QueueName { owner: owner.as_str().to_owned(), input: input.to_owned(), priority, era: 0 };
        match self.newest(&name) {
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
        let queue = Some(Queue::new(handle, name, endpoint));
        let index = match self.free.pop() {
            Some(free) => {
                self.queues[free] = queue;
                free
            }
            None => {
                self.queues.push(queue);
                self.queues.len() - 1
            }
        };
        self.endpoints[endpoint].queues.push(index);
        self.sort(endpoint);
        index
    }

    /// By priority; within one the newest, which is filled, then what outages have left, oldest first.
    fn sort(&mut self, endpoint: usize) {
        let mut sorted = std::mem::take(&mut self.endpoints[endpoint].queues);
        sorted.sort_by_key(|&it| {
            let name = self.queues[it].as_ref().map(|it| &it.name);
            let newest = name.and_then(|name| self.newest(name)) == Some(it);
            name.map(|name| (name.priority, !newest, name.era))
        });
        self.endpoints[endpoint].queues = sorted;
    }

    fn same<'a>(&'a self, name: &'a QueueName) -> impl Iterator<Item = (usize, &'a Queue)> {
        let queues =
            self.queues.iter().enumerate().filter_map(|(index, queue)| Some((index, queue.as_ref()?)));
        queues.filter(|(_, it)| {
            it.priority == name.priority && it.name.owner == name.owner && it.name.input == name.input
        })
    }

    /// The queue that is filled, of those of this input and priority.
    fn newest(&self, name: &QueueName) -> Option<usize> {
        self.same(name).max_by_key(|(_, it)| it.name.era).map(|(index, _)| index)
    }

    /// Sets what is in a queue aside, for what comes from now on; `None` if it cannot be, or too often was.
    fn begin_era(&mut self, store: &Store, index: usize) -> Option<usize> {
        let queue = self.queues[index].as_ref()?;
        let owner = queue.name.owner.parse::<Identity>().ok()?;
        if self.same(&queue.name).count() >= ERAS_MAX {
            return None;
        }
        let name = QueueName { era: queue.name.era + 1, ..queue.name.clone() };
        let handle = store.queue(&name).ok()?; // a disk that fails now fails at the next message too
        let newer = self.add(owner, name, handle);
        self.queues[newer].as_mut()?.fresh_first = true;
        Some(newer)
    }

    /// Removes a queue that an outage had left, once all in it is settled.
    fn end_era(&mut self, store: &Store, index: usize) {
        let Some(queue) = self.queues[index].as_ref().filter(|queue| queue.length() == 0) else { return };
        if self.newest(&queue.name) == Some(index) {
            return;
        }
        let Some(queue) = self.queues[index].take() else { return };
        self.endpoints[queue.endpoint].queues.retain(|it| *it != index);
        store.retire_queue(&queue.name);
        self.free.push(index);
    }

    /// Whose oldest messages give way.
    fn victim(&self, when_full: WhenFull) -> Option<usize> {
        let held = self.queues.iter().flatten().filter(|queue| queue.length() > 0);
        let chosen = match when_full {
            WhenFull::Refuse => None,
            WhenFull::DropOldest => held.max_by_key(|queue| queue.handle.journal.bytes()),
            WhenFull::DropLowestPriority => {
                held.max_by_key(|queue| (queue.priority, queue.handle.journal.bytes()))
            }
        }?;
        let left = self.same(&chosen.name).filter(|(_, queue)| queue.length() > 0);
        left.min_by_key(|(_, queue)| queue.name.era).map(|(index, _)| index)
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
        gauges.dedup_by(|one, before| {
            let same = (&one.endpoint, one.priority) == (&before.endpoint, before.priority);
            before.length += if same { one.length } else { 0 };
            same
        });
        gauges
    }

    /// How many messages wait for modules.
    pub fn held(&self) -> u64 {
        self.queues.queues.iter().flatten().map(Queue::length).sum()
    }

    /// After something was settled: the journal forgets what it may.
    pub(super) fn trim(&mut self, queue: usize) {
        if let Some(held) = self.queues.queues[queue].as_mut() {
            held.forget(&self.store);
            self.queues.end_era(&self.store, queue);
        }
    }

    /// The queue to put a message into: with fresh data first, one of its own if what is before it was left by an
    /// outage that is over.
    pub(super) fn fresh_queue(&mut self, index: usize, now: Now) -> usize {
        let Some(queue) = self.queues.queues[index].as_mut().filter(|queue| queue.fresh_first) else {
            return index;
        };
        let since = queue.waiting_since(&self.options.limits, &self.counters);
        let old = since.is_some_and(|since| now.wall.duration_since(since) >= FRESH_AFTER);
        let person = self.queues.endpoints[queue.endpoint].person;
        if !old || !person.is_some_and(|person| self.is_served(person)) {
            return index;
        }
        let Some(newer) = self.queues.begin_era(&self.store, index) else { return index };
        self.lead_to(index, newer);
        newer
    }

    /// Whether somebody takes what comes to a module's inputs.
    fn is_served(&self, person: usize) -> bool {
        let session = self.people.at(person).and_then(|person| person.session);
        session.is_some_and(|session| self.subscribed(session, Feed::Inputs).is_some())
    }

    /// The queues are full: as many of the oldest messages give way as the setting says, and are counted.
    pub(super) fn make_room(&mut self, bytes: usize) {
        let when_full = self.store.when_full();
        if when_full == WhenFull::Refuse {
            return;
        }
        while self.store.excess(bytes) > 0
            && let Some(index) = self.queues.victim(when_full)
            && let Some(queue) = self.queues.queues[index].as_mut()
        {
            let step = DROP_BYTES.min(self.store.queues_bytes_max() / 16);
            let dropped = self.store.drop_oldest(&queue.handle, self.store.excess(bytes).max(step));
            queue.dropped();
            self.counters.add(Counter::DroppedFull, dropped);
            self.queues.end_era(&self.store, index);
            if dropped == 0 {
                return;
            }
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
        for index in 0..self.queues.queues.len() {
            if let Some(queue) = self.queues.queues[index].as_mut() {
                queue.expire(now, &self.options.limits, &self.counters);
                self.trim(index);
            }
        }
    }
}
