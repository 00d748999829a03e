//! Misfortunes on request: what clients see of them, and that nothing acknowledged is lost by them.

mod support;

use std::time::Duration;

use rumqttc::QoS;
use serde_json::{Value, json};
use support::{PATIENCE, Site, Stranger};
use tokio::time::timeout;

const FROM_SENSOR: &str = "devices/edge/modules/sensor/messages/events/%24.on=temperature";

impl Site {
    async fn fault(&self, wanted: Value) -> Value {
        let answer = self.rest("POST", "/isotherm/v1/faults", wanted).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn clear(&self) {
        assert_eq!(self.rest_with("DELETE", "/isotherm/v1/faults", &[], "").await.status, 200);
    }
}

/// Nothing that is expected not to come takes longer than this to come.
const A_MOMENT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnection_ends_a_session_once_and_for_a_duration_lets_nobody_in() {
    let site = Site::start().await;
    let sensor = site.stranger("edge/sensor").await;
    let fault = site.fault(json!({"kind": "disconnect", "identity": "edge/sensor"})).await;
    assert_eq!(fault["disconnected"], json!(["edge/sensor"]));
    timeout(PATIENCE, sensor.closed()).await.expect("it is closed");
    drop(site.stranger("edge/sensor").await); // it was once
    assert_eq!(site.get("/isotherm/v1/faults").await, json!([]));

    site.fault(json!({"kind": "disconnect", "identity": "edge/*", "durationMs": 60_000})).await;
    let options = site.options("edge/sensor").await;
    let (_client, mut events) = rumqttc::AsyncClient::new(options, 10);
    assert!(timeout(PATIENCE, events.poll()).await.unwrap().is_err(), "the door is shut");
    let list = site.get("/isotherm/v1/faults").await;
    assert!(list[0]["struck"].as_u64().unwrap() >= 1, "{list}");
    site.clear().await;
    drop(site.stranger("edge/sensor").await);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_is_never_acknowledged_and_what_is_delayed_later() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    let mut sensor = site.stranger("edge/sensor").await;
    site.fault(json!({"kind": "drop", "identity": "edge/sensor", "count": 1})).await;
    sensor.client.publish(FROM_SENSOR, QoS::AtLeastOnce, false, "lost").await.unwrap();
    assert!(timeout(A_MOMENT, sensor.puback()).await.is_err());
    sensor.send(FROM_SENSOR, "heard").await;
    assert_eq!(&filter.publish().await.payload[..], b"heard");

    site.fault(json!({"kind": "delay", "identity": "edge/sensor", "delayMs": 400, "count": 1})).await;
    sensor.client.publish(FROM_SENSOR, QoS::AtLeastOnce, false, "late").await.unwrap();
    assert!(timeout(A_MOMENT, sensor.puback()).await.is_err());
    timeout(PATIENCE, sensor.puback()).await.expect("later");
    assert_eq!(&filter.publish().await.payload[..], b"late");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_side_is_throttled_delayed_and_cut_off_on_request() {
    let site = Site::start().await;
    site.fault(json!({"kind": "throttle", "identity": "@service", "count": 2})).await;
    for status in [429, 429, 200] {
        assert_eq!(site.rest_with("GET", "/twins/edge", &[], "").await.status, status);
    }
    site.fault(json!({"kind": "delay", "identity": "@service", "delayMs": 400, "count": 1})).await;
    let slow = site.rest_with("GET", "/twins/edge", &[], "");
    assert!(timeout(A_MOMENT, slow).await.is_err());
    site.fault(json!({"kind": "disconnect", "identity": "@service"})).await;
    let cut = std::panic::AssertUnwindSafe(site.rest_with("GET", "/twins/edge", &[], ""));
    assert!(futures_util::FutureExt::catch_unwind(cut).await.is_err(), "no answer comes");
    let wrong = site.rest("POST", "/isotherm/v1/faults", json!({"kind": "rain"})).await;
    assert_eq!(wrong.status, 400);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_nothing_is_acknowledged_and_afterwards_nothing_is_missing() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    let mut sensor: Stranger = site.stranger("edge/sensor").await;
    site.fault(json!({"kind": "enospc", "durationMs": 600})).await;
    for number in 0..5_u8 {
        sensor.client.publish(FROM_SENSOR, QoS::AtLeastOnce, false, [number]).await.unwrap();
    }
    assert!(timeout(A_MOMENT, sensor.puback()).await.is_err());
    for _ in 0..5 {
        timeout(PATIENCE, sensor.puback()).await.expect("there is room again");
    }
    for number in 0..5_u8 {
        assert_eq!(filter.publish().await.payload[..], [number]);
    }
    site.stop().await;
}
