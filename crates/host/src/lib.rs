//! The one door: all that a process asks of its machine goes through [`Host`].
//!
//! Network, disk, wall clock, chance and environment are handed in as one value. [`Host::real`] opens sockets and
//! files; a simulation hands in a host that is drawn from a seed, and nothing else differs. Beside the door stand
//! the things that every connection needs: [`drive()`], the loop that moves bytes for any session, TLS, WebSocket,
//! a small HTTP client, and [`start`], what every `main` does.

mod aside;
mod chance;
mod clock;
mod disk;
mod drive;
pub mod duration;
mod env;
pub mod http;
pub mod log;
pub mod memory;
pub mod metrics;
mod network;
pub mod start;
mod stop;
pub mod tls;
pub mod websocket;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use aside::Aside;
pub use chance::Chance;
pub use clock::{Clock, RealClock};
pub use disk::{AlreadyLocked, Disk, File, Lock, MemoryDisk, RealDisk, WHOLE_FILE_BYTES_MAX};
pub use drive::{Ended, Flow, Pilot, TRANSMIT_BYTES_MAX, WRITE_STALL, drive};
pub use env::{Env, WiringError};
pub use network::{BoxFuture, BoxListener, BoxStream, Listener, Network, Peer, RealNetwork, Stream};
pub use stop::Stop;

/// The folder that state is kept in unless `ISOTHERM_STATE` says otherwise, relative to the current folder.
pub const DEFAULT_STATE_FOLDER: &str = ".isotherm";

/// All that a process may ask of its machine. A clone is the same door.
#[derive(Clone, Debug)]
pub struct Host {
    /// What the environment says.
    pub env: Env,
    /// Where connections come from and go to.
    pub network: Arc<dyn Network>,
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub chance: Chance,
    /// Says when to end.
    pub stop: Stop,
    /// What is counted, for whoever operates the process.
    pub metrics: metrics::Metrics,
    /// How much is logged.
    pub log: log::Dial,
}

impl Host {
    /// The machine that this process runs on.
    pub fn real() -> Self {
        Self {
            env: Env::of_process(),
            network: Arc::new(RealNetwork),
            disk: Arc::new(RealDisk),
            clock: Arc::new(RealClock),
            chance: Chance::of_system(),
            stop: Stop::new(),
            metrics: metrics::Metrics::default(),
            log: log::Dial::Process,
        }
    }

    /// The same door with another environment.
    #[must_use]
    pub fn with_env(self, env: Env) -> Self {
        Self { env, ..self }
    }

    /// The same door with another disk.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self }
    }

    /// The same door with a stop of its own, which also stops when this one does.
    #[must_use]
    pub fn with_own_stop(self) -> Self {
        let stop = self.stop.child();
        Self { stop, ..self }
    }

    /// Runs what would block (a sync to disk, a chip on its bus) where it holds nobody up; in virtual time it runs
    /// in place, so that the order of things does not depend on threads.
    ///
    /// # Panics
    /// With the panic of `work`.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        if self.clock.is_virtual() {
            // Half of the time passes before and half after: others see it neither done early nor told at once.
            let half = self.clock.work_takes() / 2;
            pass(half).await;
            let value = work();
            pass(half).await;
            return value;
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await, // the runtime is going away, and this task with it
            },
        }
    }

    /// A thread beside the others that gives way to them. In virtual time, and where the system has no thread to give,
    /// what it would run runs in place.
    pub fn aside(&self, name: &str) -> Aside {
        if self.clock.is_virtual() {
            return Aside::in_place();
        }
        Aside::start(name).unwrap_or_else(|error| {
            tracing::warn!(%error, name, "no thread of its own");
            Aside::in_place()
        })
    }

    /// The time of day, in UTC.
    pub fn wall(&self) -> jiff::Timestamp {
        self.clock.wall()
    }

    /// The monotonic clock that tokio's timers run by, virtual where they are.
    pub fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// The folder that state is kept in: `ISOTHERM_STATE`, else `.isotherm` in the current folder.
    pub fn state_folder(&self) -> &Path {
        Path::new(self.env.get("ISOTHERM_STATE").unwrap_or(DEFAULT_STATE_FOLDER))
    }
}

async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_blocks_runs_elsewhere_and_its_answer_comes_back() {
        let here = std::thread::current().id();
        let there = Host::real().blocking(|| std::thread::current().id()).await;
        assert_ne!(here, there);
    }

    #[tokio::test]
    async fn what_blocks_runs_in_place_in_virtual_time() {
        let host = Host { clock: Arc::new(clock::FixedClock(jiff::Timestamp::UNIX_EPOCH)), ..Host::real() };
        let here = std::thread::current().id();
        assert_eq!(host.blocking(|| std::thread::current().id()).await, here);
        assert_eq!(host.wall(), jiff::Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn state_is_kept_beside_the_process_unless_the_environment_says_where() {
        let host = Host::real().with_env(Env::default());
        assert_eq!(host.state_folder(), Path::new(".isotherm"));
        let host = host.with_env(Env::of([("ISOTHERM_STATE", "/var/lib/isotherm")]));
        assert_eq!(host.state_folder(), Path::new("/var/lib/isotherm"));
    }
}
