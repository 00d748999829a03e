//! Readings that were kept together ⇄ bytes.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{Reading, Refused, body, time, v1};

/// Readings that were kept together and sent as one message, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// When the batch was closed.
    pub uploaded_at: Timestamp,
    /// At most [`Upload::MAX_READINGS`].
    pub readings: Vec<Reading>,
}

impl Upload {
    /// The most readings in one upload. With the longest of names they still fit IoT Hub's 256 KiB; a body
    /// with more is refused before any of them is looked at.
    pub const MAX_READINGS: usize = 1024;

    /// The upload as protobuf, in the one form that every encoder writes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = v1::TemperatureReadingUpload {
            uploaded_timestamp: self.uploaded_at.to_string(),
            readings: self.readings.iter().map(Reading::to_wire).collect(),
        };
        wire.encode_to_vec().into()
    }

    /// Reads a body that must be an upload.
    ///
    /// # Errors
    /// If it is not, has too many readings, or one of them cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        body::check_size(bytes)?;
        let outline = body::Outline::of(bytes)?;
        if outline.second_fields > Self::MAX_READINGS {
            let why = format!("{}; at most {} are taken", outline.second_fields, Self::MAX_READINGS);
            return Err(Refused::new("readings", why));
        }
        let wire = v1::TemperatureReadingUpload::decode(bytes).map_err(body::not_protobuf)?;
        let uploaded_at = time::parse("uploaded_timestamp", &wire.uploaded_timestamp)?;
        let readings = wire.readings.into_iter().enumerate().map(|(index, reading)| {
            Reading::from_wire(reading).map_err(|refused| refused.within(&format!("readings[{index}]")))
        });
        Ok(Self { uploaded_at, readings: readings.collect::<Result<_, _>>()? })
    }

    /// The upload as people and scripts read it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "uploadedTimestamp": self.uploaded_at.to_string(),
            "readings": self.readings.iter().map(Reading::to_json).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Celsius, MESSAGE_BYTES_MAX, SENSOR_ID_BYTES_MAX};

    fn upload(readings: usize, sensor_id: &str) -> Upload {
        let at = "2026-03-01T06:30:00.123456789Z".parse().unwrap();
        let reading = |n| Reading {
            sensor_id: sensor_id.into(),
            sequence: u64::MAX - n as u64,
            celsius: Celsius::measured(20.0 + n as f32 / 16.0),
            at,
        };
        Upload { uploaded_at: at, readings: (0..readings).map(reading).collect() }
    }

    #[test]
    fn an_upload_comes_back_from_its_bytes_as_it_was() {
        for readings in [0, 1, 3] {
            let upload = upload(readings, "attic");
            assert_eq!(Upload::decode(&upload.encode()).unwrap(), upload);
        }
    }

    #[test]
    fn the_largest_upload_fits_a_message_and_one_reading_more_is_refused() {
        let largest = upload(Upload::MAX_READINGS, &"x".repeat(SENSOR_ID_BYTES_MAX));
        assert!(largest.encode().len() <= MESSAGE_BYTES_MAX, "{}", largest.encode().len());
        assert_eq!(Upload::decode(&largest.encode()).unwrap(), largest);

        let refused = Upload::decode(&upload(Upload::MAX_READINGS + 1, "x").encode()).unwrap_err();
        assert_eq!(refused.to_string(), "readings: 1025; at most 1024 are taken");
    }

    #[test]
    fn a_bad_reading_is_named_by_its_place() {
        let mut upload = upload(3, "attic");
        upload.readings[1].sensor_id = "\u{7}".into();
        let refused = Upload::decode(&upload.encode()).unwrap_err().to_string();
        assert_eq!(refused, r#"readings[1].sensor_id: "\u{7}" contains a control character"#);
    }
}
