//! An emulated TMP102 in an emulated room, read by the very driver that reads a real one.

use std::time::Instant;

use super::{Answer, Silence, tmp102::Tmp102};
use crate::{
    bus::{
        emulated::{Emulated, Environment},
        weather::Weather,
    },
    settings::ChipSettings,
};

/// An emulated chip whose time is ours.
#[derive(Debug)]
pub struct Simulated {
    bus: Emulated,
    chip: Tmp102<Emulated>,
}

impl Simulated {
    /// A chip at `address`, in the room of this seed.
    #[must_use]
    pub fn new(address: u8, seed: u64, now: Instant) -> Self {
        let bus = Emulated::new(address, Environment::Weather(Weather::new(seed, now)), now);
        let chip = Tmp102::new(bus.clone(), address, ChipSettings::default());
        Self { bus, chip }
    }

    pub(super) fn configure(&mut self, settings: ChipSettings) {
        self.chip.configure(settings);
    }

    pub(super) fn ask(&mut self, now: Instant) -> Result<Answer, Silence> {
        self.bus.pass(now);
        self.chip.ask(now)
    }

    pub(super) fn alert(&mut self, now: Instant) -> Option<bool> {
        self.bus.pass(now);
        self.chip.alert()
    }
}
