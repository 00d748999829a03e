use isotherm_hub::core::{Counter, Outgoing, Refusal};
use isotherm_iothub::{Feed, Message, SystemProperty};
use serde_json::json;

use crate::site::{Site, identity, message, seconds, text};

const INTO_FILTER: &str = "INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")";

fn output(body: &str, output: &str) -> Message {
    Message::new(body.to_owned()).with_system(SystemProperty::OutputName, output)
}

#[test]
fn a_message_goes_into_each_endpoint_once() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "a": format!("FROM /messages/* {INTO_FILTER}"),
        "b": format!("FROM /messages/modules/sensor/* {INTO_FILTER}"),
        "c": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/filter/inputs/other\")",
        "d": "FROM /messages/* INTO $upstream",
    }));
    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "1");
    site.commit();
    let endpoints: Vec<_> = site.core.queues().into_iter().filter(|it| it.length > 0).collect();
    let names: Vec<_> = endpoints.iter().map(|it| (it.endpoint.as_str(), it.length)).collect();
    assert_eq!(names, [("edge/filter/in", 1), ("edge/filter/other", 1)]);
    assert_eq!(site.upstream(), ["1"]);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["1", "1"]);
}

#[test]
fn the_sender_is_who_the_session_says_whatever_the_message_says() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let forged = message("1")
        .with_system(SystemProperty::ConnectionDeviceId, "other")
        .with_system(SystemProperty::ConnectionModuleId, "filter");
    site.publish_message(sensor, forged);
    let Some(Outgoing::Input { message, .. }) = site.poll(filter) else { panic!("it is there") };
    assert_eq!(message.system.get(SystemProperty::ConnectionDeviceId), Some("edge"));
    assert_eq!(message.system.get(SystemProperty::ConnectionModuleId), Some("sensor"));
}

#[test]
fn whoever_takes_the_place_of_a_module_that_is_gone_has_routes_of_its_own() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "sensors": format!("FROM /messages/modules/SENSOR/outputs/out {INTO_FILTER}"),
        "others": "FROM /messages/modules/other/* INTO $upstream",
    }));
    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "to the filter");
    site.core.delete_module("edge", "sensor", None, site.now).unwrap();
    site.core.put_module("edge", "other", &json!({}), None, site.now).unwrap();
    let other = site.attach("edge/other");
    site.publish(other, "upstream");
    site.commit();
    assert_eq!(site.upstream(), ["upstream"]);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["to the filter"]);
}

/// Makes a device a child of the edge.
fn adopt(site: &mut Site, device: &str) {
    let edge = site.core.device("edge").unwrap();
    let child = json!({"deviceScope": edge["deviceScope"]});
    site.core.put_device(device, &child, Some("*"), site.now).unwrap();
}

#[test]
fn a_module_of_another_device_does_not_pass_for_one_of_this_edge() {
    let mut site = Site::pipeline();
    site.device("d");
    adopt(&mut site, "d");
    site.core.put_module("d", "sensor", &json!({}), None, site.now).unwrap();
    let stranger = site.attach("d/sensor");
    site.publish(stranger, "1");
    assert_eq!(site.counted(Counter::DroppedNoRoute), 1);
    assert_eq!(site.core.held(), 0);
}

#[test]
fn a_child_of_the_edge_follows_its_routes_and_any_other_device_goes_straight_upstream() {
    let mut site = Site::pipeline();
    for device in ["child", "other"] {
        site.device(device);
    }
    adopt(&mut site, "child");
    site.core.put_module("other", "m", &json!({}), None, site.now).unwrap();
    for (who, body) in [("child", "1"), ("other", "2"), ("other/m", "3")] {
        let session = site.attach(who);
        site.publish(session, body);
    }
    site.commit();
    assert_eq!(site.upstream(), ["2", "3"], "no route of the edge mentions devices");
    site.deploy(json!({"leaves": format!("FROM /messages/* {INTO_FILTER}")}));
    for (who, body) in [("child", "4"), ("other", "5")] {
        let session = site.attach(who);
        site.publish(session, body);
    }
    site.commit();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["4"]);
    assert_eq!(site.upstream(), ["2", "3", "5"]);
}

#[test]
fn without_routes_everything_goes_upstream() {
    let mut site = Site::new();
    site.device("d");
    let session = site.attach("d");
    site.publish(session, "1");
    assert!(site.upstream().is_empty(), "not before it is durable");
    site.commit();
    assert_eq!(site.upstream(), ["1"]);
}

#[test]
fn the_smaller_priority_number_comes_first() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "low": format!("FROM /messages/modules/sensor/outputs/low {INTO_FILTER}"),
        "mid": {"route": format!("FROM /messages/modules/sensor/outputs/mid {INTO_FILTER}"), "priority": 5},
        "top": {"route": format!("FROM /messages/modules/sensor/outputs/top {INTO_FILTER}"), "priority": 0},
    }));
    let sensor = site.attach("edge/sensor");
    for (body, to) in [("1", "low"), ("2", "mid"), ("3", "top"), ("4", "mid"), ("5", "top")] {
        site.publish_message(sensor, output(body, to));
    }
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["3", "5", "2", "4", "1"]);
}

