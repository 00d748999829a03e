use std::sync::Arc;
use std::sync::atomic::Ordering;

use isotherm_host::Host;
use isotherm_hub::core::{Counter, Limits, Outcome, Outgoing, Refusal};
use isotherm_hub::store::{Receipt, Round, Settings, SyncMode, Ticket, WhenFull};
use isotherm_iothub::Feed;
use serde_json::json;

use crate::site::{Site, counting, delivery, identity, message, seconds};

#[test]
fn a_message_may_be_acknowledged_only_once_it_is_on_disk() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let ticket = site.publish(sensor, "1");
    let (wake, woken) = counting();
    site.store.on_safe(ticket.clone(), wake);
    assert!(!site.is_durable(ticket.clone()));
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    site.commit();
    assert!(site.is_durable(ticket));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    site.publish(sensor, "2");
    site.commit();
    assert_eq!(woken.load(Ordering::Relaxed), 1, "told once");
}

#[test]
fn all_that_came_meanwhile_goes_into_one_round() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let tickets = ["1", "2", "3"].map(|body| site.publish(sensor, body));
    assert_eq!(tickets[0], tickets[2]);
    site.commit();
    assert!(matches!(site.store.commit_round(), Round::Idle));
    assert_ne!(site.publish(sensor, "4"), tickets[2]);
}

#[test]
fn what_was_synced_is_there_after_a_power_cut_and_the_rest_was_not_acknowledged() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let kept = site.publish(sensor, "synced");
    site.commit();
    let lost = site.publish(sensor, "not synced");
    assert!(site.is_durable(kept) && !site.is_durable(lost));
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["synced"]);
}

#[test]
fn a_delivery_may_run_ahead_of_the_sync() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let ticket = site.publish(sensor, "1");
    assert_eq!(site.bodies(filter), ["1"]);
    assert!(!site.is_durable(ticket));
}

#[test]
fn what_a_reader_who_keeps_up_has_accepted_is_safe_before_it_is_on_disk() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let first = site.publish(sensor, "1");
    assert!(matches!(first, Receipt::Durable(_)), "nobody has kept up yet");
    site.commit();
    let (_, deliveries) = site.drain(filter);
    site.accept(filter, deliveries[0]);

    let second = site.publish(sensor, "2");
    let (wake, woken) = counting();
    site.store.on_safe(second.clone(), wake);
    let (_, deliveries) = site.drain(filter);
    assert!(!site.is_durable(second.clone()), "in nobody's hands but ours");
    site.accept(filter, deliveries[0]);
    assert!(site.is_durable(second));
    assert_eq!(woken.load(Ordering::Relaxed), 1, "the sender is told");

    let third = site.publish(sensor, "3");
    assert_eq!(site.bodies(filter), ["3"]);
    site.commit();
    assert!(site.is_durable(third), "on disk, though not accepted");
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["3"]);
}

#[test]
fn what_is_accepted_in_one_breath_is_forgotten_by_each_queue_it_came_from() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "one": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/filter/inputs/one\")",
        "other": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/filter/inputs/other\")",
    }));
    let (sensor, filter) = (site.attach("edge/sensor"), site.attach_to("edge/filter", Feed::Inputs));
    for body in ["1", "2"] {
        site.publish(sensor, body);
    }
    let (bodies, deliveries) = site.drain(filter);
    assert_eq!((bodies.len(), site.core.held()), (4, 4));
    site.core.settle_all(filter, deliveries, Outcome::Accepted, site.now);
    assert_eq!(site.core.held(), 0);
    site.commit();
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert!(site.bodies(filter).is_empty(), "and nothing of it comes again");
}

#[test]
fn what_goes_to_several_places_waits_for_the_disk_however_quick_one_of_them_is() {
    let mut site = Site::pipeline();
    site.deploy(json!({
        "readings": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")",
        "all": "FROM /messages/modules/sensor/* INTO $upstream",
    }));
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    for _ in 0..2 {
        let receipt = site.publish(sensor, "1");
        let (_, deliveries) = site.drain(filter);
        site.accept(filter, deliveries[0]);
        assert!(!site.is_durable(receipt.clone()));
        site.commit();
        assert!(site.is_durable(receipt));
    }
}

