//! What clients publish.

use std::fmt::Write as _;

use crate::SystemProperty::{self, *};
use crate::topic::bag::{self, Null, Writer};
use crate::topic::path::{self, after, quoted, split_query};
use crate::{Identity, Message, Properties, Refused, System, percent};

/// The system properties that a sender may set, in the order in which the SDKs write them. A `$.cdid` of a sender's
/// own is an application property: who sent a message is for the hub to say.
const SENDERS: &[SystemProperty] = &[
    OutputName,
    MessageId,
    CorrelationId,
    UserId,
    To,
    ContentType,
    ContentEncoding,
    InterfaceId,
    Expiry,
    Component,
    Schema,
    CreationTime,
    Ack,
    Operation,
    DiagnosticId,
    CorrelationContext,
];

/// What a client says to the hub, by its topic.
#[derive(Clone, Debug, PartialEq)]
pub enum ToHub {
    /// A message: telemetry, an output, or a will.
    Telemetry {
        /// Whose topic it is; after [`ToHub::parse`] not yet known to be the sender's.
        identity: Identity,
        /// The bag.
        properties: (System, Properties),
    },
    /// The answer to a direct method.
    MethodResponse {
        /// The method's own number.
        status: i32,
        /// Which call it answers.
        rid: String,
    },
    /// Asks for the whole twin.
    TwinGet {
        /// To be echoed as it is.
        rid: String,
    },
    /// Reports properties.
    TwinPatch {
        /// To be echoed as it is; without one no answer is wanted.
        rid: Option<String>,
    },
    /// A method response that can belong to no call: to be logged and acknowledged, nothing more.
    Ignored(Refused),
}

impl ToHub {
    /// Reads a topic that a client publishes to. Whatever is refused ends the connection.
    pub fn parse(topic: &str) -> Result<Self, Refused> {
        match events(topic) {
            Some(events) => Self::telemetry(Identity::of(events.device, events.module)?, events.rest),
            None => Self::of_iothub(topic),
        }
    }

    /// The same for a client that is known to be `who`: a message topic of anybody else is refused, so nobody can
    /// speak for another. Cheaper, too.
    pub fn parse_from(topic: &str, who: &Identity) -> Result<Self, Refused> {
        match events(topic) {
            Some(events) if events.device == who.device_id() && events.module == who.module_id() => {
                Self::telemetry(who.clone(), events.rest)
            }
            Some(_) => {
                let why =
                    format!("belongs to another identity; {who} sends to {}/messages/events/", who.path());
                Err(Refused::new(quoted(topic), why))
            }
            None => Self::of_iothub(topic),
        }
    }

    fn telemetry(identity: Identity, bag: &str) -> Result<Self, Refused> {
        Ok(Self::Telemetry { identity, properties: bag::parse(bag, SENDERS)? })
    }

    fn of_iothub(topic: &str) -> Result<Self, Refused> {
        let (path, query) = split_query(topic);
        if path.eq_ignore_ascii_case("$iothub/twin/GET") {
            let rid = path::rid(topic, query)?;
            return rid.map(|rid| Self::TwinGet { rid }).ok_or_else(|| {
                Refused::new(quoted(topic), "has no $rid, so no answer could find its way; add ?$rid=1")
            });
        }
        if path.eq_ignore_ascii_case("$iothub/twin/PATCH/properties/reported") {
            return Ok(Self::TwinPatch { rid: path::rid(topic, query)? });
        }
        match after(path, "$iothub/methods/res/") {
            Some(status) => Ok(Self::method_response(topic, status, query)),
            None => Err(Refused::new(
                quoted(topic),
                "is none that this hub takes; right are devices/{device}[/modules/{module}]/messages/events/…, \
                 $iothub/twin/GET/…, $iothub/twin/PATCH/properties/reported/… and $iothub/methods/res/{status}/…",
            )),
        }
    }

    fn method_response(topic: &str, status: &str, query: &str) -> Self {
        let Ok(status) = status.parse() else {
            return Self::Ignored(Refused::new(
                quoted(topic),
                "has a status that is no whole number of 32 bits",
            ));
        };
        // Python and Node encode the request id on its way back.
        match path::rid(topic, query).and_then(|rid| rid.map(|rid| percent::decode_owned(&rid)).transpose()) {
            Ok(Some(rid)) => Self::MethodResponse { status, rid },
            Ok(None) => {
                Self::Ignored(Refused::new(quoted(topic), "has no $rid to say which call it answers"))
            }
            Err(refused) => Self::Ignored(refused),
        }
    }
}

fn events(topic: &str) -> Option<path::Owned<'_>> {
    let mut owned = path::owned(topic)?;
    owned.rest = path::bag_after(owned.rest, "messages/events")?;
    Some(owned)
}

/// Where `who` publishes a message; a will's topic, too.
pub fn telemetry_topic(who: &Identity, message: &Message) -> String {
    let mut topic = String::with_capacity(192);
    who.push_path(&mut topic);
    topic.push_str("/messages/events/");
    let mut writer = Writer::new(&mut topic);
    writer.system(&message.system, SENDERS);
    writer.properties(&message.properties, &message.system, SENDERS, Null::Bare);
    topic
}

