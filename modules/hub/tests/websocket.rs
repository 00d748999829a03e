//! MQTT over WebSocket, on the HTTPS port.

mod support;

use isotherm_host::websocket;
use support::{PATIENCE, Site, user_name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_comes_in_over_websocket_on_any_path() {
    let site = Site::start().await;
    for path in ["/$iothub/websocket", "/$iothub/websocket?iothub-no-client-cert=true", "/mqtt"] {
        let stream = site.tls(site.ready.ports.https).await;
        let mut stream = websocket::connect(stream, "localhost", path, "mqtt").await.unwrap();
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xC2, 0, 60]; // a clean session
        for text in ["edge/sensor", &user_name("edge/sensor"), &site.token("edge/sensor").await] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
        let mut packet = vec![0x10, (body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8];
        packet.extend(body);
        packet.extend([0xC0, 0]);
        stream.write_all(&packet).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 6];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0, 0xD0, 0], "{path}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sub_protocol_that_is_not_spoken_is_refused() {
    let site = Site::start().await;
    for offered in [None, Some("mqttv3"), Some("chat")] {
        let mut headers = UPGRADE.to_vec();
        headers.extend(offered.map(|offered| ("sec-websocket-protocol", offered)));
        let answer = site.anonymous("GET", "/$iothub/websocket", &headers, "").await;
        assert_eq!(answer.status, 400, "{offered:?}");
    }
    site.stop().await;
}
