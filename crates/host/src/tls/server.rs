//! The server's end.

use super::verifier::AnyCertificate;
use super::{HANDSHAKE_TIMEOUT, TlsError, explain, provider, read_chain, read_key};
use crate::{BoxStream, Network};
use rustls::server::{NoClientAuth, ServerSessionMemoryCache};
use std::io;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How many clients can come back without a whole handshake; the oldest is forgotten.
const SESSIONS_MAX: usize = 512;

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It does not.
    No,
    /// It does, and takes none as well. Any certificate (X.509 version 1 too) whose key the client proves to hold
    /// passes the handshake; whether it is anybody's is judged by the caller.
    Asked,
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

/// A server's end. Cheap to clone. `Debug` shows no key.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    /// On a network where no stranger can be on the line, bytes go as they are.
    bare: bool,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// With this certificate (and those above it) and key, PEM.
    ///
    /// # Errors
    /// When one of the two cannot be read or they do not belong together.
    pub fn new(chain_pem: &str, key_pem: &str, clients: ClientCertificates) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsError::new("the protocol versions", why))?;
        let builder = match clients {
            ClientCertificates::No => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
            ClientCertificates::Asked => {
                builder.with_client_cert_verifier(Arc::new(AnyCertificate::new(&provider)))
            }
        };
        let mut config = builder
            .with_single_cert(read_chain(chain_pem)?, read_key(key_pem)?)
            .map_err(|why| TlsError::new("the certificate and its key", why))?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        config.send_tls13_tickets = 1; // each one is a kept session; a client needs one
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), bare: false })
    }

    /// The same for the streams of this network: see [`Network::is_private`].
    #[must_use]
    pub fn on(self, network: &dyn Network) -> Self {
        Self { bare: network.is_private(), ..self }
    }

    /// Greets a client, within [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// Says what the client did wrong, or what it did not like about us.
    pub async fn accept(&self, stream: BoxStream) -> io::Result<(BoxStream, Option<PeerCertificate>)> {
        if self.bare {
            return Ok((stream, None));
        }
        let greeted = timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await;
        let stream = greeted.map_err(|_| explain::too_late("the client"))?.map_err(explain::of_client)?;
        let shown = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty());
        let certificate = shown.map(|chain| {
            let chain = chain.iter().map(|der| der.as_ref().to_vec()).collect();
            PeerCertificate { chain }
        });
        Ok((Box::new(stream), certificate))
    }
}
