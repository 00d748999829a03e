//! A year of hourly temperatures of Seattle (NOAA's hourly normals), read through the emulated chip's registers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use isotherm_host::{Env, Host};
use isotherm_sensor::{
    chip::{Answer, Socket},
    readings::Bookmark,
    settings::{ChipSettings, Settings},
    wiring::Wiring,
};

/// Says what could not run here and why, past the test harness, which keeps what a passing test prints to itself.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($why)*));
    }};
}

/// Where the file lies, if it does: beside the project, and no part of it.
fn seattle() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/seattle-temps.csv");
    if path.exists() {
        return Some(path);
    }
    skipped!("{} is not there", path.display());
    None
}

/// The file's temperatures, °C, read by nothing that the sensor is made of.
fn by_hand(path: &Path) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .skip(1)
        .map(|line| (line.split(',').nth(1).unwrap().parse::<f64>().unwrap() - 32.0) / 1.8)
        .collect()
}

fn socket(path: &Path, chip: ChipSettings) -> Socket {
    let variables = [
        ("SENSOR_CHIP", "replay"),
        ("SENSOR_REPLAY", path.to_str().unwrap()),
        ("SENSOR_REPLAY_UNIT", "f"),
        ("SENSOR_REPLAY_SPEED", "max"),
    ];
    let host = Host::real().with_env(Env::of(variables));
    let wiring = Wiring::from_env(&host.env).unwrap();
    let mut opened = wiring.open_chip(&host, &Bookmark::default()).unwrap();
    opened.configure(&chip);
    Socket::new(host, opened)
}

async fn read_all(socket: &mut Socket) -> Vec<f32> {
    let mut read = Vec::new();
    while let Answer::Celsius(celsius) = socket.read().await.unwrap() {
        read.push(celsius.get());
    }
    read
}

#[tokio::test(start_paused = true)]
async fn the_year_has_640_hours_above_20_degrees_in_every_mode_of_the_chip() {
    let Some(path) = seattle() else { return };
    for (extended, one_shot) in [(false, false), (true, false), (false, true)] {
        let chip = ChipSettings { extended, one_shot, ..Settings::default().chip };
        let mut socket = socket(&path, chip);
        let read = read_all(&mut socket).await;

        assert_eq!(read.len(), 8_759);
        assert_eq!(read.iter().filter(|degrees| **degrees > 20.0).count(), 640);
        for (row, (read, told)) in read.iter().zip(by_hand(&path)).enumerate() {
            assert!((f64::from(*read) - told).abs() <= 1.0 / 32.0 + 1e-9, "row {row}: {read} for {told}");
        }
        assert_eq!(socket.read().await, Ok(Answer::Finished));
    }
}
