//! Being woken less often by a peer that sends little and often.
//!
//! A broker that hands over each message by a system call of its own wakes us for each, and waking up costs more than
//! the message. A module that has a thread for itself takes a short nap before it waits again: what came meanwhile is read
//! at once, and what came of it leaves in one write. Whoever gains nothing by it (a peer that waits for our answer sends no
//! more while we nap) is left alone, and so is a peer that sends now and then.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How long a nap is; the system adds some 50 µs of its own.
const NAP: Duration = Duration::from_micros(200);
/// Readings further apart than this are not often.
const OFTEN: Duration = Duration::from_micros(200);
/// So many in a row decide, first whether it is often, then whether naps gather more.
const TRIED: u32 = 16;
/// Naps have to gather this many bytes a reading for each two that came without.
const GATHERED: usize = 3;
/// After so many it is tried again without.
const NAPS_MAX: u32 = 4096;
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
    let nap = PACE.with_borrow_mut(|pace| (pace.bytes > 0 || pace.naps()) && pace.wait(Instant::now()));
    if nap {
        std::thread::sleep(NAP); // the thread itself: under a timer, the socket would go on waking it
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
    /// Napping, to see whether it gathers more than so many bytes.
    Trying(usize),
    Napping,
    LeftAlone(Instant),
}

impl Pace {
    const fn new() -> Self {
        Self { bytes: 0, last: None, mode: Mode::Watching, count: 0, sum: 0 }
    }

    fn naps(&self) -> bool {
        matches!(self.mode, Mode::Trying(_) | Mode::Napping)
    }

    /// Whether to nap now.
    fn wait(&mut self, now: Instant) -> bool {
        let since = self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        let often = if self.naps() { OFTEN + 2 * NAP } else { OFTEN };
        match std::mem::take(&mut self.bytes) {
            0 => return self.naps() && since < often, // woken by somebody else
            // What is tried, and what came of it, outlasts a pause: else each burst of a peer would be tried anew.
            _ if since > often => {
                if matches!(self.mode, Mode::Watching | Mode::Napping) {
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
        self.naps()
    }

    fn decide(&mut self, now: Instant) {
        match self.mode {
            Mode::Watching if self.count == TRIED => self.enter(Mode::Trying(self.sum)),
            Mode::Trying(without) if self.count == TRIED => {
                let gathers = self.sum * 2 >= without * GATHERED;
                self.enter(if gathers { Mode::Napping } else { Mode::LeftAlone(now + LEFT_ALONE) });
            }
            Mode::Napping if self.count == NAPS_MAX => self.enter(Mode::Watching),
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
                if pace.wait(from + at) {
                    naps += 1;
                    at += NAP;
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
        assert_eq!(pace.mode, Mode::Napping);
        assert!(readings < 500, "{readings} readings of 2,000 messages");
        assert!(naps > 400, "{naps} naps");
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
        assert!(pace.naps());
        let later = now + Duration::from_millis(20);
        assert!(!pace.wait(later), "nothing came");
        assert_eq!(spend(&mut pace, later, Duration::from_millis(20), each(1_000)).1, 0);
    }

    #[test]
    fn woken_by_somebody_else_it_naps_on() {
        let (now, mut pace) = start();
        spend(&mut pace, now, Duration::from_millis(10), each(50));
        let last = pace.last.expect("something was read");
        assert!(pace.wait(last + Duration::from_micros(30)));
    }
}
