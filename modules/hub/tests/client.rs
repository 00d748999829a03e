//! The client of modules and devices against a real hub: the same scenarios over MQTT and AMQP, on TCP and in
//! WebSockets.

#[path = "support/readings.rs"]
mod readings;
mod support;

use std::sync::Arc;

use isotherm_client::{
    Client, Credentials, Custody, Event, Options as ClientOptions, Progress, SendError, Transport,
};
use isotherm_host::{Host, MemoryDisk};
use isotherm_hub::{Options, Ready};
use isotherm_iothub::{ConnectionString, Key, MESSAGE_BYTES_MAX, Message, SystemProperty};
use readings::{LONG, arrived, body, eventually, reading, send, sequences};
use serde_json::{Value, json};
use support::{Folder, Site, ephemeral};
use tokio::time::timeout;

/// Runs each of these once for every way to the hub.
macro_rules! over_every_transport {
    ($($scenario:ident),+ $(,)?) => {
        over_every_transport!(@ mqtt Mqtt $($scenario)+);
        over_every_transport!(@ mqtt_websocket MqttWebSocket $($scenario)+);
        over_every_transport!(@ amqp Amqp $($scenario)+);
        over_every_transport!(@ amqp_websocket AmqpWebSocket $($scenario)+);
    };
    (@ $name:ident $transport:ident $($scenario:ident)+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(isotherm_client::Transport::$transport).await;
                }
            )+
        }
    };
}

over_every_transport!(
    what_was_sent_outlives_a_restart_and_a_hub_that_is_away,
    a_connection_cut_again_and_again_costs_repeats_and_no_message,
    what_was_accepted_does_not_come_again_and_what_was_not_does,
    a_twin_is_told_whole_and_what_is_reported_meanwhile_follows,
    a_call_is_answered_and_a_device_gets_its_messages,
    a_message_arrives_as_it_was_written_up_to_the_largest,
    a_wrong_key_is_told_once_and_nothing_is_given_up,
);

async fn hub(options: Options) -> Site {
    let site = Site::with(options).await;
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
            "systemModules": {}, "modules": {}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
                "up": "FROM /messages/modules/filter/outputs/alert INTO $upstream",
                "round": "FROM /messages/modules/filter/outputs/round INTO BrokeredEndpoint(\"/modules/filter/inputs/in\")"},
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
        "filter": {"properties.desired": {"a": 1}},
    }});
    let answer = site.rest("POST", "/devices/edge/applyConfigurationContent", content).await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);
    site
}

/// The same hub as before, on the same ports.
fn again(state: &Folder, ready: Option<&Ready>) -> Options {
    let port = |of: fn(&Ready) -> u16| ready.map_or(0, of);
    Options {
        state: state.path().to_owned(),
        mqtts: port(|ready| ready.ports.mqtts),
        amqps: port(|ready| ready.ports.amqps.unwrap_or_default()),
        https: port(|ready| ready.ports.https),
        ..Options::default()
    }
}

fn options(ready: &Ready, ca: &str, who: &str, key: Key, transport: Transport) -> ClientOptions {
    let connection: ConnectionString = ready.policies["device"].parse().unwrap();
    let credentials = Credentials::Key(key);
    let mut options = ClientOptions::new(who.parse().unwrap(), &connection.host_name, credentials);
    options.gateway = Some(format!("localhost:{}", ready.ports.mqtts));
    options.amqps_port = ready.ports.amqps.unwrap();
    options.https_port = ready.ports.https;
    options.roots = Some(ca.to_owned());
    options.transport = transport;
    options
}

async fn client(site: &Site, who: &str, transport: Transport) -> Client {
    let options = options(&site.ready, &site.ca, who, site.key(who).await, transport);
    Client::with(&host(&MemoryDisk::new()), options).await.unwrap()
}

fn host(disk: &MemoryDisk) -> Host {
    Host::real().with_disk(Arc::new(disk.clone())).with_own_stop()
}

/// The next event that is wanted; others are passed over.
async fn next<T>(client: &mut Client, wanted: impl Fn(Event) -> Option<T>) -> T {
    let listening = async {
        loop {
            if let Some(found) = wanted(client.next().await) {
                return found;
            }
        }
    };
    timeout(LONG, listening).await.expect("it comes in time")
}

