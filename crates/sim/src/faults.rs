//! What goes wrong: drawn from the seed before anything begins.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use isotherm_host::Chance;
use jiff::SignedDuration;

use crate::life::Name;
use crate::network::Quality;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The hub is killed, or its machine loses power, and comes back.
    KillHub,
    /// A sensor is.
    KillSensor,
    /// The filter is.
    KillFilter,
    /// A link carries nothing for a while; sometimes one end's stream is gone when it is back.
    Cut,
    /// One machine reaches none of the others for a while.
    Partition,
    /// A link is slow and loses much.
    SlowLink,
    /// A disk is full for a while.
    DiskFull,
    /// A disk takes long to sync.
    SlowDisk,
    /// A wall clock jumps, one machine's or all.
    ClockJump,
    /// The filter's twin desires another threshold.
    ThresholdChange,
    /// A disk says that queues and outboxes are synced while they are not, and then power is cut.
    LyingDisk,
    /// A bit flips in a queue that the hub has on disk.
    BitRot,
    /// The site is cut off from the hub upstream of it for long, or the way there is slow.
    Outage,
    /// The hub upstream is killed, or loses power, and comes back.
    KillUpstream,
    /// A bit flips in the log of what is to go upstream.
    LogRot,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::KillHub,
        Self::KillSensor,
        Self::KillFilter,
        Self::Cut,
        Self::Partition,
        Self::SlowLink,
        Self::DiskFull,
        Self::SlowDisk,
        Self::ClockJump,
        Self::ThresholdChange,
        Self::LyingDisk,
        Self::BitRot,
        Self::Outage,
        Self::KillUpstream,
        Self::LogRot,
    ];

    /// Whether there must be a hub upstream of the site for it.
    pub(crate) fn needs_upstream(self) -> bool {
        matches!(self, Self::Outage | Self::KillUpstream | Self::LogRot)
    }

    /// Those that a seed draws when it is not told which.
    pub(crate) fn drawn(seed: u64, chance: &Chance) -> Vec<Self> {
        // What came later is drawn from a chance of its own, so that a seed's game stays what it was without it.
        let later = Chance::seeded(!seed);
        let last = Chance::seeded(seed.rotate_left(32));
        // Most sites end at their own hub: a second one is a second world of timers and disks to play.
        let has_upstream = last.u64().is_multiple_of(4);
        let is_drawn = |fault: &Self| match fault {
            fault if fault.needs_upstream() => has_upstream && last.u64().is_multiple_of(2),
            Self::LyingDisk | Self::BitRot => later.u64().is_multiple_of(2),
            _ => chance.u64().is_multiple_of(2),
        };
        Self::ALL.into_iter().filter(is_drawn).collect()
    }

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillHub => "kill-hub",
            Self::KillSensor => "kill-sensor",
            Self::KillFilter => "kill-filter",
            Self::Cut => "cut",
            Self::Partition => "partition",
            Self::SlowLink => "slow-link",
            Self::DiskFull => "disk-full",
            Self::SlowDisk => "slow-disk",
            Self::ClockJump => "clock-jump",
            Self::ThresholdChange => "threshold-change",
            Self::LyingDisk => "lying-disk",
            Self::BitRot => "bit-rot",
            Self::Outage => "outage",
            Self::KillUpstream => "kill-upstream",
            Self::LogRot => "log-rot",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| format!("{text:?} is no fault; there are {}", known()))
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is told to, and puts everything away.
    Told,
    /// It is killed; what it wrote is in the kernel's hands, synced or not.
    Killed,
    /// Its machine loses power.
    Power,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Blow {
    /// A process ends and is started again after a while. `fuse`: it dies in the middle of that many steps of its disk.
    Kill {
        whom: Name,
        end: End,
        fuse: Option<u32>,
        down: Duration,
    },
    Cut {
        one: Name,
        other: Name,
    },
    Join {
        one: Name,
        other: Name,
        forgets: bool,
    },
    Quality {
        one: Name,
        other: Name,
        quality: Quality,
    },
    Fill {
        whose: Name,
        full: bool,
    },
    Slow {
        whose: Name,
        slowness: Option<(u64, u64)>,
    },
    /// `None`: all clocks.
    Jump {
        whose: Option<Name>,
        by: SignedDuration,
    },
    Threshold(f64),
    Lie {
        whose: Name,
        lies: bool,
    },
    /// In a journal that has this in its path.
    Rot {
        whose: Name,
        part: &'static str,
    },
}

