//! A hub behind a hub: what reaches `$upstream` here arrives there, and what is desired, called and sent there
//! arrives here; with the other side away, stopped and started again meanwhile.

#[path = "../support/readings.rs"]
mod readings;
#[path = "../support/mod.rs"]
mod support;

mod devicebound;
mod fresh;
mod full;
mod limits;
mod refused;
mod rot;

use std::path::Path;

use isotherm_client::{Client, Credentials, Event, Options as ClientOptions};
use isotherm_host::{Host, MemoryDisk};
use isotherm_hub::{Options, Ready, Upstream, UpstreamProtocol};
use isotherm_iothub::ConnectionString;
use readings::{LONG, arrived, eventually, reading, send, sequences};
use serde_json::{Value, json};
use support::{Folder, Site, ephemeral};
use tokio::time::timeout;

/// The cloud: another hub, for which `edge` is a device like any other.
async fn cloud(state: &Path, ports: Option<&Ready>) -> Site {
    let port = |of: fn(&Ready) -> u16| ports.map_or(0, of);
    Site::with(Options {
        state: state.to_owned(),
        device_id: "cloud".to_owned(),
        mqtts: port(|ready| ready.ports.mqtts),
        amqps: port(|ready| ready.ports.amqps.unwrap_or_default()),
        https: port(|ready| ready.ports.https),
        ..Options::default()
    })
    .await
}

async fn with_edge(cloud: &Site) {
    cloud.device("edge").await;
    let module = json!({"deviceId": "edge", "moduleId": "filter"});
    assert_eq!(cloud.rest("PUT", "/devices/edge/modules/filter", module).await.status, 200);
}

/// The way to the cloud, by its policy for devices.
fn upstream(cloud: &Site, protocol: UpstreamProtocol) -> Upstream {
    let ports = &cloud.ready.ports;
    let port = match protocol {
        UpstreamProtocol::Mqtt => ports.mqtts,
        UpstreamProtocol::Amqp => ports.amqps.unwrap(),
        UpstreamProtocol::MqttWs | UpstreamProtocol::AmqpWs => ports.https,
    };
    let connection = format!("{};GatewayHostName=localhost:{port}", cloud.ready.policies["device"]);
    Upstream { protocol, ca: Some(cloud.ready.ca.clone().into()), ..Upstream::to(&connection) }
}

/// The edge, with a filter on it.
async fn edge(options: Options) -> (Site, Client) {
    edge_on(Host::real(), options).await
}

async fn edge_on(host: Host, options: Options) -> (Site, Client) {
    let edge = Site::on(host, options).await;
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}},
            "systemModules": {}, "modules": {}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1",
            "routes": {"all": "FROM /messages/* INTO $upstream"},
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
        "filter": {"properties.desired": {"local": true}},
    }});
    let answer = edge.rest("POST", "/devices/edge/applyConfigurationContent", content).await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);
    let filter = filter(&edge).await;
    (edge, filter)
}

async fn filter(edge: &Site) -> Client {
    as_module(edge, "edge/filter").await
}

async fn as_module(edge: &Site, who: &str) -> Client {
    let key = Credentials::Key(edge.key(who).await);
    let connection: ConnectionString = edge.ready.policies["device"].parse().unwrap();
    let mut options = ClientOptions::new(who.parse().unwrap(), &connection.host_name, key);
    options.gateway = Some(format!("localhost:{}", edge.ready.ports.mqtts));
    options.roots = Some(edge.ca.clone());
    let host = Host::real().with_disk(std::sync::Arc::new(MemoryDisk::new())).with_own_stop();
    Client::with(&host, options).await.unwrap()
}

