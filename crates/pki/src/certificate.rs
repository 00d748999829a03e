//! Reads a certificate: its name, its key, its thumbprints.

use jiff::Timestamp;

/// What is wrong with a certificate, a key or a chain of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// Not a certificate (or key) at all, or one with a damaged part.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// Which certificate or key.
        what: String,
        /// What the parser met.
        why: String,
    },
    /// A certificate cannot be made as asked.
    #[error("a certificate cannot be made: {0}")]
    Unmakeable(String),
    /// A chain of certificates does not lead to a trusted root.
    #[error("the certificate is not trusted: {0}")]
    Untrusted(String),
}

/// The public key of a certificate of any version, as the handshake's signature check wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The whole SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The contents of its AlgorithmIdentifier, without the outer tag and length.
    pub algorithm: Vec<u8>,
    /// The key's bits.
    pub key: Vec<u8>,
}

/// The certificates in a PEM text, as DER, in the order they stand there; other PEM blocks are passed over.
pub fn certificates(_pem: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    unimplemented!()
}

/// The public key in a certificate, X.509 version 1 included.
pub fn public_key(_der: &[u8]) -> Result<PublicKey, PkiError> {
    unimplemented!()
}

/// The SHA-1 thumbprint of a DER certificate in upper-case hex, 40 characters, as IoT Hub writes it.
pub fn thumbprint(_der: &[u8]) -> String {
    unimplemented!()
}

/// The SHA-256 thumbprint of a DER certificate in upper-case hex, 64 characters.
pub fn thumbprint_sha256(_der: &[u8]) -> String {
    unimplemented!()
}

/// When the first certificate in a PEM text ends.
pub fn not_after(_pem: &str) -> Result<Timestamp, PkiError> {
    unimplemented!()
}

/// The subject's common name of a DER certificate, if it has one.
pub fn common_name(_der: &[u8]) -> Option<String> {
    unimplemented!()
}
