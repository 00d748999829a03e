//! Real processes in trouble: disks that fill, outboxes at their limit, a hub that is away, a consumer that takes
//! nothing. All of it stays bounded, and what was acknowledged is delivered when it clears.

mod common;
#[path = "hostile/wire.rs"]
#[allow(dead_code, reason = "the hostile test uses the rest")]
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Folder, Process, template};
use isotherm_iothub::{ConnectionString, Identity, Key};
use isotherm_protocol::mqtt::{Packet, Qos};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use wire::{Site, Wire, publish, text};

/// What a hub may need more because a consumer takes nothing.
const RESIDENT_MORE_MAX: u64 = 32 << 20;

/// A small disk of its own, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with the reason said, where disks cannot be mounted.
    fn new(folder: &Folder, mebibytes: u32) -> Option<Self> {
        let path = folder.join("disk");
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        let size = format!("size={mebibytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(path)),
            Ok(output) => {
                eprintln!("skipped: no disk to fill: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: no disk to fill: mount: {error}");
                None
            }
        }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut piece = vec![0; 1 << 20];
        for (number, size) in [1 << 20, 64 << 10, 4 << 10].into_iter().enumerate() {
            piece.truncate(size);
            for part in 0.. {
                let path = self.join(&format!("ballast{number}-{part}"));
                if std::fs::write(&path, &piece).is_err() {
                    break;
                }
            }
        }
    }

    fn clear(&self) {
        for entry in std::fs::read_dir(&self.0).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ballast")) {
                std::fs::remove_file(path).expect("a file of ours");
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn hub(state: &Path, template: &Path, ports: Option<&Value>) -> (Process, Value) {
    let port = |name: &str| ports.map_or("0".to_owned(), |ports| ports[name].to_string());
    let (mqtts, https) = (port("mqtts"), port("https"));
    let (state, template) = (plain(state), plain(template));
    let words = [
        "hub",
        "--json",
        "--state",
        state,
        "--template",
        template,
        "--mqtts",
        &mqtts,
        "--https",
        &https,
        "--amqps",
        "0",
    ];
    let mut hub = Process::start(&words, &[("LOG_LEVEL", "error")]);
    let ready = hub.event("ready");
    (hub, ready)
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("the temporary folder's name is text")
}

fn module(ready: &Value, name: &str) -> (Identity, Key) {
    let text = ready["modules"][name].as_str().expect("the template has it");
    let parsed: ConnectionString = text.parse().expect("a connection string");
    (parsed.identity.expect("an identity"), parsed.key.expect("a key"))
}

async fn sensor(site: &Site, ready: &Value) -> Wire {
    let (who, key) = module(ready, "sensor");
    site.enter(&who, &key).await.expect("the hub lets its module in")
}

/// The filter, which has asked for its inputs.
async fn filter(site: &Site, ready: &Value) -> Wire {
    let (who, key) = module(ready, "filter");
    let mut wire = site.enter(&who, &key).await.expect("the hub lets its module in");
    let filters =
        vec![(text(&format!("devices/{}/modules/filter/inputs/#", who.device_id())), Qos::AtLeastOnce)];
    wire.say(&Packet::Subscribe { packet_id: 1, filters }).await.expect("it listens");
    assert!(matches!(wire.hear().await.expect("it answers"), Packet::SubAck { .. }));
    wire
}

fn output(ready: &Value, number: u32, size: usize) -> Packet {
    let (who, _) = module(ready, "sensor");
    let topic = format!("devices/{}/modules/sensor/messages/events/%24.on=temperature", who.device_id());
    let mut body = number.to_le_bytes().to_vec();
    body.resize(size, b'x');
    let packet_id = u16::try_from(number % 60_000 + 1).expect("it is small");
    publish(&topic, packet_id, body)
}

/// Takes what comes until number `last` has; they have to come in order, repeats aside.
async fn take_until(filter: &mut Wire, last: u32) {
    let mut next = 0;
    while next <= last {
        let heard =
            filter.hear().await.unwrap_or_else(|error| panic!("{next} of {last} did not come: {error}"));
        let Packet::Publish(message) = heard else { continue };
        filter.say(&Packet::PubAck(message.packet_id)).await.expect("it listens");
        let number = u32::from_le_bytes(message.payload[..4].try_into().expect("four bytes"));
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
}

fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") << 10
}

#[test]
fn what_a_hub_acknowledged_is_delivered_after_its_disk_was_full_and_it_was_killed() {
    let folder = Folder::new("full-disk");
    let Some(disk) = SmallDisk::new(&folder, 24) else { return };
    let (state, template) = (disk.join("state"), template(&folder, 0.0));
    let (first, ready) = hub(&state, &template, None);
    let site = Site::of(&ready);
    let runtime = runtime();
    let acknowledged = runtime.block_on(async {
        let mut sensor = sensor(&site, &ready).await;
        let mut sent = 0;
        let mut acknowledged = 0;
        while acknowledged < 100 {
            sensor.say(&output(&ready, sent, 200)).await.expect("it listens");
            sent += 1;
            acknowledged += u32::from(matches!(sensor.hear().await.expect("it answers"), Packet::PubAck(_)));
        }
        disk.fill();
        // A disk that is full acknowledges nothing. What is on its way may still find a place in an open file.
        let mut silent = false;
        while !silent && sent < 60_000 {
            sensor.say(&output(&ready, sent, 2_000)).await.expect("it listens");
            sent += 1;
            match timeout(Duration::from_secs(2), sensor.hear_when_it_comes()).await {
                Ok(heard) => {
                    acknowledged += u32::from(matches!(heard.expect("it answers"), Packet::PubAck(_)))
                }
                Err(_) => silent = true,
            }
        }
        assert!(silent, "{sent} messages went onto a full disk");
        let status = site.status().await.expect("it says how it is");
        assert_eq!(status["store"]["refusing"], true, "{status}");
        assert!(status["store"]["trouble"].as_str().is_some_and(|why| !why.is_empty()), "{status}");
        disk.clear();
        while acknowledged < sent {
            let heard = sensor.hear().await.expect("it goes on when there is room");
            acknowledged += u32::from(matches!(heard, Packet::PubAck(_)));
        }
        acknowledged
    });
    first.kill();
    let (_second, _) = hub(&state, &template, Some(&ready["ports"]));
    runtime.block_on(async {
        let mut filter = filter(&site, &ready).await;
        take_until(&mut filter, acknowledged - 1).await;
    });
}

#[test]
fn a_consumer_that_takes_nothing_costs_disk_and_not_memory_and_finds_all_of_it() {
    const MESSAGES: u32 = 20_000;
    let folder = Folder::new("slow-consumer");
    let (state, template) = (folder.join("state"), template(&folder, 0.0));
    let (hub, ready) = hub(&state, &template, None);
    let site = Site::of(&ready);
    runtime().block_on(async {
        let mut filter = filter(&site, &ready).await;
        let mut sensor = sensor(&site, &ready).await;
        let before = resident(&hub);
        let (mut sent, mut acknowledged, mut peak) = (0, 0, 0);
        while acknowledged < MESSAGES {
            while sent < MESSAGES && sent < acknowledged + 500 {
                sensor.say(&output(&ready, sent, 2_000)).await.expect("it listens");
                sent += 1;
            }
            acknowledged += u32::from(matches!(sensor.hear().await.expect("it answers"), Packet::PubAck(_)));
            if acknowledged % 1_000 == 0 {
                peak = peak.max(resident(&hub));
            }
        }
        assert!(peak <= before + RESIDENT_MORE_MAX, "{peak} bytes resident, {before} before");
        take_until(&mut filter, MESSAGES - 1).await;
    });
    hub.interrupt();
    assert_eq!(hub.code(), Some(0));
}

/// A site of three processes whose readings all go upstream.
struct Device<'a> {
    folder: &'a Folder,
    modules: PathBuf,
    ready: Value,
}

