//! Messages as AMQP has them, and as the hub has them.

use bytes::Bytes;
use isotherm_iothub::time::dotnet;
use isotherm_iothub::{Message, SystemProperty};
use isotherm_protocol::amqp::{self, BATCH_FORMAT, Body, Error, Map, Properties, Text, Value};
use jiff::Timestamp;

/// System properties that travel among the application's.
const AMONG_PROPERTIES: [(&str, SystemProperty); 4] = [
    ("iothub-outputname", SystemProperty::OutputName),
    ("iothub-message-schema", SystemProperty::Schema),
    ("iothub-creation-time-utc", SystemProperty::CreationTime),
    ("iothub-ack", SystemProperty::Ack),
];
/// System properties that travel among the annotations.
const AMONG_ANNOTATIONS: [(&str, SystemProperty); 4] = [
    ("iothub-interface-id", SystemProperty::InterfaceId),
    ("dt-subject", SystemProperty::Component),
    ("Diagnostic-Id", SystemProperty::DiagnosticId),
    ("Correlation-Context", SystemProperty::CorrelationContext),
];
/// Application properties on one message; one with more is refused.
const PROPERTIES_MAX: usize = 256;
/// Messages in one batch; one with more is refused.
const BATCH_MAX: usize = 4_096;

/// What a client sent: one message, or those of a batch. Never none.
pub(super) fn from_amqp(message: &amqp::Message, format: u32) -> Result<Vec<Message>, Error> {
    if format != BATCH_FORMAT {
        return one(message).map(|message| vec![message]);
    }
    let pieces = message.body.pieces();
    if pieces.is_empty() || pieces.len() > BATCH_MAX {
        return Err(wrong(format!("a batch has 1 to {BATCH_MAX} messages")));
    }
    let read = |piece: &Bytes| {
        let message = amqp::Message::decode(piece).map_err(|fault| wrong(fault.to_string()))?;
        one(&message)
    };
    pieces.iter().map(read).collect()
}

fn one(message: &amqp::Message) -> Result<Message, Error> {
    let body = message.body.bytes().ok_or_else(|| wrong("the body is to be data: bytes in data sections"))?;
    // Copied: a slice would keep the whole buffer that was read into for as long as the message waits.
    let mut ours = Message::new(Bytes::copy_from_slice(&body));
    let properties = &message.properties;
    let mut set = |property, value: Option<String>| {
        if let Some(value) = value {
            ours.system.set(property, value);
        }
    };
    set(SystemProperty::MessageId, plain(&properties.message_id));
    set(SystemProperty::CorrelationId, plain(&properties.correlation_id));
    let user = properties.user_id.as_ref().map(|user| String::from_utf8_lossy(user).into_owned());
    set(SystemProperty::UserId, user);
    set(SystemProperty::To, properties.to.as_ref().map(ToString::to_string));
    set(SystemProperty::ContentType, properties.content_type.as_ref().map(ToString::to_string));
    set(SystemProperty::ContentEncoding, properties.content_encoding.as_ref().map(ToString::to_string));
    set(SystemProperty::Expiry, properties.absolute_expiry_time.and_then(moment).map(dotnet));
    for (name, property) in AMONG_ANNOTATIONS {
        set(property, message.annotations.get(name).and_then(plain));
    }
    if message.application_properties.len() > PROPERTIES_MAX {
        return Err(wrong(format!("a message has at most {PROPERTIES_MAX} application properties")));
    }
    for (name, value) in message.application_properties.iter() {
        match AMONG_PROPERTIES.iter().find(|(known, _)| *name == *known) {
            Some((_, property)) => {
                if let Some(value) = plain(value) {
                    ours.system.set(*property, value);
                }
            }
            None => ours.properties.put(name, plain(value).as_deref()),
        }
    }
    Ok(ours)
}

/// The message's own sections; annotations are the caller's.
pub(super) fn to_amqp(message: &Message) -> amqp::Message {
    let get = |property| message.system.get(property);
    let text = |property| get(property).map(Text::from);
    let properties = Properties {
        message_id: text(SystemProperty::MessageId).map_or(Value::Null, Value::String),
        correlation_id: text(SystemProperty::CorrelationId).map_or(Value::Null, Value::String),
        user_id: get(SystemProperty::UserId).map(|user| Bytes::copy_from_slice(user.as_bytes())),
        to: text(SystemProperty::To),
        content_type: text(SystemProperty::ContentType),
        content_encoding: text(SystemProperty::ContentEncoding),
        absolute_expiry_time: get(SystemProperty::Expiry).and_then(milliseconds),
        ..Properties::default()
    };
    let mut ours = Map::new();
    for (name, property) in AMONG_PROPERTIES {
        if let Some(value) = get(property).filter(|_| property != SystemProperty::OutputName) {
            ours = ours.with_string(Text::from_static(name), value);
        }
    }
    for (name, value) in message.properties.iter() {
        let value = value.map_or(Value::Null, Value::string);
        ours.0.push((Value::string(name), value));
    }
    amqp::Message {
        properties: Box::new(properties),
        application_properties: ours,
        body: Body::Data(message.body.clone()),
        ..amqp::Message::default()
    }
}

/// Annotations that a message brought along.
pub(super) fn annotations(message: &Message) -> Map {
    let mut map = Map::new();
    for (name, property) in AMONG_ANNOTATIONS {
        if let Some(value) = message.system.get(property) {
            map = map.with_symbol(name, value);
        }
    }
    map
}

/// A time as the hub writes it, as AMQP has it.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

fn moment(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}

/// A value as text, as IoT Hub has application properties.
fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) | Value::Symbol(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::ULong(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Char(value) => value.to_string(),
        Value::Uuid(bytes) => uuid(*bytes),
        Value::Timestamp(value) => dotnet(moment(*value)?),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_i64()?.to_string(),
    })
}

/// A uuid as everybody writes it.
pub(super) fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn wrong(why: impl Into<Text>) -> Error {
    Error::new("com.microsoft:argument-error", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_what_is_written_on_it_there_and_back() {
        let there = Message::new("31")
            .with_system(SystemProperty::MessageId, "m1")
            .with_system(SystemProperty::ContentType, "text/plain")
            .with_system(SystemProperty::Expiry, "2030-01-02T03:04:05.0000000Z")
            .with_system(SystemProperty::Component, "thermostat")
            .with_property("MessageType", "Alert");
        let mut wire = to_amqp(&there);
        wire.annotations = annotations(&there);
        assert_eq!(from_amqp(&wire, 0).unwrap(), [there]);
    }

    #[test]
    fn an_output_comes_among_the_properties_and_becomes_none_of_them() {
        let mut wire = amqp::Message::data("x");
        wire.application_properties = Map::new().with_string("iothub-outputname", "out").with_string("n", 7);
        let ours = from_amqp(&wire, 0).unwrap().remove(0);
        assert_eq!(ours.system.get(SystemProperty::OutputName), Some("out"));
        assert_eq!(ours.properties.iter().collect::<Vec<_>>(), [("n", Some("7"))]);
    }

    #[test]
    fn a_body_that_is_no_bytes_and_an_empty_batch_are_refused() {
        let wire = amqp::Message { body: Body::Value(Value::Int(1)), ..amqp::Message::default() };
        assert!(from_amqp(&wire, 0).is_err());
        assert!(from_amqp(&amqp::Message::default(), BATCH_FORMAT).is_err());
    }
}
