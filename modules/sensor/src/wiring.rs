//! What the environment says: which chip, and where.
//!
//! | variable | | unless set |
//! | --- | --- | --- |
//! | `SENSOR_CHIP` | `tmp102`, `hwmon`, `simulated`, `replay` | needed |
//! | `SENSOR_ID` | the name in every reading | `sensor` |
//! | `SENSOR_I2C_BUS` | the adapter of a `tmp102` | `/dev/i2c-1` |
//! | `SENSOR_I2C_ADDRESS` | `0x48` to `0x4B` | `0x48` |
//! | `SENSOR_HWMON` | a hwmon folder, or the name of a chip | found by name |
//! | `SENSOR_REPLAY` | the CSV file of a `replay` | needed for it |
//! | `SENSOR_REPLAY_UNIT` | `c` or `f` | `c` |
//! | `SENSOR_REPLAY_SPEED` | rows a second, or `max` | a row each `SamplingInterval` |

use std::{path::Path, str::FromStr, time::Duration};

use isotherm_host::{Env, Host, WiringError};
use isotherm_proto::SENSOR_ID_BYTES_MAX;

use crate::{
    bus::ADDRESSES,
    chip::{Chip, hwmon::Hwmon, replayed::Replayed, simulated::Simulated},
    readings::Bookmark,
    replay::{Replay, Unit},
};

/// The longest name of a sensor: a message id holds it, a dash and a sequence.
const SENSOR_ID_MAX: usize = SENSOR_ID_BYTES_MAX - 21;

/// What a message id may hold besides letters and digits.
const ID_MARKS: &str = "-:.+%_#*?!(),=@;$'";

/// The fastest replay below `max`, rows a second.
const SPEED_MAX: f64 = 1e6;

/// What the environment says.
#[derive(Clone, Debug, PartialEq)]
pub struct Wiring {
    /// The name in every reading.
    pub sensor_id: String,
    /// Which chip, and where it is.
    pub chip: ChipWiring,
}

/// Which chip, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub enum ChipWiring {
    /// On a bus of this machine.
    Tmp102 {
        /// The adapter.
        bus: String,
        /// The chip's address there.
        address: u8,
    },
    /// Behind the kernel's driver.
    Hwmon {
        /// Where, or which.
        place: Option<String>,
    },
    /// Emulated, in an emulated room.
    Simulated {
        /// Its address on the emulated bus.
        address: u8,
    },
    /// Emulated, fed by a file.
    Replay {
        /// Its address on the emulated bus.
        address: u8,
        /// The file.
        file: String,
        /// In which unit it is written.
        unit: Unit,
        /// How fast; `None` leaves it to the twin's interval.
        speed: Option<Speed>,
    },
}

/// How fast a file is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// A row each so often.
    Every(Duration),
    /// As fast as readings are taken off the sensor's hands.
    Max,
}

impl Wiring {
    /// Reads the variables.
    ///
    /// # Errors
    /// Names the variable that is missing or makes no sense, and says what would be right.
    pub fn from_env(env: &Env) -> Result<Self, WiringError> {
        let sensor_id = env.get("SENSOR_ID").unwrap_or("sensor");
        check_id(sensor_id)?;
        if env.get("BROKER_URL").is_some() && env.get("OUTPUT_TOPIC").is_none() {
            return Err(WiringError::new(
                "OUTPUT_TOPIC",
                "is not set; with BROKER_URL it says where readings go",
            ));
        }
        Ok(Self { sensor_id: sensor_id.to_owned(), chip: ChipWiring::from_env(env)? })
    }

    /// Opens the chip; a replay goes on where `bookmark` left it.
    ///
    /// # Errors
    /// Names the variable that points to where no chip, bus or file is.
    pub fn open_chip(&self, host: &Host, bookmark: &Bookmark) -> Result<Chip, WiringError> {
        match &self.chip {
            ChipWiring::Tmp102 { bus, address } => open_tmp102(bus, *address),
            ChipWiring::Hwmon { place } => Hwmon::find(host.disk.clone(), place.as_deref())
                .map(Chip::Hwmon)
                .map_err(|error| WiringError::new("SENSOR_HWMON", error.to_string())),
            ChipWiring::Simulated { address } => {
                Ok(Chip::Simulated(Box::new(Simulated::new(*address, host.chance.u64(), host.now()))))
            }
            ChipWiring::Replay { address, file, unit, .. } => {
                let replay = open_replay(host, file, *unit)?;
                let row = bookmark.row_of(replay.fingerprint());
                Ok(Chip::Replay(Box::new(Replayed::new(*address, replay, row, host.now()))))
            }
        }
    }

