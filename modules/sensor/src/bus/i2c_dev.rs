//! A bus of this machine, `/dev/i2c-N`, through the kernel.
//!
//! Some adapters (PC chipsets, the kernel's i2c-stub) know SMBus only and refuse plain I2C with EOPNOTSUPP. A
//! TMP102's transactions are SMBus words under another name, so they go that way then.

use std::{fmt, io, path::Path};

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, Operation};
use linux_embedded_hal::{
    I2CError, I2cdev,
    i2cdev::{core::I2CDevice, linux::LinuxI2CError},
};

/// Error numbers of Linux, the same on all its architectures that we build for.
const ENOENT: i32 = 2;
const ENXIO: i32 = 6;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EOPNOTSUPP: i32 = 95;
const ETIMEDOUT: i32 = 110;
const EREMOTEIO: i32 = 121;

/// An adapter of this machine.
pub struct I2cDev {
    name: String,
    adapter: I2cdev,
    /// Plain I2C was refused once.
    words_only: bool,
}

impl I2cDev {
    /// Opens an adapter such as `/dev/i2c-1`. Whether a chip is there shows at the first transaction.
    ///
    /// # Errors
    /// If there is no such adapter, or this user may not use it.
    pub fn open(path: &Path) -> Result<Self, BusError> {
        let name = path.display().to_string();
        match I2cdev::new(path) {
            Ok(adapter) => Ok(Self { name, adapter, words_only: false }),
            Err(error) => Err(BusError::new(number(&error), ErrorKind::Other, &name, None, &error)),
        }
    }

    fn plain(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), I2CError> {
        I2c::<u8>::transaction(&mut self.adapter, address, operations)
    }
}

impl ErrorType for I2cDev {
    type Error = BusError;
}

impl I2c for I2cDev {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), BusError> {
        let mut result = Ok(());
        if !self.words_only {
            result = self.plain(address, operations);
            self.words_only = matches!(&result, Err(error) if number(error.inner()) == Some(EOPNOTSUPP));
        }
        if self.words_only {
            // The refused transaction has told the adapter the address.
            result = as_words(&mut *self.adapter, operations).map_err(I2CError::from);
        }
        result.map_err(|error| {
            BusError::new(number(error.inner()), error.kind(), &self.name, Some(address), error.inner())
        })
    }
}

