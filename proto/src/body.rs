//! Which of our messages is this?

use bytes::{Buf, Bytes};
use prost::{
    DecodeError,
    encoding::{self, DecodeContext, WireType},
};
use serde_json::Value;

use crate::{Reading, Refused, Upload};

/// The longest body looked at: as much as IoT Hub lets a whole message have.
pub const MESSAGE_BYTES_MAX: usize = 262_144;

/// What the body of a message may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A single reading.
    Reading(Reading),
    /// Readings that were kept together.
    Upload(Upload),
}

impl Body {
    /// Tells the two apart, and checks all that is in them.
    ///
    /// Their first fields differ on the wire: a number of four bytes in a reading (left out if it is zero), a
    /// string that is never empty in an upload.
    ///
    /// # Errors
    /// If the bytes are neither, or a field cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        check_size(bytes)?;
        match Outline::of(bytes)?.first_field {
            Some(WireType::LengthDelimited) => Upload::decode(bytes).map(Self::Upload),
            _ => Reading::decode(bytes).map(Self::Reading),
        }
    }

    /// The body as protobuf.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Reading(reading) => reading.encode(),
            Self::Upload(upload) => upload.encode(),
        }
    }

    /// All readings in it, oldest first.
    #[must_use]
    pub fn readings(&self) -> &[Reading] {
        match self {
            Self::Reading(reading) => std::slice::from_ref(reading),
            Self::Upload(upload) => &upload.readings,
        }
    }

    /// The body as people and scripts read it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Reading(reading) => reading.to_json(),
            Self::Upload(upload) => upload.to_json(),
        }
    }
}

/// Refuses what is longer than a message can be, before any of it is decoded.
pub(crate) fn check_size(bytes: &[u8]) -> Result<(), Refused> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        let why = format!("has {} bytes; at most {MESSAGE_BYTES_MAX} are taken", bytes.len());
        return Err(Refused::new("body", why));
    }
    Ok(())
}

/// Says that the bytes are none of ours, with the decoder's own words.
pub(crate) fn not_protobuf(error: DecodeError) -> Refused {
    let right = "isotherm.v1.TemperatureReading or TemperatureReadingUpload is expected";
    Refused::new("body", format!("{error}; {right}"))
}

/// What a message looks like from outside, learned without keeping any of it.
///
/// It is taken before decoding, since 256 KiB of empty readings would unfold to megabytes.
pub(crate) struct Outline {
    /// How field 1 is encoded, if it is there.
    pub(crate) first_field: Option<WireType>,
    /// How often field 2 occurs.
    pub(crate) second_fields: usize,
}

impl Outline {
    pub(crate) fn of(mut bytes: &[u8]) -> Result<Self, Refused> {
        let mut outline = Self { first_field: None, second_fields: 0 };
        while bytes.has_remaining() {
            let (tag, wire_type) = encoding::decode_key(&mut bytes).map_err(not_protobuf)?;
            match tag {
                1 => outline.first_field = Some(wire_type),
                2 => outline.second_fields += 1,
                _ => {}
            }
            encoding::skip_field(wire_type, tag, &mut bytes, DecodeContext::default())
                .map_err(not_protobuf)?;
        }
        Ok(outline)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Celsius;

    fn reading(degrees: f32) -> Reading {
        Reading {
            sensor_id: "attic".into(),
            sequence: 3,
            celsius: Celsius::measured(degrees),
            at: "2026-03-01T06:30:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_reading_and_an_upload_are_told_apart_even_at_zero_degrees() {
        for degrees in [0.0, 25.0] {
            let reading = reading(degrees);
            let body = Body::Reading(reading.clone());
            assert_eq!(Body::decode(&body.encode()).unwrap(), body);

            let body = Body::Upload(Upload { uploaded_at: reading.at, readings: vec![reading] });
            assert_eq!(Body::decode(&body.encode()).unwrap(), body);
        }
    }

    #[test]
    fn fields_may_come_in_any_order() {
        let mut bytes = b"\x20\x03".to_vec(); // the sequence first
        bytes.extend_from_slice(b"\x12\x142026-03-01T06:30:00Z\x1a\x05attic\x0d\x00\x00\xc8\x41");
        assert_eq!(Body::decode(&bytes).unwrap(), Body::Reading(reading(25.0)));
    }

    #[test]
    fn what_is_none_of_ours_is_refused_with_what_was_expected() {
        for bytes in [
            &b"{\"reading\": 31}"[..],
            b"\x0d\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"hello",
        ] {
            let refused = Body::decode(bytes).unwrap_err().to_string();
            assert!(refused.starts_with("body: "), "{refused}");
            assert!(refused.contains("isotherm.v1.TemperatureReading"), "{refused}");
        }
        assert!(Body::decode(b"").unwrap_err().to_string().starts_with("timestamp: is missing"));
    }

    #[test]
    fn a_body_longer_than_a_message_is_refused_unread() {
        let refused = Body::decode(&vec![0; MESSAGE_BYTES_MAX + 1]).unwrap_err().to_string();
        assert_eq!(refused, "body: has 262145 bytes; at most 262144 are taken");
    }

    #[test]
    fn a_message_full_of_empty_readings_is_refused_before_it_unfolds() {
        let mut bytes = b"\x0a\x142026-03-01T06:30:00Z".to_vec();
        bytes.extend(b"\x12\x00".repeat(100_000));
        assert_eq!(Body::decode(&bytes).unwrap_err().to_string(), "readings: 100000; at most 1024 are taken");
    }

    #[test]
    fn groups_inside_groups_end_at_a_depth() {
        let bytes = [0x7b].repeat(100_000); // field 15, start group, for ever
        assert!(Body::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_fall_over(bytes: Vec<u8>) {
            let _ = Body::decode(&bytes);
        }

        #[test]
        fn what_was_taken_is_written_back_and_taken_again(
            degrees in -273.15_f32..1e6, sequence: u64, id in "[a-z0-9 ä]{0,40}", second in -62_167_219_200_i64..253_402_207_200
        ) {
            let at = jiff::Timestamp::from_second(second).unwrap();
            let body = Body::Reading(Reading { sensor_id: id, sequence, celsius: Celsius::measured(degrees), at });
            prop_assert_eq!(Body::decode(&body.encode()).unwrap(), body);
        }
    }
}
