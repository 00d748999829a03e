//! Says when to end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// A word that everybody hears: end now, cleanly. Clones share it.
#[derive(Clone, Debug)]
pub struct Stop {
    own: Arc<Word>,
    above: Option<Arc<Stop>>,
}

/// One stop's own word. Whoever waits for it is woken in the order in which they came (tokio's `watch` would draw it).
#[derive(Debug, Default)]
struct Word {
    said: AtomicBool,
    news: Notify,
}

impl Stop {
    /// Not said yet.
    pub fn new() -> Self {
        Self { own: Arc::default(), above: None }
    }

    /// A stop of its own that also stops when this one does: for ending one module and not its neighbours.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { own: Arc::default(), above: Some(Arc::new(self.clone())) }
    }

    /// Says it. Saying it twice changes nothing.
    pub fn stop(&self) {
        self.own.said.store(true, Ordering::Release);
        self.own.news.notify_waiters();
    }

    /// Whether it was said.
    pub fn is_stopped(&self) -> bool {
        self.own.said.load(Ordering::Acquire) || self.above.as_ref().is_some_and(|above| above.is_stopped())
    }

    /// Waits until it is said. Can be dropped and called again at any time.
    pub async fn stopped(&self) {
        let Some(above) = &self.above else { return said(&self.own).await };
        tokio::select! {
            biased;
            () = said(&self.own) => {}
            () = Box::pin(above.stopped()) => {}
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

async fn said(word: &Word) {
    let mut news = pin!(word.news.notified());
    news.as_mut().enable(); // before looking, so that it is not said in between unheard
    if !word.said.load(Ordering::Acquire) {
        news.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_stops_with_its_parent_and_not_the_other_way_round() {
        let parent = Stop::new();
        let child = parent.child();
        let sibling = parent.child();
        child.stop();
        child.stopped().await;
        assert!(child.is_stopped() && !parent.is_stopped() && !sibling.is_stopped());
        parent.stop();
        sibling.stopped().await;
        assert!(sibling.is_stopped());
    }

    #[tokio::test]
    async fn who_waits_hears_it_later() {
        let stop = Stop::new();
        let waiter = tokio::spawn({
            let stop = stop.clone();
            async move { stop.stopped().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        stop.stop();
        waiter.await.unwrap();
    }
}
