//! What the twin and the methods do to a sensor that nobody listens to.

use std::{path::Path, sync::Arc};

use isotherm_host::{Disk as _, Env, Host, MemoryDisk};
use serde_json::json;

use super::*;
use crate::{readings::Bookmark, wiring::Wiring};

/// A sensor that replays a file, at a broker that does not answer.
async fn sensor(csv: &str) -> Sensor {
    let disk = MemoryDisk::default();
    disk.write_atomic(Path::new("temps.csv"), csv.as_bytes()).unwrap();
    let env = Env::of([
        ("BROKER_URL", "mqtt://127.0.0.1:9"),
        ("OUTPUT_TOPIC", "temperature"),
        ("SENSOR_CHIP", "replay"),
        ("SENSOR_REPLAY", "temps.csv"),
        ("SENSOR_ID", "attic"),
    ]);
    let host = Host::real().with_disk(Arc::new(disk)).with_env(env);
    let wiring = Wiring::from_env(&host.env).unwrap();
    let client = Client::connect(&host).await.unwrap();
    let chip = wiring.open_chip(&host, &Bookmark::default()).unwrap();
    let reader = Reader::new(host.clone(), &wiring, chip, Bookmark::default(), None);
    Sensor::new(&host, client, reader)
}

async fn status(sensor: &mut Sensor) -> Value {
    let (status, payload) = sensor.call("getStatus").await;
    assert_eq!(status, 200);
    payload
}

#[tokio::test]
async fn read_now_takes_a_reading_like_any_other_and_answers_with_it() {
    let mut sensor = sensor("temp\n20\n21.5\n").await;
    let (status, first) = sensor.call("readNow").await;
    assert_eq!((status, &first["reading"], &first["sequence"]), (200, &json!(20.0), &json!(1)));
    assert_eq!(first["sensorId"], "attic");
    assert_eq!(sensor.call("readNow").await.1["reading"], 21.5);
    assert_eq!((sensor.client.held(), sensor.held()), (0, 2));
    sensor.hand_on().await;
    assert_eq!((sensor.client.held(), sensor.held()), (2, 2), "both are on their way");

    let (status, end) = sensor.call("readNow").await;
    assert_eq!((status, end), (409, json!({"error": "the replay has come to its end"})));
    assert!(sensor.reader.finished);
}

#[tokio::test]
async fn status_tells_what_was_read_what_is_held_and_what_went_wrong() {
    let mut sensor = sensor("temp\n20\nbroken\n21\n").await;
    sensor.change(&json!({"BatchSize": 2}));
    assert_eq!(sensor.call("readNow").await.0, 200);
    let (code, error) = sensor.call("readNow").await;
    assert_eq!((code, error), (503, json!({"error": "line 3 of the replay has no temperature"})));
    let expected = json!({
        "sensed": 1, "refused": 0, "chipErrors": 1, "lastError": "line 3 of the replay has no temperature",
        "held": 1, "sequence": 1, "finished": false, "chip": "replay", "alert": null, "batched": 1,
    });
    assert_eq!(status(&mut sensor).await, expected);

    for _ in 0..2 {
        sensor.call("readNow").await;
    }
    let status = status(&mut sensor).await;
    assert_eq!(
        (&status["sensed"], &status["held"], &status["finished"]),
        (&json!(2), &json!(1), &json!(true))
    );
}

#[tokio::test]
async fn status_tells_of_the_chips_own_alert() {
    let mut sensor = sensor("temp\n20\n31\n").await;
    sensor.change(&json!({"LowLimit": 25, "HighLimit": 30}));
    sensor.call("readNow").await;
    assert_eq!(status(&mut sensor).await["alert"], false);
    sensor.call("readNow").await;
    assert_eq!(status(&mut sensor).await["alert"], true);
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_answered_with_those_that_do() {
    let mut sensor = sensor("temp\n20\n").await;
    assert_eq!(sensor.call("ping").await, (200, json!({"pong": true})));
    let expected = json!({"error": "\"reboot\" is no method; ping, readNow, getStatus are"});
    assert_eq!(sensor.call("reboot").await, (404, expected));
}

#[tokio::test]
async fn the_chips_mode_changes_from_the_next_reading_on() {
    let mut sensor = sensor("temp\n140\n140\n140\n").await;
    assert_eq!(sensor.call("readNow").await.1["reading"], 127.9375);
    sensor.change(&json!({"ChipMode": "extended", "ConversionMode": "one-shot"}));
    assert_eq!(sensor.call("readNow").await.1["reading"], 140.0);
    sensor.change(&json!({}));
    assert_eq!(sensor.call("readNow").await.1["reading"], 127.9375);
}

#[tokio::test]
async fn a_batch_that_is_full_by_the_new_size_goes_at_once() {
    let mut sensor = sensor("temp\n20\n21\n22\n").await;
    sensor.change(&json!({"BatchSize": 10}));
    for _ in 0..3 {
        sensor.call("readNow").await;
    }
    assert_eq!((sensor.reader.ready(), sensor.reader.readings.waiting()), (0, 3));
    sensor.change(&json!({"BatchSize": 3}));
    assert_eq!((sensor.reader.ready(), sensor.reader.readings.waiting()), (1, 0));
}
