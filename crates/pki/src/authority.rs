//! An authority of our own: makes the certificates of a hub and of the clients in its tests.

use crate::PkiError;
use jiff::Timestamp;

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: Timestamp,
    /// Last second.
    pub not_after: Timestamp,
}

/// A certificate that was just made, with its key. `Debug` shows no key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate and those above it, the root excepted.
    pub certificate_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: String,
}

/// A certificate authority with its key. `Debug` shows no key.
pub struct Authority {}

impl Authority {
    /// Makes a new self-signed authority.
    pub fn create(_common_name: &str, _not_before: Timestamp, _not_after: Timestamp) -> Result<Self, PkiError> {
        unimplemented!()
    }

    /// Takes up an authority that was kept as PEM.
    pub fn from_pem(_certificate_pem: &str, _key_pem: &str) -> Result<Self, PkiError> {
        unimplemented!()
    }

    /// The authority's own certificate: what clients are to trust.
    pub fn certificate_pem(&self) -> &str {
        unimplemented!()
    }

    /// The authority's private key, PKCS#8; to be kept 0600.
    pub fn key_pem(&self) -> &str {
        unimplemented!()
    }

    /// A server's certificate for DNS names and IP addresses; the first one is its common name.
    pub fn issue_server(&self, _names: &[String], _validity: Validity) -> Result<Issued, PkiError> {
        unimplemented!()
    }

    /// A client's certificate.
    pub fn issue_client(&self, _common_name: &str, _validity: Validity) -> Result<Issued, PkiError> {
        unimplemented!()
    }
}
