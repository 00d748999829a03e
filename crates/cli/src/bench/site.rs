//! A whole site, a process for each part: sensor → filter → upstream at a thousand a second, its start, and idle.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use isotherm_host::Host;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::child::{Child, Folder};
use super::load::Ledger;
use super::peers::Peers;
use super::relay::{Hub, deployment};
use super::report::{Report, percentile};
use crate::decode::decode;
use crate::service::{Request, Service};

/// Readings at a thousand a second; the first of them, while everybody connects, do not count.
const READINGS: u64 = 6_000;
const SKIPPED: u64 = 1_000;
/// How long the log may be silent before that is a failure.
const SILENCE: Duration = Duration::from_secs(5);
/// How often the disk's own sync is measured meanwhile, and at most how many times.
const SYNC_EVERY: Duration = Duration::from_millis(10);
const SYNCS_MAX: usize = 3_000;
/// How long a site is left alone.
const IDLE: Duration = Duration::from_secs(10);
/// How long everybody has to come to rest before.
const REST: Duration = Duration::from_secs(3);

/// One round of the latency, beside what the disk's own sync takes at the same time.
pub(super) async fn latency(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let watching = Arc::new(AtomicBool::new(true));
    let syncs = tokio::spawn(sync_times(host.clone(), folder.path().join("sync"), Arc::clone(&watching)));
    let site = Site::start(host, peers, folder, &["SENSOR_CHIP=replay", "SENSOR_REPLAY_SPEED=1000"]).await?;
    let trouble = |failure| io::Error::other(format!("{failure:?}"));
    let service = Service::of_ready(host.clone(), &site.hub.ready).map_err(trouble)?;
    let path = "/isotherm/v1/watch?kinds=upstream&from=earliest";
    let mut lines = service.lines(Request::get(path)).await.map_err(trouble)?;
    let (mut ledger, mut latencies, mut last) = (Ledger::default(), Vec::new(), 0);
    while last < READINGS {
        let line = tokio::time::timeout(SILENCE, lines.next()).await;
        let Ok(Ok(Some(line))) = line else {
            watching.store(false, Ordering::Relaxed);
            report.trouble(format!("site: {last} of {READINGS} readings came; {}", site.last_words()));
            return Ok(());
        };
        let now = host.wall();
        let line = decode(serde_json::from_str::<Map<String, Value>>(&line).unwrap_or_default());
        let Some(reading) = line.get("reading") else { continue };
        let number = reading["sequence"].as_u64();
        ledger.take(number);
        last = number.unwrap_or(last);
        let at = reading["timestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        if let (Some(at), true) = (at, last > SKIPPED) {
            let late = now.as_nanosecond().saturating_sub(at.as_nanosecond());
            latencies.push(u64::try_from(late).unwrap_or(0));
        }
    }
    if ledger.faults > 0 {
        report.trouble(format!("site: {} readings were lost, doubled or out of order", ledger.faults));
    }
    watching.store(false, Ordering::Relaxed);
    let mut syncs = syncs.await.map_err(io::Error::other)??;
    for (part, name) in [(0.5, "p50"), (0.99, "p99")] {
        let ms = |values: &mut [u64]| percentile(values, part) as f64 / 1e6;
        report.take(&format!("site_latency_{name}"), "isotherm", "ms", ms(&mut latencies));
        report.take(&format!("site_latency_{name}"), "disk-sync", "ms", ms(&mut syncs));
    }
    Ok(())
}

/// One round of a site that has one reading a second to carry.
pub(super) async fn idle(host: &Host, peers: &Peers, folder: &Folder, report: &mut Report) -> io::Result<()> {
    let site = Site::start(host, peers, folder, &["SENSOR_CHIP=simulated"]).await?;
    tokio::time::sleep(REST).await;
    let before = site.cpu();
    tokio::time::sleep(IDLE).await;
    let percent = site.cpu().saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    report.take("idle_cpu", "isotherm", "percent_of_a_core", percent);
    for (who, child) in site.all() {
        report.take("idle_memory", who, "bytes", child.memory() as f64);
    }
    Ok(())
}

