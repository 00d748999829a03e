//! Certificates from making to judging, as a hub and its devices use them.

use isotherm_pki::{
    Authority, Renewal, Validity, certificates, chain_trusted, common_name, not_after, public_key, renewal,
    thumbprint,
};
use jiff::{Timestamp, ToSpan};

/// Self-signed and of X.509 version 1, as the official SDKs' test certificates are (made with `openssl x509 -req`).
const V1_SELF_SIGNED: &str = include_str!("data/v1-self-signed.pem");
/// Of version 1 too, signed by the root below.
const V1_LEAF: &str = include_str!("data/v1-leaf.pem");
/// Signed with the key of the leaf above.
const SIGNED_BY_V1_LEAF: &str = include_str!("data/signed-by-v1-leaf.pem");
const FLEET_ROOT: &str = include_str!("data/fleet-root.pem");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn authority() -> Authority {
    Authority::create("isotherm test", at("2026-01-01T00:00:00Z"), at("2036-01-01T00:00:00Z")).unwrap()
}

fn ninety_days() -> Validity {
    let not_before = at("2026-06-01T00:00:00Z");
    Validity { not_before, not_after: not_before + (90 * 24).hours() }
}

fn names() -> Vec<String> {
    ["localhub.azure-devices.net", "localhost", "127.0.0.1", "::1"].map(String::from).to_vec()
}

