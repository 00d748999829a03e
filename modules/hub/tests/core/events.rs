use std::sync::atomic::Ordering;

use isotherm_hub::core::{Core, EventSource, Limits, Position};
use isotherm_hub::store::Settings;

use crate::site::{Site, counting, identity, in_seconds, message, seconds, text};

fn site() -> Site {
    let mut site = Site::new();
    site.device("d");
    site
}

#[test]
fn events_are_numbered_and_show_who_sent_them_and_when() {
    let mut site = site();
    let session = site.attach("d");
    let partition = Core::partition_of("d");
    site.publish(session, "1");
    site.pass(seconds(5));
    site.publish_message(session, message("2").with_property("k", "v"));
    assert!(site.core.events(partition, 0, 10).unwrap().is_empty(), "not before they are durable");
    site.commit();
    site.publish(session, "not yet durable");
    let events = site.core.events(partition, 0, 10).unwrap();
    let numbers: Vec<_> = events.iter().map(|it| (it.sequence, text(&it.message))).collect();
    assert_eq!(numbers, [(0, "1".to_owned()), (1, "2".to_owned())]);
    let second = &events[1];
    assert_eq!((second.enqueued, second.source), (site.now.wall, EventSource::Telemetry));
    assert_eq!((&second.from, second.message.properties.get("k")), (&identity("d"), Some("v")));
    assert_eq!(Some(second.generation.clone()), site.core.generation_of(&identity("d")));
    assert_eq!(second.offset(), "1");

    let shown = site.core.partition(partition);
    assert_eq!((shown.first, shown.next, shown.last_enqueued), (0, 2, Some(site.now.wall)));
    let site = site.power_cut();
    assert_eq!(site.upstream(), ["1", "2"]);
}

#[test]
fn a_reader_begins_where_it_likes() {
    let mut site = site();
    let session = site.attach("d");
    let partition = Core::partition_of("d");
    let begin = site.now;
    for number in 0..10 {
        site.publish(session, &number.to_string());
        site.pass(seconds(10));
    }
    site.commit();
    let at = |position| site.core.event_position(partition, position).unwrap();
    assert_eq!(at(Position::Earliest), 0);
    assert_eq!(at(Position::Latest), 10);
    assert_eq!(at(Position::At(7)), 7);
    assert_eq!(at(Position::After(in_seconds(begin, 25))), 3);
    assert_eq!(at(Position::After(in_seconds(begin, 30))), 4, "after, not at");
    assert_eq!(at(Position::After(in_seconds(begin, 1_000))), 10);
    assert_eq!(at(Position::After(in_seconds(begin, -1))), 0);
    assert_eq!(site.core.events(partition, 8, 1).unwrap().len(), 1);
    assert!(site.core.events(partition, 10, 5).unwrap().is_empty());
}

#[test]
fn a_follower_is_told_when_the_log_has_grown() {
    let mut site = site();
    let session = site.attach("d");
    let (wake, woken) = counting();
    site.store.on_events(wake);
    site.publish(session, "1");
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    site.commit();
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn a_device_stays_in_its_partition_and_devices_spread_over_all() {
    let partitions: Vec<u8> = (0..100).map(|it| Core::partition_of(&format!("device-{it}"))).collect();
    for partition in 0..Core::PARTITIONS {
        assert!(partitions.iter().filter(|it| **it == partition).count() > 10);
    }
    assert_eq!(Core::partition_of("edge"), Core::partition_of("edge"));
}

#[test]
fn the_log_stays_within_its_limit_and_says_how_many_it_gave_up() {
    let settings = Settings { events_bytes_max: 40_000, segment_bytes: 2_000, ..Settings::default() };
    let mut site = Site::with(settings, Limits::default());
    site.device("d");
    let session = site.attach("d");
    let partition = Core::partition_of("d");
    for _ in 0..200 {
        site.publish(session, &"x".repeat(100));
        site.commit();
    }
    site.commit();
    let shown = site.core.partition(partition);
    assert_eq!(shown.next, 200);
    assert!(shown.first > 50, "{}", shown.first);
    assert_eq!(site.store.events_given_up(), shown.first);
    assert!(site.store.events_bytes() <= 12_000, "{}", site.store.events_bytes());
    let events = site.core.events(partition, 0, 1_000).unwrap();
    assert_eq!(events.first().unwrap().sequence, shown.first);
    site.pass(seconds(30));
    assert_eq!(site.counted(isotherm_hub::core::Counter::DroppedRetention), shown.first);
    assert!(!site.store.refusing(), "the log's limit stops nobody");
}
