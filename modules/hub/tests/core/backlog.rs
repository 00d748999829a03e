//! What an outage leaves behind: fresh data first, and what gives way when there is too much of it.

use std::path::Path;

use isotherm_host::Disk as _;
use isotherm_hub::core::{Counter, Limits, SessionId};
use isotherm_hub::store::{Settings, WhenFull};
use isotherm_iothub::{Feed, Message};
use serde_json::{Value, json};

use crate::site::{Site, deployment, identity, message, seconds};

const INTO: &str = "INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")";

/// A site whose one route has this name.
fn site_with_route(name: &str) -> (Site, SessionId) {
    let mut site = Site::new();
    site.deploy(json!({name: format!("FROM /messages/modules/sensor/* {INTO}")}));
    let sensor = site.attach("edge/sensor");
    (site, sensor)
}

fn publish(site: &mut Site, sensor: SessionId, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        site.publish(sensor, &number.to_string());
    }
    site.commit();
}

/// Takes what there is, at most so much, and accepts it.
fn take(site: &mut Site, filter: SessionId, most: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < most
        && let Some(outgoing) = site.poll(filter)
    {
        let (body, delivery) = crate::site::delivery(outgoing);
        site.accept(filter, delivery);
        bodies.push(body);
    }
    site.commit();
    bodies
}

fn folders(site: &Site) -> usize {
    site.disk.list(Path::new("/state/queues")).unwrap().len()
}

#[test]
fn after_an_outage_what_is_fresh_goes_first_and_what_was_left_follows_in_order() {
    let (mut site, sensor) = site_with_route("fresh");
    publish(&mut site, sensor, 1..=5);
    site.pass(seconds(60));
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    publish(&mut site, sensor, 6..=7);
    assert_eq!(take(&mut site, filter, 3), ["6", "7", "1"]);
    publish(&mut site, sensor, 8..=8);
    assert_eq!(take(&mut site, filter, 9), ["8", "2", "3", "4", "5"]);
    assert_eq!(site.core.held(), 0);
    site.commit();
    assert_eq!(folders(&site), 1, "nothing of the backlog is left on disk");
    publish(&mut site, sensor, 9..=9);
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(take(&mut site, filter, 9), ["9"], "and nothing of it comes again");
}

#[test]
fn without_that_setting_or_an_outage_the_order_stays_what_it_was() {
    for (route, away) in [("other", 60), ("fresh", 5)] {
        let (mut site, sensor) = site_with_route(route);
        publish(&mut site, sensor, 1..=3);
        site.pass(seconds(away));
        let filter = site.attach_to("edge/filter", Feed::Inputs);
        publish(&mut site, sensor, 4..=5);
        assert_eq!(take(&mut site, filter, 9), ["1", "2", "3", "4", "5"], "{route} {away}");
    }
}

#[test]
fn a_power_cut_in_the_middle_of_a_backlog_loses_none_of_it_and_repeats_no_fresh_one() {
    let (mut site, sensor) = site_with_route("fresh");
    publish(&mut site, sensor, 1..=5);
    site.pass(seconds(60));
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    publish(&mut site, sensor, 6..=7);
    assert_eq!(take(&mut site, filter, 4), ["6", "7", "1", "2"]);
    let mut site = site.power_cut();
    let (sensor, filter) = (site.attach("edge/sensor"), site.attach_to("edge/filter", Feed::Inputs));
    publish(&mut site, sensor, 8..=8);
    assert_eq!(take(&mut site, filter, 9), ["8", "3", "4", "5"]);
}

#[test]
fn outages_without_end_make_a_bounded_number_of_backlogs_and_lose_nothing() {
    let (mut site, sensor) = site_with_route("fresh");
    publish(&mut site, sensor, 1..=2);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    for outage in 1..20 {
        site.pass(seconds(60)); // the filter is there, and takes nothing
        publish(&mut site, sensor, outage * 2 + 1..=outage * 2 + 2);
    }
    assert_eq!(folders(&site), 8);
    assert_eq!(site.core.queues().len(), 1, "and one figure for all of them");
    let mut numbers: Vec<u32> =
        take(&mut site, filter, 99).iter().map(|body| body.parse().unwrap()).collect();
    assert_eq!(numbers[0], 15, "the freshest queue, which was filled to the end");
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    assert_eq!(folders(&site), 1);
}

const LIMIT: u64 = 40_000;

