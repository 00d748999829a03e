//! The filter as messages meet it: what goes on, what does not, and what is counted.

use std::time::{Duration, Instant};

use isotherm_filter::{Filter, Settings, Status, Verdict};
use isotherm_iothub::{Message, SystemProperty};
use isotherm_proto::{Celsius, Reading, SCHEMA_READING, Upload};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

fn reading(sensor_id: &str, sequence: u64, celsius: f32) -> Reading {
    let at = Timestamp::from_second(1_700_000_000 + sequence.cast_signed()).unwrap();
    Reading { sensor_id: sensor_id.into(), sequence, celsius: Celsius::measured(celsius), at }
}

fn upload(readings: Vec<Reading>) -> Upload {
    Upload { uploaded_at: Timestamp::from_second(1_700_000_100).unwrap(), readings }
}

/// A filter with the threshold at 20 °C.
fn filter() -> Filter {
    let mut filter = Filter::new(Settings::default());
    filter.apply(&json!({"TemperatureThreshold": 20}));
    filter
}

/// Any moment will do: only the pauses between complaints depend on it.
#[expect(clippy::disallowed_methods, reason = "an Instant can be had from nowhere else")]
fn now() -> Instant {
    Instant::now()
}

/// What goes on, if anything.
fn forwarded(filter: &mut Filter, message: &Message) -> Option<Message> {
    match filter.judge(message, now()) {
        Verdict::Forward { alert, .. } => Some(alert),
        _ => None,
    }
}

fn passes(filter: &mut Filter, reading: &Reading) -> bool {
    forwarded(filter, &Message::new(reading.encode())).is_some()
}

/// The numbers of the readings of an upload that go on.
fn kept(filter: &mut Filter, readings: Vec<Reading>) -> Vec<u64> {
    let alert = forwarded(filter, &Message::new(upload(readings).encode()));
    let upload = alert.map(|alert| Upload::decode(&alert.body).unwrap());
    upload.map(|upload| upload.readings.iter().map(|it| it.sequence).collect()).unwrap_or_default()
}

#[test]
fn an_alert_is_the_message_as_it_came_with_one_property_more() {
    let message = Message::new(reading("attic", 1, 20.5).encode())
        .with_system(SystemProperty::MessageId, "m1")
        .with_system(SystemProperty::Schema, SCHEMA_READING)
        .with_system(SystemProperty::ConnectionModuleId, "sensor")
        .with_system(SystemProperty::InputName, "temperature")
        .with_property("room", "attic")
        .with_property("MessageType", "Telemetry");
    let alert = forwarded(&mut filter(), &message).unwrap();
    assert_eq!(alert.body.as_ptr(), message.body.as_ptr(), "the body was copied");
    let properties: Vec<_> = alert.properties.iter().collect();
    assert_eq!(properties, [("room", Some("attic")), ("MessageType", Some("Alert"))]);
    assert_eq!(alert.system.get(SystemProperty::MessageId), Some("m1"));
    assert_eq!(alert.system.get(SystemProperty::Schema), Some(SCHEMA_READING));
    assert_eq!(alert.system.get(SystemProperty::ConnectionModuleId), None);
    assert_eq!(alert.system.get(SystemProperty::InputName), None);
}

#[test]
fn only_what_exceeds_the_threshold_goes_on_and_every_such_reading_does() {
    let mut filter = filter();
    let readings = [19.9, 20.0, 20.1, 20.1, 35.0, 20.0, -30.0];
    let passed: Vec<bool> = (1..)
        .zip(readings)
        .map(|(number, celsius)| passes(&mut filter, &reading("attic", number, celsius)))
        .collect();
    assert_eq!(passed, [false, false, true, true, true, false, false]);
    let counts =
        Status { received: 7, forwarded: 3, below: 4, held: 5, threshold: 20.0, ..Status::default() };
    assert_eq!(filter.status(5), counts);
}

#[test]
fn a_changed_threshold_rules_from_the_next_message_on() {
    let mut filter = filter();
    assert!(passes(&mut filter, &reading("attic", 1, 21.0)));
    filter.apply(&json!({"TemperatureThreshold": 22}));
    assert!(!passes(&mut filter, &reading("attic", 2, 21.0)));
    filter.apply(&json!({"TemperatureThreshold": "hot"}));
    assert!(!passes(&mut filter, &reading("attic", 3, 22.0)));
    assert!(passes(&mut filter, &reading("attic", 4, 22.5)));
}

#[test]
fn an_upload_keeps_only_what_exceeds() {
    let mut filter = filter();
    let readings =
        vec![reading("a", 1, 19.0), reading("a", 2, 21.0), reading("a", 3, 20.0), reading("b", 1, 22.0)];
    let message = Message::new(upload(readings.clone()).encode()).with_property("room", "attic");
    let alert = forwarded(&mut filter, &message).unwrap();
    let kept = upload(vec![readings[1].clone(), readings[3].clone()]);
    assert_eq!(Upload::decode(&alert.body).unwrap(), kept);
    assert_eq!(alert.properties.get("room"), Some("attic"));
    assert_eq!(alert.properties.get("MessageType"), Some("Alert"));
    let counts = filter.status(0);
    assert_eq!((counts.received, counts.forwarded, counts.below), (4, 2, 2));
}