impl Device<'_> {
    fn module(&self, name: &str, more: &[(&str, &str)]) -> Process {
        let file = self.folder.join("rows.csv");
        let mut variables = vec![
            ("EdgeHubConnectionString", self.ready["modules"][name].as_str().expect("the template has it")),
            ("EdgeModuleCACertificateFile", self.ready["ca"].as_str().expect("a path")),
            ("SENSOR_CHIP", "replay"),
            ("SENSOR_ID", "attic"),
            ("SENSOR_REPLAY", plain(&file)),
            ("SENSOR_REPLAY_UNIT", "c"),
            ("SENSOR_REPLAY_SPEED", "1000"),
            ("LOG_LEVEL", "error"),
        ];
        variables.extend_from_slice(more);
        Process::start(&["run", name, "--state", plain(&self.modules)], &variables)
    }

    /// The numbers of the readings that came upstream so far, until `count` different ones have.
    fn upstream(&self, state: &Path, count: usize) -> Vec<u64> {
        let words = ["watch", "upstream", "--from", "earliest", "--json", "--state", plain(state)];
        let mut watch = Process::start(&words, &[]);
        let mut seen = Vec::new();
        while seen.len() < count {
            let line = watch.next().expect("the hub goes on");
            if line["event"] == "upstream" {
                let (sequence, _) = common::arrived(&line);
                if seen.last().is_none_or(|last| *last < sequence) {
                    seen.push(sequence);
                } else {
                    assert!(seen.contains(&sequence), "{sequence} came after {:?}", seen.last());
                }
            }
        }
        seen
    }
}