fn full_site(when_full: WhenFull) -> (Site, SessionId) {
    let settings = Settings { queues_bytes_max: LIMIT, when_full, ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    site.deploy(json!({
        "high": {"route": format!("FROM /messages/* WHERE kind = 'high' {INTO}"), "priority": 1},
        "low": {"route": format!("FROM /messages/* WHERE kind = 'low' {INTO}"), "priority": 5},
    }));
    let sensor = site.attach("edge/sensor");
    (site, sensor)
}

fn flood(site: &mut Site, sensor: SessionId, kind: &str, count: u32) {
    for number in 0..count {
        let body = format!("{kind} {number:4} {}", "x".repeat(490));
        let message = Message { ..message(&body) }.with_property("kind", kind);
        site.core.publish(sensor, &identity("edge/sensor"), message, site.now).unwrap();
        assert!(site.store.queues_bytes() <= LIMIT + 600, "{}", site.store.queues_bytes());
        if number % 7 == 0 {
            site.commit();
        }
    }
    site.commit();
}

fn kinds(bodies: &[String], kind: &str) -> Vec<u32> {
    let numbers = bodies.iter().filter_map(|body| body.strip_prefix(kind));
    numbers.map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

#[test]
fn told_to_drop_the_oldest_a_full_store_takes_everything_and_counts_what_gave_way() {
    let (mut site, sensor) = full_site(WhenFull::DropOldest);
    flood(&mut site, sensor, "high", 10);
    flood(&mut site, sensor, "low", 300);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let bodies = take(&mut site, filter, usize::MAX);
    let low = kinds(&bodies, "low");
    assert_eq!(kinds(&bodies, "high"), (0..10).collect::<Vec<_>>(), "a flood costs only its own queue");
    assert_eq!(low, (low[0]..300).collect::<Vec<_>>(), "the newest, without a gap");
    assert_eq!(site.counted(Counter::DroppedFull), u64::from(low[0]));
    assert!(low.len() > 40, "{}", low.len());
    assert_eq!(site.counted(Counter::RefusedStoreFull), 0);
}

#[test]
fn told_to_drop_the_lowest_priority_a_full_store_keeps_the_higher_one_as_long_as_it_can() {
    let (mut site, sensor) = full_site(WhenFull::DropLowestPriority);
    flood(&mut site, sensor, "low", 60);
    flood(&mut site, sensor, "high", 50);
    let (mut other, again) = full_site(WhenFull::DropLowestPriority);
    flood(&mut other, again, "high", 100);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let bodies = take(&mut site, filter, usize::MAX);
    assert_eq!(kinds(&bodies, "high"), (0..50).collect::<Vec<_>>());
    let low = kinds(&bodies, "low");
    assert!(low.len() < 25 && !low.is_empty() && low[low.len() - 1] == 59, "{low:?}");
    let filter = other.attach_to("edge/filter", Feed::Inputs);
    let high = kinds(&take(&mut other, filter, usize::MAX), "high");
    assert!(high.len() > 40 && high[high.len() - 1] == 99, "nothing lower is left, so its own oldest go");
}

#[test]
fn a_deployments_store_limit_holds_until_one_comes_without() {
    let mut site = Site::new();
    let route = json!({"r": format!("FROM /messages/modules/sensor/* {INTO}")});
    let mut limited = deployment(route.clone());
    let desired = |content: &mut Value, limits: Value| {
        content["modulesContent"]["$edgeHub"]["properties.desired"]["storeAndForwardConfiguration"] = limits;
    };
    desired(&mut limited, json!({"timeToLiveSecs": 60, "storeLimits": {"maxSizeBytes": 12_345}}));
    site.core.apply_configuration("edge", &limited, site.now).unwrap();
    site.commit();
    assert_eq!(site.store.queues_bytes_max(), 12_345);
    let site = site.power_cut();
    assert_eq!(site.store.queues_bytes_max(), 12_345, "after a restart too");
    let mut site = site;
    site.deploy(route);
    assert_eq!(site.store.queues_bytes_max(), Settings::default().queues_bytes_max);
}

#[test]
fn the_space_of_what_was_delivered_comes_back_with_the_next_round() {
    let settings = Settings { segment_bytes: 64 << 10, ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    site.deploy(json!({"r": format!("FROM /messages/modules/sensor/* {INTO}")}));
    let sensor = site.attach("edge/sensor");
    let before = site.disk.used();
    for _ in 0..4_000 {
        site.publish(sensor, &"x".repeat(1_000));
        site.commit();
    }
    assert!(site.disk.used() > before + 4_000_000);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    while let Some(outgoing) = site.poll(filter) {
        let (_, delivery) = crate::site::delivery(outgoing);
        site.accept(filter, delivery);
    }
    site.commit(); // the committer does that by itself within half a second
    assert!(site.disk.used() < before + 100_000, "{} bytes are left", site.disk.used() - before);
}

#[test]
fn a_queue_whose_name_is_damaged_in_its_journal_is_found_all_the_same() {
    let (mut site, sensor) = site_with_route("r");
    publish(&mut site, sensor, 1..=1);
    publish(&mut site, sensor, 2..=2);
    let folder = Path::new("/state/queues/000000");
    let file =
        folder.join(site.disk.list(folder).unwrap().iter().find(|name| name.ends_with(".log")).unwrap());
    let bytes = site.disk.read(&file).unwrap();
    let name = b"edge/filter\",\"input";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("the note is a queue's name");
    site.disk.open(&file, false).unwrap().write_at(at as u64, b"X").unwrap();
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(take(&mut site, filter, 9), ["1", "2"]);
}

#[test]
fn a_message_with_a_flipped_bit_is_never_delivered_and_counted_and_the_others_are() {
    let (mut site, sensor) = site_with_route("r");
    publish(&mut site, sensor, 100..=102);
    publish(&mut site, sensor, 103..=103); // its mark proves that those before it had been synced
    let folder = Path::new("/state/queues/000000");
    let file =
        folder.join(site.disk.list(folder).unwrap().iter().find(|name| name.ends_with(".log")).unwrap());
    let bytes = site.disk.read(&file).unwrap();
    let at = bytes.windows(3).position(|window| window == b"101").expect("bodies are on disk as they are");
    site.disk.open(&file, false).unwrap().write_at(at as u64, b"111").unwrap();
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(take(&mut site, filter, 9), ["100", "102", "103"]);
    assert_eq!(site.counted(Counter::DroppedUnreadable), 1);
}
