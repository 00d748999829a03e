//! Direct methods: a call with its limits, and the answer, in the shapes of the service's REST API.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Refused;
use crate::error::excerpt;

/// Longest method name, in characters.
pub const METHOD_NAME_CHARS_MAX: usize = 100;
/// Largest payload of a call or an answer, in bytes of JSON.
pub const METHOD_PAYLOAD_BYTES_MAX: usize = 131_072;
/// How long a call may wait for its answer, in seconds.
pub const RESPONSE_SECONDS: RangeInclusive<u64> = 5..=300;
/// How long a call may wait for its target to be there, in seconds.
pub const CONNECT_SECONDS: RangeInclusive<u64> = 0..=300;
const RESPONSE_SECONDS_DEFAULT: u64 = 30;
const CONNECT_SECONDS_DEFAULT: u64 = 0;

/// A call of a direct method.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodCall {
    /// The method: 1 to 100 characters that need no quoting.
    pub name: String,
    /// Any JSON; null for none.
    pub payload: Value,
    /// How long to wait for the answer.
    pub response_timeout: Duration,
    /// How long to wait for the target to be there.
    pub connect_timeout: Duration,
}

impl MethodCall {
    /// A call that waits 30 s for its answer and not at all for its target.
    pub fn new(name: &str, payload: Value) -> Result<Self, Refused> {
        check_name(name)?;
        wire_payload(&payload)?;
        Ok(Self {
            name: name.to_owned(),
            payload,
            response_timeout: Duration::from_secs(RESPONSE_SECONDS_DEFAULT),
            connect_timeout: Duration::from_secs(CONNECT_SECONDS_DEFAULT),
        })
    }

    /// Reads the body of `POST /twins/{device}/methods`. Fields it does not know are passed over.
    pub fn from_json(body: &[u8]) -> Result<Self, Refused> {
        let mut body = object(body)?;
        let name = match body.get("methodName") {
            Some(Value::String(name)) => name.clone(),
            Some(_) => return Err(Refused::new("methodName", "is not a text")),
            None => return Err(Refused::new("methodName", "is missing; it says which method to call")),
        };
        let payload = body.shift_remove("payload").unwrap_or_default();
        Ok(Self {
            response_timeout: seconds(
                &body,
                "responseTimeoutInSeconds",
                RESPONSE_SECONDS,
                RESPONSE_SECONDS_DEFAULT,
            )?,
            connect_timeout: seconds(
                &body,
                "connectTimeoutInSeconds",
                CONNECT_SECONDS,
                CONNECT_SECONDS_DEFAULT,
            )?,
            ..Self::new(&name, payload)?
        })
    }

    /// Writes that body.
    pub fn to_json(&self) -> Value {
        json!({
            "methodName": self.name,
            "payload": self.payload,
            "responseTimeoutInSeconds": self.response_timeout.as_secs(),
            "connectTimeoutInSeconds": self.connect_timeout.as_secs(),
        })
    }

    /// The payload as it goes to the target.
    pub fn wire_payload(&self) -> Vec<u8> {
        self.payload.to_string().into_bytes()
    }
}

/// The answer to a direct method.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodResult {
    /// The method's own number; by custom 200 is good and from 400 on it is not.
    pub status: i32,
    /// Any JSON; null for none.
    pub payload: Value,
}

impl MethodResult {
    /// From what the target sent: no bytes at all, or nothing but blanks, mean null.
    pub fn from_wire(status: i32, payload: &[u8]) -> Result<Self, Refused> {
        Ok(Self { status, payload: read_payload(payload)? })
    }

    /// Reads the body of the service's answer.
    pub fn from_json(body: &[u8]) -> Result<Self, Refused> {
        let mut body = object(body)?;
        let status = body.get("status").and_then(Value::as_i64).and_then(|status| i32::try_from(status).ok());
        let status = status.ok_or_else(|| Refused::new("status", "is not a whole number of 32 bits"))?;
        Ok(Self { status, payload: body.shift_remove("payload").unwrap_or_default() })
    }

    /// Writes that body.
    pub fn to_json(&self) -> Value {
        json!({ "status": self.status, "payload": self.payload })
    }
}

/// Reads the payload of a call or an answer as it stands on the wire: nothing, or nothing but blanks, is null.
pub fn read_payload(payload: &[u8]) -> Result<Value, Refused> {
    if payload.len() > METHOD_PAYLOAD_BYTES_MAX {
        return Err(too_large(payload.len()));
    }
    if payload.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(payload).map_err(|error| Refused::new("payload", format!("is not JSON: {error}")))
}

/// Writes a payload, if it is not too large.
pub fn wire_payload(payload: &Value) -> Result<Vec<u8>, Refused> {
    let bytes = payload.to_string().into_bytes();
    if bytes.len() > METHOD_PAYLOAD_BYTES_MAX { Err(too_large(bytes.len())) } else { Ok(bytes) }
}

fn too_large(bytes: usize) -> Refused {
    Refused::new("payload", format!("has {bytes} bytes; at most {METHOD_PAYLOAD_BYTES_MAX} fit"))
}

fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.chars().count() > METHOD_NAME_CHARS_MAX {
        let why = format!("has {} characters; right are 1 to {METHOD_NAME_CHARS_MAX}", name.chars().count());
        return Err(Refused::new("methodName", why));
    }
    match name.chars().find(|c| !c.is_ascii_graphic() || "$()<>@,;:\\\"/[]?={}".contains(*c)) {
        None => Ok(()),
        Some(c) => Err(Refused::new(
            "methodName",
            format!(
                "\"{}\" has {c:?} in it; right is visible ASCII without $ ( ) < > @ , ; : \\ \" / [ ] ? = {{ }}",
                excerpt(name)
            ),
        )),
    }
}

type Object = serde_json::Map<String, Value>;

fn object(body: &[u8]) -> Result<Object, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused::new("body", format!("is not a JSON object: {error}")))
}

fn seconds(
    body: &Object,
    field: &'static str,
    right: RangeInclusive<u64>,
    default: u64,
) -> Result<Duration, Refused> {
    let seconds = match body.get(field) {
        None | Some(Value::Null) => return Ok(Duration::from_secs(default)),
        Some(value) => value.as_u64().filter(|seconds| right.contains(seconds)).ok_or_else(|| {
            let why = format!("{value} is no whole number from {} to {}", right.start(), right.end());
            Refused::new(field, why)
        })?,
    };
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: &str) -> Result<MethodCall, Refused> {
        MethodCall::from_json(body.as_bytes())
    }

    #[test]
    fn a_call_as_node_writes_it_is_read() {
        let call = call(
            r#"{"methodName":"reboot","payload":{"a":1},"responseTimeoutInSeconds":20,"connectTimeoutInSeconds":3}"#,
        )
        .unwrap();
        assert_eq!((call.name.as_str(), &call.payload), ("reboot", &json!({"a": 1})));
        assert_eq!((call.response_timeout.as_secs(), call.connect_timeout.as_secs()), (20, 3));
        assert_eq!(MethodCall::from_json(call.to_json().to_string().as_bytes()), Ok(call));
    }

    #[test]
    fn python_leaves_the_timeouts_out_and_sends_an_empty_text() {
        let call = call(r#"{"methodName":"ping","payload":""}"#).unwrap();
        assert_eq!((call.response_timeout.as_secs(), call.connect_timeout.as_secs()), (30, 0));
        assert_eq!((call.payload.clone(), call.wire_payload()), (json!(""), b"\"\"".to_vec()));
    }

    #[test]
    fn no_payload_is_null() {
        assert_eq!(call(r#"{"methodName":"ping"}"#).unwrap().wire_payload(), b"null");
    }

    #[test]
    fn timeouts_are_taken_to_their_ends_and_not_past_them() {
        for (field, seconds, right) in [
            ("responseTimeoutInSeconds", "5", true),
            ("responseTimeoutInSeconds", "300", true),
            ("responseTimeoutInSeconds", "4", false),
            ("responseTimeoutInSeconds", "301", false),
            ("responseTimeoutInSeconds", "\"30\"", false),
            ("connectTimeoutInSeconds", "0", true),
            ("connectTimeoutInSeconds", "300", true),
            ("connectTimeoutInSeconds", "301", false),
            ("connectTimeoutInSeconds", "-1", false),
        ] {
            let read = call(&format!(r#"{{"methodName":"m","{field}":{seconds}}}"#));
            assert_eq!(read.is_ok(), right, "{field} {seconds}");
            if let Err(refused) = read {
                assert_eq!(refused.what(), field);
            }
        }
    }

    #[test]
    fn a_name_is_taken_to_a_hundred_characters_and_without_marks() {
        assert!(MethodCall::new(&"n".repeat(100), Value::Null).is_ok());
        for name in ["", "a b", "a/b", "ü", "$x", "a\tb", &"n".repeat(101)] {
            assert_eq!(MethodCall::new(name, Value::Null).unwrap_err().what(), "methodName", "{name}");
        }
        assert!(call("{}").unwrap_err().to_string().contains("methodName"));
        assert!(call(r#"{"methodName":7}"#).is_err());
        assert!(call("[]").is_err() && call("nonsense").is_err());
    }

    #[test]
    fn a_payload_is_taken_to_its_limit_and_not_past_it() {
        let text = |length: usize| Value::String("x".repeat(length - 2));
        assert!(MethodCall::new("m", text(METHOD_PAYLOAD_BYTES_MAX)).is_ok());
        assert!(MethodCall::new("m", text(METHOD_PAYLOAD_BYTES_MAX + 1)).is_err());
        assert!(MethodResult::from_wire(200, &vec![b' '; METHOD_PAYLOAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn an_answer_may_be_empty_but_not_nonsense() {
        assert_eq!(MethodResult::from_wire(200, b"").unwrap().payload, Value::Null);
        assert_eq!(MethodResult::from_wire(200, b" \n").unwrap().payload, Value::Null);
        let answer = MethodResult::from_wire(200, br#"{"ok": true}"#).unwrap();
        assert_eq!(answer.to_json(), json!({"status": 200, "payload": {"ok": true}}));
        assert_eq!(MethodResult::from_json(answer.to_json().to_string().as_bytes()), Ok(answer));
        assert!(MethodResult::from_wire(200, b"{").unwrap_err().to_string().contains("JSON"));
    }
}