/// Draws what happens when.
pub(crate) struct Draw<'a> {
    pub(crate) chance: &'a Chance,
    pub(crate) hub: &'a Name,
    pub(crate) filter: &'a Name,
    pub(crate) sensors: &'a [Name],
    /// The hub that the site's own hub sends on to, where there is one.
    pub(crate) upstream: Option<&'a Name>,
    /// When the last fault is over.
    pub(crate) until: Duration,
    pub(crate) blows: Vec<(Duration, Blow)>,
}

/// Where a hub's journals are: of what waits for modules, and of what goes upstream.
const QUEUES: &str = "/queues/";
pub(crate) const EVENTS: &str = "/events/";
/// Nothing goes wrong in the first moments, or nothing would ever begin.
const AT_FIRST: Duration = Duration::from_secs(1);
/// Of each kind, about this many in a minute.
const A_MINUTE: f64 = 0.4;

impl Draw<'_> {
    /// All that happens, in order.
    pub(crate) fn all(mut self, kinds: &[Fault]) -> Vec<(Duration, Blow)> {
        for &kind in kinds {
            let most = (self.until.as_secs_f64() / 60.0 * A_MINUTE * 2.0).ceil().max(1.0) as u64;
            for _ in 0..1 + self.below(most) {
                self.draw(kind);
            }
        }
        self.blows.sort_by_key(|(at, _)| *at); // stable, so what was drawn first stays first
        self.blows
    }

    fn below(&self, limit: u64) -> u64 {
        self.chance.u64() % limit.max(1)
    }

    fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn one_in(&self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn moment(&self) -> Duration {
        let span = self.until.saturating_sub(AT_FIRST).as_millis() as u64;
        AT_FIRST + Duration::from_millis(self.below(span))
    }

    /// A while: mostly short, now and then long.
    fn while_(&self) -> Duration {
        let most = if self.one_in(4) { 90_000 } else { 12_000 };
        Duration::from_millis(self.between(20, most))
    }

    fn sensor(&self) -> Name {
        self.sensors[self.below(self.sensors.len() as u64) as usize].clone()
    }

    fn anybody(&self) -> Name {
        match self.below(3) {
            0 => self.hub.clone(),
            1 => self.filter.clone(),
            _ => self.sensor(),
        }
    }

    fn module(&self) -> Name {
        if self.one_in(2) { self.filter.clone() } else { self.sensor() }
    }

    fn add(&mut self, at: Duration, blow: Blow) {
        self.blows.push((at.min(self.until), blow));
    }

    fn draw(&mut self, kind: Fault) {
        let (at, over) = (self.moment(), self.while_());
        let until = at + over;
        match kind {
            Fault::KillHub => self.kill(at, self.hub.clone()),
            Fault::KillSensor => self.kill(at, self.sensor()),
            Fault::KillFilter => self.kill(at, self.filter.clone()),
            Fault::Cut => self.cut(at, until, self.module(), self.hub.clone()),
            Fault::Partition => {
                let others: Vec<Name> = self.sensors.iter().chain([self.filter]).cloned().collect();
                match self.one_in(2).then(|| self.module()) {
                    Some(lonely) => self.cut(at, until, lonely, self.hub.clone()),
                    None => others.into_iter().for_each(|other| self.cut(at, until, other, self.hub.clone())),
                }
            }
            Fault::SlowLink => self.slow(at, until, self.module(), self.hub.clone()),
            Fault::DiskFull => {
                let whose = self.anybody();
                self.add(at, Blow::Fill { whose: whose.clone(), full: true });
                self.add(until, Blow::Fill { whose, full: false });
            }
            Fault::SlowDisk => {
                let whose = self.anybody();
                let slowness = Some((self.between(10, 1500), self.between(1, 3000)));
                self.add(at, Blow::Slow { whose: whose.clone(), slowness });
                self.add(until, Blow::Slow { whose, slowness: None });
            }
            Fault::ClockJump => self.jump(at),
            Fault::ThresholdChange => {
                let threshold = 23.0 + self.below(9) as f64 / 2.0;
                self.add(at, Blow::Threshold(threshold));
            }
            Fault::LyingDisk => {
                let whose = if self.one_in(2) { self.hub.clone() } else { self.filter.clone() };
                self.add(at, Blow::Lie { whose: whose.clone(), lies: true });
                let down = Duration::from_millis(self.between(1, 2_000));
                self.add(until, Blow::Kill { whom: whose.clone(), end: End::Power, fuse: None, down });
                self.add(until, Blow::Lie { whose, lies: false });
            }
            Fault::BitRot => self.add(at, Blow::Rot { whose: self.hub.clone(), part: QUEUES }),
            Fault::LogRot => self.add(at, Blow::Rot { whose: self.hub.clone(), part: EVENTS }),
            Fault::KillUpstream => self.upstream.cloned().into_iter().for_each(|whom| self.kill(at, whom)),
            Fault::Outage => {
                let Some(upstream) = self.upstream.cloned() else { return };
                let half = self.until.as_millis() as u64 / 2;
                let until = if self.one_in(2) { until } else { at + Duration::from_millis(self.below(half)) };
                if self.one_in(3) {
                    self.slow(at, until, self.hub.clone(), upstream);
                } else {
                    self.cut(at, until, self.hub.clone(), upstream);
                }
            }
        }
    }

    fn kill(&mut self, at: Duration, whom: Name) {
        let end = match self.below(8) {
            0 => End::Told,
            1..=3 => End::Killed,
            _ => End::Power,
        };
        let fuse = (end != End::Told && self.one_in(2)).then(|| self.below(40) as u32);
        let down = if self.one_in(5) { self.while_() } else { Duration::from_millis(self.between(1, 4_000)) };
        let again = self.one_in(4);
        self.add(at, Blow::Kill { whom: whom.clone(), end, fuse, down });
        if again {
            // Once more while it comes up: what is half done at a start is done again.
            let fuse = Some(self.below(25) as u32);
            let at = at + down + Duration::from_millis(self.below(50));
            self.add(
                at,
                Blow::Kill {
                    whom,
                    end: End::Power,
                    fuse,
                    down: Duration::from_millis(self.between(1, 1_000)),
                },
            );
        }
    }

    fn cut(&mut self, at: Duration, until: Duration, one: Name, other: Name) {
        let forgets = self.one_in(3);
        self.add(at, Blow::Cut { one: one.clone(), other: other.clone() });
        self.add(until, Blow::Join { one, other, forgets });
    }

    fn slow(&mut self, at: Duration, until: Duration, one: Name, other: Name) {
        let quality = Quality {
            delay_ms: self.between(20, 1500),
            jitter_ms: self.between(0, 800),
            bytes_a_second: self.one_in(2).then(|| self.between(300, 20_000)),
            lost: self.between(0, 200),
        };
        self.add(at, Blow::Quality { one: one.clone(), other: other.clone(), quality });
        self.add(until, Blow::Quality { one, other, quality: Quality::GOOD });
    }

    fn jump(&mut self, at: Duration) {
        let alone = self.one_in(2);
        // Clocks of one site that differ by more than a token forgives keep everybody out, and rightly so.
        let most = if alone { 120 } else { 36 * 3600 };
        let seconds = self.between(1, most) as i64;
        let by = SignedDuration::from_secs(if self.one_in(2) { seconds } else { -seconds });
        let whose = alone.then(|| self.anybody());
        self.add(at, Blow::Jump { whose, by });
    }
}
