//! Judges a client's chain against trusted roots.
//!
//! The stock verifier refuses X.509 version 1, which is what the test certificates of the official SDKs are. This
//! one takes a version 1 certificate as a leaf and as a root, and never between them: it cannot say that it is an
//! authority.

use crate::PkiError;
use crate::certificate::{certificates, parse, window};
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::x509::X509Version;

/// The longest way from a leaf to a root, both counted.
pub const CHAIN_MAX: usize = 8;
/// How many signatures are checked before a chain is given up: a client may send what it likes.
const SIGNATURES_MAX: usize = 64;

/// Whether `chain` (DER, leaf first, the rest in any order) leads to one of the roots in `roots_pem` at the time
/// `now`, and its leaf may be a client's.
///
/// # Errors
/// Says why not.
pub fn chain_trusted(chain: &[Vec<u8>], roots_pem: &str, now: Timestamp) -> Result<(), PkiError> {
    let roots_der = certificates(roots_pem)?;
    let roots = roots_der.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let shown = chain.iter().take(CHAIN_MAX).map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let (leaf, others) = shown.split_first().ok_or_else(|| untrusted("there is none"))?;
    good_at(leaf, now)?;
    for_clients(leaf)?;
    let mut walk = Walk { roots: &roots, others, now, signatures: SIGNATURES_MAX };
    if walk.leads_to_root(leaf, 0) {
        return Ok(());
    }
    Err(untrusted(format!(
        "nobody trusted here has signed it (its issuer calls itself {:?})",
        leaf.issuer().to_string()
    )))
}

/// Whether `issuer` is an authority and has signed `certificate`.
pub(crate) fn chain_issued_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

struct Walk<'a> {
    roots: &'a [X509Certificate<'a>],
    others: &'a [X509Certificate<'a>],
    now: Timestamp,
    signatures: usize,
}

impl Walk<'_> {
    /// Whether a root, or one that leads to a root, signed `certificate`. `below`: authorities already passed.
    fn leads_to_root(&mut self, certificate: &X509Certificate<'_>, below: usize) -> bool {
        let (roots, others) = (self.roots, self.others);
        if below + 2 > CHAIN_MAX {
            return false;
        }
        if roots.iter().any(|root| self.signed(certificate, root, below, true)) {
            return true;
        }
        others.iter().any(|other| {
            other.subject().as_raw() != certificate.subject().as_raw() // itself, or a circle
                && self.signed(certificate, other, below, false)
                && self.leads_to_root(other, below + 1)
        })
    }

    fn signed(
        &mut self,
        certificate: &X509Certificate<'_>,
        issuer: &X509Certificate<'_>,
        below: usize,
        root: bool,
    ) -> bool {
        let named = certificate.issuer().as_raw() == issuer.subject().as_raw();
        if !named
            || !may_sign(issuer, below, root)
            || good_at(issuer, self.now).is_err()
            || self.signatures == 0
        {
            return false;
        }
        self.signatures -= 1;
        chain_issued_by(certificate, issuer)
    }
}

/// Whether a certificate says of itself that it is an authority; a root of version 1 has no way to say so.
fn may_sign(issuer: &X509Certificate<'_>, below: usize, root: bool) -> bool {
    if issuer.version() == X509Version::V1 {
        return root;
    }
    let Ok(Some(constraints)) = issuer.basic_constraints() else { return false };
    let long_enough =
        constraints.value.path_len_constraint.is_none_or(|most| below as u64 <= u64::from(most));
    let key_usage =
        issuer.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    constraints.value.ca && long_enough && key_usage
}

/// Whether the clock allows it, and it asks for nothing that is not understood here.
fn good_at(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<(), PkiError> {
    let (not_before, not_after) = window(certificate)?;
    if now < not_before {
        return Err(untrusted(format!("it begins only at {not_before}; is the clock right?")));
    }
    if now > not_after {
        return Err(untrusted(format!("it ended at {not_after}")));
    }
    let understood = |parsed: &ParsedExtension<'_>| {
        use ParsedExtension as Known;
        matches!(
            parsed,
            Known::BasicConstraints(_)
                | Known::KeyUsage(_)
                | Known::ExtendedKeyUsage(_)
                | Known::SubjectAlternativeName(_)
                | Known::AuthorityKeyIdentifier(_)
                | Known::SubjectKeyIdentifier(_)
        )
    };
    match certificate.extensions().iter().find(|one| one.critical && !understood(one.parsed_extension())) {
        Some(strange) => Err(untrusted(format!("its critical extension {} is not understood", strange.oid))),
        None => Ok(()),
    }
}

/// A leaf that says what it is for must say that it is for clients.
fn for_clients(leaf: &X509Certificate<'_>) -> Result<(), PkiError> {
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.client_auth || usage.value.any => Ok(()),
        _ => Err(untrusted("it is not for clients (its extended key usage lacks clientAuth)")),
    }
}

fn untrusted(why: impl Into<String>) -> PkiError {
    PkiError::Untrusted(why.into())
}
