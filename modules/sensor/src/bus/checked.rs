//! A bus that looks twice at temperatures.

use std::fmt;

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, Operation};

/// The pointer of the temperature register.
const TEMPERATURE: u8 = 0x00;

/// Passes everything on to a bus, and refuses a temperature whose low bits no TMP102 would send.
///
/// A line that is stuck high reads as `FF FF`, which the driver would take for -0.0625 °C. In twelve bits the last
/// four are 0; in thirteen the last three are 001 (TMP102 data sheet, tables 3 to 6). A line that is stuck low reads
/// as 0 °C and cannot be told from frost.
#[derive(Debug)]
pub struct Checked<B>(pub B);

/// What went wrong on a checked bus.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckedError<E> {
    /// The bus itself failed.
    Bus(E),
    /// The chip answered what no TMP102 would.
    Garbage([u8; 2]),
}

impl<E: fmt::Display> fmt::Display for CheckedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(error) => error.fmt(f),
            Self::Garbage([high, low]) => {
                write!(
                    f,
                    "{high:02X} {low:02X} is no temperature of a TMP102; is the bus stuck, or another chip there?"
                )
            }
        }
    }
}

impl<E: Error> Error for CheckedError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Bus(error) => error.kind(),
            Self::Garbage(_) => ErrorKind::Other,
        }
    }
}

impl<B: I2c> ErrorType for Checked<B> {
    type Error = CheckedError<B::Error>;
}

impl<B: I2c> I2c for Checked<B> {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), Self::Error> {
        self.0.transaction(address, operations).map_err(CheckedError::Bus)
    }

    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(address, bytes).map_err(CheckedError::Bus)
    }

    /// How the driver reads a register.
    fn write_read(&mut self, address: u8, pointer: &[u8], answer: &mut [u8]) -> Result<(), Self::Error> {
        self.0.write_read(address, pointer, answer).map_err(CheckedError::Bus)?;
        match (pointer, answer) {
            ([TEMPERATURE], &mut [high, low]) if !plausible(low) => Err(CheckedError::Garbage([high, low])),
            _ => Ok(()),
        }
    }
}

fn plausible(low: u8) -> bool {
    low & 0x0F == 0 || low & 0x07 == 1
}

#[cfg(test)]
mod tests {
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    fn read(register: u8, answer: [u8; 2]) -> Result<[u8; 2], CheckedError<ErrorKind>> {
        let mut bus = Checked(Mock::new(&[Transaction::write_read(0x48, vec![register], answer.to_vec())]));
        let mut bytes = [0; 2];
        let result = bus.write_read(0x48, &[register], &mut bytes);
        bus.0.done();
        result.map(|()| bytes)
    }

    #[test]
    fn temperatures_of_twelve_and_of_thirteen_bits_pass() {
        for answer in [[0x19, 0x00], [0xE7, 0xF0], [0x0C, 0x81], [0x4B, 0x01], [0x3F, 0xF9]] {
            assert_eq!(read(0, answer), Ok(answer));
        }
    }

    #[test]
    fn a_line_that_is_stuck_high_is_no_temperature() {
        for answer in [[0xFF, 0xFF], [0x19, 0x08], [0x19, 0x03]] {
            assert_eq!(read(0, answer), Err(CheckedError::Garbage(answer)));
        }
    }

    #[test]
    fn other_registers_may_hold_anything() {
        assert_eq!(read(1, [0xFF, 0xFF]), Ok([0xFF, 0xFF]));
    }
}
