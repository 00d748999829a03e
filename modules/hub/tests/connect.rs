//! Who gets in, who does not, and what either is told.

mod support;

use isotherm_iothub::{Identity, Token};
use rumqttc::{ConnectReturnCode, ConnectionError, MqttOptions, QoS};
use serde_json::json;
use support::{HUB, Site, Stranger, user_name};

/// How a CONNECT with these options is answered.
async fn answer(options: MqttOptions) -> ConnectReturnCode {
    let (_client, mut events) = rumqttc::AsyncClient::new(options, 10);
    match tokio::time::timeout(support::PATIENCE, events.poll()).await.expect("an answer in time") {
        Ok(_) => ConnectReturnCode::Success,
        Err(ConnectionError::ConnectionRefused(code)) => code,
        Err(other) => panic!("no CONNACK: {other}"),
    }
}

async fn with_token(site: &Site, who: &str, token: String) -> MqttOptions {
    let mut options = site.options("edge/sensor").await;
    options.set_credentials(user_name(who), token);
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_credential_is_refused_for_good_and_the_right_one_is_not() {
    let site = Site::start().await;
    let (key, now) = (site.key("edge/sensor").await, site.host.wall().as_second());
    let own = Identity::module("edge", "sensor").unwrap().resource(HUB);
    let other = Identity::module("edge", "filter").unwrap().resource(HUB);
    let later = now + 3_600;
    let foreign_key = site.key("edge/filter").await;
    let cases = [
        ("the right one", Token::mint(&key, &own, later, None), ConnectReturnCode::Success),
        (
            "expired by less than the skew",
            Token::mint(&key, &own, now - 60, None),
            ConnectReturnCode::Success,
        ),
        ("expired", Token::mint(&key, &own, now - 400, None), ConnectReturnCode::NotAuthorized),
        ("another's key", Token::mint(&foreign_key, &own, later, None), ConnectReturnCode::NotAuthorized),
        ("another's resource", Token::mint(&key, &other, later, None), ConnectReturnCode::NotAuthorized),
        (
            "another hub's",
            Token::mint(&key, "elsewhere/devices/edge/modules/sensor", later, None),
            ConnectReturnCode::NotAuthorized,
        ),
        ("no token at all", "secret".to_owned(), ConnectReturnCode::NotAuthorized),
    ];
    for (name, token, wanted) in cases {
        let options = with_token(&site, "edge/sensor", token).await;
        assert_eq!(answer(options).await, wanted, "{name}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_name_must_make_sense_and_the_client_id_must_be_its_identity() {
    let site = Site::start().await;
    let token = site.token("edge/sensor").await;
    let cases = [
        (format!("{HUB}/edge/sensor/?api-version=x"), ConnectReturnCode::Success),
        (
            format!("{HUB}/edge/sensor/api-version=2017-06-30/DeviceClientType=old"),
            ConnectReturnCode::Success,
        ),
        (format!("{HUB}/edge/sensor/?DeviceClientType=x"), ConnectReturnCode::ServiceUnavailable),
        (HUB.to_owned(), ConnectReturnCode::ServiceUnavailable),
        (user_name("edge/Sensor"), ConnectReturnCode::NotAuthorized),
        (user_name("edge"), ConnectReturnCode::NotAuthorized),
        (user_name("nobody"), ConnectReturnCode::NotAuthorized),
    ];
    for (name, wanted) in cases {
        let mut options = site.options("edge/sensor").await;
        options.set_credentials(name.clone(), token.clone());
        assert_eq!(answer(options).await, wanted, "{name}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_device_is_refused_and_one_that_is_disabled_later_is_put_out() {
    let site = Site::start().await;
    site.device("leaf").await;
    let leaf = site.stranger("leaf").await;
    let options = site.options("leaf").await;
    let disabled = json!({"deviceId": "leaf", "status": "disabled"});
    let answered = site.rest_with("PUT", "/devices/leaf", &[("if-match", "*")], disabled.to_string()).await;
    assert_eq!(answered.status, 200, "{:?}", answered.body);
    leaf.closed().await;
    assert_eq!(answer(options).await, ConnectReturnCode::NotAuthorized);
    assert_eq!(site.door("mqtt_ended_identity_removed").await, 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_of_an_identity_takes_over_and_the_first_is_closed() {
    let site = Site::start().await;
    let first = site.stranger("edge/sensor").await;
    let mut second = site.stranger("edge/sensor").await;
    first.closed().await;
    second.send("devices/edge/modules/sensor/messages/events/", "still here").await;
    assert_eq!(site.door("mqtt_ended_taken_over").await, 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_is_kept_for_who_asks_and_forgotten_for_who_does_not() {
    let site = Site::start().await;
    let filter = "devices/edge/modules/filter/inputs/#";
    let mut kept = site.stranger("edge/filter").await;
    assert!(!kept.session_present);
    kept.subscribe(filter, QoS::AtLeastOnce).await;
    drop(kept);
    let again = site.stranger("edge/filter").await;
    assert!(again.session_present);
    drop(again);

    let mut clean = site.options("edge/filter").await;
    clean.set_clean_session(true);
    assert!(!Stranger::connect(clean).await.session_present);
    assert!(!site.stranger("edge/filter").await.session_present);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_of_others_and_unknown_ones_are_refused_and_qos_two_is_granted_as_one() {
    let site = Site::start().await;
    let mut sensor = site.stranger("edge/sensor").await;
    assert_eq!(sensor.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await, None);
    assert_eq!(sensor.subscribe("#", QoS::AtLeastOnce).await, None);
    assert_eq!(sensor.subscribe("some/topic", QoS::AtMostOnce).await, None);
    let granted = sensor.subscribe("devices/edge/modules/sensor/#", QoS::ExactlyOnce).await;
    assert_eq!(granted, Some(QoS::AtLeastOnce));
    assert_eq!(sensor.subscribe("$iothub/twin/res/#", QoS::AtMostOnce).await, Some(QoS::AtMostOnce));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_when_its_token_does() {
    let site = Site::start().await;
    let key = site.key("edge/sensor").await;
    let own = Identity::module("edge", "sensor").unwrap().resource(HUB);
    // Five minutes of skew are allowed, so this one has two seconds left.
    let expiry = site.host.wall().as_second() - 300 + 2;
    let options = with_token(&site, "edge/sensor", Token::mint(&key, &own, expiry, None)).await;
    Stranger::connect(options).await.closed().await;
    assert_eq!(site.door("mqtt_ended_token_expired").await, 1);
    site.stop().await;
}
