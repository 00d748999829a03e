//! Operations that must not creep, each run as often as told: `isotherm-instructions NAME TIMES`.
//!
//! `.ci/instructions` counts the instructions of two runs of different length under valgrind. Their difference, divided
//! by the difference in length, is what one operation costs; starting up drops out. `list` prints the names.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use isotherm_filter::{Filter, Settings, Verdict};
use isotherm_host::{Chance, MemoryDisk};
use isotherm_hub::core::{Core, Now, Options, Outcome, Outgoing, SessionId};
use isotherm_hub::store::{self, Store};
use isotherm_iothub::{
    Feed, Identity, Message, Routes, Source, SystemProperty, ToHub, input_topic, telemetry_topic,
};
use isotherm_proto::{Celsius, Reading};
use isotherm_protocol::mqtt::codec::{self, PACKET_BYTES_MAX, Packet, Publish};
use isotherm_protocol::mqtt::{Qos, Text};
use jiff::Timestamp;
use serde_json::json;

/// An operation, run so many times.
type Operation = fn(u64);

const OPERATIONS: [(&str, Operation); 7] = [
    ("decode_publish", decode_publish),
    ("encode_publish", encode_publish),
    ("read_topic", read_topic),
    ("route", route),
    ("judge_below", judge_below),
    ("judge_above", judge_above),
    ("hub_publish", hub_publish),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "list") {
        OPERATIONS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let [name, times] = &words[..] else {
        eprintln!("isotherm-instructions NAME TIMES, or list");
        return ExitCode::from(2);
    };
    let operation = OPERATIONS.iter().find(|(known, _)| known == name);
    let (Some((_, operation)), Ok(times)) = (operation, times.parse()) else {
        eprintln!("no operation {name}, or {times} is no number");
        return ExitCode::from(2);
    };
    operation(times);
    ExitCode::SUCCESS
}

fn body(celsius: f32, sequence: u64) -> Bytes {
    let celsius = Celsius::new(celsius).expect("a temperature that can exist");
    Reading { sensor_id: "attic".into(), sequence, celsius, at: wall() }.encode()
}

fn wall() -> Timestamp {
    Timestamp::constant(1_767_323_045, 0)
}

/// Nothing here depends on what time it is; clocks are read once all the same, for there is no other way to an instant.
fn now() -> Now {
    Now { instant: instant(), wall: wall() }
}

fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn sender() -> Identity {
    Identity::module("edge", "sensor").expect("a module's name")
}

fn message() -> Message {
    Message::new(body(21.5, 17)).with_system(SystemProperty::OutputName, "temperature")
}

fn publish() -> BytesMut {
    let topic = Text::topic(telemetry_topic(&sender(), &message())).expect("a topic of ours");
    let packet = Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic,
        packet_id: 7,
        payload: message().body,
    };
    let mut bytes = BytesMut::new();
    codec::encode(&Packet::Publish(packet), &mut bytes);
    bytes
}

fn decode_publish(times: u64) {
    let one = publish();
    let mut bytes = BytesMut::new();
    for _ in 0..times {
        bytes.extend_from_slice(&one);
        black_box(codec::decode(&mut bytes, PACKET_BYTES_MAX)).expect("what we wrote can be read");
    }
}

fn encode_publish(times: u64) {
    let packet = codec::decode(&mut publish(), PACKET_BYTES_MAX).expect("what we wrote can be read");
    let packet = packet.expect("it is whole");
    let mut bytes = BytesMut::new();
    for _ in 0..times {
        bytes.clear();
        codec::encode(black_box(&packet), &mut bytes);
    }
}

/// What the hub makes of a topic, and the one it makes for the receiver.
fn read_topic(times: u64) {
    let (topic, who) = (telemetry_topic(&sender(), &message()), sender());
    for _ in 0..times {
        let said = ToHub::parse_from(black_box(&topic), &who).expect("a topic of ours");
        black_box(said);
        black_box(input_topic(&who, "temperature", &message()));
    }
}

fn route(times: u64) {
    let desired = json!({"schemaVersion": "1.1", "routes": {
        "sensorToFilter": "FROM /messages/modules/sensor/outputs/temperature INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")",
        "alerts": "FROM /messages/modules/filter/outputs/alert WHERE MessageType = 'Alert' INTO $upstream",
        "warm": "FROM /messages/modules/sensor/* WHERE floor = 'attic' AND NOT (wing = 'west') INTO $upstream",
    }});
    let routes = Routes::from_desired(&desired).expect("routes of ours");
    let message = message().with_property("floor", "attic");
    for _ in 0..times {
        let source = Source::Module { module: "sensor", output: Some("temperature") };
        black_box(routes.targets(&source, black_box(&message)));
    }
}

fn judge_below(times: u64) {
    judge(21.5, times);
}

fn judge_above(times: u64) {
    judge(31.5, times);
}

/// The bodies are made before, in both runs: what is counted is mostly the judging, and always the same.
fn judge(celsius: f32, times: u64) {
    let mut filter = Filter::new(Settings::default());
    let mut message = message();
    let head = body(celsius, 0);
    let at = instant();
    for sequence in 1..=times {
        message.body = numbered(&head, sequence);
        let verdict = filter.judge(black_box(&message), at);
        assert!(!matches!(verdict, Verdict::Refused { .. }), "a reading is a reading");
        black_box(verdict);
    }
}

/// A reading without a number, and the number behind it: field 4, a varint.
fn numbered(head: &[u8], mut sequence: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(head.len() + 10);
    bytes.extend_from_slice(head);
    bytes.push(0x20);
    while sequence >= 0x80 {
        bytes.push(sequence as u8 | 0x80);
        sequence >>= 7;
    }
    bytes.push(sequence as u8);
    bytes.into()
}

/// One message from a module through the hub's mind to another one and its acceptance; a round of commits for each
/// hundred, to memory.
fn hub_publish(times: u64) {
    let now = now();
    let (store, _) =
        Store::open(Arc::new(MemoryDisk::new()), Path::new("/state"), store::Settings::default())
            .expect("memory can be opened");
    let options = Options::new("hub", "edge");
    let mut core = Core::open(options, store.clone(), Chance::seeded(7), now).expect("a hub");
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"modules": {"sensor": {}, "filter": {}}}},
        "$edgeHub": {"properties.desired": {"routes": {
            "a": "FROM /messages/modules/sensor/outputs/temperature INTO BrokeredEndpoint(\"/modules/filter/inputs/temperature\")",
        }}},
    }});
    core.apply_configuration("edge", &content, now).expect("a deployment of ours");
    let receiver = Identity::module("edge", "filter").expect("a module's name");
    let from = core.attach(&sender(), false, "test", None, Arc::new(|| {}), now).expect("it exists").session;
    let to = core.attach(&receiver, false, "test", None, Arc::new(|| {}), now).expect("it exists").session;
    core.subscribe(to, Feed::Inputs, 1, now);
    store.commit_round();
    for number in 1..=times {
        core.publish(from, &sender(), message(), now).expect("there is room");
        deliver(&mut core, to, now);
        if number % 100 == 0 {
            store.commit_round();
        }
    }
}

fn deliver(core: &mut Core, to: SessionId, now: Now) {
    while let Some(outgoing) = core.poll(to, 1, now) {
        if let Outgoing::Input { delivery, .. } = outgoing {
            core.settle(to, delivery, Outcome::Accepted, now);
        }
    }
}
