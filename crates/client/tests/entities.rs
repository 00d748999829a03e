//! Event Hubs and Service Bus, spoken to over AMQP and TLS with a shared access signature: qpid-proton is the other side.

mod strangers;

use std::collections::BTreeSet;
use std::time::Duration;

use isotherm_client::{Client, Credentials, Custody, Options, Sink, Transport};
use isotherm_host::{Chance, Host, MemoryDisk};
use isotherm_iothub::{Identity, Key, Message, SystemProperty};
use serde_json::Value;
use strangers::{EventHub, body};
use tokio::time::timeout;

/// Nothing here takes this long unless it is broken, on a busy machine too.
const LONG: Duration = Duration::from_secs(90);

async fn client(hub: &EventHub, more: impl FnOnce(&mut Options)) -> Client {
    let connection_string = hub.connection_string(hub.port);
    let nobody = Credentials::Key(Key::from_bytes(&[]));
    let mut options =
        Options::new(Identity::device("edge").expect("a name that a device may have"), "upstream", nobody);
    options.roots = Some(hub.ca.clone());
    options.transport = Transport::Amqp;
    options.custody = Custody::HandToHand;
    more(&mut options);
    let host =
        Host { chance: Chance::seeded(7), ..Host::real().with_disk(std::sync::Arc::new(MemoryDisk::new())) };
    let sink = Sink::Entity { connection_string };
    Client::to(&host.with_own_stop(), &sink, options).await.expect("what it is told makes sense")
}

fn numbered(number: usize) -> Message {
    Message::new(number.to_string()).with_system(SystemProperty::ConnectionDeviceId, "edge")
}

fn post(client: &mut Client, message: &Message) {
    client.post("", message).expect("there is room");
}

/// The next thing of this kind that the hub tells of.
async fn told(hub: &mut EventHub, kind: &str) -> Value {
    timeout(LONG, hub.wait_for(kind)).await.expect("it comes in time")
}

fn text(message: &Value) -> String {
    String::from_utf8(body(message)).expect("a number as text")
}

/// The next message's body as text.
async fn heard(hub: &mut EventHub) -> String {
    text(&told(hub, "message").await)
}

#[tokio::test]
async fn a_token_is_right_for_a_stranger_and_a_message_says_who_sent_it_and_keeps_a_devices_order() {
    let Some(mut hub) = EventHub::new("right") else { return };
    hub.start().await;
    let mut client = client(&hub, |_| {}).await;
    let message =
        numbered(1).with_property("MessageType", "Alert").with_system(SystemProperty::OutputName, "alert");
    post(&mut client, &message);
    let opened = told(&mut hub, "opened").await;
    assert_eq!(
        (opened["mechanism"].as_str(), opened["host"].as_str()),
        (Some("ANONYMOUS"), Some("localhost"))
    );
    let token = told(&mut hub, "token").await;
    assert_eq!(token["why"], Value::Null);
    let attached = told(&mut hub, "attached").await;
    assert_eq!((attached["address"].as_str(), attached["durability"].as_u64()), (Some("readings"), Some(0)));
    let message = told(&mut hub, "message").await;
    assert_eq!((message["key"].as_str(), &body(&message)[..]), (Some("edge"), &b"1"[..]));
    assert_eq!(message["inferred"], true, "the body is data");
    let properties = &message["properties"];
    assert_eq!(properties["MessageType"], "Alert");
    assert_eq!(properties["iothub-connection-device-id"], "edge");
    assert_eq!(properties["iothub-outputname"], "alert");
    assert!(client.flush(LONG).await);
}

