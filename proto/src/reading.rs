//! One reading ⇄ bytes, with every check a reading must pass.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{Celsius, Refused, body, time, v1};

/// The longest `sensor_id` taken: as long as IoT Hub lets a device's name be.
pub const SENSOR_ID_BYTES_MAX: usize = 128;

/// One temperature, as one chip measured it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Who measured; empty if the sender does not say.
    pub sensor_id: String,
    /// Grows by one with each reading of that sensor; 0 if the sender does not count.
    pub sequence: u64,
    /// What was measured.
    pub celsius: Celsius,
    /// When the chip was read.
    pub at: Timestamp,
}

impl Reading {
    /// The reading as protobuf, in the one form that every encoder writes: fields in order, zeros left out.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// Reads a body that must be one reading.
    ///
    /// # Errors
    /// If it is not, or one of its fields cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        body::check_size(bytes)?;
        let wire = v1::TemperatureReading::decode(bytes).map_err(body::not_protobuf)?;
        Self::from_wire(wire)
    }

    /// The reading as people and scripts read it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "reading": shortest(self.celsius.get()),
            "timestamp": self.at.to_string(),
            "sensorId": self.sensor_id,
            "sequence": self.sequence,
        })
    }

    pub(crate) fn to_wire(&self) -> v1::TemperatureReading {
        v1::TemperatureReading {
            reading: self.celsius.get(),
            timestamp: self.at.to_string(),
            sensor_id: self.sensor_id.clone(),
            sequence: self.sequence,
        }
    }

    pub(crate) fn from_wire(wire: v1::TemperatureReading) -> Result<Self, Refused> {
        check_sensor_id(&wire.sensor_id)?;
        Ok(Self {
            celsius: Celsius::new(wire.reading)?,
            at: time::parse("timestamp", &wire.timestamp)?,
            sensor_id: wire.sensor_id,
            sequence: wire.sequence,
        })
    }
}

/// Refuses a `sensor_id` that would not fit, or would spoil a log or a terminal.
fn check_sensor_id(id: &str) -> Result<(), Refused> {
    if id.len() > SENSOR_ID_BYTES_MAX {
        let why = format!("has {} bytes; at most {SENSOR_ID_BYTES_MAX} are taken", id.len());
        return Err(Refused::new("sensor_id", why));
    }
    if id.chars().any(char::is_control) {
        return Err(Refused::new("sensor_id", format!("{id:?} contains a control character")));
    }
    Ok(())
}

/// The `f64` that prints as short as the `f32` did: 21.6, and not 21.600000381469727.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().expect("a printed f32 is a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            sensor_id: "attic".into(),
            sequence: 17,
            celsius: Celsius::measured(21.6),
            at: "2026-03-01T06:30:00.125Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_reading_comes_back_from_its_bytes_as_it_was() {
        assert_eq!(Reading::decode(&reading().encode()).unwrap(), reading());
    }

    #[test]
    fn the_json_shows_the_number_as_short_as_it_is() {
        assert_eq!(
            reading().to_json().to_string(),
            r#"{"reading":21.6,"timestamp":"2026-03-01T06:30:00.125Z","sensorId":"attic","sequence":17}"#
        );
    }

    #[test]
    fn a_message_of_two_fields_is_a_reading_of_nobody_in_particular() {
        let bytes = b"\x0d\x00\x00\xac\x41\x12\x142026-03-01T06:30:00Z";
        let reading = Reading::decode(bytes).unwrap();
        assert_eq!((reading.celsius.get(), reading.sensor_id.as_str(), reading.sequence), (21.5, "", 0));
    }

    #[test]
    fn fields_that_we_do_not_know_yet_are_passed_over() {
        let mut bytes = reading().encode().to_vec();
        bytes.extend_from_slice(b"\x7a\x03new"); // field 15, three bytes
        assert_eq!(Reading::decode(&bytes).unwrap(), reading());
    }

    #[test]
    fn a_sensor_id_is_at_most_128_bytes_and_has_no_control_characters() {
        let with = |id: &str| Reading { sensor_id: id.into(), ..reading() }.encode();
        assert!(Reading::decode(&with(&"x".repeat(128))).is_ok());
        let refused = Reading::decode(&with(&"x".repeat(129))).unwrap_err().to_string();
        assert_eq!(refused, "sensor_id: has 129 bytes; at most 128 are taken");
        let refused = Reading::decode(&with("attic\x1b[2J")).unwrap_err().to_string();
        assert_eq!(refused, r#"sensor_id: "attic\u{1b}[2J" contains a control character"#);
    }

    #[test]
    fn a_reading_without_a_time_or_with_no_number_is_refused() {
        let wire = |reading, timestamp: &str| v1::TemperatureReading {
            reading,
            timestamp: timestamp.into(),
            ..Default::default()
        };
        for (wire, field) in
            [(wire(1.0, ""), "timestamp:"), (wire(f32::NAN, "2026-03-01T06:30:00Z"), "reading:")]
        {
            let refused = Reading::decode(&wire.encode_to_vec()).unwrap_err().to_string();
            assert!(refused.starts_with(field), "{refused}");
        }
    }
}
