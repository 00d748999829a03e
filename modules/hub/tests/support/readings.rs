//! Readings by number: sent, and counted where they arrive.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses the part it needs")]

use std::collections::BTreeSet;
use std::time::Duration;

use isotherm_client::Client;
use isotherm_iothub::Message;
use isotherm_proto::{Body, Celsius, Reading};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::Site;

/// Nothing here takes this long unless it is broken, on a busy machine too.
pub const LONG: Duration = Duration::from_secs(90);

pub fn reading(sequence: u64) -> Message {
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let celsius = Celsius::new(21.5).unwrap();
    let reading = Reading { sensor_id: "attic".to_owned(), sequence, celsius, at };
    Message::new(reading.encode()).with_property("MessageType", "Alert")
}

pub async fn send(client: &mut Client, sequences: std::ops::Range<u64>) {
    client.send_all("alert", sequences.map(reading).collect(), None).await.unwrap();
    assert!(timeout(LONG, client.flush(LONG)).await.unwrap(), "the edge takes them");
}

/// The body of a line of a watch.
pub fn body(line: &Value) -> Vec<u8> {
    let body = line["bodyBase64"].as_str().unwrap_or_else(|| panic!("no body: {line}"));
    base64::Engine::decode(&base64::prelude::BASE64_STANDARD, body).unwrap()
}

/// The sequence numbers in it.
fn numbers(line: &Value) -> Vec<u64> {
    let body = Body::decode(&body(line)).unwrap();
    body.readings().iter().map(|reading| reading.sequence).collect()
}

/// Sequence numbers in the order in which they came for the first time, and how many came again.
pub fn sequences(lines: &[Value]) -> (Vec<u64>, usize) {
    let mut seen = BTreeSet::new();
    let all: Vec<u64> = lines.iter().flat_map(numbers).collect();
    let first: Vec<u64> = all.iter().copied().filter(|number| seen.insert(*number)).collect();
    let repeats = all.len() - first.len();
    (first, repeats)
}

/// Watches a hub until this many different readings went upstream there.
pub async fn arrived(hub: &Site, count: usize) -> Vec<Value> {
    let watching = async {
        let mut lines = hub.watch_lines("kinds=upstream&from=earliest").await;
        let (mut seen, mut different) = (Vec::new(), BTreeSet::new());
        while different.len() < count {
            let line = lines.next().await.unwrap().expect("the watch goes on");
            if let Ok(line) = serde_json::from_str(&line) {
                different.extend(numbers(&line));
                seen.push(line);
            }
        }
        seen
    };
    timeout(LONG, watching).await.expect("all arrive in time")
}

/// Asks until the answer is right.
pub async fn eventually(what: &str, mut right: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !right().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, asking).await.unwrap_or_else(|_| panic!("{what}"));
}
