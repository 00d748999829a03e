//! Messages: from a module's output to another's input, upstream, to devices, and never to a stranger.

mod support;

use rumqttc::{LastWill, QoS};
use serde_json::json;
use support::{Site, Stranger};

const OUTPUT: &str = "devices/edge/modules/sensor/messages/events/%24.on=temperature&k=v%20w";
const INPUTS: &str = "devices/edge/modules/filter/inputs/#";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_module_sends_is_acknowledged_and_reaches_the_input_it_is_routed_to() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    assert_eq!(filter.subscribe(INPUTS, QoS::AtLeastOnce).await, Some(QoS::AtLeastOnce));
    let mut sensor = site.stranger("edge/sensor").await;
    sensor.send(OUTPUT, "31.5").await;

    let message = filter.publish().await;
    assert_eq!(&message.payload[..], b"31.5");
    assert_eq!(message.qos, QoS::AtLeastOnce);
    let tail = message
        .topic
        .strip_prefix("devices/edge/modules/filter/inputs/temperature/")
        .expect("the input's topic");
    let mut bag: Vec<&str> = tail.split('&').collect();
    bag.sort_unstable();
    assert_eq!(bag, ["%24.cdid=edge", "%24.cmid=sensor", "k=v%20w"]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_keep_their_order_and_none_is_lost_or_doubled() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe(INPUTS, QoS::AtLeastOnce).await;
    let mut sensor = site.stranger("edge/sensor").await;
    let client = sensor.client.clone();
    tokio::spawn(async move {
        for number in 0..1_000_u32 {
            client.publish(OUTPUT, QoS::AtLeastOnce, false, number.to_be_bytes()).await.unwrap();
        }
    });
    let receive = async {
        for number in 0..1_000_u32 {
            assert_eq!(filter.publish().await.payload[..], number.to_be_bytes());
        }
    };
    let acknowledged = async {
        for _ in 0..1_000 {
            sensor.puback().await;
        }
    };
    tokio::join!(receive, acknowledged);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_was_away_gets_what_came_meanwhile() {
    let site = Site::start().await;
    let mut sensor = site.stranger("edge/sensor").await;
    sensor.send(OUTPUT, "1").await;
    sensor.send(OUTPUT, "2").await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe(INPUTS, QoS::AtLeastOnce).await;
    assert_eq!(&filter.publish().await.payload[..], b"1");
    assert_eq!(&filter.publish().await.payload[..], b"2");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_comes_again_with_dup_set() {
    let site = Site::start().await;
    let mut options = site.options("edge/filter").await;
    options.set_manual_acks(true);
    let mut filter = Stranger::connect(options.clone()).await;
    filter.subscribe(INPUTS, QoS::AtLeastOnce).await;
    let mut sensor = site.stranger("edge/sensor").await;
    sensor.send(OUTPUT, "31.5").await;
    let first = filter.publish().await;
    assert!(!first.dup);
    drop(filter);

    let mut again = Stranger::connect(options).await;
    assert!(again.session_present, "the subscription was kept");
    let second = again.publish().await;
    assert_eq!((second.dup, &second.payload[..]), (true, &b"31.5"[..]));
    again.client.ack(&second).await.unwrap();
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retain_and_dup_become_properties() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe(INPUTS, QoS::AtMostOnce).await;
    let mut sensor = site.stranger("edge/sensor").await;
    sensor.client.publish(OUTPUT, QoS::AtLeastOnce, true, "x").await.unwrap();
    sensor.puback().await;
    let message = filter.publish().await;
    assert!(message.topic.contains("mqtt-retain=true"), "{}", message.topic);
    assert!(!message.retain);
    assert_eq!(message.qos, QoS::AtMostOnce, "the subscription's QoS is the most");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_is_sent_for_who_vanishes_and_not_for_who_says_goodbye() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe(INPUTS, QoS::AtLeastOnce).await;
    let mut options = site.options("edge/sensor").await;
    options.set_last_will(LastWill::new(OUTPUT, "gone", QoS::AtLeastOnce, false));

    let mut polite = Stranger::connect(options.clone()).await;
    polite.client.disconnect().await.unwrap();
    let _ = polite.events.poll().await;
    polite.closed().await;

    let abrupt = Stranger::connect(options).await;
    drop(abrupt);
    let message = filter.publish().await;
    assert_eq!(&message.payload[..], b"gone");
    assert!(message.topic.contains("MessageType=Will"), "{}", message.topic);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_from_the_cloud_reaches_its_device() {
    let site = Site::start().await;
    site.device("leaf").await;
    let path = "/isotherm/v1/devices/leaf/messages/devicebound";
    let answer = site
        .rest_with("POST", path, &[("iothub-messageid", "c1"), ("iothub-app-kind", "test")], "hello")
        .await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);

    let mut leaf = site.stranger("leaf").await;
    leaf.subscribe("devices/leaf/messages/devicebound/#", QoS::AtLeastOnce).await;
    let message = leaf.publish().await;
    assert_eq!(&message.payload[..], b"hello");
    let tail = message.topic.strip_prefix("devices/leaf/messages/devicebound/").expect("the device's topic");
    assert!(tail.contains("%24.mid=c1") && tail.contains("kind=test"), "{tail}");
    assert!(tail.contains("%24.to=%2Fdevices%2Fleaf%2Fmessages%2Fdevicebound"), "{tail}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_what_reached_upstream() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.send("devices/edge/modules/filter/messages/events/%24.on=alert&MessageType=Alert", "hot").await;
    let answer = site
        .rest_with("POST", "/isotherm/v1/messages?from=edge/filter&output=alert&property=Aa=b", &[], "cold")
        .await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);

    let lines = site.watch("kinds=upstream&from=earliest", 2).await;
    assert_eq!(lines[0]["event"], "upstream");
    assert_eq!(lines[0]["from"], "edge/filter");
    assert_eq!(lines[0]["output"], "alert");
    assert_eq!(lines[0]["properties"], json!({"MessageType": "Alert"}));
    assert_eq!(lines[0]["bodyBase64"], "aG90");
    assert_eq!(lines[1]["properties"], json!({"Aa": "b"}));
    assert_eq!(lines[1]["bodyBase64"], "Y29sZA==");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_was_turned_off_is_silent_and_goes_on_where_it_was_left() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe(INPUTS, QoS::AtLeastOnce).await;
    let mut sensor = site.stranger("edge/sensor").await;
    sensor.send(OUTPUT, "1").await;
    assert_eq!(&filter.publish().await.payload[..], b"1");
    filter.client.unsubscribe(INPUTS).await.unwrap();
    filter.expect(|packet| matches!(packet, rumqttc::Packet::UnsubAck(_)).then_some(())).await;
    sensor.send(OUTPUT, "2").await;
    assert_eq!(site.get("/isotherm/v1/status").await["queued"], json!(1), "it waits");
    filter.subscribe(INPUTS, QoS::AtLeastOnce).await;
    assert_eq!(&filter.publish().await.payload[..], b"2");
    site.stop().await;
}
