//! Reads a certificate: its name, its key, its thumbprints.

use jiff::Timestamp;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use std::fmt::Write;
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;

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

/// The most certificates that are read from one PEM text: a system's whole store has some 150.
pub const CERTIFICATES_MAX: usize = 2048;

/// The certificates in a PEM text, as DER, in the order they stand there; other PEM blocks are passed over.
///
/// # Errors
/// When a block is damaged, when there is no certificate, or more than [`CERTIFICATES_MAX`].
pub fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|why| unreadable("the PEM text", why))?;
        if block.label == "CERTIFICATE" {
            found.push(block.contents);
        }
        if found.len() > CERTIFICATES_MAX {
            return Err(unreadable(
                "the PEM text",
                format!("it has more than {CERTIFICATES_MAX} certificates"),
            ));
        }
    }
    if found.is_empty() {
        return Err(unreadable("the PEM text", "it has no '-----BEGIN CERTIFICATE-----' block"));
    }
    Ok(found)
}

/// The public key in a certificate, X.509 version 1 included.
///
/// # Errors
/// When it is no certificate.
pub fn public_key(der: &[u8]) -> Result<PublicKey, PkiError> {
    let certificate = parse(der)?;
    let spki = certificate.public_key();
    // SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE {..}, subjectPublicKey BIT STRING } (RFC 5280, 4.1)
    let inner = Any::from_der(spki.raw).and_then(|(_, whole)| Any::from_der(whole.data));
    let (_, algorithm) = inner.map_err(|why| unreadable("the certificate's key", why))?;
    Ok(PublicKey {
        spki: spki.raw.to_vec(),
        algorithm: algorithm.data.to_vec(),
        key: spki.subject_public_key.data.to_vec(),
    })
}

/// The SHA-1 thumbprint of a DER certificate in upper-case hex, 40 characters, as IoT Hub writes it.
pub fn thumbprint(der: &[u8]) -> String {
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref())
}

/// The SHA-256 thumbprint of a DER certificate in upper-case hex, 64 characters.
pub fn thumbprint_sha256(der: &[u8]) -> String {
    hex(digest(&SHA256, der).as_ref())
}

/// When the first certificate in a PEM text ends.
///
/// # Errors
/// When there is none that can be read.
pub fn not_after(pem: &str) -> Result<Timestamp, PkiError> {
    let chain = certificates(pem)?;
    Ok(window(&parse(&chain[0])?)?.1)
}

/// The subject's common name of a DER certificate, if it has one.
pub fn common_name(der: &[u8]) -> Option<String> {
    let certificate = parse(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(unreadable("the certificate", "bytes follow its end")),
        Err(why) => Err(unreadable("the certificate", why)),
    }
}

/// From when to when a certificate is good.
pub(crate) fn window(certificate: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), PkiError> {
    let read =
        |seconds| Timestamp::from_second(seconds).map_err(|why| unreadable("the certificate's dates", why));
    let validity = certificate.validity();
    Ok((read(validity.not_before.timestamp())?, read(validity.not_after.timestamp())?))
}

pub(crate) fn unreadable(what: &str, why: impl ToString) -> PkiError {
    PkiError::Unreadable { what: what.to_owned(), why: why.to_string() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}"); // a String takes everything
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_written_as_iot_hub_writes_it() {
        // FIPS 180-4's example, "abc"; a thumbprint is the hash of the whole DER, whatever it holds.
        assert_eq!(thumbprint(b"abc"), "A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert!(thumbprint_sha256(b"abc").starts_with("BA7816BF8F01CFEA"));
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_what_would_be_right() {
        assert_eq!(common_name(b"nonsense"), None);
        assert!(public_key(&[0x30, 0x82]).is_err());
        let error = certificates("-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n").unwrap_err();
        assert!(error.to_string().ends_with("it has no '-----BEGIN CERTIFICATE-----' block"), "{error}");
        assert!(not_after("").is_err());
    }
}