#[tokio::test]
async fn a_wrong_key_is_asked_about_ever_more_rarely_and_the_right_one_lets_everything_through() {
    let Some(mut hub) = EventHub::new("wrong") else { return };
    hub.key = "another".to_owned();
    hub.start().await;
    let mut client = client(&hub, |_| {}).await;
    post(&mut client, &numbered(0));
    let mut asked = Vec::new();
    while asked.len() < 6 {
        let token = told(&mut hub, "token").await;
        assert!(token["why"].as_str().is_some_and(|why| why.starts_with("InvalidSignature")), "{token}");
        asked.push(token["at"].as_f64().expect("seconds"));
    }
    // The waits are drawn from 0 up to ¼, ½, 1, 2 and 4 s; what is drawn here is always the same.
    let (first, last) = (asked[0], asked[5]);
    assert!(last - first > 1.0, "six times within {} s is a busy loop", last - first);
    assert_eq!(client.held(), 1, "what is not accepted is kept");
    hub.kill();
    hub.key = strangers::KEY.to_owned();
    hub.start().await;
    assert_eq!(heard(&mut hub).await, "0");
    assert!(client.flush(LONG).await);
}

#[tokio::test]
async fn a_token_that_ends_on_a_live_link_is_followed_by_another_before_and_nothing_is_cut() {
    let Some(mut hub) = EventHub::new("renewed") else { return };
    hub.start().await;
    let mut client = client(&hub, |options| options.token_life = Duration::from_secs(5)).await;
    let (mut ends, mut sent) = (Vec::new(), 0);
    // The third comes when the first has ended long ago.
    while ends.len() < 3 {
        post(&mut client, &numbered(sent));
        sent += 1;
        match timeout(LONG, hub.next()).await.expect("it comes in time").expect("it is there") {
            said if said["event"] == "token" => {
                assert_eq!(said["why"], Value::Null);
                ends.push(said["ends"].as_i64().expect("seconds"));
            }
            said => assert!(said["event"] != "expired" && said["event"] != "closed", "{said}"),
        }
        if ends.len() > 1 {
            assert!(client.flush(LONG).await);
        }
    }
    assert!(ends.is_sorted_by(|one, next| one < next), "{ends:?}");
    assert_eq!(client.stats().reconnects, 0);
}

#[tokio::test]
async fn a_message_of_the_size_that_the_other_side_takes_goes_and_one_byte_more_is_told_and_holds_up_nothing()
{
    let Some(mut hub) = EventHub::new("size") else { return };
    hub.message_bytes_max = 64 << 10;
    hub.start().await;
    let mut client = client(&hub, |_| {}).await;
    let of = |bytes: usize| {
        Message::new(vec![b'x'; bytes]).with_system(SystemProperty::ConnectionDeviceId, "edge")
    };
    let probe = 60 << 10; // long enough for lengths to be written as they are at the limit
    post(&mut client, &of(probe));
    let size = told(&mut hub, "message").await["size"].as_u64().expect("bytes") as usize;
    let largest = (64 << 10) - (size - probe);
    post(&mut client, &of(largest));
    post(&mut client, &of(largest + 1));
    post(&mut client, &numbered(7));
    let at_limit = told(&mut hub, "message").await;
    assert_eq!(at_limit["size"], 64 << 10);
    assert_eq!(heard(&mut hub).await, "7");
    assert!(client.flush(LONG).await);
    assert_eq!((client.stats().refused, client.stats().delivered), (1, 3));
}

#[tokio::test]
async fn an_event_hub_killed_under_load_misses_nothing() {
    let Some(mut hub) = EventHub::new("killed") else { return };
    hub.start().await;
    let mut client = client(&hub, |_| {}).await;
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    let mut hear = |number: String| {
        if seen.insert(number.clone()) {
            order.push(number.parse::<usize>().expect("a number"));
        }
    };
    for round in 0..3 {
        for number in round * 500..(round + 1) * 500 {
            post(&mut client, &numbered(number));
        }
        for _ in 0..200 {
            hear(heard(&mut hub).await);
        }
        hub.kill(); // in the middle
        while let Some(said) = hub.next().await {
            if said["event"] == "message" {
                hear(text(&said)); // what it said, it had
            }
        }
        hub.start().await;
    }
    assert!(client.flush(LONG).await);
    hub.kill();
    while let Some(said) = hub.next().await {
        if said["event"] == "message" {
            hear(text(&said));
        }
    }
    assert_eq!(order, (0..1_500).collect::<Vec<_>>(), "all, in order after dropping repeats");
}
