use isotherm_hub::core::{Counter, Credential, Right, Unauthorized};
use isotherm_iothub::{Key, Token};
use serde_json::json;

use crate::site::{HOST, Site, identity};

fn token(site: &Site, key: &Key, resource: &str, seconds: i64) -> String {
    Token::mint(key, resource, site.now.wall.as_second() + seconds, None)
}

fn own_token(site: &Site, who: &str, seconds: i64) -> String {
    let who = identity(who);
    token(site, &site.core.key_of(&who).unwrap(), &who.resource(HOST), seconds)
}

fn decide(site: &Site, who: &str, token: &str) -> Result<(), Unauthorized> {
    site.core.authenticate(&identity(who), Credential::Sas(token), site.now.wall).map(drop)
}

#[test]
fn a_module_comes_in_with_its_own_key_and_until_its_token_ends() {
    let site = Site::pipeline();
    let token = own_token(&site, "edge/filter", 60);
    let who = identity("edge/filter");
    let entered = site.core.authenticate(&who, Credential::Sas(&token), site.now.wall).unwrap();
    let until = entered.until.unwrap();
    assert_eq!(until.as_second() - site.now.wall.as_second(), 60 + 300, "five minutes of skew");
}

#[test]
fn the_secondary_key_is_as_good_as_the_primary() {
    let mut site = Site::new();
    let (one, two) = (Key::from_bytes(&[1; 32]), Key::from_bytes(&[2; 32]));
    let keys = json!({"primaryKey": one.to_base64(), "secondaryKey": two.to_base64()});
    let document = json!({"deviceId": "d", "authentication": {"type": "sas", "symmetricKey": keys}});
    site.core.put_device("d", &document, None, site.now).unwrap();
    for key in [&one, &two] {
        assert_eq!(decide(&site, "d", &token(&site, key, &format!("{HOST}/devices/d"), 60)), Ok(()));
    }
    let third = token(&site, &Key::from_bytes(&[3; 32]), &format!("{HOST}/devices/d"), 60);
    assert_eq!(decide(&site, "d", &third), Err(Unauthorized::Signature));
    assert_eq!(site.counted(Counter::ConnectionsSignature), 1);
}

#[test]
fn an_expired_token_is_refused_after_five_minutes_of_grace() {
    let site = Site::pipeline();
    assert_eq!(decide(&site, "edge/filter", &own_token(&site, "edge/filter", -299)), Ok(()));
    let late = decide(&site, "edge/filter", &own_token(&site, "edge/filter", -301));
    assert_eq!(late, Err(Unauthorized::Expired));
    assert_eq!(site.counted(Counter::ConnectionsExpiredToken), 1);
}

#[test]
fn a_token_for_somebody_or_somewhere_else_is_refused() {
    let site = Site::pipeline();
    let sensors = own_token(&site, "edge/sensor", 60);
    assert_eq!(decide(&site, "edge/filter", &sensors), Err(Unauthorized::Audience));
    let key = site.core.key_of(&identity("edge/filter")).unwrap();
    let elsewhere = token(&site, &key, "other.azure-devices.net/devices/edge/modules/filter", 60);
    assert_eq!(decide(&site, "edge/filter", &elsewhere), Err(Unauthorized::Audience));
    let loud = token(&site, &key, "LOCALHUB.azure-devices.net/devices/edge/modules/filter", 60);
    assert_eq!(decide(&site, "edge/filter", &loud), Ok(()), "a host's name has no case");
}

#[test]
fn a_devices_own_token_does_not_open_its_modules_sessions() {
    let site = Site::pipeline();
    let device = own_token(&site, "edge", 60);
    assert_eq!(decide(&site, "edge", &device), Ok(()));
    assert_eq!(decide(&site, "edge/filter", &device), Err(Unauthorized::Audience));
}

#[test]
fn nobody_comes_in_unknown_disabled_or_with_nothing() {
    let mut site = Site::new();
    site.device("d");
    let token = own_token(&site, "d", 60);
    assert_eq!(decide(&site, "x", &token), Err(Unauthorized::Unknown));
    assert_eq!(decide(&site, "d", "SharedAccessSignature nonsense"), Err(Unauthorized::Malformed));
    let nothing = site.core.authenticate(&identity("d"), Credential::None, site.now.wall);
    assert_eq!(nothing, Err(Unauthorized::NoCredential));
    site.core.put_device("d", &json!({"status": "disabled"}), Some("*"), site.now).unwrap();
    assert_eq!(decide(&site, "d", &token), Err(Unauthorized::Disabled));
}

