//! Misfortunes on request: so that people can see how their code behaves when the hub, the network or the disk do not.
//!
//! A fault strikes what a device, a module or the service side ([`SERVICE`]) says to the hub. Faults are kept in memory
//! only: a hub that starts has none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use isotherm_host::Chance;
use isotherm_iothub::Refused;
use serde_json::{Value, json};

/// The name under which the service side is struck.
pub(crate) const SERVICE: &str = "@service";
/// Faults at once; one more is refused.
const FAULTS_MAX: usize = 100;
/// Longest delay and longest duration of a fault.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long a delay is if nothing is said.
const DELAY_DEFAULT: Duration = Duration::from_secs(1);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is said is not heard, and never answered.
    Drop,
    /// What is said is heard later.
    Delay,
    /// The connection is closed.
    Disconnect,
    /// Too much at once, says the hub: 429; over MQTT it lets nobody in and hears slowly.
    Throttle,
    /// The disk is full: nothing is acknowledged. For everybody.
    Enospc,
}

const KINDS: [(&str, Kind); 5] = [
    ("drop", Kind::Drop),
    ("delay", Kind::Delay),
    ("disconnect", Kind::Disconnect),
    ("throttle", Kind::Throttle),
    ("enospc", Kind::Enospc),
];

/// What happens to whoever is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Not heard, not answered.
    Drop,
    /// Heard after this long.
    Delay(Duration),
    /// Closed.
    Disconnect,
    /// Turned away with 429, or heard slowly.
    Throttle,
}

/// A fault that somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    /// `device`, `device/module`, `device/*`, `*` or [`SERVICE`].
    pub(crate) whom: String,
    probability: f64,
    count: Option<u64>,
    duration: Option<Duration>,
    delay: Duration,
}

/// A fault in force.
#[derive(Debug)]
struct Fault {
    id: u64,
    wanted: Wanted,
    left: Option<u64>,
    until: Option<Instant>,
    struck: u64,
}

/// All faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether there is any: nearly always not, and every message asks.
    any: AtomicBool,
    list: Mutex<(u64, Vec<Fault>)>,
}

impl Wanted {
    /// Reads `{"kind":"delay","identity":"edge/filter","probability":0.5,"count":3,"durationMs":10000,"delayMs":500}`.
    pub(crate) fn read(body: &Value) -> Result<Self, Refused> {
        let kind = body.get("kind").and_then(Value::as_str);
        let kind = KINDS.iter().find(|(name, _)| Some(*name) == kind).map(|(_, kind)| *kind);
        let names = || KINDS.map(|(name, _)| name).join(", ");
        let kind = kind.ok_or_else(|| Refused::new("kind", format!("wants one of {}", names())))?;
        let whom = match body.get("identity") {
            None | Some(Value::Null) => "*".to_owned(),
            Some(Value::String(whom)) if !whom.is_empty() => whom.clone(),
            Some(_) => {
                return Err(Refused::new("identity", "wants device, device/module, device/*, * or @service"));
            }
        };
        let probability = match body.get("probability") {
            None | Some(Value::Null) => 1.0,
            Some(value) => value
                .as_f64()
                .filter(|it| *it > 0.0 && *it <= 1.0)
                .ok_or_else(|| Refused::new("probability", "wants a number above 0 and at most 1"))?,
        };
        let count = match body.get("count") {
            None | Some(Value::Null) => None,
            Some(value) => Some(
                value
                    .as_u64()
                    .filter(|it| *it > 0)
                    .ok_or_else(|| Refused::new("count", "wants a number from 1 on"))?,
            ),
        };
        let (duration, delay) = (milliseconds(body, "durationMs")?, milliseconds(body, "delayMs")?);
        // A disconnection that nothing limits happens once: a fault that lets nobody in for ever is a duration.
        let once = kind == Kind::Disconnect && count.is_none() && duration.is_none();
        let count = if once { Some(1) } else { count };
        Ok(Self { kind, whom, probability, count, duration, delay: delay.unwrap_or(DELAY_DEFAULT) })
    }

    /// Whether it is meant for somebody of that name.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        match self.whom.strip_suffix('*') {
            Some(start) => name.starts_with(start) && name != SERVICE,
            None => self.whom == name,
        }
    }
}

fn milliseconds(body: &Value, name: &'static str) -> Result<Option<Duration>, Refused> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let duration =
                value.as_u64().map(Duration::from_millis).filter(|it| !it.is_zero() && *it <= LONGEST);
            duration
                .map(Some)
                .ok_or_else(|| Refused::new(name, "wants milliseconds, from 1 to those of a day"))
        }
    }
}

