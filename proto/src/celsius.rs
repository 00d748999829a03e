//! A temperature that can exist.

use std::{fmt, ops::RangeInclusive};

use crate::Refused;

/// A temperature in degrees Celsius: finite, and not below absolute zero.
///
/// Only such values can be made, so they are totally ordered in practice and compare without surprises.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Celsius(f32);

impl Celsius {
    /// What a TMP102 can read in its extended mode, and so what a threshold can sensibly be.
    pub const SENSIBLE: RangeInclusive<f32> = -55.0..=150.0;

    /// The lowest temperature there is.
    pub const ABSOLUTE_ZERO: f32 = -273.15;

    /// A temperature that a chip's register gave, which by its width cannot be one that does not exist.
    ///
    /// # Panics
    /// If it is one nevertheless: then the register was decoded wrongly.
    #[must_use]
    pub fn measured(degrees: f32) -> Self {
        Self::new(degrees).expect("a register holds a temperature that exists")
    }

    /// Takes a number from outside for a temperature.
    ///
    /// # Errors
    /// If it is not finite, or below absolute zero.
    pub fn new(degrees: f32) -> Result<Self, Refused> {
        if !degrees.is_finite() {
            return Err(Refused::new("reading", format!("{degrees} is not a finite number of °C")));
        }
        if degrees < Self::ABSOLUTE_ZERO {
            return Err(Refused::new("reading", format!("{degrees} °C is below absolute zero, -273.15 °C")));
        }
        Ok(Self(degrees + 0.0)) // so that -0.0 becomes 0.0, which is left out on the wire
    }

    /// The number of degrees.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl fmt::Display for Celsius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)?;
        f.write_str(" °C")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_temperature_is_refused_with_the_number_in_the_reason() {
        for nonsense in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -273.16, f32::MIN] {
            let refused = Celsius::new(nonsense).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("reading: {nonsense}")), "{refused}");
        }
    }

    #[test]
    fn absolute_zero_itself_and_the_heart_of_a_star_are_temperatures() {
        for degrees in [-273.15, -55.0, 0.0, 150.0, 1.5e7] {
            assert_eq!(Celsius::new(degrees).unwrap().get(), degrees);
        }
    }

    #[test]
    fn a_negative_zero_is_zero() {
        assert!(Celsius::new(-0.0).unwrap().get().is_sign_positive());
    }

    #[test]
    fn it_prints_with_the_precision_that_was_asked_for() {
        assert_eq!(format!("{:.1}", Celsius::measured(21.0625)), "21.1 °C");
        assert_eq!(Celsius::measured(21.0625).to_string(), "21.0625 °C");
    }
}
