//! What a store is measured by: a million messages that an outage has left, and what a message costs the disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use isotherm_host::{BoxStream, Ended, Flow, Host, Pilot, drive};
use isotherm_iothub::{Feed, Identity};
use serde_json::json;
use tokio::task::JoinHandle;

use super::child::Folder;
use super::load::{Board, Form, Stream, Windows};
use super::peers::Peers;
use super::relay::{Hub, deployment};
use super::report::Report;
use super::talk::{Heard, Mqtt, Talk as _};

/// Messages that an outage has left.
pub(super) const BACKLOG: u64 = 1_000_000;
/// Live messages while they drain: one each ten milliseconds, for as long as it takes.
pub(super) const LIVE_EVERY: Duration = Duration::from_millis(10);
pub(super) const LIVE_MAX: u64 = 100_000;
/// What has waited for so long was left by an outage: the hub's own measure, and a little more.
pub(super) const OUTAGE: Duration = Duration::from_secs(12);
/// How long filling and draining may take.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(5);
pub(super) const FILLING: Windows = Windows { unacknowledged: 4_000, unreceived: None };
pub(super) const LIVE: Windows = Windows { unacknowledged: 1_000, unreceived: None };

/// At this rate, and in messages of this many bytes, what is written is counted.
const WRITTEN_RATE: u32 = 2_000;
const WRITTEN_BYTES: usize = 60;
const WRITTEN_SECONDS: u64 = 10;

/// One round of a million stored messages.
pub(super) async fn backlog(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let names = ["old", "live", "reader"].map(str::to_owned);
    let into = |module: &str| {
        let route = format!(
            "FROM /messages/modules/{module}/outputs/out INTO BrokeredEndpoint(\"/modules/reader/inputs/in\")"
        );
        (module.to_owned(), json!(route))
    };
    let deployment = deployment(&names, [into("old"), into("live")].into_iter().collect());
    let flags = ["--fresh-first", "*"];
    let mut hub = Hub::start(host, peers, folder, &deployment, &flags).await?;
    let old = Form::of(host, "old");
    let mut filling = Stream::new();
    filling.sender(hub.dial(host, "old").await?, &hub.topic("old")?, &old, FILLING);
    let begun = host.now();
    filling.board.pace(host, Duration::ZERO, BACKLOG);
    until(host, "fill the store", || filling.board.acknowledged() >= BACKLOG).await?;
    let filled = host.now();
    report.take("backlog_fill", "isotherm", "messages_per_s", rate(BACKLOG, filled - begun));
    hub.child.kill();
    drop(filling);

    let begun = host.now();
    let hub = Hub::start(host, peers, folder, &deployment, &flags).await?;
    report.take("backlog_reopen", "isotherm", "s", (host.now() - begun).as_secs_f64());
    tokio::time::sleep((filled + OUTAGE).saturating_duration_since(host.now())).await;
    drain(host, &hub, old, report).await
}

/// The reader comes back, and messages go on coming while the million drains.
async fn drain(host: &Host, hub: &Hub, old: Form, report: &mut Report) -> io::Result<()> {
    let who = Identity::module(&hub.ready.device_id, "reader").map_err(io::Error::other)?;
    let live = Form::of(host, "live");
    let mut sending = Stream::new();
    sending.sender(hub.dial(host, "live").await?, &hub.topic("live")?, &live, LIVE);
    let reading = hub.dial(host, "reader").await?;
    let drain = Drain::begin(host, reading, Feed::Inputs.filter(&who), (old, live), sending);
    drain.sending.board.pace(host, LIVE_EVERY, LIVE_MAX);
    drain.end(host, "backlog", report).await
}

/// Somebody who reads a backlog, and live messages that come meanwhile.
pub(super) struct Drain {
    pub(super) sending: Stream,
    tally: Arc<Mutex<Tally>>,
    reading: JoinHandle<Ended>,
}

impl Drain {
    /// Reads what comes by `filter`: messages of the first form are the backlog, of the second live.
    pub(super) fn begin(
        host: &Host,
        (stream, mut session): (BoxStream, Mqtt),
        filter: String,
        (old, live): (Form, Form),
        sending: Stream,
    ) -> Self {
        let (tally, board) = (Arc::<Mutex<Tally>>::default(), Arc::clone(&sending.board));
        let mut reader = Reader { host: host.clone(), filter, old, live, board, tally: tally.clone() };
        let reading = tokio::spawn(async move { drive(stream, &mut session, &mut reader).await });
        Self { sending, tally, reading }
    }

    /// Whether what comes from now on will be read.
    pub(super) fn listens(&self) -> bool {
        locked(&self.tally).listens
    }

    /// How far the backlog has drained.
    pub(super) fn done(&self) -> u64 {
        locked(&self.tally).old.last
    }

