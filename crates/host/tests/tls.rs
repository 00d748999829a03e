//! TLS between our two ends, over a stream in memory.

use isotherm_host::tls::{ClientCertificates, ClientIdentity, ClientTls, PeerCertificate, ServerTls};
use isotherm_host::{BoxStream, Clock, Env, Host, MemoryDisk};
use isotherm_pki::{Authority, Issued, Validity, certificates, thumbprint};
use jiff::{Timestamp, ToSpan};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

const V1_SELF_SIGNED: &str = include_str!("../../pki/tests/data/v1-self-signed.pem");
const V1_KEY: &str = include_str!("../../pki/tests/data/v1-self-signed.key.pem");

#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn wall(&self) -> Timestamp {
        self.0
    }
}

fn begin() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn a_year() -> Validity {
    Validity { not_before: begin(), not_after: begin() + (365 * 24).hours() }
}

fn host() -> Host {
    let clock = Arc::new(At(begin() + 24.hours()));
    Host { clock, disk: Arc::new(MemoryDisk::new()), ..Host::real() }.with_env(Env::default())
}

fn authority(name: &str) -> Authority {
    Authority::create(name, begin(), begin() + (3650 * 24).hours()).unwrap()
}

fn served_by(authority: &Authority) -> Issued {
    authority.issue_server(&["hub.example".into(), "127.0.0.1".into()], a_year()).unwrap()
}

fn server(authority: &Authority, clients: ClientCertificates) -> ServerTls {
    let issued = served_by(authority);
    ServerTls::new(&issued.certificate_pem, &issued.key_pem, clients).unwrap()
}

/// Both ends greet each other; what each of them got comes back.
async fn greet(
    server: &ServerTls,
    client: &ClientTls,
    name: &str,
) -> (io::Result<(BoxStream, Option<PeerCertificate>)>, io::Result<BoxStream>) {
    let (near, far) = duplex(64 << 10);
    let said = async {
        let mut stream = client.connect(Box::new(far), name).await?;
        stream.write_all(b"hello").await?; // in TLS 1.3 the server has the last word only after this
        stream.flush().await?;
        Ok(stream)
    };
    tokio::join!(server.accept(Box::new(near)), said)
}

#[tokio::test]
async fn bytes_pass_between_two_ends_that_trust_each_other() {
    let authority = authority("ours");
    let client = ClientTls::new(&host(), Some(authority.certificate_pem()), None).unwrap();
    for name in ["hub.example", "127.0.0.1"] {
        let (accepted, connected) =
            greet(&server(&authority, ClientCertificates::Asked), &client, name).await;
        let ((mut there, certificate), mut here) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(certificate, None, "asked for, and not needed");
        let mut hello = [0; 5];
        there.read_exact(&mut hello).await.unwrap();
        there.write_all(b"and to you").await.unwrap();
        there.shutdown().await.unwrap();
        let mut answer = String::new();
        here.read_to_string(&mut answer).await.unwrap();
        assert_eq!((&hello, answer.as_str()), (b"hello", "and to you"));
    }
}

