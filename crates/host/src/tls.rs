//! TLS 1.2 and 1.3 over any stream, with ring.

use crate::{BoxStream, Host};
use std::io;

/// What is wrong with a certificate, a key or a list of roots that TLS is to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct TlsError {
    /// Which part: "the certificate", "the key", "the trusted roots".
    pub what: String,
    /// What is wrong with it and what would be right.
    pub why: String,
}

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It does not.
    No,
    /// It does, and takes none as well. Any certificate (X.509 version 1 too) whose key the client proves to hold
    /// passes the handshake; whether it is anybody's is judged by the caller.
    Asked,
}

/// A client's certificate and key, PEM. `Debug` shows no key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate, and those above it.
    pub chain_pem: String,
    /// Its private key.
    pub key_pem: String,
}

/// The certificates that a client showed, DER, its own first. It has proved to hold the first one's key, and
/// nothing else has been judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// At least one.
    pub chain: Vec<Vec<u8>>,
}

impl PeerCertificate {
    /// The client's own.
    pub fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }
}

/// A server's end. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {}

impl ServerTls {
    /// With this certificate (and those above it) and key, PEM.
    pub fn new(_chain_pem: &str, _key_pem: &str, _clients: ClientCertificates) -> Result<Self, TlsError> {
        unimplemented!()
    }

    /// Greets a client, within ten seconds.
    pub async fn accept(&self, _stream: BoxStream) -> io::Result<(BoxStream, Option<PeerCertificate>)> {
        unimplemented!()
    }
}

/// A client's end. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {}

impl ClientTls {
    /// Trusts `roots_pem` and nothing else; without it, the file that `SSL_CERT_FILE` names, or the system's.
    pub fn new(
        _host: &Host,
        _roots_pem: Option<&str>,
        _identity: Option<&ClientIdentity>,
    ) -> Result<Self, TlsError> {
        unimplemented!()
    }

    /// Greets the server of this name (or address), within ten seconds.
    pub async fn connect(&self, _stream: BoxStream, _server_name: &str) -> io::Result<BoxStream> {
        unimplemented!()
    }
}
