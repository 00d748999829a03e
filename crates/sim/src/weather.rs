//! What the chips measure: rooms that drift to and fro across the line.

use std::io;

use isotherm_host::Chance;

/// Where a room begins, and what it drifts around, thousandths of a °C.
const MIDDLE: i64 = 25_000;
/// How far it drifts from one reading to the next, at most.
const DRIFT: u64 = 900;
/// One answer in so many is none.
const SILENT: u64 = 97;
/// The last digits count the answers, so that two readings can be told apart.
const TELLING: i64 = 100;

/// One room with a chip in it.
#[derive(Debug)]
pub(crate) struct Room {
    chance: Chance,
    thousandths: i64,
    /// All that the chip ever answered, in order.
    pub(crate) answers: Vec<f32>,
    /// It answers nothing any more.
    pub(crate) quiet: bool,
}

impl Room {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { chance, thousandths: MIDDLE, answers: Vec::new(), quiet: false }
    }

    /// What the chip's file says.
    pub(crate) fn ask(&mut self) -> io::Result<Vec<u8>> {
        if self.quiet {
            return Ok(b"no reading".to_vec()); // a chip that is there, or a sensor would not even start
        }
        if self.chance.u64().is_multiple_of(SILENT) {
            return Err(io::Error::other("no acknowledgement from the chip"));
        }
        let pull = (MIDDLE - self.thousandths) / 16; // else it might leave for good
        let drift = (self.chance.u64() % (2 * DRIFT + 1)) as i64 - DRIFT as i64;
        self.thousandths += pull + drift;
        let shown = self.thousandths / TELLING * TELLING + self.answers.len() as i64 % TELLING;
        self.answers.push(shown as f32 / 1000.0);
        Ok(shown.to_string().into_bytes())
    }
}
