//! Devices that come in by certificate: one registered by its thumbprint, one issued by an authority that is trusted.

mod support;

use isotherm_host::Host;
use isotherm_host::tls::{ClientIdentity, ClientTls};
use isotherm_hub::Options;
use isotherm_pki::{Authority, Issued, Validity, certificates, thumbprint};
use jiff::SignedDuration;
use serde_json::json;
use support::{Folder, PATIENCE, Site, ephemeral, user_name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn validity() -> Validity {
    let (now, day) = (Host::real().wall(), SignedDuration::from_hours(24));
    Validity { not_before: now - day, not_after: now + day }
}

fn authority() -> Authority {
    let Validity { not_before, not_after } = validity();
    Authority::create("somebody's devices", not_before, not_after).unwrap()
}

/// The code of the CONNACK that a device gets for this certificate and no password.
async fn connack(site: &Site, device: &str, issued: &Issued) -> u8 {
    let identity =
        ClientIdentity { chain_pem: issued.certificate_pem.clone(), key_pem: issued.key_pem.clone() };
    let stream = site.host.network.dial("127.0.0.1", site.ready.ports.mqtts).await.unwrap();
    let tls = ClientTls::new(&site.host, Some(&site.ca), Some(&identity)).unwrap();
    let mut stream = tls.connect(stream, "localhost").await.unwrap();
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0x82, 0, 60]; // a user name, no password
    for text in [device, &user_name(device)] {
        body.extend((text.len() as u16).to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10, body.len() as u8];
    assert!(body.len() < 128, "one byte of length is enough");
    packet.extend(body);
    stream.write_all(&packet).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
    answer[3]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_opens_the_door_for_the_device_that_it_is_registered_for() {
    let site = Site::start().await;
    let mine = authority().issue_client("anything", validity()).unwrap();
    let print = thumbprint(&certificates(&mine.certificate_pem).unwrap()[0]);
    let registered = json!({"deviceId": "leaf", "authentication": {
        "type": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": print, "secondaryThumbprint": null},
    }});
    let answer = site.rest("PUT", "/devices/leaf", registered).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    site.device("other").await;

    assert_eq!(connack(&site, "leaf", &mine).await, 0);
    assert_eq!(connack(&site, "other", &mine).await, 5);
    let anothers = authority().issue_client("leaf", validity()).unwrap();
    assert_eq!(connack(&site, "leaf", &anothers).await, 5);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_a_trusted_authority_opens_the_door_for_the_device_it_names() {
    let folder = Folder::new("device-ca");
    let (ours, theirs) = (authority(), authority());
    let file = folder.path().join("devices.pem");
    std::fs::write(&file, ours.certificate_pem()).unwrap();
    let site = Site::with(Options { device_ca: vec![file], ..ephemeral() }).await;
    for name in ["leaf", "other"] {
        let registered = json!({"deviceId": name, "authentication": {"type": "certificateAuthority"}});
        let answer = site.rest("PUT", &format!("/devices/{name}"), registered).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
    let leaf = ours.issue_client("leaf", validity()).unwrap();
    assert_eq!(connack(&site, "leaf", &leaf).await, 0);
    assert_eq!(connack(&site, "other", &leaf).await, 5, "it names somebody else");
    let strange = theirs.issue_client("leaf", validity()).unwrap();
    assert_eq!(connack(&site, "leaf", &strange).await, 5, "nobody trusts its authority");
    site.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_authority_is_named_at_the_start() {
    let folder = Folder::new("no-ca");
    let file = folder.path().join("devices.pem");
    std::fs::write(&file, "hello").unwrap();
    let options = Options { device_ca: vec![file], ..ephemeral() };
    let error =
        isotherm_hub::Hub::start(Host::real().with_own_stop(), options).await.unwrap_err().to_string();
    assert!(error.contains("devices.pem") && error.contains("PEM"), "{error}");
}
