//! Event Hubs and Service Bus, spoken to over AMQP and TLS with a shared access signature: qpid-proton is the other side.

mod strangers;

use std::collections::BTreeSet;
use std::time::Duration;

use isotherm_client::{Client, Credentials, Custody, Options, Sink, Transport};
use isotherm_host::{Chance, Host, MemoryDisk};
use isotherm_iothub::{Identity, Key, Message, SystemProperty};
use strangers::{EventHub, body};
use tokio::time::timeout;

/// Nothing here takes this long unless it is broken, on a busy machine too.
const LONG: Duration = Duration::from_secs(90);

async fn client(hub: &EventHub, more: impl FnOnce(&mut Options)) -> Client {
    let connection_string = hub.connection_string(hub.port);
    let nobody = Credentials::Key(Key::from_bytes(&[]));
    let mut options = Options::new(Identity::device("edge").unwrap(), "upstream", nobody);
    options.roots = Some(hub.ca.clone());
    options.transport = Transport::Amqp;
    options.custody = Custody::HandToHand;
    more(&mut options);
    let host =
        Host { chance: Chance::seeded(7), ..Host::real().with_disk(std::sync::Arc::new(MemoryDisk::new())) };
    Client::to(&host.with_own_stop(), &Sink::Entity { connection_string }, options).await.unwrap()
}

fn numbered(number: usize) -> Message {
    Message::new(number.to_string()).with_system(SystemProperty::ConnectionDeviceId, "edge")
}

/// The next message's body as text.
async fn heard(hub: &mut EventHub) -> String {
    let message = timeout(LONG, hub.wait_for("message")).await.expect("it comes in time");
    String::from_utf8(body(&message)).unwrap()
}

#[tokio::test]
async fn a_token_is_right_for_a_stranger_and_a_message_says_who_sent_it_and_keeps_a_devices_order() {
    let Some(mut hub) = EventHub::new("right") else { return };
    hub.start().await;
    let mut client = client(&hub, |_| {}).await;
    let message =
        numbered(1).with_property("MessageType", "Alert").with_system(SystemProperty::OutputName, "alert");
    client.post("", &message).unwrap();
    let opened = timeout(LONG, hub.wait_for("opened")).await.unwrap();
    assert_eq!(
        (opened["mechanism"].as_str(), opened["host"].as_str()),
        (Some("ANONYMOUS"), Some("localhost"))
    );
    let token = timeout(LONG, hub.wait_for("token")).await.unwrap();
    assert_eq!(token["why"], serde_json::Value::Null);
    let attached = timeout(LONG, hub.wait_for("attached")).await.unwrap();
    assert_eq!((attached["address"].as_str(), attached["durability"].as_u64()), (Some("readings"), Some(0)));
    let message = timeout(LONG, hub.wait_for("message")).await.unwrap();
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
    client.post("", &numbered(0)).unwrap();
    let mut asked = Vec::new();
    while asked.len() < 6 {
        let token = timeout(LONG, hub.wait_for("token")).await.expect("it is asked again");
        assert!(token["why"].as_str().unwrap().starts_with("InvalidSignature"), "{token}");
        asked.push(token["at"].as_f64().unwrap());
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
        client.post("", &numbered(sent)).unwrap();
        sent += 1;
        match timeout(LONG, hub.next()).await.unwrap().expect("it is there") {
            said if said["event"] == "token" => {
                assert_eq!(said["why"], serde_json::Value::Null);
                ends.push(said["ends"].as_i64().unwrap());
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
    client.post("", &of(probe)).unwrap();
    let size = timeout(LONG, hub.wait_for("message")).await.unwrap()["size"].as_u64().unwrap() as usize;
    let largest = (64 << 10) - (size - probe);
    client.post("", &of(largest)).unwrap();
    client.post("", &of(largest + 1)).unwrap();
    client.post("", &numbered(7)).unwrap();
    let at_limit = timeout(LONG, hub.wait_for("message")).await.unwrap();
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
    let mut hear = |text: String| {
        if seen.insert(text.clone()) {
            order.push(text.parse::<usize>().unwrap());
        }
    };
    for round in 0..3 {
        for number in round * 500..(round + 1) * 500 {
            client.post("", &numbered(number)).unwrap();
        }
        for _ in 0..200 {
            hear(heard(&mut hub).await);
        }
        hub.kill(); // in the middle
        while let Some(said) = hub.next().await {
            if said["event"] == "message" {
                hear(String::from_utf8(body(&said)).unwrap()); // what it said, it had
            }
        }
        hub.start().await;
    }
    let (flushed, ()) = tokio::join!(client.flush(LONG), async {});
    assert!(flushed);
    hub.kill();
    while let Some(said) = hub.next().await {
        if said["event"] == "message" {
            hear(String::from_utf8(body(&said)).unwrap());
        }
    }
    assert_eq!(order, (0..1_500).collect::<Vec<_>>(), "all, in order after dropping repeats");
}
