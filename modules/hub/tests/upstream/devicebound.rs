//! Messages from the cloud to a device behind the edge: through two hubs, each of which keeps them on disk.

use isotherm_hub::UpstreamProtocol;
use rumqttc::QoS;

use super::*;

async fn to_the_pump(cloud: &Site, text: &str) {
    let path = "/isotherm/v1/devices/pump/messages/devicebound";
    let headers = [("iothub-app-valve", "open"), ("iothub-messageid", text)];
    let answer = cloud.rest_with("POST", path, &headers, text.to_owned()).await;
    assert_eq!(answer.status, 204, "{:?}", answer.body);
}

async fn waiting(hub: &Site) -> u64 {
    hub.get("/devices/pump").await["cloudToDeviceMessageCount"].as_u64().unwrap()
}

async fn through_two_hubs(name: &str, protocol: UpstreamProtocol) {
    let (above, below) = (Folder::new(&format!("{name}-cloud")), Folder::new(name));
    let cloud = cloud(above.path(), None).await;
    with_edge(&cloud).await;
    cloud.device("pump").await;
    let way = upstream(&cloud, protocol);
    let options =
        Options { upstream: Some(way), ephemeral: false, state: below.path().to_owned(), ..ephemeral() };
    let (edge, _filter) = edge(options.clone()).await;
    edge.device("pump").await;
    edge.stop().await;
    to_the_pump(&cloud, "while the edge is off").await;

    let edge = Site::with(options.clone()).await;
    to_the_pump(&cloud, "while the pump is off").await;
    eventually("the edge has both on disk, and the cloud has let go of them", async || {
        waiting(&cloud).await == 0 && waiting(&edge).await == 2
    })
    .await;
    edge.stop().await;
    cloud.stop().await; // and stays away

    let edge = Site::with(options).await;
    let mut pump = edge.stranger("pump").await;
    pump.subscribe("devices/pump/messages/devicebound/#", QoS::AtLeastOnce).await;
    for text in ["while the edge is off", "while the pump is off"] {
        let message = pump.publish().await;
        assert_eq!(&message.payload[..], text.as_bytes(), "in order");
        assert!(message.topic.contains("valve=open"), "{}", message.topic);
    }
    eventually("the edge has let go of them too", async || {
        waiting(&edge).await == 0 || {
            pump.client.try_subscribe("devices/pump/messages/devicebound/#", QoS::AtLeastOnce).unwrap();
            let _ = pump.try_next().await; // what it acknowledges goes out while it listens
            false
        }
    })
    .await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_a_device_goes_through_two_hubs_whatever_is_switched_off_meanwhile_over_amqp() {
    through_two_hubs("c2d-amqp", UpstreamProtocol::Amqp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_a_device_goes_through_two_hubs_whatever_is_switched_off_meanwhile_over_mqtt() {
    through_two_hubs("c2d-mqtt", UpstreamProtocol::Mqtt).await;
}
