//! The inputs of modules and their queues: one for each priority.

use std::sync::Arc;

use isotherm_iothub::Identity;

use super::queue::Queue;
use super::timers::Timer;
use super::{Core, Now};
use crate::store::{QueueHandle, QueueName, Store, StoreError};

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
