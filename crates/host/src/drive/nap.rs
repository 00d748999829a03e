//! Being woken less often by a peer that sends little and often.
//!
//! A broker that hands over each message by a system call of its own wakes us for each, and waking up costs more than
//! the message. A module that has a thread for itself takes a short nap before it waits again: what came meanwhile is read
//! at once, and what came of it leaves in one write. Whoever gains nothing by it (a peer that waits for our answer sends no
//! more while we nap) is left alone, and so is a peer that sends now and then.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How long naps are: longer ones are tried for as long as they gather more. The system adds some 50 µs of its own.
const NAPS: [Duration; 3] =
    [Duration::from_micros(200), Duration::from_micros(400), Duration::from_micros(800)];
/// Readings further apart than this are not often.
const OFTEN: Duration = Duration::from_micros(200);
/// So many in a row decide, first whether it is often, then whether naps gather more.
const TRIED: u32 = 16;
/// Naps have to gather this many bytes a reading for each two that came without, or by shorter ones.
const GATHERED: usize = 3;
/// After so many it is tried again without.
const NAPS_MAX: u32 = 512;
/// Where naps gathered nothing they are not tried again for so long.
const LEFT_ALONE: Duration = Duration::from_millis(100);

thread_local! {
    static PACE: RefCell<Pace> = const { RefCell::new(Pace::new()) };
}

/// So many bytes were read from a peer for which naps may be taken.
pub(super) fn took(bytes: usize) {
    PACE.with_borrow_mut(|pace| pace.bytes += bytes);
}

/// To be called when this thread has nothing left to do and is about to wait, if it may be held up for a moment: naps, if
/// that pays.
#[expect(clippy::disallowed_methods, reason = "a nap is taken in real time or not at all")]
pub(crate) fn before_waiting() {
    let nap = PACE.with_borrow_mut(|pace| {
        let may_be = pace.bytes > 0 || pace.nap().is_some();
        may_be.then(|| pace.wait(Instant::now())).flatten()
    });
    if let Some(nap) = nap {
        std::thread::sleep(nap); // the thread itself: under a timer, the socket would go on waking it
    }
}

/// What is known of how bytes come.
#[derive(Debug)]
struct Pace {
    /// Since the thread waited last.
    bytes: usize,
    /// When it was about to wait after it had read some.
    last: Option<Instant>,
    mode: Mode,
    /// Readings in this mode, and their bytes.
    count: u32,
    sum: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Watching,
    /// Taking naps of this length (its place in [`NAPS`]), to see whether they gather more than so many bytes.
    Trying {
        length: usize,
        before: usize,
    },
    /// Taking naps of this length.
    Napping(usize),
    LeftAlone(Instant),
}

impl Pace {
    const fn new() -> Self {
        Self { bytes: 0, last: None, mode: Mode::Watching, count: 0, sum: 0 }
    }

    /// How long naps are at present.
    fn nap(&self) -> Option<Duration> {
        match self.mode {
            Mode::Trying { length, .. } | Mode::Napping(length) => Some(NAPS[length]),
            Mode::Watching | Mode::LeftAlone(_) => None,
        }
    }