    /// Waits until nothing is left of it, and reports what that took.
    pub(super) async fn end(self, host: &Host, name: &str, report: &mut Report) -> io::Result<()> {
        let drained = until(host, "drain the store", || self.done() >= BACKLOG).await;
        self.sending.board.close();
        self.reading.abort();
        let tally = locked(&self.tally);
        drained.map_err(|why| io::Error::other(format!("{why} ({} of {BACKLOG})", tally.old.last)))?;
        let (Some(first), Some(last)) = (tally.old.first, tally.old.at) else {
            return Err(io::Error::other("nothing came"));
        };
        let mut late = tally.late.clone();
        late.sort_unstable();
        let (Some(worst), Some(median)) = (late.last(), late.get(late.len() / 2)) else {
            return Err(io::Error::other("no live message came"));
        };
        report.take(&format!("{name}_drain"), "isotherm", "messages_per_s", rate(BACKLOG, last - first));
        report.take(&format!("{name}_live_p50"), "isotherm", "s", median.as_secs_f64());
        report.take(&format!("{name}_live_max"), "isotherm", "s", worst.as_secs_f64());
        let faults = tally.old.faults + tally.fresh.faults + tally.unknown;
        if faults > 0 {
            report.trouble(format!("{name}: {faults} messages were lost, doubled or out of order"));
        }
        Ok(())
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn until(host: &Host, what: &str, done: impl Fn() -> bool) -> io::Result<()> {
    let end = host.now() + PATIENCE;
    while !done() {
        if host.now() > end {
            return Err(io::Error::other(format!("waited in vain to {what}")));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// What came of one source, in its order.
#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    faults: u64,
    first: Option<Instant>,
    at: Option<Instant>,
}

impl Numbers {
    fn take(&mut self, number: u64, now: Instant) {
        self.faults += u64::from(number != self.last + 1);
        self.last = self.last.max(number);
        self.first.get_or_insert(now);
        self.at = Some(now);
    }
}

#[derive(Debug, Default)]
struct Tally {
    listens: bool,
    old: Numbers,
    fresh: Numbers,
    unknown: u64,
    /// How late each live message was while there was a backlog.
    late: Vec<Duration>,
}

/// Takes both, and knows them apart.
struct Reader {
    host: Host,
    filter: String,
    old: Form,
    live: Form,
    board: Arc<Board>,
    tally: Arc<Mutex<Tally>>,
}

impl Pilot<Mqtt> for Reader {
    fn on_event(&mut self, _: Instant, event: Heard, session: &mut Mqtt) -> Flow {
        match event {
            Heard::Open => session.subscribe(&self.filter),
            Heard::Message(payload) => {
                let now = self.host.now();
                let mut tally = locked(&self.tally);
                if let Some(number) = self.old.number(&payload) {
                    tally.old.take(number, now);
                } else if let Some(number) = self.live.number(&payload) {
                    tally.fresh.take(number, now);
                    let due = self.board.due_at(number).unwrap_or(now);
                    tally.late.push(now.saturating_duration_since(due));
                } else {
                    tally.unknown += 1;
                }
            }
            Heard::Refused(_) => return Flow::End,
            Heard::Subscribed => locked(&self.tally).listens = true,
            Heard::Acknowledged => {}
        }
        Flow::Go
    }

    fn poll_wake(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_wake(&mut self, _: Instant, _: &mut Mqtt) -> Flow {
        Flow::Go
    }
}

/// One round of bytes written: as the files grow, and in pages as the system counts what goes to the device.
pub(super) async fn written(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let names = ["old", "reader"].map(str::to_owned);
    let route = "FROM /messages/modules/old/outputs/out INTO BrokeredEndpoint(\"/modules/reader/inputs/in\")";
    let deployment = deployment(&names, [("r".to_owned(), json!(route))].into_iter().collect());
    for (name, flags) in [("written", &[][..]), ("written_sync_100ms", &["--sync", "100ms"][..])] {
        let _ = std::fs::remove_dir_all(folder.path().join("hub"));
        let hub = Hub::start(host, peers, folder, &deployment, flags).await?;
        let form = Form::of(host, &"s".repeat(sensor_chars(host)));
        let mut stream = Stream::new();
        stream.sender(hub.dial(host, "old").await?, &hub.topic("old")?, &form, LIVE);
        stream.ready(host).await.map_err(io::Error::other)?;
        let count = u64::from(WRITTEN_RATE) * WRITTEN_SECONDS;
        let state = folder.path().join("hub");
        let look = || (bytes_under(&state), pages_of(hub.child.id()));
        let before = look();
        stream.board.pace(host, Duration::from_secs(1) / WRITTEN_RATE, count);
        until(host, "send all", || stream.board.acknowledged() >= count).await?;
        tokio::time::sleep(Duration::from_secs(1)).await; // an interval may not have been over
        let after = look();
        let payload = (count as usize * WRITTEN_BYTES) as f64;
        let times = |(before, after): (u64, u64)| after.saturating_sub(before) as f64 / payload;
        report.take(name, "isotherm", "bytes_per_byte", times((before.0, after.0)));
        if after.1 > before.1 {
            report.take(&format!("{name}_pages"), "isotherm", "bytes_per_byte", times((before.1, after.1)));
        }
    }
    Ok(())
}

/// How long a sensor's name makes its readings sixty bytes.
fn sensor_chars(host: &Host) -> usize {
    let mut payload = Vec::new();
    Form::of(host, "").fill(10_000, &mut payload);
    let overhead = 2; // the field that an empty name leaves out
    WRITTEN_BYTES.saturating_sub(payload.len() + overhead)
}

fn bytes_under(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_under(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0, // gone meanwhile
    });
    bytes.sum()
}

/// Bytes of the pages that a process has written to, as the system counts them.
fn pages_of(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_by_its_bytes_has_as_many_as_it_says() {
        let host = Host::real();
        let mut payload = Vec::new();
        Form::of(&host, &"s".repeat(sensor_chars(&host))).fill(10_000, &mut payload);
        assert!((WRITTEN_BYTES - 2..=WRITTEN_BYTES + 2).contains(&payload.len()), "{}", payload.len());
    }

    #[test]
    fn numbers_out_of_their_order_are_faults() {
        let now = tokio::time::Instant::now().into_std();
        let mut numbers = Numbers::default();
        [1, 2, 4, 3, 3].into_iter().for_each(|number| numbers.take(number, now));
        assert_eq!((numbers.faults, numbers.last), (3, 4));
    }
}
