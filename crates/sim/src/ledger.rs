//! The ledger: what was sensed and kept, and what arrived of it.
//!
//! It believes nobody. What a sensor promised to keep is what its disk was seen to sync; what arrived is what the
//! hub's event log showed a reader, who remembers it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isotherm_host::Chance;
use isotherm_proto::{Body, Reading};
use serde_json::Value;

use crate::disk::Watchman;
use crate::weather::Room;

/// More problems than this are counted and not told.
const PROBLEMS_MAX: usize = 20;
/// The folder of a client's outbox.
const OUTBOX: &str = "/outbox/";

/// What is known of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
pub(crate) struct Books {
    sensors: BTreeMap<String, Account>,
    /// What was read of each partition, by offset: what was shown once stays.
    log: BTreeMap<u64, Vec<u64>>,
    /// Every threshold that was ever desired.
    thresholds: Vec<f32>,
    pub(crate) delivered: u64,
    pub(crate) repeats: u64,
    problems: Vec<String>,
}

/// One sensor's.
#[derive(Debug)]
struct Account {
    room: Room,
    /// The highest number whose message was synced.
    kept: u64,
    /// The highest number whose message was written.
    written: u64,
    /// What came straight from the sensor, by number.
    raw: BTreeMap<u64, f32>,
    /// What came by way of the filter.
    alerts: BTreeMap<u64, f32>,
    /// The highest number that was ever written: nothing above it may have left the machine.
    ever_written: u64,
    /// Alerts up to this number may be missing: a disk had lied about what was on their way.
    lied_to: u64,
    /// Alerts that may be missing: what they were made of may have been in a damaged record.
    damaged: BTreeSet<u64>,
    /// Readings that may be missing: they may have been in a damaged record on the way upstream.
    damaged_upstream: BTreeSet<u64>,
}

