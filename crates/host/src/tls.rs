//! TLS 1.2 and 1.3 over any stream, with ring.

mod client;
mod explain;
mod server;
mod verifier;

pub use client::{ClientIdentity, ClientTls};
pub use server::{ClientCertificates, PeerCertificate, ServerTls};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How long a handshake may take, either end.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wrong with a certificate, a key or a list of roots that TLS is to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct TlsError {
    /// Which part: "the certificate", "the key", "the trusted roots".
    pub what: String,
    /// What is wrong with it and what would be right.
    pub why: String,
}

impl TlsError {
    fn new(what: &str, why: impl ToString) -> Self {
        Self { what: what.to_owned(), why: why.to_string() }
    }
}

/// Ring, handed over explicitly: no process-wide default that another crate could set first.
fn provider() -> Arc<CryptoProvider> {
    static RING: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    RING.clone()
}

fn read_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = isotherm_pki::certificates(pem).map_err(|why| TlsError::new("the certificate", why))?;
    Ok(chain.into_iter().map(CertificateDer::from).collect())
}

fn read_key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        TlsError::new("the key", "no private key in PEM ('-----BEGIN PRIVATE KEY-----'), without a password")
    })
}
