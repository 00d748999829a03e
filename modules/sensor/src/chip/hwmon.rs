//! A chip that the kernel's driver owns: hwmon shows its temperature as a file, in thousandths of a degree.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use isotherm_host::Disk;
use isotherm_proto::Celsius;

use super::{Answer, Silence};

/// Where the kernel keeps them.
pub const ROOT: &str = "/sys/class/hwmon";

/// The names by which the kernel's drivers (tmp102, lm75) know the TMP102 and its kin, the best first.
const NAMES: [&str; 6] = ["tmp102", "tmp105", "tmp112", "tmp75", "tmp175", "lm75"];

const INPUT: &str = "temp1_input";

/// One hwmon folder.
#[derive(Clone, Debug)]
pub struct Hwmon {
    disk: Arc<dyn Disk>,
    input: PathBuf,
}

/// Why no chip was found. Says what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NotFound(String);

impl Hwmon {
    /// Finds the chip. `place` is the folder of one chip (`/sys/class/hwmon/hwmon0`), a folder of such folders, or,
    /// without a slash, the name of a chip below [`ROOT`] (`tmp102`). Without a place, it is the first of the TMP102's
    /// kin below [`ROOT`].
    ///
    /// # Errors
    /// If there is none; names those that were seen.
    pub fn find(disk: Arc<dyn Disk>, place: Option<&str>) -> Result<Self, NotFound> {
        match place {
            Some(name) if !name.contains('/') => Self::search(disk, Path::new(ROOT), &[name]),
            Some(place) if disk.read(&Path::new(place).join(INPUT)).is_ok() => {
                Ok(Self { disk, input: Path::new(place).join(INPUT) })
            }
            place => Self::search(disk, Path::new(place.unwrap_or(ROOT)), &NAMES),
        }
    }

    fn search(disk: Arc<dyn Disk>, root: &Path, wanted: &[&str]) -> Result<Self, NotFound> {
        let folders = disk.list(root).map_err(|error| NotFound(format!("{}: {error}", root.display())))?;
        let named: Vec<(String, PathBuf)> = folders
            .iter()
            .filter_map(|folder| {
                let folder = root.join(folder);
                let name = disk.read(&folder.join("name")).ok()?;
                Some((String::from_utf8_lossy(&name).trim().to_owned(), folder.join(INPUT)))
            })
            .collect();
        let found = wanted.iter().find_map(|name| named.iter().find(|(each, _)| each == name));
        let Some((_, input)) = found else {
            let seen = named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            let seen = if seen.is_empty() { "none".to_owned() } else { seen };
            let reason = format!("{} has no chip named {}; seen: {seen}", root.display(), wanted.join(", "));
            return Err(NotFound(reason));
        };
        Ok(Self { input: input.clone(), disk })
    }

    /// Reads the file.
    pub(super) fn ask(&self) -> Result<Answer, Silence> {
        let text = self.disk.read(&self.input).map_err(|error| self.silent(&error))?;
        let text = String::from_utf8_lossy(&text);
        let number = text.trim().parse::<i32>().ok().map(|thousandths| thousandths as f32 / 1000.0);
        number.and_then(|degrees| Celsius::new(degrees).ok()).map(Answer::Celsius).ok_or_else(|| {
            let shown: String = text.trim().chars().take(40).collect();
            Silence::Garbage(format!(
                "{}: {shown:?} is no temperature in thousandths of °C",
                self.input.display()
            ))
        })
    }

    fn silent(&self, error: &io::Error) -> Silence {
        Silence::NoAnswer(format!("{}: {error}", self.input.display()))
    }
}

#[cfg(test)]
mod tests {
    use isotherm_host::MemoryDisk;

    use super::*;

    fn machine(chips: &[(&str, &str, &str)]) -> Arc<dyn Disk> {
        let disk = MemoryDisk::default();
        for (folder, name, input) in chips {
            disk.create_dir(Path::new(folder)).unwrap();
            disk.write_atomic(&Path::new(folder).join("name"), format!("{name}\n").as_bytes()).unwrap();
            disk.write_atomic(&Path::new(folder).join(INPUT), format!("{input}\n").as_bytes()).unwrap();
        }
        Arc::new(disk)
    }

    fn pi() -> Arc<dyn Disk> {
        machine(&[
            ("/sys/class/hwmon/hwmon0", "cpu_thermal", "48312"),
            ("/sys/class/hwmon/hwmon1", "tmp105", "30000"),
            ("/sys/class/hwmon/hwmon2", "tmp102", "-10250"),
        ])
    }

    fn read(disk: Arc<dyn Disk>, place: Option<&str>) -> f32 {
        match Hwmon::find(disk, place).unwrap().ask() {
            Ok(Answer::Celsius(celsius)) => celsius.get(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_chip_is_found_by_its_name_and_not_taken_for_the_processor() {
        assert_eq!(read(pi(), None), -10.25);
        assert_eq!(read(pi(), Some("tmp105")), 30.0);
        assert_eq!(read(pi(), Some("/sys/class/hwmon")), -10.25);
    }

    #[test]
    fn a_folder_that_was_named_is_taken_whatever_the_chip() {
        assert_eq!(read(pi(), Some("/sys/class/hwmon/hwmon0")), 48.312);
    }

    #[test]
    fn where_there_is_none_the_answer_names_those_that_were_seen() {
        let refused = Hwmon::find(pi(), Some("tmp117")).unwrap_err().to_string();
        assert_eq!(refused, "/sys/class/hwmon has no chip named tmp117; seen: cpu_thermal, tmp105, tmp102");
        assert!(Hwmon::find(machine(&[]), None).unwrap_err().to_string().starts_with("/sys/class/hwmon"));
    }

    #[test]
    fn a_file_that_is_gone_or_holds_no_number_is_silence_and_not_a_temperature() {
        let disk = pi();
        let chip = Hwmon::find(disk.clone(), Some("tmp102")).unwrap();
        let input = Path::new("/sys/class/hwmon/hwmon2").join(INPUT);
        for nonsense in ["", "warm", "-300000", "1e3"] {
            disk.write_atomic(&input, nonsense.as_bytes()).unwrap();
            assert!(matches!(chip.ask(), Err(Silence::Garbage(_))), "{nonsense}");
        }
        disk.remove(&input).unwrap();
        assert!(matches!(chip.ask(), Err(Silence::NoAnswer(_))));
    }
}
