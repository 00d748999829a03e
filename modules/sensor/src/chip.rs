//! The chips a sensor can have. Each answers one question: how warm is it?

pub mod hwmon;
pub mod replayed;
pub mod simulated;
pub mod tmp102;

use std::time::{Duration, Instant};

use isotherm_host::Host;
use isotherm_proto::Celsius;

use crate::settings::ChipSettings;
use hwmon::Hwmon;
use replayed::Replayed;
use simulated::Simulated;
use tmp102::Tmp102;

/// How long to wait before asking again a chip that said [`Answer::Pending`].
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// What a chip says when asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// So warm.
    Celsius(Celsius),
    /// It is still converting; ask again in a few milliseconds.
    Pending,
    /// There will be nothing more: a replay has come to its end.
    Finished,
}

/// Why a chip gave no temperature.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Silence {
    /// The bus or the kernel said so.
    #[error("{0}")]
    NoAnswer(String),
    /// It answered what it cannot have measured.
    #[error("{0}")]
    Garbage(String),
    /// A conversion was started and never ended.
    #[error(
        "the chip did not finish a conversion within {} ms; one that cannot do one-shots needs ConversionMode \"continuous\"",
        .0.as_millis()
    )]
    NeverReady(Duration),
    /// The row of a replay has no number.
    #[error("line {0} of the replay has no temperature")]
    Hole(usize),
}

/// A chip, of whichever kind the environment named.
#[derive(Debug)]
pub enum Chip {
    /// A TMP102 on a bus of this machine.
    #[cfg(target_os = "linux")]
    Tmp102(Box<Tmp102<crate::bus::i2c_dev::I2cDev>>),
    /// The kernel's driver owns the chip and shows it as a file.
    Hwmon(Hwmon),
    /// An emulated TMP102 in an emulated room.
    Simulated(Box<Simulated>),
    /// An emulated TMP102 that measures what a file says.
    Replay(Box<Replayed>),
}

impl Chip {
    /// Whether its settings are ours to make.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::Hwmon(_))
    }

    /// The word by which the environment calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Self::Tmp102(_) => "tmp102",
            Self::Hwmon(_) => "hwmon",
            Self::Simulated(_) => "simulated",
            Self::Replay(_) => "replay",
        }
    }

    /// Which file a replay comes from; 0 for what is none.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        match self {
            Self::Replay(replay) => replay.fingerprint(),
            _ => 0,
        }
    }

    /// The rows of a replay that were read so far.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        match self {
            Self::Replay(replay) => Some(replay.row()),
            _ => None,
        }
    }

    /// Has all settings written before the next reading.
    pub fn configure(&mut self, settings: &ChipSettings) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Tmp102(chip) => chip.configure(*settings),
            Self::Hwmon(_) => {}
            Self::Simulated(chip) => chip.configure(*settings),
            Self::Replay(chip) => chip.configure(*settings),
        }
    }

    /// Asks once. May block for as long as the bus takes.
    fn ask(&mut self, now: Instant) -> Result<Answer, Silence> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Tmp102(chip) => chip.ask(now),
            Self::Hwmon(chip) => chip.ask(),
            Self::Simulated(chip) => chip.ask(now),
            Self::Replay(chip) => chip.ask(),
        }
    }

    /// Whether the chip's thermostat alerts; `None` if that cannot be known.
    fn ask_alert(&mut self, now: Instant) -> Option<bool> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Tmp102(chip) => chip.alert(),
            Self::Hwmon(_) => None,
            Self::Simulated(chip) => chip.alert(now),
            Self::Replay(chip) => chip.alert(),
        }
    }

    /// Whether asking touches the machine, and so may block.
    fn may_block(&self) -> bool {
        !matches!(self, Self::Simulated(_) | Self::Replay(_))
    }
}

/// The chip at its place in the program: asked off the loop's thread where asking may block.
#[derive(Debug)]
pub struct Socket {
    host: Host,
    /// Away while it is being asked.
    chip: Option<Chip>,
}

impl Socket {
    /// Puts a chip into its place.
    #[must_use]
    pub fn new(host: Host, chip: Chip) -> Self {
        Self { host, chip: Some(chip) }
    }

    /// The chip, which is there unless a question was abandoned.
    pub fn chip(&mut self) -> &mut Chip {
        self.chip.as_mut().expect("a question to the chip is never abandoned")
    }

    /// Asks until there is an answer. The chip itself bounds how long it may be pending.
    ///
    /// # Errors
    /// When the chip gives no temperature.
    pub async fn read(&mut self) -> Result<Answer, Silence> {
        loop {
            let now = self.host.now();
            match self.with_chip(move |chip| chip.ask(now)).await? {
                Answer::Pending => tokio::time::sleep(ASK_AGAIN).await,
                answer => return Ok(answer),
            }
        }
    }

    /// Whether the chip's thermostat alerts; `None` if that cannot be known.
    pub async fn alert(&mut self) -> Option<bool> {
        let now = self.host.now();
        self.with_chip(move |chip| chip.ask_alert(now)).await
    }

    async fn with_chip<T: Send + 'static>(&mut self, ask: impl FnOnce(&mut Chip) -> T + Send + 'static) -> T {
        if !self.chip().may_block() {
            return ask(self.chip());
        }
        let mut chip = self.chip.take().expect("a question to the chip is never abandoned");
        let (chip, answer) = self
            .host
            .blocking(move || {
                let answer = ask(&mut chip);
                (chip, answer)
            })
            .await;
        self.chip = Some(chip);
        answer
    }
}
