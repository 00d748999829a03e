//! An emulated TMP102 that measures what a file says, a row a reading, in a time of its own.

use std::time::{Duration, Instant};

use super::{
    Answer, Silence,
    tmp102::{CONVERSION_MAX, Tmp102},
};
use crate::{
    bus::emulated::{Emulated, Environment, Fault},
    replay::{Replay, Row},
    settings::ChipSettings,
};

/// A row lasts as long as the chip needs to measure it at the slowest of its rates, 0.25 Hz. It passes in no time:
/// the chip's clock is not the wall's.
const ROW_LASTS: Duration = Duration::from_secs(4);

/// An emulated chip fed by a file.
#[derive(Debug)]
pub struct Replayed {
    replay: Replay,
    row: usize,
    now: Instant,
    bus: Emulated,
    chip: Tmp102<Emulated>,
}

impl Replayed {
    /// A chip at `address` that measures the rows of `replay` from `row` on.
    #[must_use]
    pub fn new(address: u8, replay: Replay, row: u64, now: Instant) -> Self {
        let bus = Emulated::new(address, Environment::Still(0.0), now);
        let chip = Tmp102::new(bus.clone(), address, ChipSettings::default());
        let row = usize::try_from(row).unwrap_or(usize::MAX).min(replay.len());
        Self { replay, row, now, bus, chip }
    }

    /// The rows that were read so far.
    #[must_use]
    pub fn row(&self) -> u64 {
        self.row as u64
    }

    /// Which file it is.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.replay.fingerprint()
    }

    pub(super) fn configure(&mut self, settings: ChipSettings) {
        self.chip.configure(settings);
    }

    /// Measures the next row through the chip's registers. A row without a number is a chip that does not answer.
    pub(super) fn ask(&mut self) -> Result<Answer, Silence> {
        let Some(row) = self.replay.row(self.row) else { return Ok(Answer::Finished) };
        self.row += 1;
        match row {
            Row::Celsius(degrees) => {
                self.bus.fault(None);
                self.bus.surround(Environment::Still(degrees));
                self.measure()
            }
            Row::Hole { line } => {
                self.bus.fault(Some(Fault::NoAcknowledge));
                self.measure().map_err(|_| Silence::Hole(line))
            }
        }
    }

    /// Lets the row last, then asks until the chip is done; it is never pending for long in its own time.
    fn measure(&mut self) -> Result<Answer, Silence> {
        self.pass(ROW_LASTS);
        loop {
            match self.chip.ask(self.now)? {
                Answer::Pending => self.pass(CONVERSION_MAX),
                answer => return Ok(answer),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.bus.pass(self.now);
    }

    pub(super) fn alert(&mut self) -> Option<bool> {
        self.chip.alert()
    }
}