/// A file of rows, all above zero.
fn replay(folder: &Folder, count: u64) {
    let rows: String = (0..count).map(|row| format!("{}\n", 1 + row % 100)).collect();
    std::fs::write(folder.join("rows.csv"), format!("temp\n{rows}"))
        .expect("the temporary folder can be written");
}

#[test]
fn modules_whose_disk_fills_while_they_work_deliver_every_reading_when_it_clears() {
    const ROWS: u64 = 3_000;
    let folder = Folder::new("full-outbox-disk");
    let Some(disk) = SmallDisk::new(&folder, 16) else { return };
    replay(&folder, ROWS);
    let (state, template) = (folder.join("state"), template(&folder, 0.0));
    let (_hub, ready) = hub(&state, &template, None);
    let device = Device { folder: &folder, modules: disk.join("modules"), ready };
    let _filter = device.module("filter", &[]);
    let _sensor = device.module("sensor", &[]);
    device.upstream(&state, 300);
    disk.fill();
    runtime().block_on(async { sleep(Duration::from_secs(1)).await });
    disk.clear();
    let count = usize::try_from(ROWS).expect("it is small");
    assert_eq!(device.upstream(&state, count), (1..=ROWS).collect::<Vec<_>>());
}

#[test]
fn a_sensor_whose_hub_is_away_stops_at_its_outboxs_limit_and_loses_nothing() {
    const ROWS: u64 = 5_000;
    const LIMIT: u64 = 100_000;
    let folder = Folder::new("away");
    replay(&folder, ROWS);
    let (state, template) = (folder.join("state"), template(&folder, 0.0));
    let (first, ready) = hub(&state, &template, None);
    let ports = ready["ports"].clone();
    first.interrupt();
    assert_eq!(first.code(), Some(0));
    let device = Device { folder: &folder, modules: folder.join("modules"), ready };
    let limited = [("OUTBOX_BYTES_MAX", "100000"), ("OUTBOX_WHEN_FULL", "refuse")];
    let _sensor = device.module("sensor", &limited);
    let held = || bytes_under(&device.modules);
    let runtime = runtime();
    runtime.block_on(async {
        for _ in 0..100 {
            if held() > LIMIT / 2 {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(3)).await; // five thousand rows would have been read by then
    });
    // Two segments of an eighth each may be there besides, and what is no queue.
    assert!((LIMIT / 2..2 * LIMIT).contains(&held()), "{} bytes in the module's folder", held());
    let _filter = device.module("filter", &[]);
    let (_second, _) = hub(&state, &template, Some(&ports));
    let count = usize::try_from(ROWS).expect("it is small");
    assert_eq!(device.upstream(&state, count), (1..=ROWS).collect::<Vec<_>>());
}

fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_under(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}