#[test]
fn a_certificate_that_was_made_reads_back_as_it_was_asked_for() {
    let issued = authority().issue_client("edge/filter", ninety_days()).unwrap();
    let der = certificates(&issued.certificate_pem).unwrap().swap_remove(0);
    assert_eq!(common_name(&der).as_deref(), Some("edge/filter"));
    assert_eq!(not_after(&issued.certificate_pem).unwrap(), ninety_days().not_after);
    assert_eq!(thumbprint(&der).len(), 40);
    assert!(issued.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn an_authority_that_was_kept_goes_on_issuing() {
    let made = authority();
    let kept = Authority::from_pem(made.certificate_pem(), made.key_pem()).unwrap();
    let issued = kept.issue_client("device-3", ninety_days()).unwrap();
    let chain = certificates(&issued.certificate_pem).unwrap();
    chain_trusted(&chain, made.certificate_pem(), ninety_days().not_before).unwrap();
}

#[test]
fn an_authority_does_not_take_another_ones_key() {
    let error = Authority::from_pem(authority().certificate_pem(), authority().key_pem()).unwrap_err();
    assert!(error.to_string().contains("not the key of the authority's certificate"), "{error}");
}

#[test]
fn a_server_with_no_name_or_too_many_is_refused() {
    assert!(authority().issue_server(&[], ninety_days()).is_err());
    let many = |count| (0..count).map(|n| format!("hub{n}.example")).collect::<Vec<_>>();
    assert!(authority().issue_server(&many(100), ninety_days()).is_ok());
    assert!(authority().issue_server(&many(101), ninety_days()).is_err());
}

#[test]
fn no_key_reaches_debug_output() {
    let authority = authority();
    let issued = authority.issue_client("device", ninety_days()).unwrap();
    assert!(!format!("{authority:?}{issued:?}").contains("PRIVATE"));
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
    let authority = authority();
    let issued = authority.issue_server(&names(), ninety_days()).unwrap();
    let decide = |now| renewal(&issued.certificate_pem, &names(), authority.certificate_pem(), now);
    let begin = ninety_days().not_before;
    assert_eq!(decide(begin), Renewal::Keep);
    assert_eq!(decide(begin + (60 * 24).hours() - 1.second()), Renewal::Keep);
    assert_eq!(decide(begin + (60 * 24).hours()), Renewal::Issue("it ends at 2026-08-30T00:00:00Z".into()));
    assert!(matches!(decide(begin - 1.second()), Renewal::Issue(_)));
}

#[test]
fn a_certificate_is_renewed_for_a_new_name_or_a_new_authority() {
    let (authority, other) = (authority(), authority());
    let issued = authority.issue_server(&names(), ninety_days()).unwrap();
    let begin = ninety_days().not_before;
    for name in ["other.example", "10.0.0.1"] {
        let wanted = [names(), vec![name.to_owned()]].concat();
        let decided = renewal(&issued.certificate_pem, &wanted, authority.certificate_pem(), begin);
        assert_eq!(decided, Renewal::Issue(format!("it does not name {name}")));
    }
    let decided = renewal(&issued.certificate_pem, &names(), other.certificate_pem(), begin);
    assert_eq!(decided, Renewal::Issue("another authority made it".into()));
    assert!(matches!(renewal("torn", &names(), other.certificate_pem(), begin), Renewal::Issue(_)));
}

#[test]
fn a_version_1_leaf_is_trusted_by_its_authority_and_gives_its_key() {
    let chain = certificates(V1_LEAF).unwrap();
    chain_trusted(&chain, FLEET_ROOT, at("2030-01-01T00:00:00Z")).unwrap();
    assert_eq!(common_name(&chain[0]).as_deref(), Some("device-2"));
    let key = public_key(&certificates(V1_SELF_SIGNED).unwrap()[0]).unwrap();
    assert_eq!(key.key.len(), 65, "an uncompressed point on P-256");
    assert!(key.spki.ends_with(&key.key));
}

#[test]
fn a_leaf_that_nobody_trusted_has_signed_is_refused_with_its_issuer() {
    let now = at("2030-01-01T00:00:00Z");
    let chain = certificates(V1_SELF_SIGNED).unwrap();
    let error = chain_trusted(&chain, FLEET_ROOT, now).unwrap_err();
    assert!(error.to_string().contains("CN=device-1"), "{error}");
    // Bringing its own root along does not help a stranger.
    let brought = [certificates(V1_LEAF).unwrap(), certificates(FLEET_ROOT).unwrap()].concat();
    assert!(chain_trusted(&brought, authority().certificate_pem(), now).is_err());
    assert!(chain_trusted(&[], FLEET_ROOT, now).is_err());
}

/// Whatever a stranger hangs behind its leaf, no more than eight of it are looked at.
#[test]
fn a_chain_is_looked_at_to_its_eighth_certificate_and_no_further() {
    let now = at("2030-01-01T00:00:00Z");
    let leaf = certificates(V1_LEAF).unwrap().remove(0);
    let rubbish = b"no certificate at all".to_vec();
    let chain = |good: usize| [vec![leaf.clone(); good], vec![rubbish.clone()]].concat();
    assert!(chain_trusted(&chain(7), FLEET_ROOT, now).is_err(), "the eighth is looked at and is none");
    chain_trusted(&chain(8), FLEET_ROOT, now).expect("the ninth is not looked at");
}

#[test]
fn a_leaf_is_no_authority_even_under_a_trusted_root() {
    // device-2 is trusted and of version 1; were it taken as an authority, whoever holds it could make devices.
    let chain = [certificates(SIGNED_BY_V1_LEAF).unwrap(), certificates(V1_LEAF).unwrap()].concat();
    let now = at("2030-01-01T00:00:00Z");
    assert!(chain_trusted(&chain, FLEET_ROOT, now).is_err());
    // Named as a root it is one: the signature was not what was wrong.
    chain_trusted(&chain, V1_LEAF, now).unwrap();
}

#[test]
fn a_chain_is_judged_by_the_clock_that_is_handed_in() {
    let authority = authority();
    let issued = authority.issue_client("device", ninety_days()).unwrap();
    let chain = certificates(&issued.certificate_pem).unwrap();
    let judge =
        |now| chain_trusted(&chain, authority.certificate_pem(), now).map_err(|error| error.to_string());
    assert_eq!(judge(ninety_days().not_after), Ok(()));
    assert!(judge(at("2026-05-31T23:59:59Z")).unwrap_err().contains("begins only at"));
    assert!(judge(at("2026-08-30T00:00:01Z")).unwrap_err().contains("ended at"));
}

#[test]
fn a_servers_certificate_does_not_serve_a_client() {
    let authority = authority();
    let issued = authority.issue_server(&names(), ninety_days()).unwrap();
    let chain = certificates(&issued.certificate_pem).unwrap();
    let error = chain_trusted(&chain, authority.certificate_pem(), ninety_days().not_before).unwrap_err();
    assert!(error.to_string().contains("not for clients"), "{error}");
}
