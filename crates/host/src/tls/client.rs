//! The client's end.

use super::{HANDSHAKE_TIMEOUT, TlsError, explain, provider, read_chain, read_key};
use crate::{BoxStream, Clock, Host};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Where systems keep the roots they trust: Debian, Alpine and Arch; Fedora and RHEL; openSUSE.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// A client's certificate and key, PEM. `Debug` shows no key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate, and those above it.
    pub chain_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// A client's end. Cheap to clone. `Debug` shows no key.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    /// On a network where no stranger can be on the line, bytes go as they are.
    bare: bool,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Trusts `roots_pem` and nothing else; without it, the file that `SSL_CERT_FILE` names, or the system's.
    ///
    /// # Errors
    /// When there are no roots, or the identity's certificate or key cannot be read.
    pub fn new(
        host: &Host,
        roots_pem: Option<&str>,
        identity: Option<&ClientIdentity>,
    ) -> Result<Self, TlsError> {
        let roots = match roots_pem {
            Some(pem) => roots(pem)?,
            None => roots(&system_roots(host)?)?,
        };
        let clock = Arc::new(WallTime(host.clock.clone()));
        let builder = ClientConfig::builder_with_details(provider(), clock)
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsError::new("the protocol versions", why))?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(certified(identity)?)),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), bare: host.network.is_private() })
    }

    /// Greets the server of this name (or address), within [`HANDSHAKE_TIMEOUT`].
    ///
    /// # Errors
    /// Says what is wrong with the server's certificate, or what the server did not like about ours.
    pub async fn connect(&self, stream: BoxStream, server_name: &str) -> io::Result<BoxStream> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            let reason = format!("{server_name:?} is neither a DNS name nor an IP address");
            io::Error::new(io::ErrorKind::InvalidInput, reason)
        })?;
        if self.bare {
            return Ok(stream);
        }
        match timeout(HANDSHAKE_TIMEOUT, self.connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(explain::of_server(error, server_name)),
            Err(_) => Err(explain::too_late("the server")),
        }
    }
}

fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let wrong = |why: String| TlsError::new("the trusted roots", why);
    let found = isotherm_pki::certificates(pem).map_err(|why| wrong(why.to_string()))?;
    let mut roots = RootCertStore::empty();
    // A store may hold one that is too old or too strange to be used; it is a mistake only if all are.
    let (added, _) = roots.add_parsable_certificates(found.into_iter().map(CertificateDer::from));
    if added == 0 {
        return Err(wrong("none of the certificates can be used as a root".into()));
    }
    Ok(roots)
}

fn system_roots(host: &Host) -> Result<String, TlsError> {
    let named = host.env.get("SSL_CERT_FILE");
    let places = named.map_or_else(|| SYSTEM_ROOTS.to_vec(), |file| vec![file]);
    let found = places.iter().find_map(|file| host.disk.read(Path::new(file)).ok());
    let bytes = found.ok_or_else(|| {
        let why = format!("none at {}; name a file of PEM certificates in SSL_CERT_FILE", places.join(", "));
        TlsError::new("the trusted roots", why)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned()) // comments in a store may be in any encoding
}

/// Key and certificate as they stand: rustls's own check of the pair cannot read X.509 version 1.
fn certified(identity: &ClientIdentity) -> Result<SingleCertAndKey, TlsError> {
    let chain = read_chain(&identity.chain_pem)?;
    let key = provider().key_provider.load_private_key(read_key(&identity.key_pem)?);
    let key = key.map_err(|why| TlsError::new("the key", why))?;
    let public = isotherm_pki::public_key(&chain[0]).map_err(|why| TlsError::new("the certificate", why))?;
    if key.public_key().is_some_and(|held| held.as_ref() != public.spki) {
        return Err(TlsError::new("the key", "it is not the key of the certificate"));
    }
    Ok(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// Judges validity by the host's clock.
#[derive(Debug)]
struct WallTime(Arc<dyn Clock>);

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.wall().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
