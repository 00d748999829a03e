use isotherm_hub::core::{Change, Counter, ErrorCode, Outgoing};
use isotherm_iothub::Feed;
use serde_json::{Value, json};

use crate::site::{Site, deployment, identity};

fn status(site: &Site) -> Value {
    site.core.twin_get(&identity("edge/$edgeHub")).unwrap()["reported"]["lastDesiredStatus"].clone()
}

#[test]
fn a_deployment_makes_modules_sets_desired_properties_and_puts_routes_into_force() {
    let site = Site::pipeline();
    let filter = site.core.module("edge", "filter").unwrap();
    assert_eq!(filter["managedBy"], "IotEdge");
    let twin = site.core.twin_get(&identity("edge/filter")).unwrap();
    assert_eq!(twin["desired"]["TemperatureThreshold"], 20);
    assert_eq!(status(&site), json!({"code": 200, "description": ""}));
    assert_eq!(site.core.configuration_status(), Ok(()));
}

#[test]
fn a_running_module_hears_of_a_deployment() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Desired);
    let mut content = deployment(json!({}));
    content["modulesContent"]["filter"]["properties.desired"]["TemperatureThreshold"] = json!(25);
    site.core.apply_configuration("edge", &content, site.now).unwrap();
    site.commit();
    let Some(Outgoing::Desired { patch, .. }) = site.poll(filter) else { panic!("it is told") };
    assert_eq!(patch["TemperatureThreshold"], 25);
}

#[test]
fn the_same_deployment_again_changes_nothing() {
    let mut site = Site::pipeline();
    let routes = json!({"r": "FROM /messages/* INTO $upstream"});
    site.deploy(routes.clone());
    let before = site.core.twin_document(&identity("edge/filter")).unwrap();
    site.deploy(routes);
    assert_eq!(site.core.twin_document(&identity("edge/filter")).unwrap(), before);
}

#[test]
fn routes_that_do_not_parse_leave_the_old_ones_in_force_and_say_so() {
    let mut site = Site::pipeline();
    let bad =
        json!({"good": "FROM /messages/* INTO $upstream", "bad": "FROM /messages/* WHERE INTO $upstream"});
    site.deploy(bad);
    let reported = status(&site);
    assert_eq!(reported["code"], 400);
    let description = reported["description"].as_str().unwrap();
    assert!(description.starts_with("Error while parsing desired properties - "), "{description}");
    assert!(description.contains("bad"), "{description}");
    assert!(site.core.configuration_status().is_err());
    assert_eq!(site.counted(Counter::ConfigurationsRefused), 1);

    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    assert_eq!(site.bodies(filter), ["1"], "by the old route");
    site.commit();
    assert!(site.upstream().is_empty(), "not even the good one of the new is in force");

    let mut site = site.power_cut();
    assert_eq!(status(&site)["code"], 400);
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "2");
    assert!(site.bodies(filter).ends_with(&["2".to_owned()]), "also after a restart");

    site.deploy(json!({"good": "FROM /messages/* INTO $upstream"}));
    assert_eq!(status(&site)["code"], 200);
    site.publish(sensor, "3");
    site.commit();
    assert_eq!(site.upstream(), ["3"]);
}

#[test]
fn a_twin_patch_of_the_hub_changes_its_routes_too() {
    let mut site = Site::pipeline();
    let desired = Some(json!({"routes": {"all": "FROM /messages/* INTO $upstream"}}));
    let change = Change::Patch { tags: None, desired };
    site.core.desired(&identity("edge/$edgeHub"), change, None, site.now).unwrap();
    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "1");
    site.commit();
    assert_eq!(site.upstream(), ["1"]);
    assert_eq!(site.core.held(), 1, "and the old one still holds");
}

#[test]
fn a_deployment_is_applied_whole_or_not_at_all() {
    let mut site = Site::pipeline();
    let mut content = deployment(json!({}));
    content["modulesContent"]["new"] = json!({"properties.desired": {"a.b": 1}});
    let before = site.core.twin_document(&identity("edge/$edgeHub")).unwrap();
    let refused = site.core.apply_configuration("edge", &content, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ArgumentInvalid);
    assert!(refused.message.contains("modulesContent.new"), "{}", refused.message);
    assert!(!site.core.exists(&identity("edge/new")));
    assert_eq!(site.core.twin_document(&identity("edge/$edgeHub")).unwrap(), before);
    for nonsense in
        [json!({}), json!({"modulesContent": {"m": {"x": {}}}}), json!({"modulesContent": {"m m": {}}})]
    {
        let refused = site.core.apply_configuration("edge", &nonsense, site.now).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ArgumentInvalid, "{nonsense}");
    }
    let nobody = site.core.apply_configuration("nobody", &content, site.now).unwrap_err();
    assert_eq!(nobody.code, ErrorCode::DeviceNotFound);
}

#[test]
fn modules_of_earlier_deployments_go_and_those_made_by_hand_stay() {
    let mut site = Site::pipeline();
    site.core.put_module("edge", "mine", &json!({}), None, site.now).unwrap();
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"modules": {"sensor": {}}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.0", "routes": {}}},
    }});
    site.core.apply_configuration("edge", &content, site.now).unwrap();
    let modules = site.core.modules("edge").unwrap();
    let names: Vec<_> = modules.iter().map(|it| it["moduleId"].as_str().unwrap()).collect();
    assert_eq!(names, ["$edgeAgent", "$edgeHub", "mine", "sensor"]);
}

#[test]
fn a_layer_changes_what_lies_under_its_path() {
    let mut site = Site::pipeline();
    let mut content = deployment(json!({}));
    content["modulesContent"]["filter"] =
        json!({"properties.desired.limits.upper": 40, "properties.desired.TemperatureThreshold": 21});
    site.core.apply_configuration("edge", &content, site.now).unwrap();
    let desired = &site.core.twin_get(&identity("edge/filter")).unwrap()["desired"];
    assert_eq!((&desired["limits"]["upper"], &desired["TemperatureThreshold"]), (&json!(40), &json!(21)));
}

#[test]
fn the_hub_reports_which_modules_are_connected() {
    let mut site = Site::pipeline();
    let session = site.attach("edge/filter");
    let clients =
        |site: &Site| site.core.twin_get(&identity("edge/$edgeHub")).unwrap()["reported"]["clients"].clone();
    assert_eq!(clients(&site)["edge/filter"]["status"], "Connected");
    site.core.detach(session, true, None, site.now);
    assert_eq!(clients(&site)["edge/filter"]["status"], "Disconnected");
}