impl Faults {
    /// Puts a fault in force; says its description.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn add(&self, wanted: Wanted, now: Instant) -> Result<Value, Refused> {
        let mut list = self.lock();
        retire(&mut list.1, now);
        if list.1.len() >= FAULTS_MAX {
            return Err(Refused::new("faults", format!("{FAULTS_MAX} are in force; clear some first")));
        }
        list.0 += 1;
        let (left, until) = (wanted.count, wanted.duration.map(|duration| now + duration));
        let fault = Fault { id: list.0, wanted, left, until, struck: 0 };
        let description = fault.describe(now);
        list.1.push(fault);
        self.any.store(true, Ordering::Release);
        Ok(description)
    }

    /// Those in force, oldest first.
    pub(crate) fn list(&self, now: Instant) -> Vec<Value> {
        let mut list = self.lock();
        retire(&mut list.1, now);
        list.1.iter().map(|fault| fault.describe(now)).collect()
    }

    /// Ends one, or all; says how many that were.
    pub(crate) fn clear(&self, id: Option<u64>) -> usize {
        let mut list = self.lock();
        let before = list.1.len();
        list.1.retain(|fault| id.is_some_and(|id| fault.id != id));
        before - list.1.len()
    }

    /// What happens to somebody who says something now. Cheap while there are no faults.
    pub(crate) fn strike(&self, name: &str, now: Instant, chance: &Chance) -> Option<Blow> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut list = self.lock();
        retire(&mut list.1, now);
        self.any.store(!list.1.is_empty(), Ordering::Release);
        let mut candidates =
            list.1.iter_mut().filter(|it| it.wanted.kind != Kind::Enospc && it.wanted.is_for(name));
        let fault =
            candidates.find(|it| it.wanted.probability >= 1.0 || chance.f64() < it.wanted.probability)?;
        fault.struck += 1;
        if let Some(left) = &mut fault.left {
            *left -= 1;
        }
        Some(match fault.wanted.kind {
            Kind::Drop => Blow::Drop,
            Kind::Delay => Blow::Delay(fault.wanted.delay),
            Kind::Disconnect => Blow::Disconnect,
            Kind::Throttle | Kind::Enospc => Blow::Throttle,
        })
    }

    /// Whether the disk is to be full.
    pub(crate) fn is_disk_full(&self, now: Instant) -> bool {
        let mut list = self.lock();
        retire(&mut list.1, now);
        list.1.iter().any(|fault| fault.wanted.kind == Kind::Enospc)
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Vec<Fault>)> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out those that are over.
fn retire(faults: &mut Vec<Fault>, now: Instant) {
    faults.retain(|fault| fault.left != Some(0) && fault.until.is_none_or(|until| until > now));
}

impl Fault {
    fn describe(&self, now: Instant) -> Value {
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.wanted.kind).map(|(name, _)| *name);
        let left = self.until.map(|until| until.saturating_duration_since(now).as_millis() as u64);
        let delay = (self.wanted.kind == Kind::Delay).then_some(self.wanted.delay.as_millis() as u64);
        json!({
            "id": self.id,
            "kind": kind,
            "identity": self.wanted.whom,
            "probability": self.wanted.probability,
            "delayMs": delay,
            "left": self.left,
            "leftMs": left,
            "struck": self.struck,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(wanted: Value, now: Instant) -> Faults {
        let faults = Faults::default();
        faults.add(Wanted::read(&wanted).unwrap(), now).unwrap();
        faults
    }

    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_fault_strikes_whom_it_names_as_often_as_it_says() {
        let (now, chance) = (start(), Chance::seeded(1));
        let all = faults(json!({"kind": "drop", "identity": "edge/*", "count": 2}), now);
        let strike = |name| all.strike(name, now, &chance);
        assert_eq!(strike("other"), None);
        assert_eq!(
            (strike("edge/a"), strike("edge/b"), strike("edge/a")),
            (Some(Blow::Drop), Some(Blow::Drop), None)
        );
        let service = faults(json!({"kind": "throttle", "identity": "@service"}), now);
        assert_eq!(service.strike("edge", now, &chance), None);
        assert_eq!(service.strike(SERVICE, now, &chance), Some(Blow::Throttle));
        let everybody = faults(json!({"kind": "throttle"}), now);
        assert_eq!(everybody.strike(SERVICE, now, &chance), None, "`*` is every device and module");
    }

    #[test]
    fn a_fault_ends_with_its_time_and_when_it_is_cleared() {
        let (now, chance) = (start(), Chance::seeded(1));
        let wanted = json!({"kind": "delay", "identity": "d", "delayMs": 70, "durationMs": 1000});
        let all = faults(wanted.clone(), now);
        let delay = Some(Blow::Delay(Duration::from_millis(70)));
        assert_eq!(all.strike("d", now + Duration::from_millis(999), &chance), delay);
        assert_eq!(all.list(now)[0]["struck"], 1);
        assert_eq!(all.strike("d", now + Duration::from_secs(1), &chance), None);
        assert!(all.list(now + Duration::from_secs(1)).is_empty());
        let all = faults(wanted, now);
        assert_eq!((all.clear(Some(7)), all.clear(Some(1)), all.clear(None)), (0, 1, 0));
        assert_eq!(all.strike("d", now, &chance), None);
    }

    #[test]
    fn chance_decides_where_it_is_asked() {
        let (now, chance) = (start(), Chance::seeded(1));
        let all = faults(json!({"kind": "drop", "identity": "d", "probability": 0.25}), now);
        let struck = (0..10_000).filter(|_| all.strike("d", now, &chance).is_some()).count();
        assert!((2_300..2_700).contains(&struck), "{struck}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (wanted, named) in [
            (json!({}), "kind"),
            (json!({"kind": "rain"}), "disconnect"),
            (json!({"kind": "drop", "probability": 2}), "probability"),
            (json!({"kind": "drop", "count": 0}), "count"),
            (json!({"kind": "drop", "durationMs": -1}), "durationMs"),
            (json!({"kind": "drop", "identity": 1}), "identity"),
        ] {
            let refused = Wanted::read(&wanted).unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        let faults = Faults::default();
        let wanted = Wanted::read(&json!({"kind": "drop"})).unwrap();
        let added = (0..=FAULTS_MAX).filter(|_| faults.add(wanted.clone(), start()).is_ok()).count();
        assert_eq!(added, FAULTS_MAX);
    }
}
