//! Somebody whom the cloud does not let in: nobody else waits for him, and he loses nothing.

use isotherm_hub::UpstreamProtocol;

use super::*;

/// More than a partition has on its way at once, so that whoever stands in the way would be noticed.
const THEIRS: u64 = 5_000;
const OTHERS: u64 = 1_000_000;

async fn an_unknown_one(name: &str, protocol: UpstreamProtocol) {
    let above = Folder::new(name);
    let cloud = cloud(above.path(), None).await;
    with_edge(&cloud).await;
    let options = Options { upstream: Some(upstream(&cloud, protocol)), ..ephemeral() };
    let (edge, mut filter) = edge(options).await;
    let module = json!({"deviceId": "edge", "moduleId": "cellar"});
    assert_eq!(edge.rest("PUT", "/devices/edge/modules/cellar", module.clone()).await.status, 200);
    let mut cellar = as_module(&edge, "edge/cellar").await; // of the same device, so of the same partition
    for begin in (0..THEIRS).step_by(1_000) {
        send(&mut cellar, begin..begin + 1_000).await;
    }
    send(&mut filter, OTHERS..OTHERS + 100).await;
    let (order, _) = sequences(&arrived(&cloud, 100).await);
    assert_eq!(
        order,
        (OTHERS..OTHERS + 100).collect::<Vec<_>>(),
        "others go on, and the unknown one does not"
    );
    let upstream = edge.get("/isotherm/v1/status").await["upstream"].clone();
    assert_eq!(upstream["refused"], json!(["edge/cellar"]), "{upstream}");

    assert_eq!(cloud.rest("PUT", "/devices/edge/modules/cellar", module).await.status, 200);
    send(&mut cellar, THEIRS..THEIRS + 10).await;
    let lines = arrived(&cloud, 100 + THEIRS as usize + 10).await;
    let theirs: Vec<Value> = lines.into_iter().filter(|line| line["from"] == "edge/cellar").collect();
    assert_eq!(sequences(&theirs).0, (0..THEIRS + 10).collect::<Vec<_>>(), "all of it, in order");
    eventually("nobody is refused, and nothing is passed by any more", async || {
        let upstream = edge.get("/isotherm/v1/status").await["upstream"].clone();
        upstream["refused"] == json!([]) && upstream["sendersPassedBy"] == 0 && upstream["open"] == 0
    })
    .await;
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_whom_the_cloud_does_not_know_holds_up_nobody_else_over_amqp() {
    an_unknown_one("unknown-amqp", UpstreamProtocol::Amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_whom_the_cloud_does_not_know_holds_up_nobody_else_over_mqtt() {
    an_unknown_one("unknown-mqtt", UpstreamProtocol::Mqtt).await;
}
