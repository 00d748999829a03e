//! What a message looks like upstream: its topic, its body, and many readings in one.

use isotherm_iothub::{MESSAGE_BYTES_MAX, Message, SystemProperty};
use isotherm_proto::{Body as Wire, Reading, SCHEMA_UPLOAD, Upload};
use jiff::Timestamp;
use serde_json::Value;

use super::ledger::Entry;
use crate::core::Event;

/// What can be filled in.
const NAMES: [&str; 7] =
    ["{reading}", "{timestamp}", "{sensor}", "{sequence}", "{device}", "{module}", "{output}"];
/// What an upload may weigh besides its readings, properties among it, in bytes.
const UPLOAD_EXTRA_BYTES: usize = 8 << 10;

/// What a body becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// It stays what it is.
    AsItCame,
    /// A reading or an upload as people and scripts read it.
    Json,
    /// One for each reading, with values filled in.
    Text(String),
}

impl Body {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text {
            "protobuf" => return Ok(Self::AsItCame),
            "json" => return Ok(Self::Json),
            _ => {}
        }
        let known = NAMES.iter().fold(text.to_owned(), |text, name| text.replace(name, "0"));
        if serde_json::from_str::<Value>(&known).is_err() {
            return Err(format!(
                "is neither protobuf nor json nor JSON in which {} are filled in, such as {{\"temp\": {{reading}}}}",
                NAMES.join(", ")
            ));
        }
        Ok(Self::Text(text.to_owned()))
    }
}

/// How messages for a broker are made.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) topic: String,
    pub(super) body: Body,
}

/// A message for upstream, and which events of the log it stands for.
#[derive(Debug)]
pub(super) struct Shaped {
    pub(super) messages: Vec<Message>,
    pub(super) entries: Vec<Entry>,
}

/// An event as it goes to a hub: who sent it is the connection's to say.
pub(super) fn for_hub(mut message: Message) -> Message {
    message.system.remove(SystemProperty::ConnectionDeviceId);
    message.system.remove(SystemProperty::ConnectionModuleId);
    message
}

/// An event as one device says it for another: the sender stands among the properties.
pub(super) fn for_one_device(message: Message, from: &str) -> Message {
    let mut message = for_hub(message);
    message.properties.set("from", from);
    message
}

impl Template {
    /// An event as a broker gets it: its bodies, each with its topic as the output's name if there are topics.
    pub(super) fn fill(&self, event: &Event, topics: bool) -> Vec<Message> {
        let decoded = Wire::decode(&event.message.body).ok();
        let readings = decoded.as_ref().map(Wire::readings).unwrap_or_default();
        let bodies: Vec<(Option<&Reading>, Vec<u8>)> = match (&self.body, &decoded) {
            (Body::Json, Some(wire)) => vec![(readings.first(), wire.to_json().to_string().into_bytes())],
            (Body::Text(text), Some(_)) => {
                let body = |reading| (Some(reading), self.text(text, event, reading).into_bytes());
                readings.iter().map(body).collect()
            }
            _ => vec![(readings.first(), event.message.body.to_vec())],
        };
        let message = |(reading, body): (Option<&Reading>, Vec<u8>)| {
            let mut message = Message { body: body.into(), ..event.message.clone() };
            if topics {
                message.system.set(SystemProperty::OutputName, self.topic_of(event, reading));
            }
            message
        };
        bodies.into_iter().map(message).collect()
    }

    fn topic_of(&self, event: &Event, reading: Option<&Reading>) -> String {
        let level = |text: &str| text.replace(['+', '#', '/', '\0'], "-");
        let output = event.message.system.get(SystemProperty::OutputName).unwrap_or_default();
        self.topic
            .replace("{device}", &level(event.from.device_id()))
            .replace("{module}", &level(event.from.module_id().unwrap_or_default()))
            .replace("{output}", &level(output))
            .replace(
                "{sensor}",
                &level(reading.map(|reading| reading.sensor_id.as_str()).unwrap_or_default()),
            )
    }

