//! Decides whether a certificate that was kept still serves.

use jiff::Timestamp;

/// What to do with a certificate that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It serves.
    Keep,
    /// Make a new one, for this reason.
    Issue(String),
}

/// Whether the certificate in `pem` still serves for `names` at the time `now`, under the authority in
/// `authority_pem`.
pub fn renewal(_pem: &str, _names: &[String], _authority_pem: &str, _now: Timestamp) -> Renewal {
    unimplemented!()
}
