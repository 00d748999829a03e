//! Direct methods.

use std::time::Duration;
use serde_json::Value;
use crate::Refused;

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodCall {
    /// The method.
    pub name: String,
    /// Any JSON.
    pub payload: Value,
    /// How long to wait for the answer: 5 to 300 s.
    pub response_timeout: Duration,
    /// How long to wait for the target to be there: 0 to 300 s.
    pub connect_timeout: Duration,
}

impl MethodCall {
    /// A call with the default timeouts: 30 s for the answer, no waiting for the target.
    pub fn new(_name: &str, _payload: Value) -> Result<Self, Refused> { unimplemented!() }
    /// From the body of the REST call.
    pub fn from_json(_body: &[u8]) -> Result<Self, Refused> { unimplemented!() }
    /// The body of the REST call.
    pub fn to_json(&self) -> Value { unimplemented!() }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodResult {
    /// The method's own number.
    pub status: i32,
    /// Any JSON.
    pub payload: Value,
}

impl MethodResult {
    /// From the bytes that came over a protocol: empty means null.
    pub fn from_wire(_status: i32, _payload: &[u8]) -> Result<Self, Refused> { unimplemented!() }
    /// From the body of the REST answer.
    pub fn from_json(_body: &[u8]) -> Result<Self, Refused> { unimplemented!() }
    /// The body of the REST answer.
    pub fn to_json(&self) -> Value { unimplemented!() }
}