impl Ledger {
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchman for Ledger {
    fn chip(&self, machine: &str) -> io::Result<Vec<u8>> {
        let mut books = self.books();
        let account = books.sensors.get_mut(machine).ok_or(io::ErrorKind::NotFound)?;
        account.room.ask()
    }

    fn written(&self, machine: &str, path: &Path, bytes: &[u8]) {
        if let Some(account) = self.books().sensors.get_mut(machine)
            && path.to_string_lossy().contains(OUTBOX)
        {
            account.written = account.written.max(last_number(bytes, machine).unwrap_or(0));
            account.ever_written = account.ever_written.max(account.written);
        }
    }

    fn synced(&self, machine: &str, path: &Path) {
        if let Some(account) = self.books().sensors.get_mut(machine)
            && path.to_string_lossy().contains(OUTBOX)
        {
            account.kept = account.kept.max(account.written);
        }
    }
}

/// All `NAME-NUMBER` in some bytes, and since a batch is named after its last reading, those that may be with it.
fn numbers(bytes: &[u8], name: &str) -> Vec<u64> {
    const BATCH_MAX: u64 = 8;
    let name = format!("{name}-");
    let found = bytes.windows(name.len()).enumerate().filter(|(_, window)| *window == name.as_bytes());
    let number = |at: usize| {
        let digits = bytes[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    found.map(|(at, _)| number(at)).flat_map(|last| last.saturating_sub(BATCH_MAX)..=last).collect()
}

/// The last `NAME-NUMBER` in what is written to an outbox: the id of a message there.
fn last_number(bytes: &[u8], name: &str) -> Option<u64> {
    let name = format!("{name}-");
    let found = bytes.windows(name.len()).rposition(|window| window == name.as_bytes())?;
    let digits = bytes[found + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

impl Account {
    fn new(room: Room) -> Self {
        let (raw, alerts, damaged, damaged_upstream) = Default::default();
        Self {
            room,
            kept: 0,
            written: 0,
            raw,
            alerts,
            ever_written: 0,
            lied_to: 0,
            damaged,
            damaged_upstream,
        }
    }
}

impl Books {
    pub(crate) fn open(&mut self, sensor: &str, chance: Chance) {
        self.sensors.insert(sensor.to_owned(), Account::new(Room::new(chance)));
    }

    /// Power was cut: what was only written is not promised any more.
    pub(crate) fn power_cut(&mut self, machine: &str) {
        if let Some(account) = self.sensors.get_mut(machine) {
            account.written = account.kept;
        }
    }

    /// Power was cut where a disk had lied: what had been sent so far may have been there, on its way to the filter or
    /// from it. Nobody can promise that to arrive; all that comes later must.
    pub(crate) fn lied(&mut self) {
        self.sensors.values_mut().for_each(|account| account.lied_to = account.ever_written);
    }

    /// A bit flipped among these bytes of the filter's queue: their readings may never reach the filter. None of them
    /// may arrive as anything else.
    pub(crate) fn damaged(&mut self, bytes: &[u8]) {
        for (name, account) in &mut self.sensors {
            let numbers = numbers(bytes, name);
            account.damaged.extend(numbers);
        }
    }

    /// The same in what is to go upstream: readings themselves may be missing there.
    pub(crate) fn damaged_upstream(&mut self, bytes: &[u8]) {
        self.damaged(bytes);
        for (name, account) in &mut self.sensors {
            account.damaged_upstream.extend(numbers(bytes, name));
        }
    }

    pub(crate) fn desired(&mut self, threshold: f64) {
        self.thresholds.push(threshold as f32);
    }

    /// No chip answers any more: it is the end, and what is under way shall arrive.
    pub(crate) fn hush(&mut self) {
        self.sensors.values_mut().for_each(|account| account.room.quiet = true);
    }

    pub(crate) fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }

    pub(crate) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// Readings that were sensed and kept, all sensors together.
    pub(crate) fn sensed(&self) -> u64 {
        self.sensors.values().map(|account| account.kept).sum()
    }

    /// A line of the hub's watch.
    pub(crate) fn arrived(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        let event: Value = match serde_json::from_str(line) {
            Ok(event) => event,
            Err(error) => return self.problem(format!("a line of the watch is no JSON: {error}: {line}")),
        };
        let number = |field: &Value| field.as_u64().or_else(|| field.as_str()?.parse().ok());
        let (Some(partition), Some(offset)) = (number(&event["partition"]), number(&event["offset"])) else {
            return self.problem(format!("a line of the watch has no place in the log: {line}"));
        };
        let body = event["bodyBase64"].as_str().unwrap_or_default();
        let print = fingerprint(event["from"].as_str().unwrap_or_default(), body);
        let seen = self.log.entry(partition).or_default();
        match seen.get(offset as usize) {
            Some(before) if *before == print => return,
            Some(_) => {
                return self.problem(format!("offset {offset} of the event log was something else before"));
            }
            None if offset > seen.len() as u64 => {
                let next = seen.len();
                return self.problem(format!("the event log goes from {next} to {offset}"));
            }
            None => seen.push(print),
        }
        let from = event["from"].as_str().unwrap_or_default();
        let module = from.split('/').next_back().unwrap_or_default().to_owned();
        match STANDARD.decode(body).map(|body| Body::decode(&body)) {
            Ok(Ok(Body::Reading(reading))) => self.enter(&module, &reading),
            Ok(Ok(Body::Upload(upload))) => {
                upload.readings.iter().for_each(|reading| self.enter(&module, reading));
            }
            _ => self.problem(format!("what arrived from {from} is no reading")),
        }
    }

    /// How much of the event log was seen.
    pub(crate) fn seen(&self) -> BTreeMap<u64, usize> {
        self.log.iter().map(|(partition, events)| (*partition, events.len())).collect()
    }

    fn enter(&mut self, module: &str, reading: &Reading) {
        let (_, most) = self.lines();
        let Some(account) = self.sensors.get_mut(&reading.sensor_id) else {
            return self.problem(format!("a reading of {:?}, whom nobody knows", reading.sensor_id));
        };
        let raw = module == reading.sensor_id;
        let (number, celsius) = (reading.sequence, reading.celsius.get());
        let early = raw && number > account.ever_written;
        let entries = if raw { &mut account.raw } else { &mut account.alerts };
        let name = &reading.sensor_id;
        let kind = if raw { "reading" } else { "alert" };
        let last = entries.last_key_value().map_or(0, |(last, _)| *last);
        let problem = match entries.get(&number) {
            Some(before) if *before == celsius => {
                self.repeats += 1;
                return;
            }
            Some(before) => Some(format!("{kind} {name} {number} was {before} °C, and is {celsius} now")),
            // What lay between two thresholds may be judged again, when it comes again after the second.
            // What a disk lied about leaves a hole in an outbox; who kept a copy of it sends it again, behind the rest.
            None if number < last && number > account.lied_to && (raw || celsius > most) => {
                Some(format!("{kind} {name} {number} arrived after {last}"))
            }
            None if early => Some(format!("{kind} {name} {number} arrived before any disk had it")),
            None => None,
        };
        entries.entry(number).or_insert(celsius);
        if !raw {
            self.delivered += 1;
        }
        if let Some(problem) = problem {
            self.problem(problem);
        }
    }

    fn lines(&self) -> (f32, f32) {
        let least = self.thresholds.iter().copied().fold(f32::INFINITY, f32::min);
        let most = self.thresholds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (least, most)
    }

    /// What has not arrived: for each sensor, numbers of readings, then of alerts.
    pub(crate) fn missing(&self) -> Vec<String> {
        let (_, most) = self.lines();
        let mut missing = Vec::new();
        for (name, account) in &self.sensors {
            let end = account.raw.last_key_value().map_or(0, |(last, _)| *last).max(account.kept);
            let arrived =
                |number: &u64| account.raw.contains_key(number) || account.damaged_upstream.contains(number);
            let readings = (1..=end).filter(|number| !arrived(number));
            missing.extend(readings.map(|number| format!("reading {name} {number} of {end}")));
            let above = account.raw.iter().filter(|(_, celsius)| **celsius > most);
            let excused = |number| number <= account.lied_to || account.damaged.contains(&number);
            let alerts =
                above.filter(|(number, _)| !account.alerts.contains_key(number) && !excused(**number));
            missing.extend(alerts.map(|(number, celsius)| format!("alert {name} {number} ({celsius} °C)")));
        }
        missing
    }

    /// Looks at what arrived: nothing that was not sensed, nothing below the line, all in the order it was sensed.
    pub(crate) fn check(&mut self) {
        let (least, _) = self.lines();
        let mut problems = Vec::new();
        for (name, account) in &self.sensors {
            for (number, celsius) in &account.alerts {
                match account.raw.get(number) {
                    Some(raw) if raw == celsius => {}
                    None if account.damaged_upstream.contains(number) => {}
                    other => problems
                        .push(format!("alert {name} {number} of {celsius} °C was sensed as {other:?}")),
                }
                if *celsius <= least {
                    problems
                        .push(format!("alert {name} {number} of {celsius} °C was never above any threshold"));
                }
            }
            let mut answers = account.room.answers.iter();
            for (number, celsius) in &account.raw {
                if !answers.any(|answer| answer == celsius) {
                    problems.push(format!("reading {name} {number} of {celsius} °C was not measured then"));
                    break;
                }
            }
        }
        problems.into_iter().for_each(|problem| self.problem(problem));
    }
}

fn fingerprint(from: &str, body: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in from.bytes().chain(body.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    use isotherm_proto::Celsius;
    use serde_json::json;

    /// A ledger in which `attic` has kept numbers up to this one.
    fn kept(number: u64) -> Ledger {
        let ledger = Ledger::default();
        ledger.books().open("attic", Chance::seeded(1));
        ledger.books().desired(25.0);
        let path = Path::new("/state/edge-attic/outbox/0.log");
        ledger.written("attic", path, format!("..attic-{number}..").as_bytes());
        ledger.synced("attic", path);
        ledger
    }

    fn arrives(ledger: &Ledger, from: &str, offset: u64, sequence: u64, celsius: f32) {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let reading =
            Reading { sensor_id: "attic".into(), sequence, celsius: Celsius::measured(celsius), at };
        let body = STANDARD.encode(reading.encode());
        let event = json!({"from": from, "partition": 0, "offset": offset.to_string(), "bodyBase64": body});
        ledger.books().arrived(&event.to_string());
    }

    #[test]
    fn what_was_kept_and_did_not_arrive_is_missing() {
        let ledger = kept(2);
        arrives(&ledger, "edge/attic", 0, 1, 26.0);
        let missing = ["reading attic 2 of 2", "alert attic 1 (26 °C)"];
        assert_eq!(ledger.books().missing(), missing);
        arrives(&ledger, "edge/attic", 1, 2, 24.0);
        arrives(&ledger, "edge/filter", 2, 1, 26.0);
        assert!(ledger.books().missing().is_empty());
        assert!(ledger.books().take_problems().is_empty());
    }

    #[test]
    fn what_arrives_late_or_under_a_number_that_was_given_before_is_a_problem() {
        let ledger = kept(3);
        arrives(&ledger, "edge/attic", 0, 1, 24.0);
        arrives(&ledger, "edge/attic", 1, 3, 24.5);
        arrives(&ledger, "edge/attic", 2, 1, 24.0); // a repeat
        assert!(ledger.books().take_problems().is_empty());
        arrives(&ledger, "edge/attic", 3, 2, 24.2);
        arrives(&ledger, "edge/attic", 4, 3, 23.0);
        let problems = ["reading attic 2 arrived after 3", "reading attic 3 was 24.5 °C, and is 23 now"];
        assert_eq!(ledger.books().take_problems(), problems);
    }

    #[test]
    fn what_a_disk_lied_about_or_damaged_may_be_missing_and_nothing_else() {
        let ledger = kept(30);
        (1..=30).for_each(|number| arrives(&ledger, "edge/attic", number - 1, number, 26.0));
        ledger.books().sensors.get_mut("attic").unwrap().lied_to = 10;
        ledger.books().damaged(b"..attic-25..");
        let missing = ledger.books().missing();
        let expected = (11..=16).chain(26..=30).map(|number| format!("alert attic {number} (26 °C)"));
        assert_eq!(missing, expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_comes_late_is_a_problem_unless_a_disk_had_lied_about_it() {
        let ledger = kept(13);
        ledger.books().sensors.get_mut("attic").expect("its sensor").lied_to = 10;
        let order = [9, 11, 10, 13, 12];
        (0..).zip(order).for_each(|(offset, number)| arrives(&ledger, "edge/attic", offset, number, 24.0));
        assert_eq!(ledger.books().take_problems(), ["reading attic 12 arrived after 13"]);
    }

    #[test]
    fn what_arrives_before_its_sensors_disk_had_it_is_a_problem() {
        let ledger = kept(1);
        arrives(&ledger, "edge/attic", 0, 1, 24.0);
        arrives(&ledger, "edge/attic", 1, 2, 24.0);
        assert_eq!(ledger.books().take_problems(), ["reading attic 2 arrived before any disk had it"]);
    }

    #[test]
    fn a_log_that_shows_something_else_than_before_or_leaves_something_out_is_a_problem() {
        let ledger = kept(3);
        arrives(&ledger, "edge/attic", 0, 1, 24.0);
        arrives(&ledger, "edge/attic", 0, 1, 24.0);
        assert!(ledger.books().take_problems().is_empty());
        arrives(&ledger, "edge/attic", 0, 2, 24.0);
        arrives(&ledger, "edge/attic", 2, 3, 24.0);
        assert_eq!(ledger.books().take_problems().len(), 2);
    }

    #[test]
    fn an_alert_that_was_never_above_a_threshold_or_never_measured_is_a_problem() {
        let ledger = kept(1);
        arrives(&ledger, "edge/attic", 0, 1, 24.0);
        arrives(&ledger, "edge/filter", 1, 1, 24.0);
        ledger.books().check();
        let problems = ledger.books().take_problems();
        assert!(problems[0].contains("never above") && problems[1].contains("not measured"), "{problems:?}");
    }

    #[test]
    fn a_messages_number_is_found_where_it_is_written() {
        assert_eq!(last_number(b"..attic-7.\x08attic-12\x01..", "attic"), Some(12));
        assert_eq!(last_number(b"..cellar-7", "attic"), None);
    }
}
