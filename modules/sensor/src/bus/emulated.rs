//! A TMP102 that is not there, on a bus that is not there: all a driver can see of one, time and faults included.
//!
//! The chip's time is what [`Emulated::pass`] last said, so that a day passes in no time. It measures an
//! [`Environment`]; conversions happen at the moments at which the real chip would do them.

mod alert;
mod registers;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

use super::weather::Weather;
pub use registers::{CONVERSION, Registers};

/// The bus address that every chip hears; a byte of 6 there resets a TMP102.
const GENERAL_CALL: u8 = 0x00;
const RESET: u8 = 0x06;
/// The address at which a chip that alerts in interrupt mode says who it is.
const ALERT_RESPONSE: u8 = 0x0C;

/// What the chip measures.
#[derive(Debug)]
pub enum Environment {
    /// It stays as it is until told otherwise, °C.
    Still(f32),
    /// It goes up and down by itself.
    Weather(Weather),
}

/// A misfortune of the bus, lasting until it is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody acknowledges the chip's address.
    NoAcknowledge,
    /// A line is held low: no transaction ends.
    StuckBus,
    /// Every bit that is read is a 1.
    Garbage,
}

/// A handle on an emulated bus with one chip; clones are handles on the same.
#[derive(Clone, Debug)]
pub struct Emulated(Arc<Mutex<Bus>>);

#[derive(Debug)]
struct Bus {
    address: u8,
    now: Instant,
    chip: Registers,
    environment: Environment,
    fault: Option<Fault>,
}

impl Emulated {
    /// A chip at `address` that was given power at `now`.
    #[must_use]
    pub fn new(address: u8, environment: Environment, now: Instant) -> Self {
        let chip = Registers::power_up(now);
        Self(Arc::new(Mutex::new(Bus { address, now, chip, environment, fault: None })))
    }

    /// Lets time pass up to `now`.
    pub fn pass(&self, now: Instant) {
        let mut bus = self.lock();
        let Bus { chip, environment, .. } = &mut *bus;
        chip.pass(now, |at| match environment {
            Environment::Still(degrees) => *degrees,
            Environment::Weather(weather) => weather.at(at),
        });
        bus.now = now;
    }

    /// Changes what there is to measure.
    pub fn surround(&self, environment: Environment) {
        self.lock().environment = environment;
    }

    /// Brings a misfortune over the bus, or takes it away.
    pub fn fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// Takes the chip's power away for a moment.
    pub fn power_cycle(&self) {
        let mut bus = self.lock();
        bus.chip = Registers::power_up(bus.now);
    }

    /// Whether the ALERT pin is at a high level.
    #[must_use]
    pub fn alert_pin_is_high(&self) -> bool {
        self.lock().chip.alert_pin_is_high()
    }

    fn lock(&self) -> MutexGuard<'_, Bus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // registers are never left half written
    }
}

impl Bus {
    fn transfer(&mut self, address: u8, operation: &mut Operation<'_>) -> Result<(), BusError> {
        match self.fault {
            Some(Fault::NoAcknowledge) => return Err(BusError::NoAcknowledge),
            Some(Fault::StuckBus) => return Err(BusError::Stuck),
            Some(Fault::Garbage) | None => {}
        }
        let now = self.now;
        match operation {
            Operation::Write([RESET]) if address == GENERAL_CALL => self.chip = Registers::power_up(now),
            Operation::Read(into) if address == ALERT_RESPONSE => {
                let above = self.chip.answer_alert_call().ok_or(BusError::NoAcknowledge)?;
                fill(into, &[self.address << 1 | u8::from(above)]);
            }
            Operation::Write(bytes) if address == self.address => self.chip.write(bytes, now),
            Operation::Read(into) if address == self.address => fill(into, &self.chip.read()),
            _ => return Err(BusError::NoAcknowledge),
        }
        if let (Operation::Read(into), Some(Fault::Garbage)) = (operation, self.fault) {
            into.fill(0xFF);
        }
        Ok(())
    }
}

/// Puts an answer where it is wanted; past its end nobody drives the line, and it reads as ones.
fn fill(into: &mut [u8], answer: &[u8]) {
    let bytes = answer.iter().copied().chain(std::iter::repeat(0xFF));
    into.iter_mut().zip(bytes).for_each(|(into, byte)| *into = byte);
}

impl ErrorType for Emulated {
    type Error = BusError;
}

impl I2c for Emulated {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), BusError> {
        let mut bus = self.lock();
        operations.iter_mut().try_for_each(|operation| bus.transfer(address, operation))
    }
}

/// What a transaction on the emulated bus can end in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusError {
    /// Nobody is at that address.
    NoAcknowledge,
    /// The transaction did not end.
    Stuck,
}

impl Error for BusError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAcknowledge => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address),
            Self::Stuck => ErrorKind::Bus,
        }
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAcknowledge => "no chip acknowledged its address",
            Self::Stuck => "the bus is stuck",
        })
    }
}