    fn text(&self, text: &str, event: &Event, reading: &Reading) -> String {
        let json = reading.to_json();
        let string = |text: &str| Value::from(text).to_string();
        let output = event.message.system.get(SystemProperty::OutputName).unwrap_or_default();
        text.replace("{reading}", &json["reading"].to_string())
            .replace("{timestamp}", &json["timestamp"].to_string())
            .replace("{sequence}", &json["sequence"].to_string())
            .replace("{sensor}", &json["sensorId"].to_string())
            .replace("{device}", &string(event.from.device_id()))
            .replace("{module}", &string(event.from.module_id().unwrap_or_default()))
            .replace("{output}", &string(output))
    }
}

/// Puts readings of one sender that wait together into uploads, as many as the cloud takes in one message. Only
/// neighbours with the same properties, so that the order stays and nothing is said of one that holds for another.
pub(super) fn batch(waiting: Vec<Shaped>, wall: Timestamp) -> Vec<Shaped> {
    let mut packed: Vec<Shaped> = Vec::new();
    let mut open: Option<Package> = None;
    for shaped in waiting {
        let reading = match shaped.messages.as_slice() {
            [only] => match Wire::decode(&only.body) {
                Ok(Wire::Reading(reading)) => Some(reading),
                _ => None,
            },
            _ => None,
        };
        let Some(reading) = reading else {
            packed.extend(open.take().map(|package| package.close(wall)));
            packed.push(shaped);
            continue;
        };
        let fits = open.as_ref().is_some_and(|package| package.takes(&shaped.messages[0]));
        if !fits {
            packed.extend(open.take().map(|package| package.close(wall)));
        }
        open.get_or_insert_with(|| Package::new(&shaped.messages[0])).add(shaped, reading);
    }
    packed.extend(open.take().map(|package| package.close(wall)));
    packed
}

/// An upload that is being filled.
struct Package {
    first: Message,
    readings: Vec<Reading>,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Package {
    fn new(first: &Message) -> Self {
        Self { first: first.clone(), readings: Vec::new(), entries: Vec::new(), bytes: UPLOAD_EXTRA_BYTES }
    }

    fn takes(&self, message: &Message) -> bool {
        self.readings.len() < Upload::MAX_READINGS
            && self.bytes + weight(message) <= MESSAGE_BYTES_MAX
            && same_properties(&self.first, message)
    }

    fn add(&mut self, shaped: Shaped, reading: Reading) {
        self.bytes += weight(&self.first).max(shaped.messages[0].body.len());
        self.readings.push(reading);
        self.entries.extend(shaped.entries);
    }

    fn close(self, wall: Timestamp) -> Shaped {
        let Self { mut first, readings, entries, .. } = self;
        if readings.len() > 1 {
            first.body = Upload { uploaded_at: wall, readings }.encode();
            if first.system.get(SystemProperty::Schema).is_some() {
                first.system.set(SystemProperty::Schema, SCHEMA_UPLOAD);
            }
        }
        Shaped { messages: vec![first], entries }
    }
}

/// A reading's bytes in an upload, about: a tag and a length come before each.
fn weight(message: &Message) -> usize {
    message.body.len() + 4
}

fn same_properties(one: &Message, other: &Message) -> bool {
    let own = |message: &Message| {
        let mut system = message.system.clone();
        system.remove(SystemProperty::MessageId);
        system.remove(SystemProperty::CreationTime);
        system
    };
    one.properties == other.properties && own(one) == own(other)
}

#[cfg(test)]
mod tests {
    use isotherm_iothub::Identity;
    use isotherm_proto::Celsius;

    use super::*;
    use crate::core::EventSource;

    fn reading(sequence: u64) -> Reading {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        Reading { sensor_id: "attic".to_owned(), sequence, celsius: Celsius::new(21.5).unwrap(), at }
    }