#[test]
fn the_inputs_of_a_module_take_turns() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "a": "FROM /messages/modules/sensor/outputs/a INTO BrokeredEndpoint(\"/modules/filter/inputs/a\")",
        "b": "FROM /messages/modules/sensor/outputs/b INTO BrokeredEndpoint(\"/modules/filter/inputs/b\")",
    }));
    let sensor = site.attach("edge/sensor");
    for (body, to) in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b"), ("5", "b")] {
        site.publish_message(sensor, output(body, to));
    }
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let mut bodies = site.bodies(filter);
    let tail = bodies.split_off(4);
    bodies.sort();
    assert_eq!((bodies.join(""), tail.join("")), ("1245".to_owned(), "3".to_owned()));
}

#[test]
fn a_message_past_its_time_to_live_is_not_delivered_and_counted() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "short": {"route": format!("FROM /messages/modules/sensor/outputs/short {INTO_FILTER}"), "timeToLiveSecs": 60},
        "long": format!("FROM /messages/modules/sensor/outputs/long {INTO_FILTER}"),
    }));
    let sensor = site.attach("edge/sensor");
    site.publish_message(sensor, output("short", "short"));
    site.publish_message(sensor, output("long", "long"));
    site.pass(seconds(61));
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["long"]);
    assert_eq!(site.counted(Counter::DroppedTtlExpiry), 1);
}

#[test]
fn messages_expire_also_where_nobody_fetches_them_and_stay_gone() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    for number in 0..2_000 {
        site.publish(sensor, &number.to_string());
    }
    assert_eq!(site.core.held(), 2_000, "more than the window holds");
    site.commit();
    site.pass(seconds(2 * 3_600 + 30));
    assert_eq!(site.core.held(), 0);
    assert_eq!(site.counted(Counter::DroppedTtlExpiry), 2_000);
    site.commit();
    assert_eq!(site.power_cut().core.held(), 0);
}

#[test]
fn time_to_live_is_what_it_was_when_the_message_came_also_after_a_power_cut() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "1");
    site.commit();
    let mut site = site.power_cut();
    site.pass(seconds(2 * 3_600 - 1));
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["1"]);
    site.core.detach(filter, false, None, site.now);
    site.pass(seconds(1));
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert!(site.bodies(filter).is_empty());
}

#[test]
fn messages_for_a_module_that_never_came_wait_for_it() {
    let mut site = Site::pipeline();
    site.deploy(
        json!({"r": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/late/inputs/in\")"}),
    );
    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "1");
    site.core.put_module("edge", "late", &json!({}), None, site.now).unwrap();
    let late = site.attach_to("edge/late", Feed::Inputs);
    assert_eq!(site.bodies(late), ["1"]);
}

#[test]
fn a_module_that_is_deleted_and_made_again_finds_an_empty_queue_that_fills() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "1");
    site.core.delete_module("edge", "filter", Some("*"), site.now).unwrap();
    assert_eq!(site.core.held(), 0);
    site.publish(sensor, "2");
    site.core.put_module("edge", "filter", &json!({}), None, site.now).unwrap();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "3");
    assert_eq!(site.bodies(filter), ["2", "3"]);
}

#[test]
fn a_condition_decides() {
    let mut site = Site::pipeline();
    site.deploy(json!({"r": format!("FROM /messages/* WHERE as_number(t) > 20 {INTO_FILTER}")}));
    let sensor = site.attach("edge/sensor");
    for t in ["19", "21", "x"] {
        site.publish_message(sensor, message(t).with_property("t", t));
    }
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["21"]);
    assert_eq!(site.counted(Counter::DroppedNoRoute), 2);
}

#[test]
fn a_message_has_a_largest_size() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let who = identity("edge/sensor");
    let fits = Message::new(vec![0; 262_144 - 100]);
    assert!(site.core.publish(sensor, &who, fits, site.now).is_ok());
    let too_large = site.core.publish(sensor, &who, Message::new(vec![0; 262_145]), site.now);
    assert!(matches!(too_large, Err(Refusal::TooLarge { .. })));
    assert_eq!(site.counted(Counter::RefusedTooLarge), 1);
}

#[test]
fn order_holds_for_each_sender_whatever_the_window() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    for number in 0..10 {
        site.publish(sensor, &number.to_string());
    }
    let mut received = Vec::new();
    while let Some(Outgoing::Input { delivery, message, .. }) = site.core.poll(filter, 1, site.now) {
        received.push(text(&message));
        site.accept(filter, delivery);
    }
    assert_eq!(received.join(""), "0123456789");
}