#[tokio::test]
async fn a_clients_certificate_is_handed_to_whoever_judges_it_version_1_too() {
    let ours = authority("ours");
    let strangers = authority("a stranger's").issue_client("device-7", a_year()).unwrap();
    let version_1 = Issued { certificate_pem: V1_SELF_SIGNED.into(), key_pem: V1_KEY.into() };
    for issued in [strangers, version_1] {
        let identity =
            ClientIdentity { chain_pem: issued.certificate_pem.clone(), key_pem: issued.key_pem.clone() };
        let client = ClientTls::new(&host(), Some(ours.certificate_pem()), Some(&identity)).unwrap();
        let (accepted, connected) =
            greet(&server(&ours, ClientCertificates::Asked), &client, "hub.example").await;
        connected.unwrap();
        let shown = accepted.unwrap().1.unwrap();
        let own = certificates(&issued.certificate_pem).unwrap().swap_remove(0);
        assert_eq!(thumbprint(shown.leaf()), thumbprint(&own));
        let (accepted, _) = greet(&server(&ours, ClientCertificates::No), &client, "hub.example").await;
        assert_eq!(accepted.unwrap().1, None, "not asked for");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_servers_certificate_is_said() {
    let (ours, other) = (authority("ours"), authority("other"));
    let server = server(&ours, ClientCertificates::Asked);
    let late = Host { clock: Arc::new(At(begin() + (366 * 24).hours())), ..host() };
    let early = Host { clock: Arc::new(At(begin() - 24.hours())), ..host() };
    for (host, roots, name, said) in [
        (host(), &other, "hub.example", "is signed by an authority that is not trusted here"),
        (late, &ours, "hub.example", "has expired, or the clock here is ahead"),
        (early, &ours, "hub.example", "is not valid yet, or the clock here is behind"),
        (host(), &ours, "cloud.example", "is not for the name cloud.example; it is for"),
    ] {
        let client = ClientTls::new(&host, Some(roots.certificate_pem()), None).unwrap();
        let (accepted, connected) = greet(&server, &client, name).await;
        let error = connected.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(accepted.is_err());
    }
}

#[tokio::test]
async fn a_server_hears_that_it_is_not_trusted_and_that_it_is_not_spoken_to_in_tls() {
    let (ours, other) = (authority("ours"), authority("other"));
    let server = server(&ours, ClientCertificates::Asked);
    let client = ClientTls::new(&host(), Some(other.certificate_pem()), None).unwrap();
    let error = greet(&server, &client, "hub.example").await.0.unwrap_err();
    assert_eq!(error.to_string(), "the client does not trust the authority of this server's certificate");

    let (near, mut far) = duplex(1024);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = server.accept(Box::new(near)).await.unwrap_err();
    assert_eq!(error.to_string(), "the client does not speak TLS on this port");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_begun_and_left_ends_after_ten_seconds() {
    let server = server(&authority("ours"), ClientCertificates::Asked);
    let (near, _far) = duplex(1024);
    let begun = tokio::time::Instant::now();
    let error = server.accept(Box::new(near)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[test]
fn a_wrong_certificate_key_or_root_is_named() {
    let ours = authority("ours");
    let (one, other) = (served_by(&ours), served_by(&ours));
    let serve =
        |chain: &str, key: &str| ServerTls::new(chain, key, ClientCertificates::No).unwrap_err().to_string();
    assert!(serve("nothing", &one.key_pem).starts_with("the certificate: "));
    assert!(serve(&one.certificate_pem, "nothing").starts_with("the key: no private key in PEM"));
    assert!(serve(&one.certificate_pem, &other.key_pem).starts_with("the certificate and its key: "));

    let trust = |roots: &str| ClientTls::new(&host(), Some(roots), None).unwrap_err().to_string();
    assert!(trust("nothing").starts_with("the trusted roots: "));
    let mixed = ClientIdentity { chain_pem: V1_SELF_SIGNED.into(), key_pem: one.key_pem };
    let error = ClientTls::new(&host(), Some(ours.certificate_pem()), Some(&mixed)).unwrap_err();
    assert_eq!(error.to_string(), "the key: it is not the key of the certificate");
    assert!(!format!("{mixed:?}").contains("PRIVATE"));
}

#[test]
fn without_roots_of_its_own_a_client_trusts_the_systems_or_what_ssl_cert_file_names() {
    let host = host();
    let error = ClientTls::new(&host, None, None).unwrap_err().to_string();
    assert!(error.contains("name a file of PEM certificates in SSL_CERT_FILE"), "{error}");
    host.disk.create_dir(Path::new("/pki")).unwrap();
    host.disk.write_atomic(Path::new("/pki/ca.pem"), authority("ours").certificate_pem().as_bytes()).unwrap();
    let host = host.with_env(Env::of([("SSL_CERT_FILE", "/pki/ca.pem")]));
    ClientTls::new(&host, None, None).unwrap();
}

/// A client that speaks TLS 1.2 only, as older devices do, with the certificate of version 1.
fn old_client(roots: &Authority, key_pem: &str) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let key = ring.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap());
    let chain = certificates(V1_SELF_SIGNED).unwrap().into_iter().map(CertificateDer::from).collect();
    let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key.unwrap()));
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(certificates(roots.certificate_pem()).unwrap().swap_remove(0).into()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(ring)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(trusted)
        .with_client_cert_resolver(Arc::new(identity));
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn in_tls_1_2_too_a_version_1_certificate_passes_only_with_its_key() {
    // The stock client judges by the real clock, so the server's certificate is good for long.
    let begin = "2020-01-01T00:00:00Z".parse().unwrap();
    let end = "2120-01-01T00:00:00Z".parse().unwrap();
    let ours = Authority::create("ours", begin, end).unwrap();
    let issued =
        ours.issue_server(&["hub.example".into()], Validity { not_before: begin, not_after: end }).unwrap();
    let server = ServerTls::new(&issued.certificate_pem, &issued.key_pem, ClientCertificates::Asked).unwrap();
    for (key, passes) in [(V1_KEY, true), (issued.key_pem.as_str(), false)] {
        let (near, far) = duplex(64 << 10);
        let client = old_client(&ours, key);
        let greeting = client.connect("hub.example".try_into().unwrap(), far);
        let (accepted, connected) = tokio::join!(server.accept(Box::new(near)), greeting);
        match accepted {
            Ok((_, shown)) => assert!(passes && connected.is_ok() && shown.is_some()),
            Err(error) => {
                assert!(!passes, "{error}");
                let said = "the client does not hold the key of the certificate it showed";
                assert_eq!(error.to_string(), said);
            }
        }
    }
}