    /// How long to nap now.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        let since = self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        let often = OFTEN + self.nap().unwrap_or_default();
        match std::mem::take(&mut self.bytes) {
            0 => return self.nap().filter(|_| since < often), // woken by somebody else
            // That naps gain nothing, or may not, outlasts a pause: else each burst of a peer would be tried anew.
            _ if since > often => {
                if !matches!(self.mode, Mode::Trying { length: 0, .. } | Mode::LeftAlone(_)) {
                    self.enter(Mode::Watching);
                }
            }
            bytes => {
                self.count += 1;
                self.sum += bytes;
                self.decide(now);
            }
        }
        self.last = Some(now);
        self.nap()
    }

    fn decide(&mut self, now: Instant) {
        match self.mode {
            Mode::Watching if self.count == TRIED => self.enter(Mode::Trying { length: 0, before: self.sum }),
            Mode::Trying { length, before } if self.count == TRIED => {
                let gathers = self.sum * 2 >= before * GATHERED;
                self.enter(match (gathers, length) {
                    (true, _) if length + 1 < NAPS.len() => {
                        Mode::Trying { length: length + 1, before: self.sum }
                    }
                    (true, _) => Mode::Napping(length),
                    (false, 0) => Mode::LeftAlone(now + LEFT_ALONE),
                    (false, _) => Mode::Napping(length - 1),
                });
            }
            Mode::Napping(_) if self.count == NAPS_MAX => self.enter(Mode::Watching),
            Mode::LeftAlone(until) if now >= until => self.enter(Mode::Watching),
            _ => {}
        }
    }

    fn enter(&mut self, mode: Mode) {
        *self = Self { mode, count: 0, sum: 0, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer for `for_` long, in steps of 10 µs: `bytes` of it are there at each time, given how many of our readings
    /// there were. How many readings, and how many naps.
    fn spend(
        pace: &mut Pace,
        from: Instant,
        long: Duration,
        mut bytes: impl FnMut(Duration, u32) -> usize,
    ) -> (u32, u32) {
        let (mut at, mut readings, mut naps, mut before) = (Duration::ZERO, 0, 0, 0);
        while at < long {
            let there = bytes(at, readings);
            if there > before {
                pace.bytes += there - before;
                before = there;
                readings += 1;
                if let Some(nap) = pace.wait(from + at) {
                    naps += 1;
                    at += nap;
                }
            }
            at += Duration::from_micros(10);
        }
        (readings, naps)
    }

    fn each(gap: u64) -> impl Fn(Duration, u32) -> usize {
        move |at, _| 100 * (at.as_micros() as u64 / gap) as usize
    }

    fn start() -> (Instant, Pace) {
        (tokio::time::Instant::now().into_std(), Pace::new())
    }

    #[test]
    fn little_and_often_is_gathered() {
        let (now, mut pace) = start();
        let (readings, naps) = spend(&mut pace, now, Duration::from_millis(100), each(50));
        assert_eq!(pace.mode, Mode::Napping(2));
        assert!(readings < 200, "{readings} readings of 2,000 messages");
        assert!(naps > 100, "{naps} naps");
    }

    #[test]
    fn naps_are_no_longer_than_pays() {
        let (now, mut pace) = start();
        // One each 50 µs, but no more than ten that we have not read.
        let (mut seen, mut read, mut there, mut next) = (0, 0, 0, Duration::ZERO);
        let windowed = move |at: Duration, readings: u32| {
            if readings > seen {
                (seen, read) = (readings, there);
            }
            while next <= at {
                there = (there + 1).min(read + 10);
                next += Duration::from_micros(50);
            }
            100 * there
        };
        spend(&mut pace, now, Duration::from_millis(100), windowed);
        assert_eq!(pace.mode, Mode::Napping(1));
    }

    #[test]
    fn now_and_then_is_read_at_once() {
        let (now, mut pace) = start();
        assert_eq!(spend(&mut pace, now, Duration::from_millis(100), each(1_000)), (99, 0));
    }

    #[test]
    fn who_waits_for_our_answer_is_left_alone() {
        let (now, mut pace) = start();
        let answered = |_, readings: u32| 100 * (readings as usize + 1);
        let (readings, naps) = spend(&mut pace, now, Duration::from_millis(50), answered);
        assert_eq!(naps, TRIED);
        assert!(readings > 4_000, "{readings} readings");
    }

    #[test]
    fn and_goes_on_being_left_alone_when_it_pauses_in_between() {
        let (now, mut pace) = start();
        let answered = |_, readings: u32| 100 * (readings as usize + 1);
        let naps = (0..20).map(|burst| {
            let begun = now + Duration::from_millis(4) * burst; // twenty of them within LEFT_ALONE
            spend(&mut pace, begun, Duration::from_millis(3), answered).1
        });
        assert_eq!(naps.sum::<u32>(), TRIED + 1, "one more for the pause in the middle of the trial");
    }

    #[test]
    fn when_it_is_over_so_are_the_naps() {
        let (now, mut pace) = start();
        spend(&mut pace, now, Duration::from_millis(10), each(50));
        assert!(pace.nap().is_some());
        let later = now + Duration::from_millis(20);
        assert_eq!(pace.wait(later), None, "nothing came");
        assert_eq!(spend(&mut pace, later, Duration::from_millis(20), each(1_000)).1, 0);
    }

    #[test]
    fn woken_by_somebody_else_it_naps_on() {
        let (now, mut pace) = start();
        spend(&mut pace, now, Duration::from_millis(10), each(50));
        let last = pace.last.expect("something was read");
        assert!(pace.wait(last + Duration::from_micros(30)).is_some());
    }
}
