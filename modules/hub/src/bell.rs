//! How the hub's mind wakes a connection without knowing tasks: it rings a bell, and the task looks when it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Rung from anywhere, answered by one task. Ringing twice before the answer is ringing once.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Bell {
    /// A bell that nobody has rung.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Wakes the task that answers. Cheap, and safe under any lock.
    pub(crate) fn ring(&self) {
        // Rung already: the task is awake or about to look, so it need not be woken again.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }

    /// Ready once for all the ringing since the last time.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.task.register(cx.waker());
        // It may have rung between the look and the registering.
        if self.rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A function that rings, to hand to the hub's mind.
    pub(crate) fn ringer(self: &Arc<Self>) -> Arc<dyn Fn() + Send + Sync> {
        let bell = Arc::clone(self);
        Arc::new(move || bell.ring())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rings_before_the_answer_are_answered_once() {
        let bell = Bell::new();
        let cx = Context::from_waker(std::task::Waker::noop());
        assert!(bell.poll(&cx).is_pending());
        (bell.ringer())();
        bell.ring();
        assert!(bell.poll(&cx).is_ready());
        assert!(bell.poll(&cx).is_pending());
    }
}
