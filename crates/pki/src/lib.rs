//! Certificates as values: make them, read them, decide when to renew them, and judge a client's chain.
//!
//! Nothing here reads a clock or a file: whoever calls says what time it is and keeps the keys (0600, through
//! the host's disk). Keys are ECDSA P-256.

mod authority;
mod certificate;
mod chain;
mod renewal;

pub use authority::{Authority, Issued, NAMES_MAX, Validity};
pub use certificate::{
    CERTIFICATES_MAX, PkiError, PublicKey, certificates, common_name, not_after, public_key, thumbprint,
    thumbprint_sha256,
};
pub(crate) use chain::chain_issued_by;
pub use chain::{CHAIN_MAX, chain_trusted};
pub use renewal::{Renewal, renewal};
