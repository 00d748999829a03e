//! The hub: to devices and modules it is IoT Hub and edgeHub, on one's own machine.
//!
//! The hub's mind is [`core`], a value behind one lock; [`store`] keeps on disk what the mind promises. `listen`
//! opens the doors, a file in `dialect` speaks with whoever comes in, and nothing that was acknowledged is ever
//! only in memory.

#![recursion_limit = "256"]

mod bell;
mod certificates;
mod committer;
pub mod core;
mod counters;
mod deployment;
mod dialect;
mod faults;
mod jobs;
mod listen;
mod meter;
mod options;
mod place;
mod quotas;
mod ready;
mod shared;
mod start;
pub mod store;
mod upstream;
mod wiring;
mod workload;

pub use options::{Options, Quotas, SyncWhen, WhenFull};
pub use ready::{Ports, READY_FILE, Ready};
pub use upstream::{Upstream, UpstreamProtocol};
pub use wiring::VARIABLES;

use anyhow::Context as _;
use isotherm_host::Host;
use tokio::task::JoinHandle;

/// A running hub. It ends when `host.stop` says so; dropping this does not end it.
#[derive(Debug)]
pub struct Hub {
    ready: Ready,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Hub {
    /// Opens the state, the certificates and every port; returns when all of them are open.
    ///
    /// # Errors
    /// When the state is held by another process or cannot be read, an option makes no sense, or a port is taken.
    pub async fn start(host: Host, options: Options) -> anyhow::Result<Self> {
        let (running, ready) = start::start(host, &options).await?;
        Ok(Self { ready, running: tokio::spawn(running.until_closed()) })
    }

    /// Where it listens and who may come in.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Waits until the hub has ended: every connection closed, everything synced.
    ///
    /// # Errors
    /// When the last sync failed.
    pub async fn closed(self) -> anyhow::Result<()> {
        self.running.await.context("the hub panicked")?
    }
}

/// The module: everything comes from the environment.
///
/// # Errors
/// As [`Hub::start`], and when a variable makes no sense.
pub async fn run(host: Host) -> anyhow::Result<()> {
    let options = wiring::options(&host.env)?;
    Hub::start(host, options).await?.closed().await
}
