//! Fresh data first: after an outage of the uplink, what comes goes ahead of what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use isotherm_host::{Clock, Host, RealClock};
use isotherm_hub::UpstreamProtocol;
use jiff::{SignedDuration, Timestamp};

use super::*;

/// A wall clock that can be put forward.
#[derive(Debug, Clone, Default)]
struct Ahead(Arc<AtomicI64>);

impl Ahead {
    fn go(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn wall(&self) -> Timestamp {
        RealClock.wall() + SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

const BACKLOG: u64 = 12_000;

async fn fresh_first(name: &str, protocol: UpstreamProtocol) {
    let (above, clock) = (Folder::new(name), Ahead::default());
    let first = cloud(above.path(), None).await;
    with_edge(&first).await;
    let ready = first.ready.clone();
    let options = Options {
        upstream: Some(upstream(&first, protocol)),
        fresh_first: vec!["all".to_owned()],
        ..ephemeral()
    };
    let host = Host { clock: Arc::new(clock.clone()), ..Host::real() };
    let (edge, mut filter) = edge_on(host, options).await;
    send(&mut filter, 0..50).await;
    arrived(&first, 50).await;

    first.stop().await;
    for begin in (50..BACKLOG).step_by(1_000) {
        send(&mut filter, begin..(begin + 1_000).min(BACKLOG)).await;
    }
    clock.go(60); // the outage has lasted for a minute
    let second = cloud(above.path(), Some(&ready)).await;
    eventually("what the outage left is set aside", async || {
        edge.get("/isotherm/v1/status").await["upstream"]["leftByOutages"].as_u64() > Some(0)
    })
    .await;
    let live = BACKLOG;
    send(&mut filter, live..live + 1).await;
    let (mut order, _) = sequences(&arrived(&second, BACKLOG as usize + 1).await);
    let place = order.iter().position(|it| *it == live).unwrap();
    eprintln!("{} of {BACKLOG} came after the live one", order.len() - 1 - place);
    assert!(place < order.len() - 1_000, "it came {place}th: not ahead of what waited");
    order.remove(place);
    assert_eq!(order, (0..BACKLOG).collect::<Vec<_>>(), "the backlog itself is in order");

    send(&mut filter, live + 1..live + 20).await;
    let (order, _) = sequences(&arrived(&second, BACKLOG as usize + 20).await);
    assert_eq!(order[order.len() - 19..], (live + 1..live + 20).collect::<Vec<_>>());
    let upstream = edge.get("/isotherm/v1/status").await["upstream"].clone();
    assert_eq!(upstream["leftByOutages"], 0, "{upstream}");
    edge.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_what_is_fresh_is_upstream_ahead_of_the_backlog_over_amqp() {
    fresh_first("fresh-amqp", UpstreamProtocol::Amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_what_is_fresh_is_upstream_ahead_of_the_backlog_over_mqtt() {
    fresh_first("fresh-mqtt", UpstreamProtocol::Mqtt).await;
}
