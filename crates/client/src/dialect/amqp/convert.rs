//! Messages as AMQP has them, and as hubs have them.

use bytes::Bytes;
use fe2o3_amqp::Sendable;
use fe2o3_amqp_types::{
    messaging::{
        ApplicationProperties, Batch, Body, Data, Header, Message as Wire, MessageAnnotations, MessageId,
        Properties, annotations::OwnedKey,
    },
    primitives::{Binary, SimpleValue, Symbol, Timestamp, Value},
};
use isotherm_iothub::{Message, SystemProperty, time::dotnet};
use isotherm_protocol::amqp::{BATCH_FORMAT, Text};

/// A message as it is received.
pub(crate) type Received = Wire<Body<Value>>;

/// System properties that travel among the application's.
const AMONG_PROPERTIES: [(&str, SystemProperty); 4] = [
    ("iothub-outputname", SystemProperty::OutputName),
    ("iothub-message-schema", SystemProperty::Schema),
    ("iothub-creation-time-utc", SystemProperty::CreationTime),
    ("iothub-ack", SystemProperty::Ack),
];
/// System properties that travel among the annotations.
const AMONG_ANNOTATIONS: [(&str, SystemProperty); 6] = [
    ("iothub-interface-id", SystemProperty::InterfaceId),
    ("dt-subject", SystemProperty::Component),
    ("Diagnostic-Id", SystemProperty::DiagnosticId),
    ("Correlation-Context", SystemProperty::CorrelationContext),
    ("iothub-connection-device-id", SystemProperty::ConnectionDeviceId),
    ("iothub-connection-module-id", SystemProperty::ConnectionModuleId),
];
/// Of those, how many a client may say; the others only a hub does.
const OWN_ANNOTATIONS: usize = 4;

/// A message of ours on its way.
pub(super) fn to_amqp(message: &Message) -> Wire<Data> {
    let get = |property| message.system.get(property);
    let text = |property| get(property).map(str::to_owned);
    // A hub would refuse the message for any letter that a symbol does not have.
    let symbol = |property| get(property).map(|text| Symbol(Text::in_ascii(text).into_owned()));
    let properties = Properties {
        message_id: text(SystemProperty::MessageId).map(MessageId::String),
        correlation_id: text(SystemProperty::CorrelationId).map(MessageId::String),
        user_id: get(SystemProperty::UserId).map(|user| Binary::from(user.as_bytes().to_vec())),
        to: text(SystemProperty::To),
        content_type: symbol(SystemProperty::ContentType),
        content_encoding: symbol(SystemProperty::ContentEncoding),
        absolute_expiry_time: get(SystemProperty::Expiry).and_then(milliseconds).map(Timestamp::from),
        ..Properties::default()
    };
    let mut among = ApplicationProperties::builder();
    for (name, property) in AMONG_PROPERTIES {
        if let Some(value) = get(property) {
            among = among.insert(name, value.to_owned());
        }
    }
    for (name, value) in message.properties.iter() {
        among = match value {
            Some(value) => among.insert(name, value.to_owned()),
            None => among.insert(name, SimpleValue::Null),
        };
    }
    let mut annotations = MessageAnnotations::builder();
    for (name, property) in &AMONG_ANNOTATIONS[..OWN_ANNOTATIONS] {
        if let Some(value) = get(*property) {
            annotations = annotations.insert(*name, value.to_owned());
        }
    }
    let (among, annotations) = (among.build(), annotations.build());
    Wire {
        header: None,
        delivery_annotations: None,
        message_annotations: (!annotations.is_empty()).then_some(annotations),
        properties: (properties != Properties::default()).then_some(properties),
        application_properties: (!among.is_empty()).then_some(among),
        body: Data(Binary::from(message.body.to_vec())),
        footer: None,
    }
}

/// A message as a delivery by itself.
pub(super) fn alone(wire: Wire<Data>) -> Sendable<Batch<Data>> {
    wire.map_body(|data| Batch::new(vec![data])).into()
}

/// Many messages as one delivery, in the batch format of IoT Hub: each, as it would be by itself, is a piece of data.
pub(super) fn to_batch<'a>(
    messages: impl Iterator<Item = &'a Message>,
) -> Result<Sendable<Batch<Data>>, serde_amqp::Error> {
    let piece = |message| encoded(&to_amqp(message)).map(|bytes| Data(bytes.into()));
    let pieces = messages.map(piece).collect::<Result<Vec<_>, _>>()?;
    let wire = Wire::builder().body(Batch::new(pieces)).build();
    Ok(Sendable::builder().message(wire).message_format(BATCH_FORMAT).build())
}

