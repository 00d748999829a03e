//! The bytes on the wire, pinned: whatever this crate becomes, these files are read and written alike.
//!
//! Each golden file of bytes has a file of JSON beside it that says what is in it. The bytes were not written by
//! this crate's encoder, and `tests/strangers.rs` has other people's encoders agree with them.

use std::{fs, path::PathBuf};

use isotherm_proto::{Body, Celsius, Reading, Refused, Upload};
use serde_json::Value;

const READINGS: [&str; 5] =
    ["reading", "reading-at-zero", "reading-below-zero", "reading-of-two-fields", "reading-at-the-limits"];
const UPLOADS: [&str; 3] = ["upload", "upload-of-two-fields", "upload-of-none"];

fn golden(name: &str, extension: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{extension}"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&golden(name, "json")).unwrap()
}

fn reading_of(json: &Value) -> Reading {
    Reading {
        sensor_id: json["sensorId"].as_str().unwrap().into(),
        sequence: json["sequence"].as_u64().unwrap(),
        celsius: Celsius::new(json["reading"].as_f64().unwrap() as f32).unwrap(),
        at: json["timestamp"].as_str().unwrap().parse().unwrap(),
    }
}

fn upload_of(json: &Value) -> Upload {
    Upload {
        uploaded_at: json["uploadedTimestamp"].as_str().unwrap().parse().unwrap(),
        readings: json["readings"].as_array().unwrap().iter().map(reading_of).collect(),
    }
}

#[test]
fn the_golden_readings_decode_to_what_the_files_say() -> Result<(), Refused> {
    for name in READINGS {
        let reading = Reading::decode(&golden(name, "bin"))?;
        assert_eq!(reading, reading_of(&expected(name)), "{name}");
        assert_eq!(reading.to_json(), expected(name), "{name}");
        assert_eq!(Body::decode(&golden(name, "bin"))?, Body::Reading(reading), "{name}");
    }
    Ok(())
}

#[test]
fn the_golden_uploads_decode_to_what_the_files_say() -> Result<(), Refused> {
    for name in UPLOADS {
        let upload = Upload::decode(&golden(name, "bin"))?;
        assert_eq!(upload, upload_of(&expected(name)), "{name}");
        assert_eq!(upload.to_json(), expected(name), "{name}");
        assert_eq!(Body::decode(&golden(name, "bin"))?, Body::Upload(upload), "{name}");
    }
    Ok(())
}

#[test]
fn what_the_files_say_encodes_to_the_golden_bytes() {
    for name in READINGS {
        assert_eq!(reading_of(&expected(name)).encode(), golden(name, "bin"), "{name}");
    }
    for name in UPLOADS {
        assert_eq!(upload_of(&expected(name)).encode(), golden(name, "bin"), "{name}");
    }
}

#[test]
fn no_golden_file_is_left_out() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(folder).unwrap().count();
    assert_eq!(files, 2 * (READINGS.len() + UPLOADS.len()));
}
