//! An authority of our own: makes the certificates of a hub and of the clients in its tests.

use crate::PkiError;
use crate::certificate::{certificates, parse, unreadable};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use std::fmt;
use x509_parser::time::ASN1Time;

/// The most names a server's certificate may have.
pub const NAMES_MAX: usize = 100;

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

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// A certificate authority with its key. `Debug` shows no key.
pub struct Authority {
    certificate_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new self-signed authority, which may sign certificates but no further authorities.
    pub fn create(common_name: &str, not_before: Timestamp, not_after: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(unmakeable)?;
        let mut params = params(common_name, Validity { not_before, not_after })?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(unmakeable)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { certificate_pem, key_pem, issuer: Issuer::new(params, key) })
    }

    /// Takes up an authority that was kept as PEM.
    ///
    /// # Errors
    /// When one of the two cannot be read, or they do not belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem).map_err(|why| unreadable("the authority's key", why))?;
        let der = certificates(certificate_pem)?.swap_remove(0);
        if parse(&der)?.public_key().raw != key.subject_public_key_info() {
            return Err(unreadable(
                "the authority's key",
                "it is not the key of the authority's certificate",
            ));
        }
        let issuer = Issuer::from_ca_cert_der(&der.into(), key)
            .map_err(|why| unreadable("the authority's certificate", why))?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned(), issuer })
    }

    /// The authority's own certificate: what clients are to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key, PKCS#8; to be kept 0600.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A server's certificate for DNS names and IP addresses, at most [`NAMES_MAX`]; the first is its common name.
    pub fn issue_server(&self, names: &[String], validity: Validity) -> Result<Issued, PkiError> {
        let first = names.first().ok_or_else(|| unmakeable("a server needs at least one name"))?;
        if names.len() > NAMES_MAX {
            return Err(unmakeable(format!("a server has at most {NAMES_MAX} names, not {}", names.len())));
        }
        let mut server = params(first, validity)?;
        server.subject_alt_names = CertificateParams::new(names).map_err(unmakeable)?.subject_alt_names;
        self.issue(server, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate.
    pub fn issue_client(&self, common_name: &str, validity: Validity) -> Result<Issued, PkiError> {
        self.issue(params(common_name, validity)?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, PkiError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(unmakeable)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(unmakeable)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // X.520 allows a common name 64 characters; a longer host name stands among the alternative names, where it counts.
    let short: String = common_name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, short);
    params.not_before = second(validity.not_before)?.to_datetime();
    params.not_after = second(validity.not_after)?.to_datetime();
    if validity.not_before >= validity.not_after {
        return Err(unmakeable("it would end before it begins"));
    }
    Ok(params)
}

/// The same instant in the type that certificates are written from.
fn second(at: Timestamp) -> Result<ASN1Time, PkiError> {
    ASN1Time::from_timestamp(at.as_second()).map_err(unmakeable)
}

fn unmakeable(why: impl ToString) -> PkiError {
    PkiError::Unmakeable(why.to_string())
}
