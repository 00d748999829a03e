//! Decides whether a certificate that was kept still serves.

use crate::certificate::{certificates, parse, window};
use crate::{PkiError, chain_issued_by};
use jiff::Timestamp;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// What to do with a certificate that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// It serves.
    Keep,
    /// Make a new one, for this reason.
    Issue(String),
}

/// Whether the certificate in `pem` still serves for `names` at the time `now`, under the authority in
/// `authority_pem`: it is renewed when a third of its time is left, when a name is missing, when another authority
/// made it, or when the clock says that it has not begun (one of the two clocks was wrong).
pub fn renewal(pem: &str, names: &[String], authority_pem: &str, now: Timestamp) -> Renewal {
    match why_not(pem, names, authority_pem, now) {
        Ok(None) => Renewal::Keep,
        Ok(Some(reason)) => Renewal::Issue(reason),
        Err(error) => Renewal::Issue(error.to_string()),
    }
}

fn why_not(pem: &str, names: &[String], authority: &str, now: Timestamp) -> Result<Option<String>, PkiError> {
    let chain = certificates(pem)?;
    let certificate = parse(&chain[0])?;
    let (not_before, not_after) = window(&certificate)?;
    if now < not_before {
        return Ok(Some(format!("it begins only at {not_before}")));
    }
    let third = (not_after.as_second() - not_before.as_second()) / 3;
    if now.as_second() >= not_after.as_second() - third {
        return Ok(Some(format!("it ends at {not_after}")));
    }
    if let Some(name) = names.iter().find(|name| !carries(&certificate, name)) {
        return Ok(Some(format!("it does not name {name}")));
    }
    let root = certificates(authority)?;
    if !chain_issued_by(&certificate, &parse(&root[0])?) {
        return Ok(Some("another authority made it".to_owned()));
    }
    Ok(None)
}

fn carries(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let address = name.parse::<IpAddr>().ok().map(|address| match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    });
    names.value.general_names.iter().any(|have| match (have, &address) {
        (GeneralName::IPAddress(have), Some(wanted)) => have == wanted,
        (GeneralName::DNSName(have), None) => have.eq_ignore_ascii_case(name),
        _ => false,
    })
}
