//! A whole site in virtual time, drawn from a seed.
//!
//! The `run` functions of hub, sensor and filter, the very same that are three lines from `main` in production, run
//! here in one thread over hosts that a seed has drawn: a network with delays, cuts and half-open streams, disks that
//! lose at a power cut what was not synced, clocks that jump, and processes that are killed in the middle of a write.
//! A ledger watches the chips, the disks and the hub's event log, and says at the end whether every reading that was
//! sensed and kept has arrived, in order, and no other. The same seed plays the same game: its trace has the same
//! fingerprint. TLS is left out (`Network::is_private`): its handshakes draw chance that no seed gives.

mod clock;
mod cloud;
mod disk;
mod faults;
mod ledger;
mod life;
mod machine;
mod network;
mod panics;
mod site;
mod trace;
mod weather;
mod world;

use std::time::Duration;

pub use faults::Fault;

/// Seeds that once found a bug: they are played with every run.
pub const FOUND: &str = include_str!("../seeds.txt");

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long the chips are read, in virtual minutes, at least one.
    pub minutes: u64,
    /// What goes wrong; `None` lets the seed say.
    pub faults: Option<Vec<Fault>>,
    /// Whether each step is printed to standard error.
    pub trace: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { minutes: 10, faults: None, trace: false }
    }
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which seed.
    pub seed: u64,
    /// What went wrong.
    pub faults: Vec<Fault>,
    /// The fingerprint of everything that happened.
    pub trace: u64,
    /// Readings that were sensed and kept.
    pub sensed: u64,
    /// Alerts that arrived, repeats not counted.
    pub delivered: u64,
    /// Readings and alerts that arrived once more.
    pub repeats: u64,
    /// Readings and alerts that should have arrived and did not.
    pub lost: u64,
    /// What should not be, in words; empty if all is well.
    pub problems: Vec<String>,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
}

/// Plays one seed.
///
/// # Panics
/// If the system gives no runtime, or this is called from inside of one.
pub fn play(seed: u64, plan: &Plan) -> Outcome {
    panics::listen();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing from the system");
    runtime.block_on(world::play(seed, plan))
}

/// The seeds that once found a bug.
pub fn found() -> impl Iterator<Item = u64> {
    FOUND.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}
