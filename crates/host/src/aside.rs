//! A thread beside the others, for work of which there may be much at once and which others should not wait for.

use crate::BoxFuture;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// By how much the thread gives way to the others when there are fewer processors than work.
const NICE: i32 = 5;

/// Runs futures on one thread that gives way to the others; in virtual time in place. Ends when it is dropped.
#[derive(Debug)]
pub struct Aside(Option<(Handle, oneshot::Sender<()>)>);

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = rustix::process::nice(NICE); // of this thread alone; whoever may not goes on as it is
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self(Some((handle, alive))))
    }

    /// None: everything runs in place.
    pub(crate) fn in_place() -> Self {
        Self(None)
    }

    /// Runs `work` there; dropping what comes back ends it.
    ///
    /// # Panics
    /// With the panic of `work`.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let Some((handle, _)) = &self.0 else { return work.await };
        let mut running = Running(handle.spawn(work));
        match (&mut running.0).await {
            Ok(value) => value,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await, // the thread is ending, and this task with it
            },
        }
    }
}

impl Aside {
    /// Begins `work` there, and goes on with it here from when `here` says so; dropping what comes back ends it.
    ///
    /// # Panics
    /// With the panic of `work`.
    pub async fn begin<T: Send + 'static>(
        &self,
        mut work: BoxFuture<'static, T>,
        here: Arc<AtomicBool>,
    ) -> T {
        let beginning = async move {
            let done = poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending if here.load(Ordering::Acquire) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            done.await.ok_or(work)
        };
        match self.run(beginning).await {
            Ok(value) => value,
            Err(work) => work.await,
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::current;

    #[tokio::test]
    async fn work_runs_on_a_thread_that_gives_way_and_its_answer_comes_back() {
        let aside = Aside::start("aside").unwrap();
        let nice = async || rustix::process::nice(0).unwrap();
        let (here, before) = (current().id(), nice().await);
        let (there, after) = aside.run(async move { (current().id(), nice().await) }).await;
        assert_ne!(here, there);
        assert!(after > before || before > 14, "{before} here and {after} there");
    }

    #[tokio::test]
    async fn work_begins_there_and_goes_on_here_once_it_is_said_so() {
        let aside = Aside::start("aside").expect("a system that has a thread to give");
        let here = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&here);
        let work = async move {
            let first = current().id();
            tokio::task::yield_now().await;
            let second = current().id();
            mark.store(true, Ordering::Release);
            tokio::task::yield_now().await;
            [first, second, current().id()]
        };
        let [first, second, third] = aside.begin(Box::pin(work), here).await;
        assert_eq!((first, third), (second, current().id()));
        assert_ne!(first, third);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends() {
        let aside = Aside::start("aside").unwrap();
        let (held, gone) = oneshot::channel::<()>();
        {
            let work = std::pin::pin!(aside.run(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }));
            assert!(futures_util::poll!(work).is_pending());
        }
        assert!(gone.await.is_err(), "what the work held is let go of");
    }
}