#[test]
fn an_upload_of_which_nothing_is_left_is_not_sent_and_one_of_which_all_is_left_is_not_rewritten() {
    let mut filter = filter();
    let cold = Message::new(upload(vec![reading("a", 1, 19.0)]).encode());
    assert_eq!(filter.judge(&cold, now()), Verdict::Nothing);
    assert_eq!(filter.judge(&Message::new(upload(vec![]).encode()), now()), Verdict::Nothing);
    let hot = Message::new(upload(vec![reading("a", 2, 21.0), reading("a", 3, 22.0)]).encode());
    assert_eq!(forwarded(&mut filter, &hot).unwrap().body.as_ptr(), hot.body.as_ptr());
}

#[test]
fn repeats_are_dropped_and_counted_within_uploads_too() {
    let mut filter = filter();
    let hot = |number| reading("attic", number, 30.0);
    assert!(passes(&mut filter, &hot(1)) && passes(&mut filter, &hot(2)));
    assert!(!passes(&mut filter, &hot(1)) && !passes(&mut filter, &hot(2)));
    assert!(passes(&mut filter, &reading("cellar", 1, 30.0)), "another sensor's numbers are its own");
    assert_eq!(kept(&mut filter, vec![hot(2), hot(3), hot(3), hot(4)]), [3, 4]);
    assert_eq!((filter.status(0).repeats, filter.status(0).forwarded), (4, 5));
}

#[test]
fn the_messages_of_strangers_that_do_not_count_are_never_repeats() {
    let mut filter = filter();
    let two_fields = b"\x0d\x00\x00\xac\x41\x12\x142026-03-01T06:30:00Z"; // 21.5 °C, no sensor, no number
    for _ in 0..3 {
        assert!(forwarded(&mut filter, &Message::new(&two_fields[..])).is_some());
    }
}

#[test]
fn with_hysteresis_a_sensor_that_hovers_alerts_once_and_each_sensor_for_itself() {
    let mut filter = filter();
    filter.apply(&json!({"TemperatureThreshold": 20, "Hysteresis": 0.5}));
    let mut passes = |id: &str, number, celsius| passes(&mut filter, &reading(id, number, celsius));
    assert!(passes("attic", 1, 20.1));
    assert!(!passes("attic", 2, 20.2));
    assert!(!passes("attic", 3, 19.6));
    assert!(!passes("attic", 4, 20.1));
    assert!(passes("cellar", 1, 20.1));
    assert!(!passes("attic", 5, 19.4));
    assert!(passes("attic", 6, 20.1));
}

#[test]
fn with_an_interval_the_alerts_of_a_sensor_keep_their_distance_in_uploads_too() {
    let mut filter = filter();
    filter.apply(&json!({"TemperatureThreshold": 20, "MinimumAlertInterval": "5s"}));
    let hot = |numbers: std::ops::RangeInclusive<u64>| {
        numbers.map(|number| reading("attic", number, 30.0)).collect()
    };
    assert_eq!(kept(&mut filter, hot(1..=12)), [1, 6, 11]);
    assert_eq!(kept(&mut filter, hot(13..=17)), [16]);
    assert!(passes(&mut filter, &reading("cellar", 12, 30.0)));
    filter.apply(&json!({"TemperatureThreshold": 20, "MinimumAlertInterval": 0}));
    assert_eq!(kept(&mut filter, hot(18..=19)), [18, 19]);
}

#[test]
fn what_is_no_reading_is_counted_and_told_of_once_a_minute() {
    let mut filter = filter();
    let start = now();
    let noise = Message::new("{\"reading\": 31}");
    let mut judge = |second| filter.judge(&noise, start + Duration::from_secs(second));
    let Verdict::Refused { why, times: 1 } = judge(0) else { panic!("the first one is told of") };
    assert!(why.to_string().starts_with("body: "), "{why}");
    assert_eq!(judge(1), Verdict::RefusedQuietly);
    assert_eq!(judge(59), Verdict::RefusedQuietly);
    assert!(matches!(judge(60), Verdict::Refused { times: 3, .. }));
    assert_eq!((filter.status(0).received, filter.status(0).refused), (4, 4));
}

#[test]
fn the_status_is_what_get_status_promises() {
    let mut filter = Filter::new(Settings::default());
    filter.apply(&json!({"TemperatureThreshold": 21.6}));
    passes(&mut filter, &reading("attic", 1, 30.0));
    filter.not_sent(1);
    let status = json!({
        "received": 1, "forwarded": 0, "below": 0, "refused": 1, "repeats": 0, "held": 3, "threshold": 21.6
    });
    assert_eq!(filter.status(3).to_json(), status);
}

proptest! {
    #[test]
    fn all_that_comes_in_is_accounted_for(
        messages in prop::collection::vec((0..4u64, 0..5u64, 15.0..25.0f32, any::<bool>()), 0..100),
        hysteresis in 0.0..2.0f32,
        interval in 0..3000u64,
    ) {
        let mut filter = filter();
        filter.apply(&json!({"TemperatureThreshold": 20, "Hysteresis": hysteresis, "MinimumAlertInterval": interval}));
        for (sensor, number, celsius, batch) in messages {
            let reading = reading(&sensor.to_string(), number, celsius);
            let body = if batch { upload(vec![reading.clone(), reading]).encode() } else { reading.encode() };
            filter.judge(&Message::new(body), now());
            filter.judge(&Message::new(&b"\xff"[..]), now());
        }
        let counts = filter.status(0);
        prop_assert_eq!(counts.received, counts.forwarded + counts.below + counts.repeats + counts.refused);
    }
}
