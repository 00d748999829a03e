//! Twins, both ends: the client's by MQTT, the service's by REST.

mod support;

use rumqttc::{Publish, QoS};
use serde_json::{Value, json};
use support::{Site, Stranger};

async fn twin_client(site: &Site) -> Stranger {
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("$iothub/twin/res/#", QoS::AtMostOnce).await;
    filter.subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtMostOnce).await;
    filter
}

fn json_of(message: &Publish) -> Value {
    serde_json::from_slice(&message.payload).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reads_its_twin_and_reports_and_the_service_sees_it() {
    let site = Site::start().await;
    let mut filter = twin_client(&site).await;
    filter.send("$iothub/twin/GET/?$rid=a1", " ").await;
    let twin = filter.publish().await;
    assert_eq!(twin.topic, "$iothub/twin/res/200/?$rid=a1");
    let twin = json_of(&twin);
    assert_eq!(twin["desired"]["TemperatureThreshold"], 25);
    assert!(twin["desired"]["$version"].is_u64() && twin["reported"]["$version"].is_u64());
    assert_eq!(twin.as_object().unwrap().len(), 2);

    filter.send("$iothub/twin/PATCH/properties/reported/?$rid=a2", r#"{"a":{"b":1}}"#).await;
    let answer = filter.publish().await;
    let version = twin["reported"]["$version"].as_u64().unwrap() + 1;
    assert_eq!(answer.topic, format!("$iothub/twin/res/204/?$rid=a2&$version={version}"));
    assert!(answer.payload.is_empty());

    let seen = site.get("/twins/edge/modules/filter").await;
    assert_eq!(seen["properties"]["reported"]["a"], json!({"b": 1}));
    assert!(seen["properties"]["reported"]["$metadata"]["a"]["b"]["$lastUpdated"].is_string());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_may_not_be_is_answered_with_the_reason_and_changes_nothing() {
    let site = Site::start().await;
    let mut filter = twin_client(&site).await;
    for (rid, body) in [("b1", "not json"), ("b2", r#"{"a.b":1}"#), ("b3", "[1]")] {
        filter.send(&format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}"), body).await;
        let answer = filter.publish().await;
        assert_eq!(answer.topic, format!("$iothub/twin/res/400/?$rid={rid}"));
        let error = json_of(&answer);
        assert_eq!(error["errorCode"], 400_004);
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let seen = site.get("/twins/edge/modules/filter").await;
    assert_eq!(seen["properties"]["reported"]["$version"], 1);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_of_the_service_reaches_the_client_with_its_version() {
    let site = Site::start().await;
    let mut filter = twin_client(&site).await;
    let path = "/twins/edge/modules/filter";
    let before = site.get(path).await;
    let body =
        json!({"properties": {"desired": {"TemperatureThreshold": 30, "gone": null}}, "tags": {"site": "a"}});
    let answer = site.rest("PATCH", path, body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let after: Value = serde_json::from_slice(&answer.body).unwrap();
    let version = before["properties"]["desired"]["$version"].as_u64().unwrap() + 1;
    assert_eq!(after["properties"]["desired"]["$version"], version);
    assert_eq!(after["tags"], json!({"site": "a"}));

    let patch = filter.publish().await;
    assert_eq!(patch.topic, format!("$iothub/twin/PATCH/properties/desired/?$version={version}"));
    assert_eq!(json_of(&patch)["TemperatureThreshold"], 30);
    assert_eq!(json_of(&patch)["$version"], version);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etag_that_is_not_the_present_one_is_refused_quoted_or_not() {
    let site = Site::start().await;
    let path = "/twins/edge/modules/filter";
    let etag = site.get(path).await["etag"].as_str().unwrap().to_owned();
    let body = json!({"properties": {"desired": {"x": 1}}}).to_string();
    let first = site.rest_with("PATCH", path, &[("if-match", &format!("\"{etag}\""))], body.clone()).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    let second = site.rest_with("PATCH", path, &[("if-match", &etag)], body.clone()).await;
    assert_eq!(second.status, 412);
    assert_eq!(second.header("iothub-errorcode"), Some("PreconditionFailed"));
    let any = site.rest_with("PUT", path, &[("if-match", "*")], body).await;
    assert_eq!(any.status, 200, "{:?}", any.body);
    let twin = site.get(path).await;
    assert_eq!(twin["properties"]["desired"]["x"], 1);
    assert!(twin["properties"]["desired"].get("TemperatureThreshold").is_none(), "PUT replaces");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_cannot_report_and_hears_what_is_wrong_with_a_patch() {
    let site = Site::start().await;
    for body in [
        json!({"properties": {"reported": {"a": 1}}}),
        json!({"properties": {"desired": {"a b": 1}}}),
        json!({"properties": 1}),
        json!([]),
    ] {
        let answer = site.rest("PATCH", "/twins/edge/modules/filter", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        let error: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(error["Message"].as_str().unwrap().starts_with("ErrorCode:ArgumentInvalid;"), "{error}");
    }
    site.stop().await;
}
