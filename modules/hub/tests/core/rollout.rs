use isotherm_hub::core::{Change, Credential, ErrorCode, Outgoing, Unauthorized};
use isotherm_iothub::{Feed, Token};
use serde_json::{Value, json};

use crate::site::{HOST, Site, identity, in_seconds};

impl Site {
    fn configure(&mut self, id: &str, priority: u64, condition: &str, content: Value) -> Value {
        let document = json!({
            "id": id, "priority": priority, "targetCondition": condition, "content": content,
        });
        let (document, _) = self.core.put_configuration(id, &document, None, self.now).unwrap();
        self.commit();
        document
    }

    fn desired(&self, who: &str) -> Value {
        self.core.twin_get(&identity(who)).unwrap()["desired"].clone()
    }

    fn tag(&mut self, who: &str, tags: Value) {
        let change = Change::Patch { tags: Some(tags), desired: None };
        self.core.desired(&identity(who), change, None, self.now).unwrap();
        self.commit();
    }

    fn status(&self, who: &str, id: &str) -> Value {
        self.core.twin_document(&identity(who)).unwrap()["configurations"][id]["status"].clone()
    }
}

fn device_content(speed: u64) -> Value {
    json!({"deviceContent": {"properties.desired.fan": {"speed": speed}}})
}

#[test]
fn a_configuration_reaches_the_devices_it_targets_and_no_others() {
    let mut site = Site::new();
    site.device("a");
    site.device("b");
    site.tag("a", json!({"site": "north"}));
    let session = site.attach_to("a", Feed::Desired);
    let document = site.configure("c1", 1, "tags.site = 'north'", device_content(3));
    assert_eq!(document["systemMetrics"]["results"], json!({"targetedCount": 1, "appliedCount": 1}));
    assert_eq!(site.desired("a")["fan"], json!({"speed": 3}));
    assert!(site.desired("b").get("fan").is_none());
    assert_eq!(site.status("a", "c1"), "Applied");
    let Some(Outgoing::Desired { patch, .. }) = site.poll(session) else { panic!("it is told") };
    assert_eq!(patch["fan"], json!({"speed": 3}));

    site.tag("b", json!({"site": "north"})); // it comes into view
    assert_eq!(site.desired("b")["fan"], json!({"speed": 3}));
    site.device("late");
    site.tag("late", json!({"site": "south"}));
    assert!(site.desired("late").get("fan").is_none());
}

#[test]
fn the_higher_priority_wins_and_when_it_goes_the_next_takes_its_place() {
    let mut site = Site::new();
    site.device("a");
    site.configure("high", 10, "*", device_content(10));
    site.configure(
        "low",
        1,
        "*",
        json!({"deviceContent": {
            "properties.desired.fan": {"speed": 1}, "properties.desired.lamp": "on",
        }}),
    );
    assert_eq!(site.desired("a")["fan"], json!({"speed": 10}));
    assert_eq!(site.desired("a")["lamp"], "on");
    site.core.delete_configuration("high", None, site.now).unwrap();
    assert_eq!(site.desired("a")["fan"], json!({"speed": 1}));
    site.core.delete_configuration("low", None, site.now).unwrap();
    assert_eq!(site.desired("a")["fan"], json!({"speed": 1}), "what nothing targets keeps what it has");
    assert_eq!(site.status("a", "low"), Value::Null);
}

#[test]
fn modules_are_configured_by_conditions_of_their_own() {
    let mut site = Site::pipeline();
    site.configure(
        "m",
        1,
        "from devices.modules where moduleId = 'filter'",
        json!({"moduleContent": {"properties.desired.limits": {"upper": 40}}}),
    );
    assert_eq!(site.desired("edge/filter")["limits"], json!({"upper": 40}));
    assert_eq!(site.desired("edge/filter")["TemperatureThreshold"], 20);
    assert!(site.desired("edge/sensor").get("limits").is_none());
}

fn edge_content(threshold: u64) -> Value {
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"modules": {"filter": {}}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}},
        "filter": {"properties.desired": {"TemperatureThreshold": threshold}},
    }})
}

