//! The bus a chip hangs on: a real one, or an emulated one that the very same driver talks to.
//!
//! Both are `embedded_hal::i2c::I2c`, as the world's drivers want it.

mod checked;
pub mod emulated;
#[cfg(target_os = "linux")]
pub mod i2c_dev;
pub mod weather;

pub use checked::{Checked, CheckedError};

/// The addresses a TMP102 can have, by where its ADD0 pin is tied: GND, V+, SDA, SCL.
pub const ADDRESSES: std::ops::RangeInclusive<u8> = 0x48..=0x4B;