/// The sections of a message of ours, one behind the other (AMQP 1.0, 3.2).
fn encoded(wire: &Wire<Data>) -> Result<Vec<u8>, serde_amqp::Error> {
    let mut bytes = Vec::new();
    if let Some(annotations) = &wire.message_annotations {
        bytes.extend(serde_amqp::to_vec(annotations)?);
    }
    if let Some(properties) = &wire.properties {
        bytes.extend(serde_amqp::to_vec(properties)?);
    }
    if let Some(among) = &wire.application_properties {
        bytes.extend(serde_amqp::to_vec(among)?);
    }
    bytes.extend(serde_amqp::to_vec(&wire.body)?);
    Ok(bytes)
}

/// A message for a peer that is no hub: who sent it is written on it, and what one device sends stays in order.
pub(super) fn to_entity(message: &Message) -> Wire<Data> {
    let mut wire = to_amqp(message);
    wire.header = Some(Header { durable: true, ..Header::default() }); // or a broker would keep it in memory only
    let among = wire.application_properties.get_or_insert_default();
    for (name, property) in [
        ("iothub-connection-device-id", SystemProperty::ConnectionDeviceId),
        ("iothub-connection-module-id", SystemProperty::ConnectionModuleId),
    ] {
        if let Some(value) = message.system.get(property) {
            among.insert(name.to_owned(), value.to_owned().into());
        }
    }
    if among.is_empty() {
        wire.application_properties = None;
    }
    if let Some(device) = message.system.get(SystemProperty::ConnectionDeviceId) {
        let annotations = wire.message_annotations.get_or_insert_default();
        annotations.insert("x-opt-partition-key".into(), Value::String(device.to_owned()));
    }
    wire
}

/// A message of the hub's.
pub(super) fn from_amqp(wire: &Received) -> Message {
    let mut ours = Message::new(body(wire));
    let mut set = |property, value: Option<String>| {
        if let Some(value) = value {
            ours.system.set(property, value);
        }
    };
    if let Some(properties) = &wire.properties {
        set(SystemProperty::MessageId, properties.message_id.as_ref().map(id_text));
        set(SystemProperty::CorrelationId, properties.correlation_id.as_ref().map(id_text));
        let user = properties.user_id.as_ref();
        set(SystemProperty::UserId, user.map(|user| String::from_utf8_lossy(user).into_owned()));
        set(SystemProperty::To, properties.to.clone());
        let symbol = |symbol: &Option<Symbol>| symbol.as_ref().map(|symbol| symbol.as_str().to_owned());
        set(SystemProperty::ContentType, symbol(&properties.content_type));
        set(SystemProperty::ContentEncoding, symbol(&properties.content_encoding));
        let expiry = properties.absolute_expiry_time.as_ref().map(Timestamp::milliseconds);
        set(SystemProperty::Expiry, expiry.and_then(moment));
    }
    for (name, property) in AMONG_ANNOTATIONS {
        set(property, annotation(wire, name).and_then(plain));
    }
    let enqueued = annotation(wire, "iothub-enqueuedtime").and_then(plain);
    set(SystemProperty::EnqueuedTime, enqueued);
    for (name, value) in wire.application_properties.iter().flat_map(|among| among.iter()) {
        let text = simple(value);
        match AMONG_PROPERTIES.iter().find(|(known, _)| known == name) {
            Some((_, property)) => {
                if let Some(text) = text {
                    ours.system.set(*property, text);
                }
            }
            None => ours.properties.put(name, text.as_deref()),
        }
    }
    ours
}

/// The bytes of a body, however they are wrapped.
pub(super) fn body(wire: &Received) -> Bytes {
    match &wire.body {
        Body::Data(pieces) => {
            let mut pieces = pieces.iter();
            match (pieces.next(), pieces.next()) {
                (Some(only), None) => Bytes::copy_from_slice(&only.0),
                (first, second) => {
                    let all = first.into_iter().chain(second).chain(pieces);
                    all.flat_map(|piece| piece.0.to_vec()).collect()
                }
            }
        }
        Body::Value(value) => plain(&value.0).unwrap_or_default().into(),
        Body::Sequence(_) | Body::Empty => Bytes::new(),
    }
}

/// An annotation by its name.
pub(super) fn annotation<'a>(wire: &'a Received, name: &str) -> Option<&'a Value> {
    let annotations = wire.message_annotations.as_ref()?;
    let named = |(key, _): &(&OwnedKey, _)| matches!(key, OwnedKey::Symbol(key) if key.as_str() == name);
    annotations.iter().find(named).map(|(_, value)| value)
}