#[test]
fn a_policy_that_may_connect_devices_opens_any_session_and_no_other_policy_does() {
    let site = Site::pipeline();
    let policies = site.core.policies();
    let expiry = site.now.wall.as_second() + 60;
    let outcomes = policies
        .iter()
        .map(|(name, key)| decide(&site, "edge/filter", &Token::mint(key, HOST, expiry, Some(name))).is_ok());
    assert_eq!(outcomes.collect::<Vec<_>>(), [true, false, true, false, false]);
    let unknown = Token::mint(&policies[0].1, HOST, expiry, Some("nobody"));
    assert_eq!(decide(&site, "edge/filter", &unknown), Err(Unauthorized::Policy));
}

#[test]
fn a_certificate_is_known_by_its_thumbprint_or_by_who_issued_it() {
    let mut site = Site::new();
    let print = "A".repeat(40);
    let own =
        json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": print}}});
    site.core.put_device("own", &own, None, site.now).unwrap();
    let issued = json!({"authentication": {"type": "certificateAuthority"}});
    site.core.put_device("issued", &issued, None, site.now).unwrap();

    let enters = |who: &str, print: &str, chain_trusted, common_name: &str| {
        let thumbprints = [print.to_owned()];
        let shown = Credential::Certificate { thumbprints: &thumbprints, chain_trusted, common_name };
        site.core.authenticate(&identity(who), shown, site.now.wall).is_ok()
    };
    assert!(enters("own", &"a".repeat(40), false, "whatever"));
    assert!(!enters("own", &"b".repeat(40), true, "own"));
    assert!(enters("issued", "", true, "issued"));
    assert!(!enters("issued", "", false, "issued"), "not by a trusted authority");
    assert!(!enters("issued", "", true, "other"), "for somebody else");
    let token = Token::mint(&Key::from_bytes(&[0; 32]), &format!("{HOST}/devices/own"), i64::MAX, None);
    assert_eq!(decide(&site, "own", &token), Err(Unauthorized::Signature));
}

#[test]
fn the_service_side_asks_for_the_right_and_for_the_path() {
    let site = Site::pipeline();
    let policies = site.core.policies();
    let expiry = site.now.wall.as_second() + 60;
    let asks = |policy: &str, resource: &str, right, path: &str| {
        let (_, key) = policies.iter().find(|(name, _)| name == policy).unwrap();
        let token = Token::mint(key, resource, expiry, Some(policy));
        site.core.authorize_service(&token, right, path, site.now.wall).map(|it| it.by)
    };
    let narrow = format!("{HOST}/devices/edge");
    assert_eq!(asks("service", HOST, Right::ServiceConnect, "/twins/edge"), Ok("service".to_owned()));
    assert_eq!(asks("service", HOST, Right::RegistryWrite, "/devices/edge"), Err(Unauthorized::Right));
    assert!(asks("registryRead", &narrow, Right::RegistryRead, "/devices/edge/modules/filter").is_ok());
    let beside = asks("registryRead", &narrow, Right::RegistryRead, "/devices/edge2");
    assert_eq!(beside, Err(Unauthorized::Audience), "segments are compared, not letters");
    assert_eq!(site.counted(Counter::RequestsUnauthorized), 2);
}

#[test]
fn an_edge_device_looks_after_its_own_modules_and_no_others() {
    let mut site = Site::pipeline();
    site.device("plain");
    let edge = own_token(&site, "edge", 60);
    let asks = |token: &str, path: &str| {
        site.core.authorize_service(token, Right::RegistryWrite, path, site.now.wall).map(drop)
    };
    assert_eq!(asks(&edge, "/devices/edge/modules/new"), Ok(()));
    assert_eq!(asks(&edge, "/devices/plain/modules/new"), Err(Unauthorized::Audience));
    assert_eq!(asks(&edge, "/devices/edge"), Err(Unauthorized::Right));
    let plain = own_token(&site, "plain", 60);
    assert_eq!(asks(&plain, "/devices/plain/modules/new"), Err(Unauthorized::Right));
}

#[test]
fn policies_and_keys_stay_the_same_after_a_restart() {
    let site = Site::pipeline();
    let (policies, key) = (site.core.policies(), site.core.key_of(&identity("edge/filter")));
    site.commit();
    let site = site.power_cut();
    assert!(site.core.policies() == policies);
    assert!(key.is_some() && site.core.key_of(&identity("edge/filter")) == key);
}

#[test]
fn the_modules_of_a_disabled_device_do_not_come_in() {
    let mut site = Site::new();
    site.device("d");
    site.core.put_module("d", "m", &json!({}), None, site.now).unwrap();
    let token = own_token(&site, "d/m", 60);
    assert_eq!(decide(&site, "d/m", &token), Ok(()));
    site.core.put_device("d", &json!({"status": "disabled"}), Some("*"), site.now).unwrap();
    assert_eq!(decide(&site, "d/m", &token), Err(Unauthorized::Disabled));
}
