//! Shared access signatures: made, read and checked.

use std::fmt;
use jiff::Timestamp;
use crate::{Identity, Refused};

/// A symmetric key. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key;

impl Key {
    /// From base64, 16 to 64 bytes.
    pub fn from_base64(_text: &str) -> Result<Self, Refused> { unimplemented!() }
    /// From raw bytes.
    pub fn from_bytes(_bytes: &[u8]) -> Self { unimplemented!() }
    /// As base64.
    pub fn to_base64(&self) -> String { unimplemented!() }
    /// base64 of the HMAC-SHA256 of `data`.
    pub fn sign(&self, _data: &[u8]) -> String { unimplemented!() }
    /// The key that a group enrollment gives to one registration.
    pub fn derive(&self, _registration_id: &str) -> Self { unimplemented!() }
}

impl PartialEq for Key { fn eq(&self, _other: &Self) -> bool { unimplemented!() } }
impl Eq for Key {}
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("Key(…)") }
}

/// A shared access signature as it was received.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// `sr` as it was written: what is signed.
    pub resource_raw: String,
    /// `sr` decoded once: what is compared.
    pub resource: String,
    /// base64 of the HMAC.
    pub signature: String,
    /// Unix seconds.
    pub expiry: i64,
    /// `skn`.
    pub policy: Option<String>,
}

impl Token {
    /// Reads `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`.
    pub fn parse(_text: &str) -> Result<Self, Refused> { unimplemented!() }
    /// Whether `key` made it.
    pub fn verify(&self, _key: &Key) -> bool { unimplemented!() }
    /// Whether it is over, five minutes of skew allowed.
    pub fn expired(&self, _now: Timestamp) -> bool { unimplemented!() }
    /// Whether it is exactly for that identity at one of these hosts.
    pub fn is_for(&self, _hosts: &[&str], _who: &Identity) -> bool { unimplemented!() }
    /// The text to sign for a resource that is not yet encoded.
    pub fn string_to_sign(_resource: &str, _expiry: i64) -> String { unimplemented!() }
    /// The token, once somebody has signed.
    pub fn assemble(_resource: &str, _signature_base64: &str, _expiry: i64, _policy: Option<&str>) -> String { unimplemented!() }
    /// Signs and assembles.
    pub fn mint(_key: &Key, _resource: &str, _expiry: i64, _policy: Option<&str>) -> String { unimplemented!() }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("Token") }
}