#[test]
fn an_edge_takes_the_highest_deployment_and_the_layers_above_it() {
    let mut site = Site::new();
    site.device("leaf");
    site.configure("low", 1, "*", edge_content(1));
    site.configure("base", 5, "deviceId = 'edge'", edge_content(5));
    let layer = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired.modules.extra": {}},
        "filter": {"properties.desired.upper": 9},
    }});
    site.configure("layer", 7, "*", layer.clone());
    site.configure("under", 2, "*", layer);
    let filter = site.desired("edge/filter");
    assert_eq!((&filter["TemperatureThreshold"], &filter["upper"]), (&json!(5), &json!(9)));
    assert!(site.core.exists(&identity("edge/extra")), "the layer's module is made too");
    let status = |id| site.status("edge/$edgeAgent", id);
    assert_eq!(["base", "layer"].map(status), ["Applied", "Applied"]);
    assert_eq!(["low", "under"].map(status), ["Targeted", "Targeted"]);
    assert!(site.core.modules("leaf").unwrap().is_empty(), "no edge, no modules");
}

#[test]
fn what_is_for_many_stands_above_what_is_for_one_and_is_there_again_after_a_restart() {
    let mut site = Site::new();
    site.configure("base", 5, "*", edge_content(5));
    site.core.apply_configuration("edge", &edge_content(1), site.now).unwrap();
    site.commit();
    assert_eq!(site.desired("edge/filter")["TemperatureThreshold"], 5);
    let site = site.power_cut();
    assert_eq!(site.desired("edge/filter")["TemperatureThreshold"], 5);
    assert_eq!(site.status("edge/$edgeAgent", "base"), "Applied");
}

#[test]
fn content_that_nobody_could_take_is_refused_when_it_comes() {
    let mut site = Site::new();
    for content in [
        json!({"deviceContent": {"fan": 1}}),
        json!({"deviceContent": 1}),
        json!({"modulesContent": {"m": {"x": {}}}}),
        json!({"moduleContent": {"properties.desired": 3}}),
    ] {
        let document = json!({"id": "c", "targetCondition": "*", "content": content});
        let refused = site.core.put_configuration("c", &document, None, site.now).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ArgumentInvalid, "{content}");
    }
}

#[test]
fn a_gateway_stands_in_for_those_below_it_along_the_chain_and_for_nobody_else() {
    let mut site = Site::new();
    let edge = |parents: &[Value]| json!({"capabilities": {"iotEdge": true}, "parentScopes": parents});
    let scope = |site: &Site, device: &str| site.core.device(device).unwrap()["deviceScope"].clone();
    site.core.put_device("top", &edge(&[]), None, site.now).unwrap();
    let top = scope(&site, "top");
    site.core.put_device("middle", &edge(&[top]), None, site.now).unwrap();
    let middle = scope(&site, "middle");
    site.core.put_device("leaf", &json!({"deviceScope": middle}), None, site.now).unwrap();
    site.device("stranger");
    let hub = identity("top/$edgeHub");
    let key = site.core.key_of(&hub).unwrap();
    let until = in_seconds(site.now, 60).as_second();
    let token = Token::mint(&key, &hub.resource(HOST), until, None);
    let through = |who: &str, chain: &str| {
        let shown = Credential::Sas(&token);
        site.core.authenticate_through(&identity(who), Some(chain), shown, site.now.wall).map(drop)
    };
    assert_eq!(through("leaf", "leaf;middle;top"), Ok(()));
    assert_eq!(through("middle", "middle;top"), Ok(()));
    for (who, chain) in [
        ("leaf", "leaf;top"),
        ("leaf", "leaf"),
        ("leaf", "middle;top"),
        ("leaf", ""),
        ("leaf", "leaf;middle;top;top;top;top;top"),
        ("stranger", "stranger;middle;top"),
        ("stranger", "leaf;middle;top"),
    ] {
        assert_eq!(through(who, chain), Err(Unauthorized::Chain), "{who} by {chain}");
    }
    let shown = Credential::Sas(&token);
    let alone = site.core.authenticate_through(&identity("leaf"), None, shown, site.now.wall);
    assert_eq!(alone.map(drop), Err(Unauthorized::Audience));
    let lower = identity("middle/$edgeHub");
    let token = Token::mint(&site.core.key_of(&lower).unwrap(), &lower.resource(HOST), until, None);
    let shown = Credential::Sas(&token);
    let wrong =
        site.core.authenticate_through(&identity("leaf"), Some("leaf;middle;top"), shown, site.now.wall);
    assert_eq!(wrong.map(drop), Err(Unauthorized::Audience), "only who stands at the end of it");
}
