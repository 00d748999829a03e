//! What a watcher reads: one JSON object a line. The hub does not know what bodies mean, so they go as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isotherm_iothub::{Message, SystemProperty};
use serde_json::{Map, Value, json};

use crate::core::{Event, Seen, What};

/// Appends a line.
pub(crate) fn put(out: &mut Vec<u8>, line: &Value) {
    serde_json::to_writer(&mut *out, line).expect("a JSON value can be written to memory");
    out.push(b'\n');
}

/// A message that reached upstream.
pub(crate) fn upstream(event: &Event) -> Value {
    let mut line = Map::new();
    line.insert("event".to_owned(), "upstream".into());
    line.insert("from".to_owned(), event.from.as_str().into());
    line.insert("output".to_owned(), event.message.system.get(SystemProperty::OutputName).into());
    line.insert("properties".to_owned(), properties(&event.message));
    line.insert("enqueued".to_owned(), event.enqueued.to_string().into());
    body(&mut line, &event.message);
    line.insert("partition".to_owned(), event.partition.into());
    line.insert("offset".to_owned(), event.offset().into());
    Value::Object(line)
}

/// Something else that passed.
pub(crate) fn seen(seen: &Seen) -> Value {
    let (at, who) = (seen.at.to_string(), seen.who.as_str());
    match &seen.what {
        What::Message { output, to, message } => {
            let mut line = Map::new();
            line.insert("event".to_owned(), "message".into());
            line.insert("at".to_owned(), at.into());
            line.insert("from".to_owned(), who.into());
            line.insert("output".to_owned(), output.clone().into());
            line.insert("to".to_owned(), to.join(", ").into());
            line.insert("properties".to_owned(), properties(message));
            body(&mut line, message);
            Value::Object(line)
        }
        What::Desired { version, patch } => {
            json!({"event": "twin", "at": at, "identity": who, "desired": versioned(patch, *version)})
        }
        What::Reported { version, patch } => {
            json!({"event": "twin", "at": at, "identity": who, "reported": versioned(patch, *version)})
        }
        What::Called { name, payload } => {
            json!({"event": "method", "at": at, "identity": who, "name": name, "payload": payload})
        }
        What::Answered { name, status, payload } => {
            json!({"event": "method", "at": at, "identity": who, "name": name, "status": status, "payload": payload})
        }
        What::Connected { protocol } => {
            json!({"event": "connection", "at": at, "identity": who, "status": "Connected", "protocol": protocol})
        }
        What::Disconnected { reason } => {
            json!({"event": "connection", "at": at, "identity": who, "status": "Disconnected", "reason": reason})
        }
    }
}

/// Whether something is about this module: it is the module's own, or a message on the way to it.
pub(crate) fn concerns(seen: &Seen, module: Option<&str>) -> bool {
    let Some(module) = module else { return true };
    if seen.who.module_id() == Some(module) {
        return true;
    }
    match &seen.what {
        What::Message { to, .. } => to.iter().any(|endpoint| endpoint.split('/').nth(1) == Some(module)),
        _ => false,
    }
}

fn versioned(patch: &Value, version: u64) -> Value {
    let mut patch = patch.clone();
    if let Some(members) = patch.as_object_mut() {
        members.insert("$version".to_owned(), version.into());
    }
    patch
}

fn properties(message: &Message) -> Value {
    let each = message.properties.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(each.collect())
}

fn body(line: &mut Map<String, Value>, message: &Message) {
    for (name, property) in [
        ("messageId", SystemProperty::MessageId),
        ("contentType", SystemProperty::ContentType),
        ("contentEncoding", SystemProperty::ContentEncoding),
        ("schema", SystemProperty::Schema),
    ] {
        if let Some(value) = message.system.get(property) {
            line.insert(name.to_owned(), value.into());
        }
    }
    line.insert("bodyBase64".to_owned(), STANDARD.encode(&message.body).into());
}
