//! A hub under attack, in a process of its own: strangers of every kind side by side, while a pair that behaves
//! goes on at a thousand messages a second. `cargo test` does it small; `.ci/hostile` does it with five thousand.

#[path = "common/mod.rs"]
mod common;
#[path = "hostile/pair.rs"]
mod pair;
#[path = "hostile/strangers.rs"]
mod strangers;
#[path = "hostile/wire.rs"]
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Folder, Process, template};
use isotherm_host::Chance;
use pair::{Outcome, Pair};
use serde_json::Value;
use strangers::{Kind, Stranger, rage};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use wire::Site;

/// How hard it is.
#[derive(Debug, Clone, Copy)]
struct Scale {
    strangers: usize,
    /// Devices that strangers got hold of; a multiple of the number of kinds, so that no kind meddles with another.
    hijacked: usize,
    calm: Duration,
    storm: Duration,
    /// How long a stranger stays: longer than the hub's patience (10 s for TLS and CONNECT) where that is to be seen.
    stay: Duration,
    /// Whether the pair's latency is judged: not where other tests run beside this one.
    judged: bool,
}

const SHORT: Scale = Scale {
    strangers: 140,
    hijacked: 140,
    calm: Duration::from_secs(2),
    storm: Duration::from_secs(14),
    stay: Duration::from_secs(12),
    judged: false,
};
const FULL: Scale = Scale {
    strangers: 5_000,
    hijacked: 1_120,
    calm: Duration::from_secs(15),
    storm: Duration::from_secs(60),
    stay: Duration::from_secs(15),
    judged: true,
};

/// What the hub may need at most, with five thousand of them inside: see docs/limits.md.
const RESIDENT_MAX: u64 = 512 << 20;
/// What it may keep of that when they are gone, above what it needed before.
const RESIDENT_KEPT_MAX: u64 = 64 << 20;
/// How much later the slowest hundredth may be than in calm, where that is judged.
const SLOWER_MAX: u32 = 5;
/// A p99 below this is not worth a comparison.
const CALM_AT_LEAST: Duration = Duration::from_millis(2);

#[test]
fn a_pair_that_behaves_does_not_notice_strangers_who_do_not() {
    #[expect(clippy::disallowed_methods, reason = "how hard a test is, is for whoever starts it to say")]
    let full = std::env::var("ISOTHERM_HOSTILE").is_ok_and(|how| how == "full");
    let scale = if full { FULL } else { SHORT };
    more_files();
    let folder = Folder::new("hostile");
    let template = template(&folder, 20.0);
    let mut hub = start(&folder.join("state"), &template);
    let ready = hub.event("ready");
    let site = Site::of(&ready);
    let quiet = Builder::new_current_thread().enable_all().build().expect("a runtime");

    let hijacked = quiet.block_on(async {
        let mut hijacked = Vec::new();
        for number in 0..scale.hijacked {
            hijacked.push(site.device(&format!("hijacked{number}")).await);
        }
        hijacked
    });
    let pair = Pair::of(&site, &ready);
    let calm = quiet.block_on(pair.go_on(scale.calm)).expect("a calm hub serves the pair");
    calm.assert_whole("in calm");
    let before = resident(&hub);

    let (crowd, sent) = (crowd(), Arc::new(AtomicU64::new(0)));
    for number in 0..scale.strangers {
        let stranger = Stranger {
            site: site.clone(),
            chance: Chance::seeded(number as u64),
            device: hijacked[number % scale.hijacked].clone(),
            while_: scale.stay,
        };
        crowd.spawn(rage(Kind::ALL[number % Kind::ALL.len()], stranger, Arc::clone(&sent)));
    }
    let peak = Arc::new(AtomicU64::new(0));
    crowd.spawn(watch(hub.id(), Arc::clone(&peak)));
    let storm = quiet.block_on(async {
        sleep(Duration::from_secs(1)).await; // the crowd is there
        pair.go_on(scale.storm).await
    });
    let storm = storm.expect("a hub under attack serves the pair");
    let inside = quiet.block_on(site.status()).expect("a hub under attack says how it is");
    crowd.shutdown_timeout(Duration::from_secs(5));
    storm.assert_whole("under attack");

    let status = quiet.block_on(afterwards(&site));
    let after = settled(&quiet, &hub, before);
    let peak = peak.load(Ordering::Relaxed);
    tell(scale, &calm, &storm, [before, peak, after], sent.load(Ordering::Relaxed), &inside, &status);
    judge(scale, &status, [before, peak, after], &calm, &storm);
    hub.interrupt();
    assert_eq!(hub.code(), Some(0));
}

