//! The way to the chip, as far as it can be seen without speaking to it.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;

use isotherm_host::Env;
use isotherm_sensor::wiring::Wiring;

use super::Finding;

/// Looks at what `SENSOR_CHIP` speaks of; nothing if no sensor is to run.
pub(super) fn look(env: &Env) -> Option<Finding> {
    let chip = env.get("SENSOR_CHIP")?;
    if let Err(wrong) = Wiring::from_env(env) {
        return Some(Finding::problem("bus", wrong.to_string()));
    }
    Some(match chip {
        "tmp102" => i2c(env.get("SENSOR_I2C_BUS").unwrap_or("/dev/i2c-1")),
        "hwmon" => hwmon(env.get("SENSOR_HWMON")),
        other => Finding::ok("bus", format!("SENSOR_CHIP={other} needs none")),
    })
}

/// Whether the bus is there and may be used by us.
fn i2c(bus: &str) -> Finding {
    match OpenOptions::new().read(true).write(true).open(bus) {
        Ok(_) => {
            Finding::ok("bus", format!("{bus} can be opened; whether a chip answers there, `getStatus` says"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::problem(
            "bus",
            format!(
                "{bus}: {error}; the user must be in the group i2c, and a container needs the device and the group"
            ),
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::problem(
            "bus",
            format!(
                "{bus} is not there; on a Raspberry Pi dtparam=i2c_arm=on in config.txt, or another SENSOR_I2C_BUS"
            ),
        ),
        Err(error) => Finding::problem("bus", format!("{bus}: {error}")),
    }
}

/// Whether the kernel has a driver for a chip.
fn hwmon(named: Option<&str>) -> Finding {
    let folder = named.filter(|name| name.starts_with('/')).unwrap_or("/sys/class/hwmon");
    if Path::new(folder).is_dir() {
        Finding::ok("bus", format!("{folder} is there"))
    } else {
        Finding::problem("bus", format!("{folder} is not there; has the kernel a driver for the chip?"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_bus_that_is_not_there_is_a_problem_and_no_sensor_is_none() {
        assert!(look(&Env::default()).is_none());
        let env =
            Env::of([("SENSOR_CHIP", "tmp102"), ("SENSOR_ID", "a"), ("SENSOR_I2C_BUS", "/dev/i2c-none")]);
        assert_eq!(look(&env).unwrap().verdict, Verdict::Problem);
        let env = Env::of([("SENSOR_CHIP", "tmp103")]);
        assert!(look(&env).unwrap().message.starts_with("SENSOR_CHIP"));
    }
}
