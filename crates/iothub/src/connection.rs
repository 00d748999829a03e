//! Connection strings.

use std::fmt;
use std::str::FromStr;
use crate::{Identity, Key, Refused};

/// Where to connect, as whom, with what.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// The hub.
    pub host_name: String,
    /// The TLS peer, if it is not the hub.
    pub gateway_host_name: Option<String>,
    /// Who connects; a service has none.
    pub identity: Option<Identity>,
    /// The symmetric key.
    pub key: Option<Key>,
    /// The policy that the key belongs to.
    pub key_name: Option<String>,
    /// A token made beforehand.
    pub signature: Option<String>,
    /// Whether a certificate is the credential.
    pub x509: bool,
}

impl FromStr for ConnectionString {
    type Err = Refused;
    fn from_str(_text: &str) -> Result<Self, Refused> { unimplemented!() }
}
impl fmt::Display for ConnectionString {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { unimplemented!() }
}
impl fmt::Debug for ConnectionString {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { unimplemented!() }
}