    /// How fast the file is replayed, where that is not the twin's to say.
    #[must_use]
    pub fn speed(&self) -> Option<Speed> {
        match self.chip {
            ChipWiring::Replay { speed, .. } => speed,
            _ => None,
        }
    }
}

impl ChipWiring {
    fn from_env(env: &Env) -> Result<Self, WiringError> {
        const RIGHT: &str = "one of tmp102, hwmon, simulated, replay is needed";
        match env.get("SENSOR_CHIP") {
            Some("tmp102") => Ok(Self::Tmp102 {
                bus: env.get("SENSOR_I2C_BUS").unwrap_or("/dev/i2c-1").to_owned(),
                address: address(env)?,
            }),
            Some("hwmon") => Ok(Self::Hwmon { place: env.get("SENSOR_HWMON").map(str::to_owned) }),
            Some("simulated") => Ok(Self::Simulated { address: address(env)? }),
            Some("replay") => Ok(Self::Replay {
                address: address(env)?,
                file: env.required("SENSOR_REPLAY")?.to_owned(),
                unit: unit(env)?,
                speed: env.parse("SENSOR_REPLAY_SPEED")?,
            }),
            Some(other) => Err(WiringError::new("SENSOR_CHIP", format!("{other:?} is no chip; {RIGHT}"))),
            None => Err(WiringError::new("SENSOR_CHIP", format!("is not set; {RIGHT}"))),
        }
    }
}

fn address(env: &Env) -> Result<u8, WiringError> {
    let Some(text) = env.get("SENSOR_I2C_ADDRESS") else { return Ok(*ADDRESSES.start()) };
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.ok().filter(|address| ADDRESSES.contains(address)).ok_or_else(|| {
        let reason = format!("{text:?} is no address of a TMP102; it is 0x48, 0x49, 0x4A or 0x4B");
        WiringError::new("SENSOR_I2C_ADDRESS", reason)
    })
}