/// With its state on disk: in a state in memory, what is on disk would be counted as memory.
fn start(state: &Path, template: &Path) -> Process {
    let plain = |path: &Path| path.to_str().expect("the temporary folder's name is text").to_owned();
    let (state, template) = (plain(state), plain(template));
    let words = [
        "hub",
        "--state",
        &state,
        "--mqtts",
        "0",
        "--amqps",
        "0",
        "--https",
        "0",
        "--template",
        &template,
        "--json",
    ];
    Process::start(&words, &[("LOG_LEVEL", "error")])
}

/// As many connections as the system lets us have, for us and for the hub, which inherits it.
fn more_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit everybody may go");
}

/// Where strangers run: elsewhere, so to speak. They give way to the hub and the pair, as another machine would.
fn crowd() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(|| {
            let _ = rustix::process::nice(10); // of this thread alone
        })
        .build()
        .expect("a runtime")
}

/// Bytes of memory that the process has in use.
fn resident_of(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

fn resident(hub: &Process) -> u64 {
    resident_of(hub.id()).unwrap_or_default()
}

async fn watch(id: u32, peak: Arc<AtomicU64>) {
    while let Some(bytes) = resident_of(id) {
        peak.fetch_max(bytes, Ordering::Relaxed);
        sleep(Duration::from_millis(100)).await;
    }
}

/// The hub's status once every stranger is gone.
async fn afterwards(site: &Site) -> Value {
    let mut status = Value::Null;
    for _ in 0..120 {
        status = site.status().await.expect("a hub that was attacked says how it is");
        if status["connections"].as_u64().is_some_and(|open| open <= 2) {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    status
}

/// What it keeps, given a moment to let go.
fn settled(quiet: &Runtime, hub: &Process, before: u64) -> u64 {
    for _ in 0..20 {
        if resident(hub) <= before + RESIDENT_KEPT_MAX {
            break;
        }
        quiet.block_on(async { sleep(Duration::from_millis(500)).await });
    }
    resident(hub)
}

fn tell(
    scale: Scale,
    calm: &Outcome,
    storm: &Outcome,
    resident: [u64; 3],
    sent: u64,
    inside: &Value,
    status: &Value,
) {
    let [before, peak, after] = resident.map(|bytes| bytes >> 20);
    println!(
        "{} strangers side by side, {sent} in all; open at the end: {}",
        scale.strangers, inside["connections"]
    );
    for (name, outcome) in [("calm", calm), ("attacked", storm)] {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| outcome.percentile(share));
        println!("{name}: {} messages, p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}", outcome.arrived);
    }
    println!("resident: {before} MiB before, {peak} MiB at most, {after} MiB afterwards");
    println!("doors: {}", status["doors"]);
}

fn judge(scale: Scale, status: &Value, resident: [u64; 3], calm: &Outcome, storm: &Outcome) {
    let doors = &status["doors"];
    assert!(doors["connections_panicked"].is_null(), "a connection panicked");
    assert!(status["connections"].as_u64().is_some_and(|open| open <= 2), "{} left", status["connections"]);
    for kind in Kind::ALL {
        let names = kind.counted_as();
        let counted = names.iter().any(|name| doors[*name].as_u64().unwrap_or_default() > 0);
        assert!(names.is_empty() || counted, "{kind:?} is counted under none of {names:?}");
    }
    let [before, peak, after] = resident;
    assert!(peak <= RESIDENT_MAX, "{peak} bytes resident under attack");
    assert!(after <= before + RESIDENT_KEPT_MAX, "{after} bytes resident afterwards, {before} before");
    let (calm, storm) = (calm.percentile(0.99).max(CALM_AT_LEAST), storm.percentile(0.99));
    assert!(!scale.judged || storm <= calm * SLOWER_MAX, "p99 {storm:?} under attack, {calm:?} in calm");
}