/// A whole number of any width.
pub(super) fn number(value: &Value) -> Option<i64> {
    Some(match value {
        Value::Ubyte(value) => (*value).into(),
        Value::Ushort(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Ulong(value) => i64::try_from(*value).ok()?,
        Value::Byte(value) => (*value).into(),
        Value::Short(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Long(value) => *value,
        _ => return None,
    })
}

/// A value as text, as hubs have properties.
fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Symbol(text) => text.as_str().to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Float(value) => value.into_inner().to_string(),
        Value::Double(value) => value.into_inner().to_string(),
        Value::Timestamp(value) => moment(value.milliseconds())?,
        Value::Uuid(value) => uuid(value.as_inner()),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => number(other)?.to_string(),
    })
}

fn simple(value: &SimpleValue) -> Option<String> {
    plain(&Value::from(value.clone()))
}

/// The text of an application property.
pub(super) fn property(wire: &Received, name: &str) -> Option<String> {
    wire.application_properties.as_ref()?.get(name).and_then(simple)
}

/// The number in an application property.
pub(super) fn number_property(wire: &Received, name: &str) -> Option<i64> {
    number(&Value::from(wire.application_properties.as_ref()?.get(name)?.clone()))
}

fn id_text(id: &MessageId) -> String {
    match id {
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(id) => uuid(id.as_inner()),
        MessageId::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        MessageId::String(text) => text.clone(),
    }
}

/// An id as text that says which kind it is, so that an answer can repeat it by another connection.
pub(super) fn id_to_rid(id: &MessageId) -> String {
    match id {
        MessageId::Ulong(number) => format!("n{number:x}"),
        MessageId::Uuid(id) => format!("u{:x}", u128::from_be_bytes(*id.as_inner())),
        MessageId::Binary(bytes) => {
            bytes.iter().fold("b".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        }
        MessageId::String(text) => format!("s{text}"),
    }
}

/// And back.
pub(super) fn rid_to_id(rid: &str) -> MessageId {
    let typed = || match rid.split_at_checked(1)? {
        ("n", hex) => u64::from_str_radix(hex, 16).ok().map(MessageId::Ulong),
        ("u", hex) => u128::from_str_radix(hex, 16).ok().map(|id| MessageId::Uuid(id.to_be_bytes().into())),
        ("b", hex) => {
            let byte = |place: usize| u8::from_str_radix(hex.get(place..place + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
            bytes.map(|bytes| MessageId::Binary(bytes.into()))
        }
        ("s", text) => Some(MessageId::String(text.to_owned())),
        _ => None,
    };
    typed().unwrap_or_else(|| MessageId::String(rid.to_owned()))
}

fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

fn moment(milliseconds: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(milliseconds).ok().map(dotnet)
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(*bytes));
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(wire: Wire<Data>) -> Received {
        wire.map_body(|data| Body::Data(Batch::new(vec![data])))
    }

    #[test]
    fn a_message_keeps_what_is_written_on_it_there_and_back() {
        let there = Message::new("31")
            .with_system(SystemProperty::MessageId, "m1")
            .with_system(SystemProperty::OutputName, "alert")
            .with_system(SystemProperty::ContentType, "application/json")
            .with_system(SystemProperty::Expiry, "2030-01-02T03:04:05.0000000Z")
            .with_system(SystemProperty::Component, "thermostat")
            .with_property("MessageType", "Alert");
        assert_eq!(from_amqp(&received(to_amqp(&there))), there);
    }

    #[test]
    fn a_bare_message_has_a_body_and_nothing_else() {
        let wire = to_amqp(&Message::new("x"));
        assert!(wire.properties.is_none() && wire.application_properties.is_none());
        assert!(wire.message_annotations.is_none());
    }

    #[test]
    fn a_content_type_of_other_letters_is_still_a_symbol() {
        let there = Message::new("x").with_system(SystemProperty::ContentType, "größe/λ");
        let here = from_amqp(&received(to_amqp(&there)));
        assert_eq!(here.system.get(SystemProperty::ContentType), Some("gr??e/?"));
    }

    #[test]
    fn an_id_is_the_same_after_it_was_kept_as_text() {
        let ids = [
            MessageId::Ulong(7),
            MessageId::Uuid([1; 16].into()),
            MessageId::Binary(vec![0_u8, 255].into()),
            MessageId::String("n1".to_owned()),
            MessageId::String(String::new()),
        ];
        for id in ids {
            assert_eq!(rid_to_id(&id_to_rid(&id)), id);
        }
    }
}
