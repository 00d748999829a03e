//! Bytes that no library would send, and what the hub does about them: it ends that connection, counts it under a
//! name, and goes on.

mod support;

use isotherm_host::BoxStream;
use support::{PATIENCE, Site, user_name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

fn text(into: &mut Vec<u8>, text: &[u8]) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

fn publish(qos: u8, topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic.as_bytes());
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

async fn connect_packet(site: &Site, who: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.extend([4, 0xC2, 0, 60]); // a clean session
    text(&mut body, who.as_bytes());
    text(&mut body, user_name(who).as_bytes());
    text(&mut body, site.token(who).await.as_bytes());
    packet(0x10, &body)
}

/// A connection that has been let in.
async fn inside(site: &Site, who: &str) -> BoxStream {
    let mut stream = site.tls(site.ready.ports.mqtts).await;
    stream.write_all(&connect_packet(site, who).await).await.unwrap();
    assert_eq!(read(&mut stream, 4).await, [0x20, 2, 0, 0]);
    stream
}

async fn read(stream: &mut BoxStream, bytes: usize) -> Vec<u8> {
    let mut into = vec![0; bytes];
    timeout(PATIENCE, stream.read_exact(&mut into)).await.expect("in time").expect("so many bytes");
    into
}

/// Everything until the hub closes.
async fn rest(mut stream: BoxStream) -> Vec<u8> {
    let mut into = Vec::new();
    // A stream cut without TLS's goodbye ends with an error; it has ended all the same.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut into)).await.expect("closed in time");
    into
}

const EVENTS: &str = "devices/edge/modules/sensor/messages/events/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_a_rule_is_closed_without_an_acknowledgement_and_counted() {
    let site = Site::start().await;
    let big = vec![0; 262_145];
    let cases = [
        (
            "another's topic",
            publish(1, "devices/edge/modules/filter/messages/events/", 1, b"x"),
            "mqtt_ended_topic",
        ),
        ("a foreign topic", publish(1, "foo/bar", 1, b"x"), "mqtt_ended_topic"),
        ("a bad bag", publish(1, &format!("{EVENTS}a=%zz"), 1, b"x"), "mqtt_ended_topic"),
        ("a twin request without rid", publish(1, "$iothub/twin/GET/", 1, b""), "mqtt_ended_topic"),
        ("QoS 2", publish(2, EVENTS, 1, b"x"), "mqtt_malformed_qos_two"),
        ("a wildcard", publish(1, "devices/+/x", 1, b"x"), "mqtt_malformed_wildcard"),
        ("a payload too large", publish(1, EVENTS, 1, &big), "mqtt_malformed_too_large"),
        (
            "too large with its properties",
            publish(1, &format!("{EVENTS}k=v"), 1, &big[1..]),
            "mqtt_ended_message_too_large",
        ),
        ("a second CONNECT", connect_packet(&site, "edge/sensor").await, "mqtt_malformed_second_connect"),
        ("an unknown packet", vec![0xF0, 0], "mqtt_malformed"),
        ("packet identifier 0", publish(1, EVENTS, 0, b"x"), "mqtt_malformed"),
    ];
    for (name, bytes, counter) in cases {
        let before = site.door(counter).await;
        let mut stream = inside(&site, "edge/sensor").await;
        // The hub may have closed before all of a large packet is written.
        let _ = stream.write_all(&bytes).await;
        assert_eq!(rest(stream).await, b"", "{name}");
        assert_eq!(site.door(counter).await, before + 1, "{name} counts as {counter}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_is_taken() {
    let site = Site::start().await;
    let mut stream = inside(&site, "edge/sensor").await;
    // The sender's identity takes none of a message's own room.
    stream.write_all(&publish(1, EVENTS, 7, &vec![b'x'; 262_144])).await.unwrap();
    assert_eq!(read(&mut stream, 4).await, [0x40, 2, 0, 7]);
    site.stop().await;
}

/// A twin is a thousand times as long as the question for it: who asks and does not read waits for its own reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_twin_asked_for_many_times_in_one_breath_is_answered_each_time_and_in_order() {
    let site = Site::start().await;
    let mut stream = inside(&site, "edge/sensor").await;
    let large: String = (0..7).map(|key| format!(r#""k{key}":"{}","#, "x".repeat(4_000))).collect();
    let report = publish(
        0,
        "$iothub/twin/PATCH/properties/reported/?$rid=first",
        0,
        format!("{{{large}\"end\":1}}").as_bytes(),
    );
    let mut bytes = report;
    for rid in 0..2_000 {
        bytes.extend(publish(0, &format!("$iothub/twin/GET/?$rid={rid}"), 0, b""));
    }
    bytes.extend(publish(1, EVENTS, 77, b"last"));
    stream.write_all(&bytes).await.unwrap();
    let mut answered = 0;
    loop {
        let first = read(&mut stream, 1).await[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = read(&mut stream, 1).await[0];
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = read(&mut stream, length).await;
        if first == 0x40 {
            break;
        }
        let topic = String::from_utf8_lossy(&body[2..2 + usize::from(body[1])]).into_owned();
        if topic.starts_with("$iothub/twin/res/200/") {
            assert_eq!(topic, format!("$iothub/twin/res/200/?$rid={answered}"));
            assert!(length > 28_000);
            answered += 1;
        }
    }
    assert_eq!(answered, 2_000, "the acknowledgement of what was said last comes last");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_right_behind_connect_is_heard_after_it_and_acknowledged_in_order() {
    let site = Site::start().await;
    let mut stream = site.tls(site.ready.ports.mqtts).await;
    let mut bytes = connect_packet(&site, "edge/sensor").await;
    let output = format!("{EVENTS}%24.on=temperature");
    for packet_id in 1..=20 {
        let topic = if packet_id % 2 == 0 { EVENTS } else { &output }; // routed and not: durable later and at once
        bytes.extend(publish(1, topic, packet_id, b"x"));
    }
    bytes.extend(packet(0xC0, b""));
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(read(&mut stream, 4).await, [0x20, 2, 0, 0]);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 20 {
        match read(&mut stream, 2).await[..] {
            [0x40, 2] => {
                acknowledged.push(u16::from_be_bytes(read(&mut stream, 2).await.try_into().unwrap()))
            }
            [0xD0, 0] => {}
            ref other => panic!("neither PUBACK nor PINGRESP: {other:?}"),
        }
    }
    assert_eq!(acknowledged, (1..=20).collect::<Vec<_>>());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_ends_acknowledges_what_it_took_first() {
    let site = Site::start().await;
    let mut stream = inside(&site, "edge/sensor").await;
    let mut bytes = Vec::new();
    for packet_id in 1..=50 {
        bytes.extend(publish(1, &format!("{EVENTS}%24.on=temperature"), packet_id, b"x"));
    }
    stream.write_all(&bytes).await.unwrap();
    let taken =
        async { while site.get("/isotherm/v1/status").await["counters"]["messages_received_total"] != 50 {} };
    timeout(PATIENCE, taken).await.expect("all are taken");
    site.host.stop.stop();
    assert_eq!(rest(stream).await.len(), 50 * 4, "fifty PUBACKs, then the end");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_levels_of_mqtt_and_other_first_packets_are_turned_away() {
    let site = Site::start().await;
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.extend([5, 2, 0, 60, 0]);
    text(&mut body, b"edge/sensor");
    let mut stream = site.tls(site.ready.ports.mqtts).await;
    stream.write_all(&packet(0x10, &body)).await.unwrap();
    assert_eq!(rest(stream).await, [0x20, 2, 0, 1], "MQTT 5 hears that its level is not spoken");

    let mut stream = site.tls(site.ready.ports.mqtts).await;
    stream.write_all(&packet(0xC0, b"")).await.unwrap();
    assert_eq!(rest(stream).await, b"");
    let mut stream = site.tls(site.ready.ports.mqtts).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(rest(stream).await, b"");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_speaks_no_tls_is_closed_and_harms_nobody() {
    let site = Site::start().await;
    let mut sensor = site.stranger("edge/sensor").await;
    for port in [site.ready.ports.mqtts, site.ready.ports.https] {
        let mut stream = site.host.network.dial("127.0.0.1", port).await.unwrap();
        stream.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00").await.unwrap();
        let mut sink = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut sink)).await.expect("closed in time");
    }
    sensor.send(EVENTS, "unharmed").await;
    assert_eq!(site.door("tls_failed").await, 2);
    site.stop().await;
}
