//! What the hub publishes.

use std::fmt::Write as _;

use crate::SystemProperty::{self, *};
use crate::topic::bag::{self, Null, Writer};
use crate::topic::path::{self, after, query_value, quoted, split_query};
use crate::{Identity, Message, Properties, Refused, System, percent};

/// The system properties on a cloud-to-device message.
const DEVICEBOUND: &[SystemProperty] = &[
    MessageId,
    CorrelationId,
    UserId,
    To,
    ContentType,
    ContentEncoding,
    Expiry,
    Schema,
    CreationTime,
    Ack,
    Operation,
];

/// The system properties on a module's input: who sent it, too, but not the output it came from.
const INPUT: &[SystemProperty] = &[
    MessageId,
    CorrelationId,
    UserId,
    To,
    ContentType,
    ContentEncoding,
    Expiry,
    Schema,
    CreationTime,
    Operation,
    ConnectionDeviceId,
    ConnectionModuleId,
];

/// What the hub says to a client, by its topic.
#[derive(Clone, Debug, PartialEq)]
pub enum ToClient {
    /// A message from the cloud.
    CloudToDevice {
        /// The device it is for.
        identity: Identity,
        /// System properties.
        system: System,
        /// Application properties.
        properties: Properties,
    },
    /// A message that a route brought to a module's input.
    Input {
        /// The module it is for.
        identity: Identity,
        /// The input's name.
        input: String,
        /// System properties; `ConnectionDeviceId` and `ConnectionModuleId` say who sent it.
        system: System,
        /// Application properties.
        properties: Properties,
    },
    /// A direct method is called.
    Method {
        /// The method.
        name: String,
        /// To be echoed as it is.
        rid: String,
    },
    /// The answer to a twin request.
    TwinResult {
        /// 200 and 204 are good, all else is not.
        status: u16,
        /// Which request.
        rid: String,
        /// The reported section's new `$version`, if the hub says it.
        version: Option<u64>,
    },
    /// The desired properties changed.
    Desired {
        /// Their new `$version`.
        version: u64,
    },
}

impl ToClient {
    /// Reads a topic that the hub publishes to.
    pub fn parse(topic: &str) -> Result<Self, Refused> {
        let (path, query) = split_query(topic);
        if let Some(owned) = path::owned(topic) {
            return Self::of_message(topic, &owned);
        }
        if let Some(name) = after(path, "$iothub/methods/POST/") {
            return Ok(Self::Method { name: percent::decode_owned(name)?, rid: rid(topic, query)? });
        }
        if let Some(status) = after(path, "$iothub/twin/res/") {
            let status = status
                .parse()
                .map_err(|_| Refused::new(quoted(topic), "has a status that is no number from 0 to 65535"))?;
            return Ok(Self::TwinResult { status, rid: rid(topic, query)?, version: version(query) });
        }
        if path.eq_ignore_ascii_case("$iothub/twin/PATCH/properties/desired") {
            let version = version(query)
                .ok_or_else(|| Refused::new(quoted(topic), "has no whole number as $version"))?;
            return Ok(Self::Desired { version });
        }
        Err(Refused::new(quoted(topic), "is none that a hub publishes to"))
    }

    fn of_message(topic: &str, owned: &path::Owned<'_>) -> Result<Self, Refused> {
        let identity = Identity::of(owned.device, owned.module)?;
        if let Some(bag) = path::bag_after(owned.rest, "messages/devicebound") {
            let (system, properties) = bag::parse(bag, DEVICEBOUND)?;
            return Ok(Self::CloudToDevice { identity, system, properties });
        }
        let input = owned.module.and_then(|_| after(owned.rest, "inputs/"));
        let Some((input, bag)) = input.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
            return Err(Refused::new(quoted(topic), "is none that a hub publishes to"));
        };
        if input.is_empty() {
            return Err(Refused::new(quoted(topic), "names no input"));
        }
        let (system, properties) = bag::parse(bag, INPUT)?;
        Ok(Self::Input { identity, input: input.to_owned(), system, properties })
    }

    /// Writes the topic.
    pub fn to_topic(&self) -> String {
        match self {
            Self::CloudToDevice { identity, system, properties } => devicebound(identity, system, properties),
            Self::Input { identity, input: name, system, properties } => {
                let mut topic = String::new();
                write_input(&mut topic, identity, name, system, properties);
                topic
            }
            Self::Method { name, rid } => method_topic(name, rid),
            Self::TwinResult { status, rid, version } => twin_result_topic(*status, rid, *version),
            Self::Desired { version } => desired_topic(*version),
        }
    }
}

fn rid(topic: &str, query: &str) -> Result<String, Refused> {
    path::rid(topic, query)?.ok_or_else(|| Refused::new(quoted(topic), "has no $rid"))
}

fn version(query: &str) -> Option<u64> {
    query_value(query, "version")?.parse().ok()
}

/// Where the hub delivers a cloud-to-device message. Always with a slash behind the fixed words: Node drops what
/// has none.
pub fn devicebound_topic(who: &Identity, message: &Message) -> String {
    devicebound(who, &message.system, &message.properties)
}

fn devicebound(who: &Identity, system: &System, properties: &Properties) -> String {
    let mut topic = String::with_capacity(192);
    who.push_path(&mut topic);
    topic.push_str("/messages/devicebound/");
    let mut writer = Writer::new(&mut topic);
    writer.system(system, DEVICEBOUND);
    writer.properties(properties, system, DEVICEBOUND, Null::Empty);
    topic
}

