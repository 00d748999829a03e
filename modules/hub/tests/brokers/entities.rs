//! An event hub, made of qpid-proton, behind a whole hub: cut off and killed under load.

use std::collections::BTreeSet;

use isotherm_hub::Upstream;
use tokio::time::timeout;

use crate::strangers::{EventHub, body};
use crate::world::{Cable, Edge};
use crate::{BODY, LONG, number};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_hub_cut_off_and_killed_under_load_misses_nothing() {
    let Some(mut hub) = EventHub::new("upstream") else { return };
    hub.start().await;
    let cable = Cable::to(hub.port).await;
    let connection = hub.connection_string(cable.port);
    let upstream = Upstream { body: BODY.into(), ca: Some(hub.ca_file()), ..Upstream::to(&connection) };
    let mut edge = Edge::by(upstream).await;
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    let mut hear = |said: &serde_json::Value| {
        if said["event"] == "message" {
            assert_eq!(said["key"], "edge", "what one device sends stays in one partition");
            let number = number(&body(said));
            if seen.insert(number) {
                order.push(number);
            }
        }
        seen.len() as u64
    };
    edge.send(300).await;
    while hear(&timeout(LONG, hub.next()).await.unwrap().unwrap()) < 100 {}
    cable.cut();
    edge.send(300).await;
    while hear(&timeout(LONG, hub.next()).await.unwrap().unwrap()) < 400 {}
    hub.kill();
    edge.send(300).await;
    while let Some(said) = hub.next().await {
        hear(&said); // what it had said before, it had
    }
    hub.start().await;
    while hear(&timeout(LONG, hub.next()).await.unwrap().unwrap()) < edge.sent {}
    assert_eq!(order, (0..edge.sent).collect::<Vec<_>>(), "all, in order after dropping repeats");
    edge.site.stop().await;
}
