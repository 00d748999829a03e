//! Who runs the store's commits: a thread of its own, so that no connection waits while the disk syncs; in virtual
//! time a task, so that the order of things does not depend on threads.

use std::io;
use std::sync::Arc;

use isotherm_host::Host;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::store::{Round, Store};

/// The store's committer, running.
pub(crate) struct Committer {
    store: Store,
    ended: Ended,
}

enum Ended {
    Thread(oneshot::Receiver<io::Result<()>>),
    Task(JoinHandle<()>, Arc<Notify>),
}

impl Committer {
    /// Starts it.
    pub(crate) fn start(host: &Host, store: &Store) -> Self {
        let ended = if host.clock.is_virtual() { task(host, store) } else { thread(store) };
        Self { store: store.clone(), ended }
    }

    /// Has it do one last round, and says how that went.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.store.close();
        match &mut self.ended {
            Ended::Thread(ended) => {
                ended.await.unwrap_or_else(|_| Err(io::Error::other("the committer panicked")))
            }
            Ended::Task(task, dirty) => {
                task.abort();
                dirty.notify_one();
                match self.store.commit_round() {
                    Round::Failed(error) => Err(error),
                    Round::Idle | Round::Committed(_) => Ok(()),
                }
            }
        }
    }
}

impl Drop for Committer {
    /// A hub that failed to start, or was dropped with its runtime, leaves no thread behind.
    fn drop(&mut self) {
        self.store.close();
        if let Ended::Task(task, _) = &self.ended {
            task.abort();
        }
    }
}

fn thread(store: &Store) -> Ended {
    let (tell, ended) = oneshot::channel();
    let store = store.clone();
    std::thread::Builder::new()
        .name("hub-commit".to_owned())
        .spawn(move || {
            let _ = tell.send(store.run()); // nobody may be left to hear it
        })
        .expect("a process that is just starting can have one thread more");
    Ended::Thread(ended)
}

fn task(host: &Host, store: &Store) -> Ended {
    let dirty = Arc::new(Notify::new());
    let ringer = Arc::clone(&dirty);
    store.on_dirty(Arc::new(move || ringer.notify_one()));
    let (host, store, wait) = (host.clone(), store.clone(), Arc::clone(&dirty));
    let task = tokio::spawn(async move {
        loop {
            wait.notified().await;
            loop {
                let rounds = store.clone();
                match host.blocking(move || rounds.commit_round()).await {
                    Round::Idle => break,
                    Round::Committed(_) => {}
                    Round::Failed(_) => tokio::time::sleep(Store::RETRY).await,
                }
            }
        }
    });
    Ended::Task(task, dirty)
}