/// Says a register's transaction in SMBus words, which travel with the low byte first.
fn as_words<D: I2CDevice<Error = LinuxI2CError>>(
    device: &mut D,
    operations: &mut [Operation<'_>],
) -> Result<(), LinuxI2CError> {
    match operations {
        [Operation::Write([register, high, low])] => {
            device.smbus_write_word_data(*register, u16::from_le_bytes([*high, *low]))
        }
        [Operation::Write([register]), Operation::Read(into)] if into.len() == 2 => {
            into.copy_from_slice(&device.smbus_read_word_data(*register)?.to_le_bytes());
            Ok(())
        }
        _ => Err(LinuxI2CError::Errno(EOPNOTSUPP)),
    }
}

fn number(error: &LinuxI2CError) -> Option<i32> {
    match error {
        LinuxI2CError::Errno(number) => Some(*number),
        LinuxI2CError::Io(error) => error.raw_os_error(),
    }
}

/// A transaction that failed, in words that help.
#[derive(Clone, Debug, PartialEq)]
pub struct BusError {
    kind: ErrorKind,
    text: String,
}

impl BusError {
    fn new(
        number: Option<i32>,
        kind: ErrorKind,
        bus: &str,
        address: Option<u8>,
        said: &dyn fmt::Display,
    ) -> Self {
        let said = number
            .map_or_else(|| said.to_string(), |number| io::Error::from_raw_os_error(number).to_string());
        let at = address.map_or_else(|| bus.to_owned(), |address| format!("{bus}, address {address:#04x}"));
        let help = match number {
            Some(ENOENT | ENXIO | ENODEV) if address.is_none() => {
                "; no such bus: it is turned on by dtparam=i2c_arm=on on a Raspberry Pi, and a container needs it among its \
                 Devices; SENSOR_I2C_BUS names another"
            }
            Some(EBUSY) => "; the kernel's driver owns the chip: set SENSOR_CHIP=hwmon",
            Some(ENXIO | EREMOTEIO | ETIMEDOUT) => {
                "; no chip answers: check the wiring and SENSOR_I2C_ADDRESS"
            }
            Some(EACCES) => {
                "; this user may not use the bus: add it to the group that owns the device, by GroupAdd in a container"
            }
            Some(EOPNOTSUPP) => "; the adapter knows neither I2C nor SMBus words",
            _ => "",
        };
        Self { kind, text: format!("{at}: {said}{help}") }
    }
}

impl Error for BusError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for I2cDev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I2cDev({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An SMBus adapter that holds one register.
    #[derive(Default)]
    struct Adapter(u8, u16);

    impl I2CDevice for Adapter {
        type Error = LinuxI2CError;

        fn read(&mut self, _: &mut [u8]) -> Result<(), LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn write(&mut self, _: &[u8]) -> Result<(), LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn smbus_read_word_data(&mut self, register: u8) -> Result<u16, LinuxI2CError> {
            if register == self.0 { Ok(self.1) } else { Err(LinuxI2CError::Errno(ENXIO)) }
        }

        fn smbus_write_word_data(&mut self, register: u8, word: u16) -> Result<(), LinuxI2CError> {
            (self.0, self.1) = (register, word);
            Ok(())
        }

        fn smbus_write_quick(&mut self, _: bool) -> Result<(), LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn smbus_read_block_data(&mut self, _: u8) -> Result<Vec<u8>, LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn smbus_read_i2c_block_data(&mut self, _: u8, _: u8) -> Result<Vec<u8>, LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn smbus_write_block_data(&mut self, _: u8, _: &[u8]) -> Result<(), LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn smbus_process_block(&mut self, _: u8, _: &[u8]) -> Result<Vec<u8>, LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }

        fn smbus_write_i2c_block_data(&mut self, _: u8, _: &[u8]) -> Result<(), LinuxI2CError> {
            Err(LinuxI2CError::Errno(EOPNOTSUPP))
        }
    }

    #[test]
    fn a_word_on_smbus_is_the_register_with_its_bytes_swapped() {
        let mut adapter = Adapter::default();
        as_words(&mut adapter, &mut [Operation::Write(&[3, 0x50, 0x10])]).unwrap();
        assert_eq!((adapter.0, adapter.1), (3, 0x1050));
        let mut bytes = [0; 2];
        as_words(&mut adapter, &mut [Operation::Write(&[3]), Operation::Read(&mut bytes)]).unwrap();
        assert_eq!(bytes, [0x50, 0x10]);
    }

    #[test]
    fn what_no_smbus_word_can_say_is_refused_and_not_guessed() {
        let mut long = [0; 3];
        let mut transactions =
            [vec![Operation::Write(&[1])], vec![Operation::Write(&[1]), Operation::Read(&mut long)], vec![]];
        for transaction in &mut transactions {
            assert!(as_words(&mut Adapter::default(), transaction).is_err());
        }
    }

    #[test]
    fn an_error_says_what_would_help() {
        let say = |number| {
            let error = LinuxI2CError::Errno(number);
            BusError::new(Some(number), ErrorKind::Other, "/dev/i2c-1", Some(0x48), &error).to_string()
        };
        assert!(say(EBUSY).starts_with("/dev/i2c-1, address 0x48: "), "{}", say(EBUSY));
        assert!(
            say(EBUSY).ends_with("the kernel's driver owns the chip: set SENSOR_CHIP=hwmon"),
            "{}",
            say(EBUSY)
        );
        assert!(say(EREMOTEIO).contains("no chip answers"), "{}", say(EREMOTEIO));
    }

    #[test]
    fn a_bus_that_does_not_exist_is_named() {
        let error = I2cDev::open(Path::new("/dev/i2c-none")).unwrap_err().to_string();
        assert!(error.starts_with("/dev/i2c-none: ") && error.contains("; no such bus: "), "{error}");
    }
}
