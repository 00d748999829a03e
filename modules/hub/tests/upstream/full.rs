//! A log that is full because the cloud is away: bounded, by the policy that was chosen, and told.

use isotherm_hub::{UpstreamProtocol, WhenFull};

use super::*;

/// Bytes of the whole log; each of its four partitions has a quarter, and one more segment of 256 KiB.
const LOG_BYTES: u64 = 1 << 20;
const PARTITION_BYTES_MAX: u64 = LOG_BYTES / 4 + 2 * (256 << 10);
/// More readings than that has room for.
const READINGS: u64 = 12_000;

/// An edge whose cloud is away, and the cloud's ports and folder.
async fn cut_off(name: &str, when_full: WhenFull) -> (Site, Client, Folder, Ready) {
    let above = Folder::new(name);
    let cloud = cloud(above.path(), None).await;
    with_edge(&cloud).await;
    let ready = cloud.ready.clone();
    let options = Options {
        upstream: Some(upstream(&cloud, UpstreamProtocol::Amqp)),
        log_bytes: Some(LOG_BYTES),
        when_full,
        ..ephemeral()
    };
    cloud.stop().await;
    let (edge, filter) = edge(options).await;
    (edge, filter, above, ready)
}

/// Waits until the log grows no more, for whatever reason: so many looks in a row find it as long as before.
async fn stands_still(edge: &Site) -> Value {
    const LOOKS: usize = 200;
    let (mut bytes, mut looks) = (None, 0);
    let mut status = Value::Null;
    eventually("the log grows no more", async || {
        status = edge.get("/isotherm/v1/status").await;
        let now = status["store"]["eventsBytes"].as_u64();
        looks = if now == bytes { looks + 1 } else { 0 };
        bytes = now;
        looks == LOOKS
    })
    .await;
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_holds_the_senders_back_says_so_and_loses_nothing() {
    let (edge, mut filter, above, ready) = cut_off("full-refuse", WhenFull::Refuse).await;
    filter.send_all("alert", (0..READINGS).map(reading).collect(), None).await.unwrap();
    eventually("the hub says that it takes nothing more", async || {
        edge.get("/isotherm/v1/status").await["store"]["upstreamFull"] == true
    })
    .await;
    let status = stands_still(&edge).await;
    assert!(filter.held() > 0, "the sender keeps what there is no room for");
    assert_eq!(status["store"]["refusing"], true, "{status}");
    assert!(status["store"]["eventsBytes"].as_u64().unwrap() <= PARTITION_BYTES_MAX, "{status}");

    let cloud = cloud(above.path(), Some(&ready)).await;
    let (order, _) = sequences(&arrived(&cloud, READINGS as usize).await);
    assert_eq!(order, (0..READINGS).collect::<Vec<_>>(), "all of it, in order");
    eventually("there is room again", async || {
        edge.get("/isotherm/v1/status").await["store"]["upstreamFull"] == false
    })
    .await;
    assert_eq!(edge.door("upstream_messages_given_up").await, 0);
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_holds_back_only_those_who_send_upstream() {
    let (edge, mut filter, _above, _) = cut_off("full-local", WhenFull::Refuse).await;
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
            "systemModules": {}, "modules": {}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
            "up": "FROM /messages/modules/filter/* INTO $upstream",
            "local": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/other/inputs/temperature\")",
        }, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
        "filter": {"properties.desired": {}}, "sensor": {"properties.desired": {}}, "other": {"properties.desired": {}},
    }});
    let answer = edge.rest("POST", "/devices/edge/applyConfigurationContent", content).await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);
    filter.send_all("alert", (0..READINGS).map(reading).collect(), None).await.expect("its outbox takes all");
    eventually("the log is full", async || {
        edge.get("/isotherm/v1/status").await["store"]["upstreamFull"] == true
    })
    .await;
    let mut sensor = as_module(&edge, "edge/sensor").await;
    sensor
        .send_all("temperature", (0..1_000).map(reading).collect(), None)
        .await
        .expect("its outbox takes all");
    assert!(sensor.flush(LONG).await, "what stays here is taken");
    let mut other = as_module(&edge, "edge/other").await;
    let mut taken = 0;
    let taking = async {
        while taken < 1_000 {
            if let Event::Input { delivery, .. } = other.next().await {
                other.accept(delivery);
                taken += 1;
            }
        }
    };
    timeout(LONG, taking).await.expect("and delivered");
    stands_still(&edge).await;
    assert!(filter.held() > 0, "who sends upstream waits");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_drop_the_oldest_a_full_log_takes_everything_and_counts_what_never_goes_upstream() {
    let (edge, mut filter, above, ready) = cut_off("full-drop", WhenFull::DropOldest).await;
    for begin in (0..READINGS).step_by(1_000) {
        send(&mut filter, begin..begin + 1_000).await; // nobody waits
        let bytes = edge.get("/isotherm/v1/status").await["store"]["eventsBytes"].as_u64().unwrap();
        assert!(bytes <= PARTITION_BYTES_MAX, "{bytes}");
    }
    let cloud = cloud(above.path(), Some(&ready)).await;
    // What was on its way already when the log was full is there too, so that not only the newest arrive.
    let mut expected = 0;
    eventually("all that is left is there, and the rest is counted", async || {
        let status = edge.get("/isotherm/v1/status").await;
        expected = READINGS - status["doors"]["upstream_messages_given_up"].as_u64().unwrap_or_default();
        let upstream = &status["upstream"];
        upstream["open"] == 0 && upstream["unread"] == 0
    })
    .await;
    assert!(expected < READINGS, "something was given up");
    let (order, _) = sequences(&arrived(&cloud, expected as usize).await);
    assert!(
        order.is_sorted() && order.last() == Some(&(READINGS - 1)),
        "{:?} to {:?}",
        order[0],
        order.last()
    );
    assert_eq!(order.len() as u64, expected, "not one more is missing than is counted");
    edge.stop().await;
    cloud.stop().await;
}
