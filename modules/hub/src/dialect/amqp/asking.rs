//! Direct methods: a call goes out under a uuid, its answer comes back under the same.

use std::sync::Arc;

use isotherm_iothub::{Identity, MethodResult};
use isotherm_protocol::amqp::{DeliveryState, Error, Map, Message, Properties, Text, Value};

use super::Connection;
use super::address::Node;
use super::convert;
use super::hearing::Came;
use super::links::Going;
use crate::store::Ticket;

const NAME: Text = Text::from_static("IoThub-methodname");
const STATUS: &str = "IoThub-status";

impl Connection {
    /// A call, for the newest link that takes calls.
    pub(super) fn call(&mut self, who: &Identity, rid: &str, name: &str, payload: &serde_json::Value) {
        let node = Node::Methods(who.clone());
        let Some(link) = self.links.values_mut().rfind(|link| link.outgoing && link.node == node) else {
            return;
        };
        let properties = Properties { correlation_id: Value::Uuid(uuid_of(rid)), ..Properties::default() };
        let mut message = Message::data(payload.to_string());
        message.properties = Box::new(properties);
        message.application_properties = Map::new().with_string(NAME, name);
        link.waiting.push_back(Going { message: Box::new(message), delivery: None });
    }

    pub(super) fn hear_method_answer(&mut self, who: &Identity, came: &Came) {
        let rid = rid_of(&came.message.properties.correlation_id);
        let status = came.message.application_properties.get(STATUS).and_then(Value::as_i64);
        let status = status.and_then(|status| i32::try_from(status).ok());
        let (Some(rid), Some(status), Some(seat)) = (rid, status, self.seats.get(who)) else {
            let error = Error::new(
                "com.microsoft:argument-error",
                "an answer has the call's correlation-id, and its status as IoThub-status (an int)",
            );
            return self.owe(came, Ticket::DURABLE, DeliveryState::Rejected(Some(Arc::new(error))));
        };
        let bytes = came.message.body.bytes().unwrap_or_default();
        let result = MethodResult::from_wire(status, &bytes).unwrap_or_else(|_| {
            // The caller is told what came rather than left to wait for a time-out.
            self.shared.counters.count("amqp_method_answer_no_json");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            MethodResult { status, payload: serde_json::Value::String(text) }
        });
        let now = self.shared.now();
        self.shared.core().method_response(seat.session, &rid, result.status, result.payload, now);
        self.owe(came, Ticket::DURABLE, DeliveryState::Accepted);
    }
}

/// A call's number as a uuid: clients in C want no other correlation id.
fn uuid_of(rid: &str) -> [u8; 16] {
    let number = u64::from_str_radix(rid, 16).unwrap_or_default().to_be_bytes();
    let mut bytes = *b"isothe\x40\x00\x80\x00\x00\x00\x00\x00\x00\x00"; // version 4 and its variant, as far as anybody looks
    bytes[7] = number[1];
    bytes[9] = number[0];
    bytes[10..].copy_from_slice(&number[2..]);
    bytes
}

/// And back.
fn rid_of(value: &Value) -> Option<String> {
    let bytes = match value {
        Value::Uuid(bytes) => *bytes,
        other => parse(other.as_text()?)?,
    };
    let mut number = [0; 8];
    number[0] = bytes[9];
    number[1] = bytes[7];
    number[2..].copy_from_slice(&bytes[10..]);
    let rid = format!("{:x}", u64::from_be_bytes(number));
    (uuid_of(&rid) == bytes).then_some(rid)
}

/// Clients may give it back as text.
fn parse(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let digits = std::str::from_utf8(&digits).ok().filter(|it| it.len() == 32 && it.is_ascii())?;
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).ok()?;
    }
    (convert::uuid(bytes) == text.to_ascii_lowercase()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_again_by_its_uuid_and_by_nothing_else() {
        for rid in ["1", "ff", "123456789abcdef0"] {
            let uuid = uuid_of(rid);
            assert_eq!(rid_of(&Value::Uuid(uuid)).as_deref(), Some(rid));
            assert_eq!(rid_of(&Value::string(convert::uuid(uuid))).as_deref(), Some(rid));
        }
        assert_eq!(rid_of(&Value::Uuid([7; 16])), None);
        assert_eq!(rid_of(&Value::string("reboot")), None);
        assert_eq!(rid_of(&Value::Null), None);
    }
}