    fn event(body: impl Into<bytes::Bytes>) -> Event {
        let message = Message::new(body).with_system(SystemProperty::OutputName, "alert");
        Event {
            partition: 0,
            sequence: 0,
            enqueued: Timestamp::UNIX_EPOCH,
            source: EventSource::Telemetry,
            from: Identity::module("edge", "filter").unwrap(),
            generation: String::new(),
            fresh: false,
            message,
        }
    }

    fn shaped(sequence: u64, message: Message) -> Shaped {
        Shaped { messages: vec![message], entries: vec![Entry { partition: 0, sequence }] }
    }

    #[test]
    fn a_body_is_made_as_the_template_says() {
        let template = Template {
            topic: "/pi2mqtt/temp".to_owned(),
            body: Body::read("{\"temp\": {reading}}").unwrap(),
        };
        let made = template.fill(&event(reading(7).encode()), true);
        assert_eq!(&made[0].body[..], b"{\"temp\": 21.5}");
        assert_eq!(made[0].system.get(SystemProperty::OutputName), Some("/pi2mqtt/temp"));
        let upload = Upload { uploaded_at: Timestamp::UNIX_EPOCH, readings: vec![reading(1), reading(2)] };
        assert_eq!(template.fill(&event(upload.encode()), true).len(), 2, "one for each reading");
        let other = template.fill(&event("hello"), true);
        assert_eq!(&other[0].body[..], b"hello", "what is no reading stays what it is");
    }

    #[test]
    fn a_topic_is_filled_in_and_no_name_makes_a_level_of_its_own() {
        let template =
            Template { topic: "t/{device}/{module}/{output}/{sensor}".to_owned(), body: Body::Json };
        let mut message = event(reading(7).encode());
        message.message.system.set(SystemProperty::OutputName, "a/b#");
        let made = template.fill(&message, true);
        assert_eq!(made[0].system.get(SystemProperty::OutputName), Some("t/edge/filter/a-b-/attic"));
        assert_eq!(serde_json::from_slice::<Value>(&made[0].body).unwrap()["sequence"], 7);
    }

    #[test]
    fn readings_that_wait_together_go_together_in_order_and_within_the_cloud_s_limit() {
        let alert = |number| Message::new(reading(number).encode()).with_property("MessageType", "Alert");
        let mut waiting: Vec<Shaped> = (0..2_000).map(|number| shaped(number, alert(number))).collect();
        waiting.push(shaped(2_000, Message::new(reading(2_000).encode())));
        waiting.push(shaped(2_001, Message::new("no reading")));
        waiting.push(shaped(2_002, Message::new(reading(2_002).encode())));
        let packed = batch(waiting, Timestamp::UNIX_EPOCH);
        let entries: Vec<u64> = packed.iter().flat_map(|it| &it.entries).map(|it| it.sequence).collect();
        assert_eq!(entries, (0..2_003).collect::<Vec<_>>());
        let sizes: Vec<usize> = packed.iter().map(|it| it.entries.len()).collect();
        assert_eq!(sizes, [1024, 976, 1, 1, 1]);
        assert!(packed.iter().all(|it| it.messages[0].size() <= MESSAGE_BYTES_MAX));
        let Ok(Wire::Upload(upload)) = Wire::decode(&packed[0].messages[0].body) else { panic!("an upload") };
        assert_eq!(upload.readings[1023].sequence, 1023);
        assert_eq!(packed[0].messages[0].properties.get("MessageType"), Some("Alert"));
        assert!(matches!(Wire::decode(&packed[4].messages[0].body), Ok(Wire::Reading(_))), "one alone stays");
    }

    #[test]
    fn a_template_that_makes_no_json_is_refused() {
        for wrong in ["{\"temp\": {reading}", "{\"temp\": {unknown}}", "xml"] {
            assert!(Body::read(wrong).unwrap_err().contains("{reading}"), "{wrong}");
        }
    }
}
