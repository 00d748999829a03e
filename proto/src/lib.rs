//! The wire messages of isotherm, and their only front door.
//!
//! What travels between the sensor, the filter and the cloud is protobuf, described in
//! `isotherm/v1/*.proto`. Nobody handles the generated structs but this crate: bytes become a [`Reading`],
//! an [`Upload`] or, where either may come, a [`Body`], and on the way in everything is checked once.
//! Behind that door a temperature is a [`Celsius`] that can exist and a time is a [`jiff::Timestamp`].
//!
//! Programs that know only the first two fields of each message read ours, and ours read theirs.
//!
//! ```
//! use isotherm_proto::{Body, Celsius, Reading};
//!
//! let reading = Reading {
//!     sensor_id: "attic".into(),
//!     sequence: 17,
//!     celsius: Celsius::new(21.5)?,
//!     at: "2026-03-01T06:30:00Z".parse().unwrap(),
//! };
//! assert_eq!(Body::decode(&reading.encode())?, Body::Reading(reading));
//! # Ok::<(), isotherm_proto::Refused>(())
//! ```

mod body;
mod celsius;
mod reading;
mod refused;
mod time;
mod upload;

pub use body::{Body, MESSAGE_BYTES_MAX};
pub use celsius::Celsius;
pub use reading::{Reading, SENSOR_ID_BYTES_MAX};
pub use refused::Refused;
pub use upload::Upload;

/// The messages as they lie on the wire, generated from the `.proto` files and unchecked.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/isotherm.v1.rs"));
}

/// The content type (`$.ct`) of a message whose body is one of ours.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The message schema of a body that is one [`Reading`].
pub const SCHEMA_READING: &str = "isotherm.v1.TemperatureReading";

/// The message schema of a body that is one [`Upload`].
pub const SCHEMA_UPLOAD: &str = "isotherm.v1.TemperatureReadingUpload";

/// The compiled `.proto` files as a `google.protobuf.FileDescriptorSet`, for whoever builds messages at run time.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/isotherm.v1.descriptors"));