/// One round of the start: from nothing on disk to the first reading upstream.
pub(super) async fn start(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let csv = warm_day(folder, 10)?;
    let state = folder.path().join("up");
    let words = ["up", "--json", "--unit", "c", "--speed", "max", "--until-end", "--replay"];
    let words = words.iter().map(|word| (*word).to_owned());
    let words: Vec<String> = words.chain([csv, "--state".to_owned(), state.display().to_string()]).collect();
    let begun = host.now();
    let mut child = Child::start(&peers.isotherm, &words, &[], folder.path().join("up.log"))?;
    let Some(out) = child.output() else { return Ok(()) };
    let clock = host.clone();
    let first = host.blocking(move || {
        let upstream = |line: &String| line.contains(r#""event":"upstream""#);
        let found = BufReader::new(out).lines().map_while(Result::ok).any(|line| upstream(&line));
        found.then(|| clock.now())
    });
    match first.await {
        Some(first) => report.take("site_start", "isotherm", "ms", (first - begun).as_secs_f64() * 1000.0),
        None => report.trouble(format!("start: nothing came upstream: {}", child.last_words())),
    }
    Ok(())
}

/// How long the disk takes for a small sync of somebody else, again and again while the site runs: the disk is the
/// machine's, and what else it does is the site's weather.
async fn sync_times(host: Host, path: PathBuf, watching: Arc<AtomicBool>) -> io::Result<Vec<u64>> {
    let (disk, clock) = (host.disk.clone(), host.clone());
    host.blocking(move || {
        let file = disk.open(&path, true)?;
        let mut times = Vec::new();
        while watching.load(Ordering::Relaxed) && times.len() < SYNCS_MAX {
            let begun = clock.now();
            file.write_at(times.len() as u64 * 256, &[7; 256])?;
            file.sync()?;
            times.push((clock.now() - begun).as_nanos() as u64);
            std::thread::park_timeout(SYNC_EVERY);
        }
        Ok(times)
    })
    .await
}

/// A CSV of so many rows, all above the threshold.
fn warm_day(folder: &Folder, rows: u64) -> io::Result<String> {
    let mut text = "temp\n".to_owned();
    (0..rows).for_each(|row| text.push_str(&format!("{}.5\n", 30 + row % 7)));
    Ok(folder.write("warm.csv", &text)?.display().to_string())
}

/// Hub, filter and sensor, each a process.
struct Site {
    hub: Hub,
    filter: Child,
    sensor: Child,
}

impl Site {
    async fn start(host: &Host, peers: &Peers, folder: &Folder, sensor: &[&str]) -> io::Result<Self> {
        for state in ["hub", "modules"] {
            let _ = std::fs::remove_dir_all(folder.path().join(state));
        }
        let routes = json!({
            "a": "FROM /messages/modules/sensor/outputs/temperature INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")",
            "b": "FROM /messages/modules/filter/outputs/alert INTO $upstream",
        });
        let names = ["sensor".to_owned(), "filter".to_owned()];
        let routes = routes.as_object().cloned().unwrap_or_default();
        let hub = Hub::start_own(host, peers, folder, &deployment(&names, routes)).await?;
        let csv = warm_day(folder, READINGS)?;
        let mut variables = vec![
            ("EdgeModuleCACertificateFile", hub.ready.ca.clone()),
            ("ISOTHERM_STATE", folder.path().join("modules").display().to_string()),
            ("LOG_LEVEL", "warn".to_owned()),
            ("SENSOR_REPLAY", csv),
            ("EdgeHubConnectionString", String::new()),
        ];
        let settings = sensor.iter().filter_map(|text| text.split_once('='));
        variables.extend(settings.map(|(name, value)| (name, value.to_owned())));
        let mut start = |name: &str| {
            let string = hub.ready.modules.get(name).cloned().unwrap_or_default();
            for (variable, value) in &mut variables {
                if *variable == "EdgeHubConnectionString" {
                    value.clone_from(&string);
                }
            }
            let (program, words) = peers.module(name);
            Child::start(&program, &words, &variables, folder.path().join(format!("{name}.log")))
        };
        let filter = start("filter")?;
        let sensor = start("sensor")?;
        Ok(Self { hub, filter, sensor })
    }

    fn all(&self) -> [(&'static str, &Child); 3] {
        [("hub", &self.hub.child), ("filter", &self.filter), ("sensor", &self.sensor)]
    }

    fn cpu(&self) -> Duration {
        self.all().iter().map(|(_, child)| child.cpu()).sum()
    }

    fn last_words(&self) -> String {
        self.all().map(|(name, child)| format!("{name}: {}", child.last_words())).join("; ")
    }
}
