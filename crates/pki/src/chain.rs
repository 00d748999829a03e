//! Judges a client's chain against trusted roots.

use crate::PkiError;
use jiff::Timestamp;

/// Whether `chain` (DER, leaf first) leads to one of the roots in `roots_pem` at the time `now`.
///
/// # Errors
/// Says why not.
pub fn chain_trusted(_chain: &[Vec<u8>], _roots_pem: &str, _now: Timestamp) -> Result<(), PkiError> {
    unimplemented!()
}