#[test]
fn a_reader_who_acknowledges_nothing_is_never_waited_for() {
    let mut site = Site::pipeline();
    let (sensor, filter) = (site.attach("edge/sensor"), site.attach("edge/filter"));
    for qos in [0, 1, 0] {
        site.core.subscribe(filter, Feed::Inputs, qos, site.now);
        for body in ["1", "2"] {
            let receipt = site.publish(sensor, body);
            if qos == 0 && body == "2" {
                assert!(matches!(receipt, Receipt::Durable(_)), "what it was handed may have gone nowhere");
            }
            site.commit();
            let (_, deliveries) = site.drain(filter);
            site.accept(filter, deliveries[0]);
        }
    }
}

#[test]
fn who_waits_for_a_queue_that_is_removed_is_not_left_waiting() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    let (_, deliveries) = site.drain(filter);
    site.accept(filter, deliveries[0]);
    let receipt = site.publish(sensor, "2");
    let (wake, woken) = counting();
    site.store.on_safe(receipt.clone(), wake);
    site.core.delete_module("edge", "filter", None, site.now).unwrap();
    assert!(site.is_durable(receipt));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn what_was_delivered_and_not_accepted_comes_again_after_a_power_cut() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    for body in ["1", "2", "3"] {
        site.publish(sensor, body);
    }
    let (_, deliveries) = site.drain(filter);
    site.accept(filter, deliveries[0]);
    site.accept(filter, deliveries[2]);
    site.commit();
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["2", "3"], "all from the first gap on: a repeat, never a loss");
}

#[test]
fn what_was_accepted_does_not_come_again() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    let (_, deliveries) = site.drain(filter);
    site.accept(filter, deliveries[0]);
    site.commit();
    let mut site = site.power_cut();
    assert_eq!(site.core.held(), 0);
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert!(site.poll(filter).is_none());
}

#[test]
fn a_message_that_no_route_wants_is_acknowledged_counted_and_dropped() {
    let mut site = Site::pipeline();
    let filter = site.attach("edge/filter");
    assert_eq!(site.publish(filter, "1"), Ticket::DURABLE.into(), "output `out` of the filter goes nowhere");
    assert_eq!(site.counted(Counter::DroppedNoRoute), 1);
    assert_eq!(site.core.held(), 0);
}

#[test]
fn large_messages_wait_in_the_journal_and_not_in_memory() {
    let mut site = Site::new();
    site.deploy(
        json!({"r": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")"}),
    );
    let sensor = site.attach("edge/sensor");
    let large = "x".repeat(200 << 10);
    for _ in 0..8 {
        site.publish(sensor, &large);
    }
    site.commit();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let mut received = 0;
    loop {
        let (bodies, deliveries) = site.drain(filter);
        // Three are past half a mebibyte; what is read in one go from a journal may be one record more.
        assert!(bodies.len() <= 4, "{} large messages are out at once", bodies.len());
        if bodies.is_empty() {
            break;
        }
        received += bodies.len();
        deliveries.into_iter().for_each(|delivery| site.accept(filter, delivery));
    }
    assert_eq!(received, 8);
}

#[test]
fn a_queue_longer_than_its_window_comes_out_whole_and_in_order() {
    let limits = Limits { window_messages: 8, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.deploy(
        json!({"r": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")"}),
    );
    let sensor = site.attach("edge/sensor");
    let sent: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for (place, body) in sent.iter().enumerate() {
        site.publish(sensor, body);
        if place == 50 {
            site.commit();
        }
    }
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let mut received = Vec::new();
    loop {
        let (bodies, deliveries) = site.drain(filter);
        assert!(bodies.len() <= 8, "no more than the window is out at once");
        if bodies.is_empty() {
            break;
        }
        received.extend(bodies);
        deliveries.into_iter().for_each(|delivery| site.accept(filter, delivery));
    }
    assert_eq!(received, sent);
    assert_eq!(site.core.held(), 0);
}

#[test]
fn a_full_disk_loses_nothing_stops_the_senders_and_lets_them_go_on_when_it_clears() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    site.disk.limit(Some(site.disk.used()));
    let ticket = site.publish(sensor, "1");
    site.core.desired(&identity("edge/filter"), threshold(30), None, site.now).unwrap();
    assert!(matches!(site.store.commit_round(), Round::Failed(_)));
    assert!(site.store.refusing());
    assert!(site.store.trouble().is_some());
    let (wake, woken) = counting();
    site.store.on_room(wake);
    assert!(matches!(site.store.commit_round(), Round::Failed(_)));
    assert!(!site.is_durable(ticket.clone()));
    assert_eq!(woken.load(Ordering::Relaxed), 0);

    site.disk.limit(None);
    site.commit();
    assert!(site.is_durable(ticket) && !site.store.refusing());
    assert_eq!((woken.load(Ordering::Relaxed), site.store.trouble()), (1, None));
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["1"]);
    let twin = site.core.twin_get(&identity("edge/filter")).unwrap();
    assert_eq!(twin["desired"]["TemperatureThreshold"], 30);
}

