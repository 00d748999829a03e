//! A log that is damaged where it waits for the cloud: the rest goes up, and what is gone is counted.

use std::path::PathBuf;

use super::*;

const READINGS: u64 = 200;

/// The journal's file that holds the readings.
fn log(state: &Path) -> PathBuf {
    let partitions = std::fs::read_dir(state.join("hub/store/events")).expect("the log has a folder");
    let files = partitions.flat_map(|partition| {
        std::fs::read_dir(partition.expect("it can be listed").path()).expect("so can a partition")
    });
    let logs = files
        .map(|file| file.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|it| it == "log"));
    logs.max_by_key(|path| std::fs::metadata(path).expect("the hub has ended").len()).expect("there is a log")
}

/// Damages a record in the middle of what is written.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("the hub has ended");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("readings were written");
    bytes[written / 2] ^= 4;
    std::fs::write(path, bytes).expect("the disk has room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_before_it_goes_upstream_is_counted_and_the_rest_arrives_in_order() {
    let (above, below) = (Folder::new("rot-cloud"), Folder::new("rot"));
    let first = cloud(above.path(), None).await;
    with_edge(&first).await;
    let ready = first.ready.clone();
    let options = Options {
        upstream: Some(upstream(&first, UpstreamProtocol::Mqtt)),
        ephemeral: false,
        state: below.path().to_owned(),
        ..ephemeral()
    };
    first.stop().await;
    let (edge, mut sender) = self::edge(options.clone()).await;
    for number in 0..READINGS {
        send(&mut sender, number..number + 1).await; // each in a commit of its own
    }
    drop(sender);
    edge.stop().await;
    damage(&log(below.path()));

    let edge = Site::with(options).await;
    let mut sender = filter(&edge).await;
    send(&mut sender, READINGS..READINGS + 10).await;
    let cloud = cloud(above.path(), Some(&ready)).await;
    let mut given_up = 0;
    eventually("all that is left is there, and the rest is counted", async || {
        let status = edge.get("/isotherm/v1/status").await;
        given_up = status["doors"]["upstream_messages_given_up"].as_u64().unwrap_or_default();
        status["upstream"]["open"] == 0 && status["upstream"]["unread"] == 0
    })
    .await;
    assert!(
        (1..5).contains(&given_up),
        "one record is damaged, and perhaps the head of its neighbour: {given_up}"
    );
    let (order, _) = sequences(&arrived(&cloud, (READINGS + 10 - given_up) as usize).await);
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!((order[0], order.last()), (0, Some(&(READINGS + 9))));
    edge.stop().await;
    cloud.stop().await;
}
