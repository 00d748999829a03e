//! A TMP102, by way of the `tmp1x2` driver, on any I2C bus.
//!
//! The driver cannot read a setting back and takes the chip's state at power-up for granted. So every setting is
//! written before the first reading, at each change, and again after any trouble: the chip may have lost its power.

#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Display},
    time::{Duration, Instant},
};

use embedded_hal::i2c::I2c;
use isotherm_proto::Celsius;
use tmp1x2::{
    Error, ModeChangeError, SlaveAddr, Tmp1x2,
    marker::mode::{Continuous, OneShot},
};

use super::{Answer, Silence};
use crate::{
    bus::{Checked, CheckedError},
    settings::ChipSettings,
};

/// The longest that one conversion takes (data sheet: 26 ms typical, 35 ms at most). A chip that was just given
/// power reads 0 °C until it is over.
pub const CONVERSION_MAX: Duration = Duration::from_millis(35);

/// How long a one-shot may take before it is given up: some chips of the family never say that it is done.
pub const ONE_SHOT_MAX: Duration = Duration::from_millis(200);

/// A TMP102 and how it is meant to work.
pub struct Tmp102<B: I2c> {
    address: SlaveAddr,
    settings: ChipSettings,
    /// Away only inside a call.
    state: Option<State<B>>,
}

enum State<B: I2c> {
    /// What the chip is set to is not known.
    Unknown(Checked<B>),
    /// It converts by itself; from `ready` on the register holds a measurement.
    Continuous { driver: Tmp1x2<Checked<B>, Continuous>, ready: Instant },
    /// It sleeps, or does the conversion that was begun then.
    OneShot { driver: Tmp1x2<Checked<B>, OneShot>, begun: Option<Instant> },
}

impl<B: I2c> Tmp102<B>
where
    B::Error: Display,
{
    /// The chip at one of the four addresses that a TMP102 can have.
    pub fn new(bus: B, address: u8, settings: ChipSettings) -> Self {
        let address = SlaveAddr::Alternative(address & 0b10 != 0, address & 0b01 != 0);
        Self { address, settings, state: Some(State::Unknown(Checked(bus))) }
    }

    /// Has these settings written before the next reading.
    pub fn configure(&mut self, settings: ChipSettings) {
        if self.settings != settings {
            self.settings = settings;
            self.forget();
        }
    }

    /// Asks for the temperature.
    ///
    /// # Errors
    /// When the bus fails, the chip answers nonsense, or a one-shot does not end.
    pub fn ask(&mut self, now: Instant) -> Result<Answer, Silence> {
        let answer = self.settle(now).and_then(|()| self.measure(now));
        if answer.is_err() {
            self.forget();
        }
        answer
    }

    /// Whether the thermostat alerts; `None` if the chip does not say.
    pub fn alert(&mut self) -> Option<bool> {
        match self.state.as_mut()? {
            State::Unknown(_) => None,
            State::Continuous { driver, .. } => driver.is_comparator_mode_alert_active().ok(),
            State::OneShot { driver, .. } => driver.is_comparator_mode_alert_active().ok(),
        }
    }

    /// Gives the bus back.
    pub fn release(mut self) -> B {
        self.forget();
        match self.state {
            Some(State::Unknown(Checked(bus))) => bus,
            _ => unreachable!("what the chip is set to was just forgotten"),
        }
    }

    fn measure(&mut self, now: Instant) -> Result<Answer, Silence> {
        match self.state.as_mut().expect("the chip is settled") {
            State::Unknown(_) => unreachable!("the chip was settled before"),
            State::Continuous { ready, .. } if now < *ready => Ok(Answer::Pending),
            State::Continuous { driver, .. } => {
                driver.read_temperature().map(measured).map_err(|Error::I2C(error)| silence(error))
            }
            State::OneShot { driver, begun } => match driver.read_temperature() {
                Ok(degrees) => {
                    *begun = None;
                    Ok(measured(degrees))
                }
                Err(nb::Error::Other(Error::I2C(error))) => Err(silence(error)),
                Err(nb::Error::WouldBlock) if now - *begun.get_or_insert(now) > ONE_SHOT_MAX => {
                    Err(Silence::NeverReady(ONE_SHOT_MAX))
                }
                Err(nb::Error::WouldBlock) => Ok(Answer::Pending),
            },
        }
    }

    /// Writes every setting, if what the chip is set to is not known.
    fn settle(&mut self, now: Instant) -> Result<(), Silence> {
        let bus = match self.state.take().expect("the state is away only inside a call") {
            State::Unknown(bus) => bus,
            known => {
                self.state = Some(known);
                return Ok(());
            }
        };
        let mut driver = Tmp1x2::new(bus, self.address);
        if let Err(Error::I2C(error)) = write_settings(&mut driver, &self.settings) {
            return self.fail(error, driver.destroy());
        }
        // Asleep and awake again it begins a conversion at once, the first in the mode that was just set.
        let driver = match driver.into_one_shot() {
            Ok(driver) => driver,
            Err(ModeChangeError::I2C(error, driver)) => return self.fail(error, driver.destroy()),
        };
        self.state = Some(if self.settings.one_shot {
            State::OneShot { driver, begun: None }
        } else {
            match driver.into_continuous() {
                Ok(driver) => State::Continuous { driver, ready: now + CONVERSION_MAX },
                Err(ModeChangeError::I2C(error, driver)) => return self.fail(error, driver.destroy()),
            }
        });
        Ok(())
    }

    /// Keeps the bus, with a chip on it of which nothing is known.
    fn fail(&mut self, error: CheckedError<B::Error>, bus: Checked<B>) -> Result<(), Silence> {
        self.state = Some(State::Unknown(bus));
        Err(silence(error))
    }

    fn forget(&mut self) {
        self.state = self.state.take().map(|state| {
            State::Unknown(match state {
                State::Unknown(bus) => bus,
                State::Continuous { driver, .. } => driver.destroy(),
                State::OneShot { driver, .. } => driver.destroy(),
            })
        });
    }
}

/// Writes all there is to set, from the state at power-up on: the driver only sets bits for some values (4 Hz, a
/// queue of 4) and counts on the others being clear. The limits come last, since the mode decides their form.
fn write_settings<B: I2c>(
    driver: &mut Tmp1x2<Checked<B>, Continuous>,
    settings: &ChipSettings,
) -> Result<(), Error<CheckedError<B::Error>>> {
    driver.set_conversion_rate(settings.rate)?;
    driver.set_fault_queue(settings.fault_queue)?;
    driver.set_alert_polarity(settings.alert_polarity)?;
    driver.set_thermostat_mode(settings.alert_mode)?;
    if settings.extended {
        driver.enable_extended_mode()?;
    } else {
        driver.disable_extended_mode()?;
    }
    driver.set_low_temperature_threshold(settings.low)?;
    driver.set_high_temperature_threshold(settings.high)
}

/// Thirteen bits of 1/16 °C reach from -256 to 256 °C, so whatever a register holds exists.
fn measured(degrees: f32) -> Answer {
    Answer::Celsius(Celsius::measured(degrees))
}

fn silence<E: Display>(error: CheckedError<E>) -> Silence {
    match error {
        CheckedError::Bus(error) => Silence::NoAnswer(error.to_string()),
        garbage @ CheckedError::Garbage(_) => Silence::Garbage(garbage.to_string()),
    }
}

impl<B: I2c> fmt::Debug for Tmp102<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tmp102").field("settings", &self.settings).finish_non_exhaustive()
    }
}
