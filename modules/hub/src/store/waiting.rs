//! Who is to be told of what.

use std::sync::Arc;

use super::{QueueHandle, Queued, Ticket};
use crate::core::Wake;

/// Those who wait. Each is told once, except the committer's task.
#[derive(Default)]
pub(super) struct Waiting {
    /// For a ticket to be durable. As many as there are connections, two for each at most.
    pub(super) durable: Vec<(Ticket, Wake)>,
    /// For a message to be on disk or accepted. As many.
    pub(super) accepted: Vec<(Queued, Wake)>,
    /// For room.
    pub(super) room: Vec<Wake>,
    /// For room in the upstream log.
    pub(super) upstream_room: Vec<Wake>,
    /// For the upstream log to grow.
    pub(super) events: Vec<Wake>,
    /// The committer, when it is a task.
    pub(super) dirty: Option<Wake>,
}

impl Waiting {
    /// Takes out those whose ticket is durable now.
    pub(super) fn take_durable(&mut self, durable: Ticket, into: &mut Vec<Wake>) {
        let told = self.durable.extract_if(.., |(ticket, _)| *ticket <= durable);
        into.extend(told.map(|(_, wake)| wake));
    }

    /// Takes out those whose message is in safe hands now; of one queue, if it is the only one that has moved.
    pub(super) fn take_accepted(&mut self, queue: Option<&QueueHandle>) -> Vec<Wake> {
        let concerns = |queued: &Queued| queue.is_none_or(|it| it.index == queued.queue.index);
        let told = self.accepted.extract_if(.., |(queued, _)| concerns(queued) && queued.is_safe());
        told.map(|(_, wake)| wake).collect()
    }
}

/// Joins those who wait, unless it is among them: who waits for days asks again each time it is woken by something else.
/// Who has gone away meanwhile, so that nobody else holds his waker, is forgotten.
pub(super) fn join(those: &mut Vec<Wake>, wake: Wake) {
    those.retain(|one| Arc::strong_count(one) > 1);
    if !those.iter().any(|one| Arc::ptr_eq(one, &wake)) {
        those.push(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_waits_once_and_who_is_gone_is_forgotten() {
        let waker = |number: u64| -> Wake { Arc::new(move || assert!(number > 0)) };
        let (mut those, one, other) = (Vec::new(), waker(1), waker(2));
        for wake in [&one, &other, &one] {
            join(&mut those, Arc::clone(wake));
        }
        assert_eq!(those.len(), 2);
        drop(one);
        join(&mut those, Arc::clone(&other));
        assert_eq!(those.len(), 1);
    }
}
