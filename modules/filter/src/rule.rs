//! Rules: each looks at one sensor's readings in turn and says which of them somebody must be told of.

pub(crate) mod threshold;

use isotherm_proto::Reading;

use crate::settings::Settings;
use threshold::Threshold;

/// Which side of the line a reading has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// Above it: an alert.
    Above,
    /// Back below it, after an alert; nobody is told.
    Below,
}

/// The rules there are.
#[derive(Clone, Debug)]
pub enum Rule {
    /// A line that readings exceed or do not.
    Threshold(Threshold),
}

impl Rule {
    /// The rule that the settings ask for.
    pub fn of(settings: &Settings) -> Self {
        Self::Threshold(Threshold::of(settings))
    }

    /// What the rule makes of the next reading.
    pub fn decide(&mut self, reading: &Reading) -> Option<Crossing> {
        match self {
            Self::Threshold(threshold) => threshold.decide(reading.celsius, reading.at),
        }
    }

    /// Takes new settings over and keeps what it remembers.
    pub fn apply(&mut self, settings: &Settings) {
        match self {
            Self::Threshold(threshold) => threshold.apply(settings),
        }
    }
}