/// Where a client answers the call `rid`.
pub fn method_response_topic(status: i32, rid: &str) -> String {
    let mut topic = String::with_capacity(48);
    write!(topic, "$iothub/methods/res/{status}/?$rid={rid}")
        .expect("a String takes whatever is written to it");
    topic
}

/// Where a client asks for its twin.
pub fn twin_get_topic(rid: &str) -> String {
    format!("$iothub/twin/GET/?$rid={rid}")
}

/// Where a client reports properties.
pub fn reported_topic(rid: &str) -> String {
    format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telemetry(topic: &str) -> (Identity, System, Properties) {
        match ToHub::parse(topic).unwrap() {
            ToHub::Telemetry { identity, properties: (system, properties) } => (identity, system, properties),
            other => panic!("{topic} was read as {other:?}"),
        }
    }

    #[test]
    fn a_message_topic_is_read_with_and_without_slash_and_bag_in_any_letter_case() {
        for topic in [
            "devices/dev1/messages/events",
            "devices/dev1/messages/events/",
            "Devices/dev1/Messages/Events/?",
        ] {
            let (identity, system, properties) = telemetry(topic);
            assert_eq!(identity.as_str(), "dev1");
            assert!(system.is_empty() && properties.is_empty(), "{topic}");
        }
        assert_eq!(telemetry("devices/edge1/modules/mod1/messages/events/").0.as_str(), "edge1/mod1");
    }

    #[test]
    fn ids_keep_their_case_and_odd_characters() {
        let (identity, ..) = telemetry("devices/Dev(1)/modules/$edgeAgent/messages/events/");
        assert_eq!(identity.as_str(), "Dev(1)/$edgeAgent");
    }

    #[test]
    fn nobody_speaks_for_another() {
        let sensor: Identity = "edge/sensor".parse().unwrap();
        assert!(ToHub::parse_from("devices/edge/modules/sensor/messages/events/a=1", &sensor).is_ok());
        for topic in [
            "devices/edge/modules/filter/messages/events/",
            "devices/edge/messages/events/",
            "devices/Edge/modules/sensor/messages/events/",
            "devices/edge/modules/sensor2/messages/events/",
        ] {
            let why = ToHub::parse_from(topic, &sensor).unwrap_err().to_string();
            assert!(why.contains("devices/edge/modules/sensor/messages/events/"), "{why}");
        }
    }

    #[test]
    fn a_topic_of_no_use_is_refused_with_those_that_are() {
        for topic in [
            "",
            "foo/bar",
            "devices",
            "devices/dev1",
            "devices//messages/events/",
            "devices/dev1/messages/eventsX",
            "devices/dev1/messages/devicebound/",
            "devices/dev1/modules//messages/events/",
            "devices/dev1/modules/m/inputs/i/",
            "$iothub/twin/GET/?$rid=",
            "$iothub/twin/GET/",
            "$iothub/twin/GET/properties/?$rid=1",
            "$iothub/twin/PUT/?$rid=1",
            "$iothub/twin/PATCH/properties/desired/?$rid=1",
            "$iothub/methods/POST/x/?$rid=1",
        ] {
            assert!(ToHub::parse(topic).is_err(), "{topic} got through");
        }
        let why = ToHub::parse("foo/bar").unwrap_err().to_string();
        assert!(why.contains("\"foo/bar\"") && why.contains("messages/events"), "{why}");
    }

    #[test]
    fn twin_requests_are_read() {
        let get = ToHub::TwinGet { rid: "a587".into() };
        assert_eq!(ToHub::parse(&twin_get_topic("a587")), Ok(get.clone()));
        assert_eq!(ToHub::parse("$IOTHUB/twin/get?$rid=a587&x=y"), Ok(get));
        assert_eq!(ToHub::parse(&reported_topic("7")), Ok(ToHub::TwinPatch { rid: Some("7".into()) }));
        assert_eq!(
            ToHub::parse("$iothub/twin/PATCH/properties/reported/"),
            Ok(ToHub::TwinPatch { rid: None })
        );
    }

    #[test]
    fn a_request_id_at_the_limit_is_taken_and_a_longer_one_refused() {
        let rid = "r".repeat(crate::topic::RID_BYTES_MAX);
        assert!(ToHub::parse(&twin_get_topic(&rid)).is_ok());
        assert!(ToHub::parse(&twin_get_topic(&format!("{rid}r"))).is_err());
    }

    #[test]
    fn method_responses_are_read_and_those_that_answer_nothing_are_set_aside() {
        let answer = ToHub::MethodResponse { status: 200, rid: "1f".into() };
        assert_eq!(ToHub::parse(&method_response_topic(200, "1f")), Ok(answer));
        let negative = ToHub::MethodResponse { status: -7, rid: "a b".into() };
        assert_eq!(ToHub::parse("$iothub/methods/res/-7/?$rid=a%20b"), Ok(negative));
        for topic in [
            "$iothub/methods/res/ok/?$rid=1",
            "$iothub/methods/res/200/",
            "$iothub/methods/res/99999999999/?$rid=1",
        ] {
            assert!(matches!(ToHub::parse(topic), Ok(ToHub::Ignored(_))), "{topic}");
        }
    }
}