async fn next_desired(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Value {
    let listening = async {
        loop {
            if let Event::Desired(desired) = client.next().await
                && wanted(&desired)
            {
                return desired;
            }
        }
    };
    timeout(LONG, listening).await.expect("it is desired here too")
}

async fn hub_behind_hub(name: &str, protocol: UpstreamProtocol) {
    let folder = Folder::new(name);
    let cloud = cloud(folder.path(), None).await;
    with_edge(&cloud).await;
    let options = Options { upstream: Some(upstream(&cloud, protocol)), ..ephemeral() };
    let (edge, mut filter) = edge(options).await;

    send(&mut filter, 0..200).await;
    let lines = arrived(&cloud, 200).await;
    assert_eq!(sequences(&lines).0, (0..200).collect::<Vec<_>>(), "in order");
    assert_eq!(
        (lines[0]["from"].as_str(), lines[0]["output"].as_str()),
        (Some("edge/filter"), Some("alert"))
    );
    assert_eq!(lines[0]["properties"]["MessageType"], "Alert");

    let patch = json!({"properties": {"desired": {"TemperatureThreshold": 30}}});
    assert_eq!(cloud.rest("PATCH", "/twins/edge/modules/filter", patch).await.status, 200);
    let desired = next_desired(&mut filter, |desired| desired["TemperatureThreshold"] == 30).await;
    assert_eq!(desired["local"], true, "what the cloud knows nothing of stays");

    filter.report(json!({"TemperatureThreshold": {"value": 30, "ac": 200}}));
    eventually("what is reported here is known there", async || {
        let twin = cloud.get("/twins/edge/modules/filter").await;
        twin["properties"]["reported"]["TemperatureThreshold"]["ac"] == 200
    })
    .await;

    let call = json!({"methodName": "ping", "payload": {"n": 1}, "responseTimeoutInSeconds": 30, "connectTimeoutInSeconds": 30});
    let calling = cloud.rest("POST", "/twins/edge/modules/filter/methods", call);
    let answering = async {
        loop {
            if let Event::Method(call) = filter.next().await {
                let payload = json!({"pong": call.payload["n"]});
                filter.respond(call, 203, payload);
                // It goes out while the next event is waited for.
                let _ = filter.flush(LONG).await;
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(calling, answering);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer, json!({"status": 203, "payload": {"pong": 1}}));
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_mqtt() {
    hub_behind_hub("up-mqtt", UpstreamProtocol::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_amqp() {
    hub_behind_hub("up-amqp", UpstreamProtocol::Amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_amqp_and_websocket() {
    hub_behind_hub("up-amqpws", UpstreamProtocol::AmqpWs).await;
}

async fn the_cloud_goes_away(name: &str, protocol: UpstreamProtocol) {
    let (above, below) = (Folder::new(&format!("{name}-cloud")), Folder::new(name));
    let first = cloud(above.path(), None).await;
    with_edge(&first).await;
    let options = Options {
        upstream: Some(upstream(&first, protocol)),
        ephemeral: false,
        state: below.path().to_owned(),
        ..ephemeral()
    };
    let (edge, mut filter_client) = self::edge(options.clone()).await;
    send(&mut filter_client, 0..100).await;
    arrived(&first, 100).await;

    let ready = first.ready.clone();
    first.stop().await;
    send(&mut filter_client, 100..300).await;
    let patch = json!({"properties": {"desired": {"local": "still"}}});
    assert_eq!(edge.rest("PATCH", "/twins/edge/modules/filter", patch).await.status, 200);
    next_desired(&mut filter_client, |desired| desired["local"] == "still").await;
    filter_client.report(json!({"while": "away"}));
    assert!(filter_client.flush(LONG).await);
    eventually("it is reported here", async || {
        edge.get("/twins/edge/modules/filter").await["properties"]["reported"]["while"] == "away"
    })
    .await;
    drop(filter_client);
    edge.stop().await;

    let again = Site::with(options).await; // the edge is started anew, and the cloud is still away
    let mut filter_client = filter(&again).await;
    send(&mut filter_client, 300..400).await;
    let second = cloud(above.path(), Some(&ready)).await;
    let (order, repeats) = sequences(&arrived(&second, 400).await);
    assert_eq!(order, (0..400).collect::<Vec<_>>(), "nothing is lost, and all is in order");
    eprintln!("{repeats} repeats dropped");
    eventually("what was reported meanwhile is known there", async || {
        let twin = second.get("/twins/edge/modules/filter").await;
        twin["properties"]["reported"]["while"] == "away"
    })
    .await;
    again.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_that_goes_away_and_comes_back_misses_nothing_over_mqtt() {
    the_cloud_goes_away("away-mqtt", UpstreamProtocol::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_that_goes_away_and_comes_back_misses_nothing_over_amqp() {
    the_cloud_goes_away("away-amqp", UpstreamProtocol::Amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_amqp_connection_carries_many_devices() {
    let folder = Folder::new("many");
    let cloud = cloud(folder.path(), None).await;
    with_edge(&cloud).await;
    let options = Options { upstream: Some(upstream(&cloud, UpstreamProtocol::Amqp)), ..ephemeral() };
    let edge = Site::with(options).await;
    for number in 0..20 {
        let name = format!("d{number}");
        cloud.device(&name).await;
        edge.device(&name).await;
        let mut device = edge.stranger(&name).await;
        device.send(&format!("devices/{name}/messages/events/"), reading(number).body.to_vec()).await;
    }
    let lines = arrived(&cloud, 20).await;
    let from: std::collections::BTreeSet<&str> =
        lines.iter().filter_map(|line| line["from"].as_str()).collect();
    assert_eq!(from.len(), 20, "each as himself");
    assert_eq!(cloud.door("amqp_opened").await, 1);
    edge.stop().await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_that_wait_go_as_uploads_and_as_one_device() {
    let (above, below) = (Folder::new("batch-cloud"), Folder::new("batch"));
    let first = cloud(above.path(), None).await;
    with_edge(&first).await;
    let ready = first.ready.clone();
    let key = first.key("edge").await.to_base64();
    let connection = format!(
        "HostName={};DeviceId=edge;SharedAccessKey={key};GatewayHostName=localhost:{}",
        ready.host_name,
        ready.ports.amqps.unwrap()
    );
    let way = Upstream { connection, batch: true, ..upstream(&first, UpstreamProtocol::Amqp) };
    first.stop().await;
    let options =
        Options { upstream: Some(way), ephemeral: false, state: below.path().to_owned(), ..ephemeral() };
    let (edge, mut filter) = self::edge(options).await;
    send(&mut filter, 0..3_000).await;
    let second = cloud(above.path(), Some(&ready)).await;
    let lines = arrived(&second, 3).await;
    assert_eq!(lines[0]["from"], "edge");
    assert_eq!(lines[0]["properties"]["from"], "edge/filter");
    assert!(sequences(&arrived(&second, 3).await[..1]).0.len() > 100, "one message says many readings");
    let (order, _) = sequences(&arrived(&second, 3_000).await);
    assert_eq!(order, (0..3_000).collect::<Vec<_>>());
    edge.stop().await;
    second.stop().await;
}
