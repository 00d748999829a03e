//! The other ways to a hub: what the environment says, WebSocket, the workload API, a plain broker.

mod site;

use std::time::Duration;

use isotherm_client::{Client, Event, Options, Transport};
use isotherm_host::{BoxStream, Disk as _, Env, websocket};
use isotherm_iothub::{Key, Message, Token};
use isotherm_protocol::mqtt::{Qos, ServerCommand, ServerEvent};
use serde_json::json;
use site::{Peer, Site, twin};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

const MOMENT: Duration = Duration::from_secs(5);

async fn next(client: &mut Client) -> Event {
    timeout(Duration::from_secs(600), client.next()).await.expect("an event comes")
}

/// Answers one HTTP request, and says what was asked.
async fn answer(mut stream: BoxStream, body: &str) -> String {
    let mut asked = Vec::new();
    loop {
        stream.read_buf(&mut asked).await.unwrap();
        let text = String::from_utf8_lossy(&asked);
        let length = text
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length) {
            break;
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    String::from_utf8(asked).unwrap()
}

#[tokio::test(start_paused = true)]
async fn mqtt_goes_over_a_websocket_too() {
    let mut site = Site::new();
    let options = Options { transport: Transport::MqttWebSocket, https_port: 8443, ..site.options() };
    let mut client = Client::with(&site.host, options).await.unwrap();
    let (port, stream) = site.secured().await;
    assert_eq!(port, 8443);
    let (stream, protocol) = websocket::accept(stream, &["mqtt"]).await.unwrap();
    assert_eq!(protocol, "mqtt");
    let mut peer = Peer::over(stream);
    assert!(matches!(peer.event().await, Some(ServerEvent::Connect(_))));
    peer.say(ServerCommand::Accept { session_present: false }).await;
    assert!(matches!(next(&mut client).await, Event::Connected));
}

#[tokio::test(start_paused = true)]
async fn where_either_will_do_a_dial_that_failed_is_followed_by_the_other() {
    let mut site = Site::new();
    let options = Options { transport: Transport::MqttEither, ..site.options() };
    let _client = Client::with(&site.host, options).await.unwrap();
    let mut ports = Vec::new();
    for _ in 0..3 {
        let (port, stream) = site.stream().await;
        ports.push(port);
        drop(stream);
    }
    assert_eq!(ports, [8883, 443, 8883]);
}

#[tokio::test(start_paused = true)]
async fn in_a_container_the_workload_api_says_whom_to_trust_and_signs() {
    let mut site = Site::new();
    site.host.env = Env::of([
        ("IOTEDGE_WORKLOADURI", "unix:///run/workload.sock"),
        ("IOTEDGE_DEVICEID", "edge"),
        ("IOTEDGE_MODULEID", "mod 1"),
        ("IOTEDGE_MODULEGENERATIONID", "638"),
        ("IOTEDGE_IOTHUBHOSTNAME", "contoso.azure-devices.net"),
        ("IOTEDGE_GATEWAYHOSTNAME", "hub"),
        ("IOTEDGE_APIVERSION", "2022-08-03"),
    ]);
    let error = Client::connect(&site.host).await.unwrap_err();
    assert!(error.to_string().starts_with("IOTEDGE_MODULEID"), "{error}");
    site.host.env.set("IOTEDGE_MODULEID", "$filter");
    let _client = Client::connect(&site.host).await.unwrap();
    let key = Key::from_bytes(&[9; 32]);
    let resource = "contoso.azure-devices.net/devices/edge/modules/$filter";
    let text = Token::string_to_sign(resource, site.host.wall().as_second() + 3600);
    let (port, sign) = site.stream().await;
    assert_eq!(port, 0);
    let asked = answer(sign, &json!({"digest": key.sign(text.as_bytes())}).to_string()).await;
    assert!(asked.starts_with("POST /modules/%24filter/genid/638/sign?api-version=2022-08-03 "), "{asked}");
    let (_, trust) = site.stream().await;
    let asked = answer(trust, &json!({ "certificate": site.ca }).to_string()).await;
    assert!(asked.starts_with("GET /trust-bundle?api-version=2022-08-03 "), "{asked}");
    let (_, connect) = site.greet().await;
    let token = Token::parse(std::str::from_utf8(&connect.password.unwrap()).unwrap()).unwrap();
    assert!(token.verify(&key));
}

#[tokio::test(start_paused = true)]
async fn a_method_of_another_is_called_through_the_gateway() {
    let mut site = Site::new();
    let client = site.client().await;
    let _mqtt = site.accept(twin(1)).await;
    let target = "edge/sensor".parse().unwrap();
    let call = isotherm_iothub::MethodCall::new("readNow", json!(null)).unwrap();
    let (result, asked) = tokio::join!(client.invoke(&target, call), async {
        let (port, stream) = site.secured().await;
        assert_eq!(port, 443);
        answer(stream, r#"{"status":200,"payload":21.5}"#).await
    });
    let result = result.unwrap();
    assert_eq!((result.status, result.payload), (200, json!(21.5)));
    assert!(asked.starts_with("POST /twins/edge/modules/sensor/methods?api-version="), "{asked}");
    let asked = asked.to_lowercase();
    assert!(
        asked.contains("x-ms-edge-moduleid: edge/filter") && asked.contains("authorization: sharedaccess"),
        "{asked}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plain_broker_takes_bodies_on_one_topic_and_gives_them_on_another() {
    let mut site = Site::new();
    site.host.env = Env::of([
        ("BROKER_URL", "mqtt://user:key@broker"),
        ("INPUT_TOPIC", "plant/temp"),
        ("OUTPUT_TOPIC", "plant/alert"),
        ("MODULE_SETTINGS", r#"{"TemperatureThreshold":30}"#),
    ]);
    let mut client = Client::connect(&site.host).await.unwrap();
    let Event::Desired(desired) = next(&mut client).await else { panic!("settings first") };
    assert_eq!(desired, json!({"TemperatureThreshold": 30, "$version": 1}));
    client.report(json!({"a": 1}));
    let (port, stream) = site.stream().await;
    assert_eq!(port, 1883);
    let mut peer = Peer::over(stream);
    let Some(ServerEvent::Connect(connect)) = peer.event().await else { panic!("CONNECT") };
    assert_eq!(connect.user_name.unwrap(), "user");
    assert_eq!(connect.client_id, "isotherm-plant-temp-plant-alert");
    peer.say(ServerCommand::Accept { session_present: false }).await;
    peer.grant().await;
    peer.deliver("plant/temp", "31", Qos::AtLeastOnce, 1).await;
    let (message, delivery) = loop {
        if let Event::Input { message, delivery, .. } = next(&mut client).await {
            break (message, delivery);
        }
    };
    client.send("alert", message.with_property("MessageType", "Alert"), None).await.unwrap();
    client.accept(delivery);
    let mut seen = Vec::new();
    while let Some(event) = peer.within(MOMENT).await {
        seen.push(match event {
            ServerEvent::Publish { topic, payload, .. } => format!("{topic} {payload:?}"),
            other => format!("{other:?}"),
        });
    }
    seen.sort();
    assert_eq!(seen, ["Acknowledged { token: 1 }", "plant/alert b\"31\""]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_shown_in_place_of_a_token() {
    let mut site = Site::new();
    let at = |text: &str| text.parse().unwrap();
    let validity = isotherm_pki::Validity {
        not_before: at("2025-01-01T00:00:00Z"),
        not_after: at("2035-01-01T00:00:00Z"),
    };
    let authority = isotherm_pki::Authority::create("ca", validity.not_before, validity.not_after).unwrap();
    let issued = authority.issue_client("edge", validity).unwrap();
    site.disk.create_dir("/c".as_ref()).unwrap();
    for (file, text) in
        [("/c/chain", &issued.certificate_pem), ("/c/key", &issued.key_pem), ("/c/ca", &site.ca)]
    {
        site.disk.write_atomic(file.as_ref(), text.as_bytes()).unwrap();
    }
    site.host.env = Env::of([
        ("EdgeHubConnectionString", "HostName=hub:18883;DeviceId=edge;x509=true"),
        ("X509_CERTIFICATE_FILE", "/c/chain"),
        ("X509_KEY_FILE", "/c/key"),
        ("EdgeModuleCACertificateFile", "/c/ca"),
    ]);
    let mut client = Client::connect(&site.host).await.unwrap();
    let (mut peer, connect) = site.greet().await;
    assert_eq!(connect.password, None);
    assert!(connect.user_name.unwrap().starts_with("hub/edge/?"), "the port is for dialling only");
    peer.say(ServerCommand::Accept { session_present: false }).await;
    let Some(ServerEvent::Subscribe { filters, .. }) = peer.event().await else { panic!("subscribes") };
    assert_eq!(filters[0].0, "devices/edge/messages/devicebound/#");
    peer.deliver("devices/edge/messages/devicebound/%24.mid=c1", "hello", Qos::AtLeastOnce, 5).await;
    let delivery = loop {
        if let Event::CloudToDevice { message, delivery } = next(&mut client).await {
            assert_eq!(message, Message { system: message.system.clone(), ..Message::new("hello") });
            break delivery;
        }
    };
    assert_eq!(peer.within(MOMENT).await, None);
    client.accept(delivery);
    assert_eq!(peer.within(MOMENT).await, Some(ServerEvent::Acknowledged { token: 5 }));
}