fn unit(env: &Env) -> Result<Unit, WiringError> {
    match env.get("SENSOR_REPLAY_UNIT") {
        None | Some("c" | "C") => Ok(Unit::Celsius),
        Some("f" | "F") => Ok(Unit::Fahrenheit),
        Some(other) => {
            Err(WiringError::new("SENSOR_REPLAY_UNIT", format!("{other:?} is no unit; c or f is needed")))
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let rows = text.parse::<f64>().ok().filter(|rows| (1e-4..=SPEED_MAX).contains(rows));
        let right = || format!("rows a second are a number from 0.0001 to {SPEED_MAX}, or max");
        rows.map(|rows| Self::Every(Duration::from_secs_f64(1.0 / rows))).ok_or_else(right)
    }
}

fn check_id(id: &str) -> Result<(), WiringError> {
    let fits = id.len() <= SENSOR_ID_MAX;
    let plain = id.chars().all(|char| char.is_ascii_alphanumeric() || ID_MARKS.contains(char));
    if fits && plain {
        return Ok(());
    }
    let right = format!("at most {SENSOR_ID_MAX} ASCII letters, digits and {ID_MARKS} make a name");
    Err(WiringError::new("SENSOR_ID", format!("{id:?} cannot be part of a message id; {right}")))
}

#[cfg(target_os = "linux")]
fn open_tmp102(bus: &str, address: u8) -> Result<Chip, WiringError> {
    use crate::{bus::i2c_dev::I2cDev, chip::tmp102::Tmp102, settings::ChipSettings};

    let bus = I2cDev::open(Path::new(bus))
        .map_err(|error| WiringError::new("SENSOR_I2C_BUS", error.to_string()))?;
    Ok(Chip::Tmp102(Box::new(Tmp102::new(bus, address, ChipSettings::default()))))
}

#[cfg(not(target_os = "linux"))]
fn open_tmp102(_: &str, _: u8) -> Result<Chip, WiringError> {
    Err(WiringError::new("SENSOR_CHIP", "tmp102 needs Linux's I2C; here it can be simulated or replay"))
}

fn open_replay(host: &Host, file: &str, unit: Unit) -> Result<Replay, WiringError> {
    let wrong = |reason: String| WiringError::new("SENSOR_REPLAY", reason);
    let bytes = host.disk.read(Path::new(file)).map_err(|error| wrong(format!("{file}: {error}")))?;
    Replay::parse(&bytes, unit).map_err(|error| wrong(format!("{file}: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isotherm_host::MemoryDisk;

    use super::*;

    fn wiring(variables: &[(&str, &str)]) -> Result<Wiring, String> {
        Wiring::from_env(&Env::of(variables.iter().copied())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_chip_on_a_bus_is_at_the_first_address_of_the_pis_bus_unless_told_otherwise() {
        let chip = |bus: &str, address| ChipWiring::Tmp102 { bus: bus.into(), address };
        assert_eq!(wiring(&[("SENSOR_CHIP", "tmp102")]).unwrap().chip, chip("/dev/i2c-1", 0x48));
        for text in ["0x4B", "0x4b", "75"] {
            let variables =
                [("SENSOR_CHIP", "tmp102"), ("SENSOR_I2C_BUS", "/dev/i2c-7"), ("SENSOR_I2C_ADDRESS", text)];
            assert_eq!(wiring(&variables).unwrap().chip, chip("/dev/i2c-7", 0x4B));
        }
    }

    #[test]
    fn a_replay_says_its_file_unit_and_speed() {
        let base = [("SENSOR_CHIP", "replay"), ("SENSOR_REPLAY", "temps.csv")];
        let speed = |text| {
            let variables = [base.as_slice(), &[("SENSOR_REPLAY_SPEED", text)]].concat();
            wiring(&variables).map(|wiring| wiring.speed())
        };
        assert_eq!(speed("max"), Ok(Some(Speed::Max)));
        assert_eq!(speed("4"), Ok(Some(Speed::Every(Duration::from_millis(250)))));
        assert_eq!(wiring(&base).unwrap().speed(), None);
        let right = "rows a second are a number from 0.0001 to 1000000, or max";
        for text in ["fast", "0", "-1", "nan", "inf", "1e7"] {
            assert_eq!(speed(text), Err(format!("SENSOR_REPLAY_SPEED: {text:?}: {right}")));
        }
    }

    #[test]
    fn a_bad_variable_is_named_with_what_would_be_right() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], "SENSOR_CHIP: is not set; one of tmp102, hwmon, simulated, replay is needed"),
            (
                &[("SENSOR_CHIP", "tmp117")],
                "SENSOR_CHIP: \"tmp117\" is no chip; one of tmp102, hwmon, simulated, replay is needed",
            ),
            (
                &[("SENSOR_CHIP", "tmp102"), ("SENSOR_I2C_ADDRESS", "0x4C")],
                "SENSOR_I2C_ADDRESS: \"0x4C\" is no address of a TMP102; it is 0x48, 0x49, 0x4A or 0x4B",
            ),
            (&[("SENSOR_CHIP", "replay")], "SENSOR_REPLAY: is not set, and is needed"),
            (
                &[("SENSOR_CHIP", "replay"), ("SENSOR_REPLAY", "x"), ("SENSOR_REPLAY_UNIT", "kelvin")],
                "SENSOR_REPLAY_UNIT: \"kelvin\" is no unit; c or f is needed",
            ),
            (
                &[("SENSOR_CHIP", "simulated"), ("SENSOR_ID", "the attic")],
                "SENSOR_ID: \"the attic\" cannot be part of a message id; at most 107 ASCII letters, digits and \
                 -:.+%_#*?!(),=@;$' make a name",
            ),
        ];
        for (variables, expected) in cases {
            assert_eq!(wiring(variables).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_no_csv_names_its_variable() {
        let host = Host::real().with_disk(Arc::new(MemoryDisk::default()));
        host.disk.write_atomic(Path::new("bad.csv"), b"a,b\n").unwrap();
        for file in ["none.csv", "bad.csv"] {
            let wiring = wiring(&[("SENSOR_CHIP", "replay"), ("SENSOR_REPLAY", file)]).unwrap();
            let error = wiring.open_chip(&host, &Bookmark::default()).unwrap_err();
            assert_eq!(error.variable, "SENSOR_REPLAY");
            assert!(error.reason.starts_with(file), "{error}");
        }
    }

    #[test]
    fn a_bus_that_is_not_there_names_its_variable() {
        let wiring = wiring(&[("SENSOR_CHIP", "tmp102"), ("SENSOR_I2C_BUS", "/dev/i2c-none")]).unwrap();
        let error = wiring.open_chip(&Host::real(), &Bookmark::default()).unwrap_err();
        assert_eq!(error.variable, "SENSOR_I2C_BUS");
    }
}
