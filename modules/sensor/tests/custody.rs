//! The whole sensor before a broker: what it reads arrives, in order, whatever happens to it or to the broker.

mod site;

use std::{fs, path::PathBuf, sync::atomic::Ordering, time::Duration};

use isotherm_proto::Body;
use site::Site;
use tokio::time::{Instant, sleep};

/// Says what could not run here and why, past the test harness, which keeps what a passing test prints to itself.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($why)*));
    }};
}

/// A file of `rows` rows, each a sixteenth of a degree warmer than the one before, from 0 °C.
fn staircase(rows: u16) -> String {
    let row = |n| format!("{n},{}\n", f32::from(n) / 16.0);
    format!("row,temp\n{}", (0..rows).map(row).collect::<String>())
}

fn stairs(rows: u16) -> Vec<f32> {
    (0..rows).map(|n| f32::from(n) / 16.0).collect()
}

#[tokio::test(start_paused = true)]
async fn every_row_arrives_once_in_order_and_numbered_from_one() {
    let site = Site::with_file(&staircase(1_000));
    let sensor = site.start(&[]);
    site.wait_for(1_000).await;
    sensor.end().await;
    assert_eq!(site.broker.readings().len(), 1_000);
    assert_eq!(site.broker.temperatures(), stairs(1_000));
    let first = &site.broker.readings()[0];
    assert_eq!((first.sensor_id.as_str(), first.sequence), ("attic", 1));
    assert!(first.at.to_string().starts_with("2026-03-01T06:30:0"), "stamped when it was read: {}", first.at);
}

