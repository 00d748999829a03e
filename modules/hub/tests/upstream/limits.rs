//! How far the way upstream can grow while the cloud is away.

use isotherm_hub::UpstreamProtocol;
use rumqttc::QoS;

use super::*;

/// A cloud that nobody has ever reached.
fn nowhere() -> Upstream {
    let connection = "HostName=cloud;SharedAccessKeyName=device;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=;GatewayHostName=localhost:1";
    Upstream { protocol: UpstreamProtocol::Amqp, ..Upstream::to(connection) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_as_may_go_upstream_as_themselves_and_one_more_waits_and_holds_up_nobody() {
    let folder = Folder::new("lanes");
    let state = Options { ephemeral: false, state: folder.path().to_owned(), ..ephemeral() };
    let edge = Site::with(state.clone()).await;
    let devices: Vec<Value> =
        (0..999).map(|number| json!({"id": format!("d{number}"), "importMode": "create"})).collect();
    for part in devices.chunks(100) {
        let answer = edge.rest("POST", "/devices", Value::from(part)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
    edge.stop().await;

    let edge = Site::with(Options { upstream: Some(nowhere()), ..state }).await;
    let upstream = edge.get("/isotherm/v1/status").await["upstream"].clone();
    assert_eq!(
        (&upstream["lanes"], &upstream["withoutLane"]),
        (&json!(1_000), &json!(0)),
        "999 and the edge"
    );
    edge.device("late").await;
    let mut late = edge.stranger("late").await;
    late.client.publish("devices/late/messages/events/", QoS::AtLeastOnce, false, "1").await.unwrap();
    late.puback().await;
    eventually("the one more has no lane, and what it sends is passed by", async || {
        let upstream = edge.get("/isotherm/v1/status").await["upstream"].clone();
        upstream["withoutLane"] == 1 && upstream["sendersPassedBy"] == 1 && upstream["unread"] == 0
    })
    .await;
    assert_eq!(edge.get("/isotherm/v1/status").await["upstream"]["lanes"], 1_000);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_takes_so_many_events_and_so_many_bytes_and_the_log_keeps_the_rest() {
    const LARGE: usize = 200 << 10;
    const SMALL: u64 = 3_500;
    let (edge, mut filter) = edge(Options { upstream: Some(nowhere()), ..ephemeral() }).await;
    let large = (0..25).map(|_| isotherm_iothub::Message::new(vec![b'x'; LARGE])).collect();
    filter.send_all("alert", large, None).await.unwrap();
    assert!(filter.flush(LONG).await);
    send(&mut filter, 0..SMALL).await;
    let mut open = 0;
    eventually("the lane takes no more", async || {
        let upstream = edge.get("/isotherm/v1/status").await["upstream"].clone();
        open = upstream["open"].as_u64().unwrap();
        // On their way are those that fit into its bytes, and twice as many as may wait: before it and in it.
        open > 1_024 && open + upstream["unread"].as_u64().unwrap() == 25 + SMALL
    })
    .await;
    let within = (4 << 20) / LARGE as u64; // the 4 MiB of a lane
    assert!(open <= within + 2 * 1_024 + 1, "{open} are on their way, and {within} fit into a lane");
    edge.stop().await;
}
