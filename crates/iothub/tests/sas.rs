//! Tokens against values that other implementations computed (OpenSSL, Python's `hmac`, the SDKs).

use isotherm_iothub::{Identity, Key, Token};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const HOST: &str = "contoso-hub.azure-devices.net";
const EXPIRY: i64 = 1_735_689_600;

fn key() -> Key {
    Key::from_base64(KEY).unwrap()
}

#[test]
fn the_text_that_a_module_has_signed_is_the_worked_examples() {
    let module: Identity = "edge-01/sensor".parse().unwrap();
    assert_eq!(
        Token::string_to_sign(&module.resource(HOST), EXPIRY),
        "contoso-hub.azure-devices.net%2Fdevices%2Fedge-01%2Fmodules%2Fsensor\n1735689600"
    );
}

#[test]
fn the_token_of_the_worked_example_is_minted_byte_for_byte() {
    let module: Identity = "edge-01/sensor".parse().unwrap();
    assert_eq!(
        Token::mint(&key(), &module.resource(HOST), EXPIRY, None),
        "SharedAccessSignature sr=contoso-hub.azure-devices.net%2Fdevices%2Fedge-01%2Fmodules%2Fsensor\
         &sig=7BJfOQdv0DuAKkP%2BaUOU0HErPyeNjmTsTw9qJvPgbmY%3D&se=1735689600"
    );
}

#[test]
fn every_principals_signature_is_the_worked_examples() {
    for (resource, policy, signature) in [
        (format!("{HOST}/devices/edge-01"), None, "G7wBHiMJSnyimDDGMu13YrDsEbF8FLgc4WVBkHfvzZQ="),
        (HOST.to_owned(), Some("iothubowner"), "SURLKJ+6Wff45SSjQou7GSteykEsyaGesczpiC2J/Pw="),
        (
            format!("{HOST}/devices/edge-01/modules/$edgeHub"),
            None,
            "1K79QS+GKNgnSgCryizuxJm9yZVeElEtFbUaCicbewY=",
        ),
        (
            "0ne00000001/registrations/edge-01".to_owned(),
            Some("registration"),
            "HsALi+/zKB/IYIqKlRrddOmTwwc4HmaPdAt/DxBSZPQ=",
        ),
    ] {
        let token = Token::parse(&Token::mint(&key(), &resource, EXPIRY, policy)).unwrap();
        assert_eq!(token.signature, signature, "{resource}");
        assert_eq!((token.resource.as_str(), token.policy.as_deref()), (resource.as_str(), policy));
        assert!(token.verify(&key()));
    }
}

#[test]
fn a_resource_that_was_signed_unencoded_verifies_over_its_own_text() {
    let token = Token::parse(
        "SharedAccessSignature sr=contoso-hub.azure-devices.net/devices/edge-01/modules/sensor\
         &sig=b9+KryDZ1OCAuXVq9JkJE/PC1MWs+K9CTtbQa3UzwnE=&se=1735689600",
    )
    .unwrap();
    assert!(token.verify(&key()));
    assert!(token.is_for(&[HOST], &"edge-01/sensor".parse().unwrap()));
}

#[test]
fn a_group_enrollments_key_derives_the_registrations() {
    assert_eq!(key().derive("edge-01").to_base64(), "nYVSRff9w24ZG6C+UO2/X32/fBKC2kZAfZf0CnBItmI=");
}

#[test]
fn the_public_vector_of_the_rust_crate_holds() {
    let key = Key::from_base64("O+H9VTcdJP0TQkl7bh4nVG0OJNrEataMpuWB54D0VEc=").unwrap();
    let token = Token::mint(&key, "pontifex.azure-devices.net/devices/FirstDevice", 1_593_353_305, None);
    assert!(token.contains("&sig=CKYVArtLm72J2UNWLb4V3XqPc679Ig3LX83G3nPExUc%3D&"), "{token}");
}
