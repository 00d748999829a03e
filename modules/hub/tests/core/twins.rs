use isotherm_hub::core::{Change, Counter, ErrorCode, Limits, Outgoing};
use isotherm_hub::store::Settings;
use isotherm_iothub::Feed;
use serde_json::{Value, json};

use crate::site::{Site, identity};

fn patch(desired: Value) -> Change {
    Change::Patch { tags: None, desired: Some(desired) }
}

#[test]
fn a_desired_patch_raises_the_version_and_reaches_the_client_once_it_is_on_disk() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Desired);
    let who = identity("edge/filter");
    let before = site.core.twin_get(&who).unwrap()["desired"]["$version"].as_u64().unwrap();
    let change = patch(json!({"TemperatureThreshold": 30}));
    let (document, ticket) = site.core.desired(&who, change, None, site.now).unwrap();
    assert_eq!(document["properties"]["desired"]["TemperatureThreshold"], 30);
    assert_eq!(document["properties"]["desired"]["$version"], before + 1);

    assert!(site.poll(filter).is_none(), "not on disk yet");
    site.commit();
    assert!(site.is_durable(ticket));
    let Some(Outgoing::Desired { version, patch }) = site.poll(filter) else { panic!("now it is told") };
    assert_eq!((version, patch), (before + 1, json!({"TemperatureThreshold": 30, "$version": before + 1})));
    assert!(site.poll(filter).is_none());
}

#[test]
fn a_patch_that_changes_nothing_raises_no_version_and_tells_nobody() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Desired);
    let who = identity("edge/filter");
    let before = site.core.twin_get(&who).unwrap();
    site.core.desired(&who, patch(json!({"TemperatureThreshold": 20})), None, site.now).unwrap();
    site.commit();
    assert_eq!(site.core.twin_get(&who).unwrap(), before);
    assert!(site.poll(filter).is_none());
}

#[test]
fn replacing_desired_properties_tells_the_client_what_is_gone() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Desired);
    let change = Change::Replace { tags: None, desired: Some(json!({"other": 1})) };
    site.core.desired(&identity("edge/filter"), change, Some("*"), site.now).unwrap();
    site.commit();
    let Some(Outgoing::Desired { patch, .. }) = site.poll(filter) else { panic!("it is told") };
    assert_eq!(patch["TemperatureThreshold"], Value::Null);
    assert!(patch.as_object().unwrap().contains_key("TemperatureThreshold"));
    assert_eq!(patch["other"], 1);
}

#[test]
fn an_etag_that_is_no_longer_true_refuses_the_change() {
    let mut site = Site::pipeline();
    let who = identity("edge/filter");
    let etag = site.core.twin_document(&who).unwrap()["etag"].as_str().unwrap().to_owned();
    let quoted = format!("\"{etag}\"");
    site.core.desired(&who, patch(json!({"a": 1})), Some(&quoted), site.now).unwrap();
    let refused = site.core.desired(&who, patch(json!({"a": 2})), Some(&etag), site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::PreconditionFailed);
    assert_eq!(site.core.twin_get(&who).unwrap()["desired"]["a"], 1);
}

#[test]
fn a_bad_patch_is_refused_whole_with_its_reason() {
    let mut site = Site::pipeline();
    let who = identity("edge/filter");
    let before = site.core.twin_document(&who).unwrap();
    let tags_and_bad = Change::Patch { tags: Some(json!({"site": "a"})), desired: Some(json!({"a.b": 1})) };
    let refused = site.core.desired(&who, tags_and_bad, None, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ArgumentInvalid);
    assert!(refused.message.contains("a.b"), "{}", refused.message);
    assert_eq!(site.core.twin_document(&who).unwrap(), before, "the tags stayed too");
    assert_eq!(site.counted(Counter::TwinsDesiredRefused), 1);
}

#[test]
fn tags_are_the_services_alone() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Desired);
    let who = identity("edge/filter");
    let change = Change::Patch { tags: Some(json!({"site": "a"})), desired: None };
    let (document, _) = site.core.desired(&who, change, None, site.now).unwrap();
    assert_eq!(document["tags"], json!({"site": "a"}));
    site.commit();
    assert!(site.poll(filter).is_none());
    assert!(site.core.twin_get(&who).unwrap().get("tags").is_none());
}

#[test]
fn reported_properties_are_merged_durable_and_refused_with_a_reason() {
    let mut site = Site::pipeline();
    let who = identity("edge/filter");
    let (first, ticket) = site.core.reported(&who, &json!({"a": 1, "b": {"c": 2}}), site.now).unwrap();
    assert!(!site.is_durable(ticket));
    let (second, _) = site.core.reported(&who, &json!({"b": null}), site.now).unwrap();
    assert_eq!(second, first + 1);
    let refused = site.core.reported(&who, &json!({"a": {"$b": 1}}), site.now).unwrap_err();
    assert!(refused.to_string().contains("$b"), "{refused}");
    assert_eq!(site.counted(Counter::TwinsReportedRefused), 1);
    site.commit();
    let site = site.power_cut();
    let twin = site.core.twin_get(&who).unwrap();
    assert_eq!(twin["reported"], json!({"a": 1, "$version": second}));
}

#[test]
fn a_twin_that_was_not_synced_is_the_old_one_after_a_power_cut() {
    let mut site = Site::pipeline();
    let who = identity("edge/filter");
    site.core.desired(&who, patch(json!({"TemperatureThreshold": 30})), None, site.now).unwrap();
    let site = site.power_cut();
    assert_eq!(site.core.twin_get(&who).unwrap()["desired"]["TemperatureThreshold"], 20);
}

#[test]
fn nobody_has_no_twin() {
    let mut site = Site::new();
    let nobody = identity("edge/nobody");
    assert_eq!(site.core.twin_get(&nobody), None);
    assert_eq!(site.core.twin_document(&nobody).unwrap_err().code, ErrorCode::ModuleNotFound);
    let refused = site.core.desired(&identity("x"), patch(json!({})), None, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeviceNotFound);
}

#[test]
fn reported_changes_are_messages_for_routes_that_want_them() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "t": "FROM /twinChangeNotifications INTO BrokeredEndpoint(\"/modules/filter/inputs/twin\")"
    }));
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.core.reported(&identity("edge/sensor"), &json!({"a": 1}), site.now).unwrap();
    let Some(Outgoing::Input { input, message, .. }) = site.poll(filter) else { panic!("it is routed") };
    assert_eq!((&*input, &message.body[..]), ("twin", &br#"{"a":1}"#[..]));
}

#[test]
fn a_client_that_does_not_read_its_twin_changes_is_ended() {
    let limits = Limits { mailbox_max: 3, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.device("d");
    let session = site.attach_to("d", Feed::Desired);
    for number in 0..4 {
        site.core.desired(&identity("d"), patch(json!({"n": number})), None, site.now).unwrap();
    }
    assert!(matches!(site.poll(session), Some(Outgoing::TooSlow)));
    assert_eq!(site.counted(Counter::SessionsTooSlow), 1);
}