/// Where the hub delivers a message to a module's input.
pub fn input_topic(who: &Identity, name: &str, message: &Message) -> String {
    let mut topic = String::with_capacity(256);
    write_input_topic(&mut topic, who, name, message);
    topic
}

/// Puts the same at the end of what is there already.
pub fn write_input_topic(topic: &mut String, who: &Identity, name: &str, message: &Message) {
    write_input(topic, who, name, &message.system, &message.properties);
}

fn write_input(topic: &mut String, who: &Identity, name: &str, system: &System, properties: &Properties) {
    who.push_path(topic);
    topic.push_str("/inputs/");
    // Inputs are named by routes, in any characters, but a topic that is published has no wildcards.
    if name.contains(['+', '#', '/', '\0']) {
        percent::encode_into(topic, name)
    } else {
        topic.push_str(name)
    }
    topic.push('/');
    let mut writer = Writer::new(topic);
    writer.properties(properties, system, INPUT, Null::Empty);
    writer.system(system, INPUT);
}

/// Where the hub calls a method.
pub fn method_topic(name: &str, rid: &str) -> String {
    let mut topic = String::with_capacity(64);
    topic.push_str("$iothub/methods/POST/");
    percent::encode_into(&mut topic, name);
    topic.push_str("/?$rid=");
    topic.push_str(rid);
    topic
}

/// Where the hub answers a twin request.
pub fn twin_result_topic(status: u16, rid: &str, version: Option<u64>) -> String {
    let mut topic = format!("$iothub/twin/res/{status}/?$rid={rid}");
    if let Some(version) = version {
        write!(topic, "&$version={version}").expect("a String takes whatever is written to it");
    }
    topic
}

/// Where the hub tells of changed desired properties.
pub fn desired_topic(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> Identity {
        "edge1/mod1".parse().unwrap()
    }

    #[test]
    fn what_the_hub_writes_its_clients_read() {
        let mut system = System::default();
        system.set(MessageId, "c1");
        let properties: Properties = [("prop a", "v&b/ü")].into_iter().collect();
        for said in [
            ToClient::CloudToDevice {
                identity: "dev1".parse().unwrap(),
                system: system.clone(),
                properties: properties.clone(),
            },
            ToClient::Input { identity: module(), input: "input1".into(), system, properties },
            ToClient::Method { name: "re+boot#1".into(), rid: "1f".into() },
            ToClient::TwinResult { status: 204, rid: "ac03".into(), version: Some(6) },
            ToClient::TwinResult { status: 429, rid: "ac03".into(), version: None },
            ToClient::Desired { version: 4 },
        ] {
            let topic = said.to_topic();
            assert!(!topic.contains(['+', '#']), "{topic} has a wildcard");
            assert_eq!(ToClient::parse(&topic), Ok(said), "{topic}");
        }
    }

    #[test]
    fn a_message_topic_never_ends_without_a_slash() {
        assert_eq!(
            devicebound_topic(&"dev1".parse().unwrap(), &Message::default()),
            "devices/dev1/messages/devicebound/"
        );
        assert_eq!(
            input_topic(&module(), "in1", &Message::default()),
            "devices/edge1/modules/mod1/inputs/in1/"
        );
    }

    #[test]
    fn a_null_goes_down_as_an_empty_value() {
        let mut message = Message::default();
        message.properties.put("k", None);
        assert!(input_topic(&module(), "in1", &message).ends_with("/in1/k="));
    }

    #[test]
    fn a_sender_cannot_forge_who_sent_it() {
        let message = Message::default()
            .with_property("$.cdid", "forged")
            .with_property("$.cmid", "forged")
            .with_system(ConnectionDeviceId, "edge1")
            .with_system(ConnectionModuleId, "src");
        assert_eq!(
            input_topic(&module(), "in1", &message),
            "devices/edge1/modules/mod1/inputs/in1/%24.cdid=edge1&%24.cmid=src"
        );
    }

    #[test]
    fn an_input_with_a_wildcard_in_its_name_makes_no_wildcard() {
        let topic = input_topic(&module(), "a+b/#", &Message::default());
        assert_eq!(topic, "devices/edge1/modules/mod1/inputs/a%2Bb%2F%23/");
    }

    #[test]
    fn the_output_is_not_told_to_the_input() {
        let message = Message::default().with_system(OutputName, "out1").with_system(InterfaceId, "urn:x");
        assert!(input_topic(&module(), "in1", &message).ends_with("/in1/"));
    }

    #[test]
    fn a_time_goes_down_with_seven_fraction_digits() {
        let message = Message::default().with_system(Expiry, "2024-03-14T10:54:49.65+01:00");
        assert_eq!(
            devicebound_topic(&"dev1".parse().unwrap(), &message),
            "devices/dev1/messages/devicebound/%24.exp=2024-03-14T09%3A54%3A49.6500000Z"
        );
        let message = Message::default().with_system(Expiry, "soon");
        assert!(devicebound_topic(&"dev1".parse().unwrap(), &message).ends_with("=soon"));
    }

    #[test]
    fn a_topic_that_no_hub_writes_is_refused() {
        for topic in [
            "devices/dev1/messages/events/",
            "devices/dev1/inputs/in1/",
            "devices/edge1/modules/mod1/inputs/",
            "$iothub/methods/POST/reboot/",
            "$iothub/twin/res/ok/?$rid=1",
            "$iothub/twin/PATCH/properties/desired/?$version=x",
            "foo/bar",
        ] {
            assert!(ToClient::parse(topic).is_err(), "{topic} got through");
        }
    }
}