async fn what_was_sent_outlives_a_restart_and_a_hub_that_is_away(transport: Transport) {
    let (folder, disk) = (Folder::new(&format!("client-restart-{transport:?}")), MemoryDisk::new());
    let first = hub(again(&folder, None)).await;
    let (ready, ca, key) = (first.ready.clone(), first.ca.clone(), first.key("edge/filter").await);
    let open = || async {
        let options = options(&ready, &ca, "edge/filter", key.clone(), transport);
        Client::with(&host(&disk), options).await.unwrap()
    };
    let mut filter = open().await;
    send(&mut filter, 0..100).await;
    first.stop().await;
    filter.send_all("alert", (100..200).map(reading).collect(), Some(b"200")).await.unwrap();
    drop(filter);
    let mut filter = loop {
        // The one before may still be saying good-bye.
        let options = options(&ready, &ca, "edge/filter", key.clone(), transport);
        match Client::with(&host(&disk), options).await {
            Ok(client) => break client,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!((filter.held(), filter.bookmark()), (100, Some(b"200".to_vec())));
    filter.send_all("alert", (200..300).map(reading).collect(), None).await.unwrap();
    let second = Site::with(again(&folder, Some(&ready))).await;
    assert!(timeout(LONG, filter.flush(LONG)).await.unwrap());
    let (order, _) = sequences(&arrived(&second, 300).await);
    assert_eq!(order, (0..300).collect::<Vec<_>>());
    second.stop().await;
}

async fn a_connection_cut_again_and_again_costs_repeats_and_no_message(transport: Transport) {
    let site = hub(ephemeral()).await;
    let mut filter = client(&site, "edge/filter", transport).await;
    for round in 0..5 {
        filter
            .send_all("alert", (round * 300..(round + 1) * 300).map(reading).collect(), None)
            .await
            .unwrap();
        let fault = json!({"kind": "disconnect", "identity": "edge/filter"});
        let answer = site.rest("POST", "/isotherm/v1/faults", fault).await;
        assert!(answer.status < 300, "{:?}", answer.body);
    }
    assert!(timeout(LONG, filter.flush(LONG)).await.unwrap());
    let (order, _) = sequences(&arrived(&site, 1_500).await);
    assert_eq!(order, (0..1_500).collect::<Vec<_>>());
    site.stop().await;
}

async fn what_was_accepted_does_not_come_again_and_what_was_not_does(transport: Transport) {
    let site = hub(ephemeral()).await;
    let own = |options: ClientOptions| ClientOptions { custody: Custody::HandToHand, ..options };
    let key = site.key("edge/filter").await;
    let open = || {
        let options = own(options(&site.ready, &site.ca, "edge/filter", key.clone(), transport));
        let host = host(&MemoryDisk::new());
        async move { Client::with(&host, options).await.unwrap() }
    };
    let input = |event| match event {
        Event::Input { name, message, delivery } => Some((name, message.body.to_vec(), delivery)),
        _ => None,
    };
    let mut filter = open().await;
    for number in 0..10 {
        filter.post("round", &Message::new(format!("{number}"))).unwrap();
    }
    for number in 0..10 {
        let (name, body, delivery) = next(&mut filter, input).await;
        assert_eq!((name.as_str(), &body[..]), ("in", number.to_string().as_bytes()));
        if number < 6 {
            filter.accept(delivery);
        }
    }
    assert!(timeout(LONG, filter.flush(LONG)).await.unwrap(), "the hub hears what was accepted");
    drop(filter);
    let mut filter = open().await;
    for number in 6..10 {
        let (_, body, delivery) = next(&mut filter, input).await;
        assert_eq!(&body[..], number.to_string().as_bytes(), "again, in order, and nothing else");
        filter.accept(delivery);
    }
    assert!(timeout(LONG, filter.flush(LONG)).await.unwrap());
    eventually("nothing is left", async || site.get("/isotherm/v1/status").await["queued"] == 0).await;
    site.stop().await;
}

async fn a_twin_is_told_whole_and_what_is_reported_meanwhile_follows(transport: Transport) {
    let site = hub(ephemeral()).await;
    let mut filter = client(&site, "edge/filter", transport).await;
    let desired = |wanted: Value| {
        move |event| match event {
            Event::Desired(desired) if desired["b"] == wanted => Some(desired),
            _ => None,
        }
    };
    next(&mut filter, desired(Value::Null)).await;
    let patch = json!({"properties": {"desired": {"b": {"c": 2}}}});
    assert_eq!(site.rest("PATCH", "/twins/edge/modules/filter", patch).await.status, 200);
    let whole = next(&mut filter, desired(json!({"c": 2}))).await;
    assert_eq!(whole["a"], 1, "the whole, not the patch");

    filter.report(json!({"x": 1, "y": {"z": 2}}));
    let fault = json!({"kind": "disconnect", "identity": "edge/filter"});
    site.rest("POST", "/isotherm/v1/faults", fault).await;
    filter.report(json!({"x": null, "y": {"w": 3}}));
    assert!(
        timeout(LONG, async {
            loop {
                let reported = site.get("/twins/edge/modules/filter").await["properties"]["reported"].clone();
                if reported["x"].is_null() && reported["y"] == json!({"z": 2, "w": 3}) {
                    return;
                }
                let _ = timeout(std::time::Duration::from_millis(10), filter.next()).await;
            }
        })
        .await
        .is_ok()
    );
    let patch = json!({"properties": {"desired": {"b": null}}});
    assert_eq!(site.rest("PATCH", "/twins/edge/modules/filter", patch).await.status, 200);
    let whole = next(&mut filter, desired(Value::Null)).await;
    assert_eq!(whole["a"], 1);
    site.stop().await;
}

async fn a_call_is_answered_and_a_device_gets_its_messages(transport: Transport) {
    let site = hub(ephemeral()).await;
    let mut filter = client(&site, "edge/filter", transport).await;
    next(&mut filter, |event| matches!(event, Event::Desired(_)).then_some(())).await;
    let call = json!({"methodName": "ping", "payload": {"n": 1}, "responseTimeoutInSeconds": 30,
        "connectTimeoutInSeconds": 30});
    let calling = site.rest("POST", "/twins/edge/modules/filter/methods", call);
    let answering = async {
        let call =
            next(&mut filter, |event| if let Event::Method(call) = event { Some(call) } else { None }).await;
        let payload = json!({"pong": call.payload["n"]});
        filter.respond(call, 203, payload);
        assert!(filter.flush(LONG).await);
    };
    let (answer, ()) = tokio::join!(calling, answering);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer, json!({"status": 203, "payload": {"pong": 1}}));

    site.device("pump").await;
    let mut pump = client(&site, "pump", transport).await;
    for text in ["one", "two"] {
        let path = "/isotherm/v1/devices/pump/messages/devicebound";
        let answer = site.rest_with("POST", path, &[("iothub-app-valve", "open")], text).await;
        assert_eq!(answer.status, 204, "{:?}", answer.body);
    }
    for text in ["one", "two"] {
        let (message, delivery) = next(&mut pump, |event| match event {
            Event::CloudToDevice { message, delivery } => Some((message, delivery)),
            _ => None,
        })
        .await;
        assert_eq!((&message.body[..], message.properties.get("valve")), (text.as_bytes(), Some("open")));
        pump.accept(delivery);
    }
    assert!(pump.flush(LONG).await);
    eventually("the hub has let go of both", async || {
        site.get("/devices/pump").await["cloudToDeviceMessageCount"] == 0
    })
    .await;
    site.stop().await;
}

async fn a_message_arrives_as_it_was_written_up_to_the_largest(transport: Transport) {
    let site = hub(ephemeral()).await;
    let mut filter = client(&site, "edge/filter", transport).await;
    let message = Message::new("{\"t\":21.5}")
        .with_system(SystemProperty::MessageId, "id/1 & more")
        .with_system(SystemProperty::ContentType, "application/json")
        .with_system(SystemProperty::ContentEncoding, "utf-8")
        .with_property("A name = &", "ä/%?")
        .with_property("empty", "");
    filter.send("alert", message, None).await.unwrap();
    // The output's name counts too, so the last of these are too large.
    let ever_larger = (0..=64).rev().map(|less| Message::new(vec![b'x'; MESSAGE_BYTES_MAX - less]));
    let mut taken = None;
    let mut refused = 0;
    for message in ever_larger {
        match filter.send("alert", message.clone(), None).await {
            Ok(()) => taken = Some(message.body.len()),
            Err(SendError::TooLarge { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(taken.is_some() && refused > 0, "the limit lies in between");
    assert!(timeout(LONG, filter.flush(LONG)).await.unwrap());
    let lines = site.watch("kinds=upstream&from=earliest", 1 + 65 - refused).await;
    let first = &lines[0];
    assert_eq!(first["properties"], json!({"A name = &": "ä/%?", "empty": ""}));
    assert_eq!(&body(first)[..], b"{\"t\":21.5}");
    for (name, text) in
        [("messageId", "id/1 & more"), ("contentType", "application/json"), ("contentEncoding", "utf-8")]
    {
        assert_eq!(first[name], text, "{first}");
    }
    let last = body(lines.last().unwrap()).len();
    assert_eq!(Some(last), taken, "the largest that was taken arrives whole");
    assert_eq!(filter.stats().refused, 0, "what is taken is never too large for the hub");
    site.stop().await;
}

async fn a_wrong_key_is_told_once_and_nothing_is_given_up(transport: Transport) {
    let site = hub(ephemeral()).await;
    let wrong = Key::from_bytes(&[9; 32]);
    let options = options(&site.ready, &site.ca, "edge/filter", wrong, transport);
    let mut filter = Client::with(&host(&MemoryDisk::new()), options).await.unwrap();
    filter.send("alert", reading(0), None).await.unwrap();
    let told = async {
        loop {
            if let Progress::Refused { reason } = filter.next_or_delivered(0).await {
                return reason;
            }
        }
    };
    let reason = timeout(LONG, told).await.expect("it is told");
    assert!(!reason.is_empty());
    assert_eq!((filter.held(), filter.is_connected()), (1, false));
    site.stop().await;
}
