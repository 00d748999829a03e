//! Who runs the store's commits: a thread of its own, so that no connection waits while the disk syncs; in virtual
//! time a task, so that the order of things does not depend on threads.

use std::io;
use std::sync::Arc;

use isotherm_host::Host;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use crate::store::{Due, Pace, Round, Store};

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
        let ended = if host.clock.is_virtual() { task(host, store) } else { thread(host, store) };
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

fn thread(host: &Host, store: &Store) -> Ended {
    let (tell, ended) = oneshot::channel();
    let (store, clock) = (store.clone(), host.clone());
    std::thread::Builder::new()
        .name("hub-commit".to_owned())
        .spawn(move || {
            let _ = tell.send(store.run(|| clock.now())); // nobody may be left to hear it
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
        let mut pace = Pace::default();
        loop {
            match store.due_at(&mut pace, host.now()) {
                Due::Now { all } => {
                    let round = store.clone();
                    if let Round::Failed(_) = host.blocking(move || round.commit(all)).await {
                        tokio::time::sleep(Store::RETRY).await;
                    }
                }
                Due::At(at) => drop(timeout_at(at.into(), wait.notified()).await),
                Due::OnCall => wait.notified().await,
            }
        }
    });
    Ended::Task(task, dirty)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use isotherm_host::{Clock, MemoryDisk};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::core::{Core, Now, Options};
    use crate::store::Settings;

    #[derive(Debug)]
    struct Virtual;

    impl Clock for Virtual {
        fn wall(&self) -> Timestamp {
            Timestamp::constant(1_800_000_000, 0)
        }

        fn is_virtual(&self) -> bool {
            true
        }
    }

    async fn a_device_is_kept(host: Host) {
        let settings = Settings::default();
        let (store, _) = Store::open(Arc::new(MemoryDisk::new()), Path::new("/store"), settings).unwrap();
        let now = Now { instant: host.now(), wall: host.wall() };
        let options = Options::new("hub", "edge");
        let mut core = Core::open(options, store.clone(), host.chance.clone(), now).unwrap();
        let committer = Committer::start(&host, &store);
        let (_, ticket) = core.put_device("leaf", &json!({"deviceId": "leaf"}), None, now).unwrap();
        let kept = Arc::new(Notify::new());
        let ringer = Arc::clone(&kept);
        store.on_durable(ticket, Arc::new(move || ringer.notify_one()));
        kept.notified().await;
        assert!(store.durable() >= ticket);
        committer.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_thread_keeps_what_is_dirty() {
        a_device_is_kept(Host::real()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_does_in_virtual_time() {
        a_device_is_kept(Host { clock: Arc::new(Virtual), ..Host::real() }).await;
    }
}