#[tokio::test(start_paused = true)]
async fn a_sensor_that_ends_waits_for_what_is_on_its_way_so_that_it_does_not_come_twice() {
    let site = Site::with_file(&staircase(3));
    site.broker.late.store(500, Ordering::Relaxed);
    let sensor = site.start(&[]);
    site.wait_for(3).await;
    sensor.end().await;
    let sensor = site.start(&[]);
    sleep(Duration::from_secs(5)).await;
    sensor.end().await;
    assert_eq!(site.broker.readings().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sensor_that_ends_does_not_wait_for_a_broker_that_is_away() {
    let site = Site::with_file(&staircase(3));
    site.broker.away.store(true, Ordering::Relaxed);
    let sensor = site.start(&[]);
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    sensor.end().await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?} of the ten seconds that an engine gives",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_row_without_a_number_is_passed_over_and_not_counted() {
    let site = Site::with_file("temp\n20\n\"\"\nbroken\n21\n");
    let sensor = site.start(&[]);
    site.wait_for(2).await;
    sleep(Duration::from_secs(5)).await;
    sensor.end().await;
    assert_eq!(site.broker.temperatures(), [20.0, 21.0]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_sensor_goes_on_after_the_last_row_it_sent() {
    let site = Site::with_file(&staircase(100));
    for _ in 0..4 {
        let sensor = site.start(&[("SENSOR_REPLAY_SPEED", "10")]);
        sleep(Duration::from_millis(2_950)).await;
        sensor.end().await;
    }
    let sensor = site.start(&[]);
    site.wait_for(100).await;
    sleep(Duration::from_secs(5)).await;
    sensor.end().await;
    assert_eq!(site.broker.readings().len(), 100, "nothing twice");
    assert_eq!(site.broker.temperatures(), stairs(100));
}

#[tokio::test(start_paused = true)]
async fn a_killed_sensor_may_repeat_a_reading_and_never_loses_one() {
    let site = Site::with_file(&staircase(400));
    for millis in [1_730, 333, 1_201, 90, 745] {
        let sensor = site.start(&[("SENSOR_REPLAY_SPEED", "50"), ("MODULE_SETTINGS", r#"{"BatchSize": 7}"#)]);
        sleep(Duration::from_millis(millis)).await;
        sensor.kill().await;
    }
    let sensor = site.start(&[("MODULE_SETTINGS", r#"{"BatchSize": 7}"#)]);
    site.wait_for(400).await;
    sleep(Duration::from_secs(5)).await;
    sensor.end().await;
    assert_eq!(site.broker.temperatures(), stairs(400));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_while_nobody_was_there_arrives_when_somebody_is() {
    let site = Site::with_file(&staircase(300));
    site.broker.away.store(true, Ordering::Relaxed);
    let sensor = site.start(&[("SENSOR_REPLAY_SPEED", "10")]);
    sleep(Duration::from_secs(15)).await;
    sensor.end().await;
    let sensor = site.start(&[("SENSOR_REPLAY_SPEED", "10")]);
    sleep(Duration::from_secs(5)).await;
    assert!(site.broker.readings().is_empty());
    site.broker.away.store(false, Ordering::Relaxed);
    site.wait_for(300).await;
    sensor.end().await;
    assert_eq!(site.broker.temperatures(), stairs(300));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_makes_no_reading_late_and_loses_none() {
    let site = Site::with_file(&staircase(300));
    site.broker.away.store(true, Ordering::Relaxed);
    let sensor = site.start(&[("SENSOR_REPLAY_SPEED", "10")]);
    sleep(Duration::from_secs(5)).await;
    site.disk.limit(Some(0));
    sleep(Duration::from_secs(10)).await;
    site.disk.limit(None);
    site.broker.away.store(false, Ordering::Relaxed);
    site.wait_for(300).await;
    sensor.end().await;
    assert_eq!(site.broker.temperatures(), stairs(300));
    let times: Vec<_> = site.broker.readings().iter().map(|reading| reading.at.as_millisecond()).collect();
    assert!(times.windows(2).all(|pair| (99..=102).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_full_stops_the_reading_at_a_bound_and_not_for_ever() {
    let site = Site::with_file(&staircase(2_000));
    site.broker.away.store(true, Ordering::Relaxed);
    site.disk.limit(Some(10_000));
    let sensor = site.start(&[]);
    sleep(Duration::from_secs(60)).await;
    site.disk.limit(None);
    site.broker.away.store(false, Ordering::Relaxed);
    site.wait_for(2_000).await;
    sensor.end().await;
    assert_eq!(site.broker.temperatures(), stairs(2_000));
    let first = site.broker.readings()[0].at.as_second();
    let last_minute = |reading: &&isotherm_proto::Reading| reading.at.as_second() < first + 50;
    assert!(site.broker.readings().iter().filter(last_minute).count() < 2_000, "something was left to read");
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_when_it_is_full_or_old_or_the_last() {
    let site = Site::with_file(&staircase(10));
    let settings = r#"{"BatchSize": 4, "BatchAge": "60s"}"#;
    let sensor = site.start(&[("MODULE_SETTINGS", settings)]);
    site.wait_for(10).await;
    sensor.end().await;
    assert_eq!(sizes(&site), [4, 4, 2]);

    let site = Site::with_file(&staircase(10));
    let settings = r#"{"BatchSize": 4, "BatchAge": "1500ms", "SamplingInterval": "1s"}"#;
    let sensor = site.start(&[("MODULE_SETTINGS", settings), ("SENSOR_REPLAY_SPEED", "")]);
    site.wait_for(10).await;
    sensor.end().await;
    assert_eq!(sizes(&site), [2, 2, 2, 2, 2]);
}

fn sizes(site: &Site) -> Vec<usize> {
    let size = |body: &Body| match body {
        Body::Upload(upload) => upload.readings.len(),
        Body::Reading(reading) => panic!("not in a batch: {reading:?}"),
    };
    site.broker.bodies().iter().map(size).collect()
}

#[tokio::test(start_paused = true)]
async fn readings_come_as_often_as_the_settings_say() {
    let site = Site::default();
    let begun = Instant::now();
    let settings = r#"{"SamplingInterval": "250ms"}"#;
    let sensor = site.start(&[("SENSOR_CHIP", "simulated"), ("MODULE_SETTINGS", settings)]);
    site.wait_for(41).await;
    let took = begun.elapsed();
    sensor.end().await;
    assert!((10.0..10.8).contains(&took.as_secs_f64()), "{took:?}");
    let warmest = site.broker.temperatures().into_iter().fold(f32::MIN, f32::max);
    assert!((25.0..35.0).contains(&warmest), "{warmest}");
}

#[tokio::test(start_paused = true)]
async fn a_year_of_seattle_arrives_with_its_640_warm_hours() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/seattle-temps.csv");
    let Ok(csv) = fs::read_to_string(&path) else {
        return skipped!("{} is not there", path.display());
    };
    let site = Site::with_file(&csv);
    let sensor = site.start(&[("SENSOR_REPLAY_UNIT", "f")]);
    site.wait_for(8_759).await;
    sleep(Duration::from_secs(5)).await;
    sensor.end().await;
    let temperatures = site.broker.temperatures();
    assert_eq!((temperatures.len(), site.broker.readings().len()), (8_759, 8_759));
    assert_eq!(temperatures.iter().filter(|degrees| **degrees > 20.0).count(), 640);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_variable_ends_it_with_its_name() {
    let site = Site::default();
    let sensor = site.start(&[("SENSOR_CHIP", "thermometer")]);
    let error = sensor.outcome().await.unwrap_err().to_string();
    assert!(error.starts_with("SENSOR_CHIP: \"thermometer\" is no chip; one of"), "{error}");
}