fn threshold(value: i32) -> isotherm_hub::core::Change {
    isotherm_hub::core::Change::Patch { tags: None, desired: Some(json!({"TemperatureThreshold": value})) }
}

#[test]
fn a_full_store_stops_the_senders_until_something_is_delivered() {
    let settings = Settings { queues_bytes_max: 2_000, slack_bytes: 4_000, ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    site.deploy(
        json!({"r": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")"}),
    );
    let sensor = site.attach("edge/sensor");
    let body = "x".repeat(500);
    let mut taken = 0;
    let refused = loop {
        match site.core.publish(sensor, &identity("edge/sensor"), message(&body), site.now) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        site.commit();
    };
    assert_eq!(refused, Refusal::Full);
    assert!(site.store.refusing());
    assert!((5..12).contains(&taken), "the limit and its slack: {taken}");
    assert_eq!(site.counted(Counter::RefusedStoreFull), 1);

    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let (bodies, deliveries) = site.drain(filter);
    assert_eq!(bodies.len(), taken);
    deliveries.into_iter().for_each(|delivery| site.accept(filter, delivery));
    site.commit();
    assert!(!site.store.refusing());
    site.publish(sensor, "again");
}

#[test]
fn a_disk_that_does_not_keep_up_stops_the_senders() {
    let settings = Settings { slack_bytes: 4_000, ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    let session = {
        site.device("d");
        site.attach("d")
    };
    let body = "x".repeat(500);
    while !site.store.refusing() {
        site.publish(session, &body);
    }
    site.commit();
    assert!(!site.store.refusing());
    assert!(site.upstream().len() < 8);
}

#[test]
fn at_an_interval_nobody_waits_for_the_sync() {
    let settings = Settings { sync: SyncMode::Interval(seconds(1)), ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    site.device("d");
    let session = site.attach("d");
    assert_eq!(site.publish(session, "1"), Ticket::DURABLE.into());
    site.commit();
    assert_eq!(site.power_cut().upstream(), ["1"]);
}

/// A hub in memory with a sensor and a filter, whose queues hold so many bytes.
fn in_memory(queues_bytes_max: u64, when_full: WhenFull) -> Site {
    let settings = Settings { sync: SyncMode::Never, queues_bytes_max, when_full, ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    site.deploy(json!({
        "readings": "FROM /messages/modules/sensor/outputs/out INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")",
        "alerts": "FROM /messages/modules/filter/outputs/out INTO $upstream",
    }));
    site
}

#[test]
fn in_memory_nobody_waits_for_what_is_in_a_queue_and_readers_of_the_log_see_what_was_acknowledged() {
    let mut site = in_memory(1 << 20, WhenFull::Refuse);
    let (sensor, filter) = (site.attach("edge/sensor"), site.attach_to("edge/filter", Feed::Inputs));
    site.commit();
    assert_eq!(site.publish(sensor, "1"), Ticket::DURABLE.into());
    assert!(matches!(site.store.commit_round(), Round::Idle), "it goes nowhere");
    let alert = site.publish(filter, "2");
    assert!(!site.is_durable(alert.clone()) && site.upstream().is_empty());
    site.commit();
    assert!(site.is_durable(alert));
    assert_eq!(site.upstream(), ["2"]);
    assert_eq!(site.bodies(filter), ["1"]);
}

#[test]
fn in_memory_queues_have_the_same_limit_and_all_that_is_let_go_of_counts() {
    let mut site = in_memory(40_000, WhenFull::Refuse);
    let (sensor, filter) = (site.attach("edge/sensor"), site.attach_to("edge/filter", Feed::Inputs));
    let body = "x".repeat(500);
    for _ in 0..3 {
        let mut sent = 0;
        while !site.store.refusing() {
            site.publish(sensor, &body);
            sent += 1;
        }
        assert!((60..80).contains(&sent), "{sent} of 500 bytes and what they are kept with");
        let (wake, woken) = counting();
        site.store.on_room(wake);
        assert_eq!(woken.load(Ordering::Relaxed), 0);
        site.commit();
        assert!(site.store.refusing(), "no round makes room");
        let (bodies, deliveries) = site.drain(filter);
        assert_eq!(bodies.len(), sent);
        deliveries.into_iter().for_each(|delivery| site.accept(filter, delivery));
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert_eq!((site.store.refusing(), site.store.queues_bytes()), (false, 0));
    }
    site.publish(sensor, &body);
    site.core.delete_module("edge", "filter", None, site.now).unwrap();
    assert_eq!(site.store.queues_bytes(), 0, "nor does what was removed count");
}

#[test]
fn in_memory_a_disk_that_is_to_be_full_holds_everybody_back_all_the_same() {
    let site = in_memory(40_000, WhenFull::Refuse);
    site.store.pretend_full(true);
    let (wake, woken) = counting();
    site.store.on_room(wake);
    assert!(site.store.refusing());
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    site.store.pretend_full(false);
    assert!(!site.store.refusing());
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn in_memory_the_oldest_give_way_too() {
    let mut site = in_memory(40_000, WhenFull::DropOldest);
    let (sensor, filter) = (site.attach("edge/sensor"), site.attach_to("edge/filter", Feed::Inputs));
    for number in 0..1_000 {
        site.publish(sensor, &format!("{number:0500}"));
        assert!(site.store.queues_bytes() <= 40_000);
    }
    let (bodies, deliveries) = site.drain(filter);
    assert_eq!(bodies.last().unwrap().parse(), Ok(999));
    assert_eq!(bodies.len() as u64 + site.counted(Counter::DroppedFull), 1_000);
    deliveries.into_iter().for_each(|delivery| site.accept(filter, delivery));
    assert_eq!(site.store.queues_bytes(), 0);
}

#[test]
fn a_message_is_known_by_its_content_after_a_restart_too() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    site.publish_message(sensor, message("1").with_property("unit", "c"));
    site.commit();
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    let Some(Outgoing::Input { input, message, .. }) = site.poll(filter) else { panic!("it is there") };
    assert_eq!(&*input, "temperature");
    assert_eq!(message.properties.get("unit"), Some("c"));
}

#[test]
fn a_committer_of_its_own_serves_whoever_waits_and_ends_when_told() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let store = site.store.clone();
    let committer = std::thread::spawn(move || store.run(|| Host::real().now()));
    let (told, hear) = std::sync::mpsc::sync_channel(1);
    let ticket = site.publish(sensor, "1");
    let tell = move || {
        let _ = told.try_send(());
    };
    site.store.on_safe(ticket.clone(), Arc::new(tell));
    hear.recv().unwrap();
    assert!(site.is_durable(ticket));
    let (told, hear) = std::sync::mpsc::sync_channel(1);
    let ticket = site.publish(sensor, "2");
    let tell = move || {
        let _ = told.try_send(());
    };
    site.store.on_safe(ticket.clone(), Arc::new(tell));
    hear.recv_timeout(seconds(30)).expect("it is called for every round");
    site.publish(sensor, "3");
    site.store.close();
    committer.join().unwrap().unwrap();
    let mut site = site.power_cut();
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    assert_eq!(site.bodies(filter), ["1", "2", "3"]);
}

#[test]
fn what_comes_while_a_backlog_is_drained_waits_behind_it() {
    let limits = Limits { window_messages: 4, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.deploy(
        json!({"r": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")"}),
    );
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    for number in 0..10 {
        site.publish(sensor, &number.to_string());
    }
    let mut received = Vec::new();
    for late in 10..30 {
        let (body, number) = delivery(site.poll(filter).unwrap());
        received.push(body);
        site.accept(filter, number);
        site.publish(sensor, &late.to_string());
    }
    let expected: Vec<String> = (0..20).map(|it| it.to_string()).collect();
    assert_eq!(received, expected);
}

#[test]
fn a_real_disk_keeps_what_a_disk_in_memory_keeps() {
    let folder = "a_real_disk";
    let _ = std::fs::remove_dir_all(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder));
    let edge = identity("edge");
    for number in 0..3 {
        let (mut core, store, now) = Site::on_real_disk(folder);
        core.publish_as(&edge, message(&number.to_string()), now).unwrap();
        core.reported(&edge, &json!({"number": number}), now).unwrap();
        assert!(matches!(store.commit_round(), Round::Committed(_)));
    }
    let (core, _, _) = Site::on_real_disk(folder);
    let events = core.events(isotherm_hub::core::Core::partition_of("edge"), 0, 10).unwrap();
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(core.twin_get(&edge).unwrap()["reported"]["number"], 2);
}
