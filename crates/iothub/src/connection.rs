//! Connection strings: `HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…;GatewayHostName=…`.

use std::fmt;
use std::str::FromStr;

use crate::error::excerpt;
use crate::{Identity, Key, Refused};

/// Where to connect, as whom, and with what.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// The hub. Tokens are for it, also behind a gateway.
    pub host_name: String,
    /// The peer to dial, if it is not the hub itself.
    pub gateway_host_name: Option<String>,
    /// Who connects; a service has none.
    pub identity: Option<Identity>,
    /// The symmetric key, the identity's or the policy's.
    pub key: Option<Key>,
    /// The policy that the key belongs to.
    pub key_name: Option<String>,
    /// A token made beforehand.
    pub signature: Option<String>,
    /// Whether a client certificate is the credential.
    pub x509: bool,
}

impl ConnectionString {
    /// For a device or module with its own key.
    pub fn of_identity(host_name: &str, identity: Identity, key: Key) -> Self {
        Self { identity: Some(identity), key: Some(key), ..Self::bare(host_name) }
    }

    /// For a service with a policy's key.
    pub fn of_policy(host_name: &str, policy: &str, key: Key) -> Self {
        Self { key_name: Some(policy.to_owned()), key: Some(key), ..Self::bare(host_name) }
    }

    /// The peer to dial: the gateway if there is one, else the hub.
    pub fn peer(&self) -> &str {
        self.gateway_host_name.as_deref().unwrap_or(&self.host_name)
    }

    fn bare(host_name: &str) -> Self {
        Self {
            host_name: host_name.to_owned(),
            gateway_host_name: None,
            identity: None,
            key: None,
            key_name: None,
            signature: None,
            x509: false,
        }
    }
}

fn wrong(why: impl Into<std::borrow::Cow<'static, str>>) -> Refused {
    Refused::new("connection string", why)
}

/// The names that have a place in a connection string, as they are written.
const NAMES: [&str; 8] = [
    "HostName",
    "DeviceId",
    "ModuleId",
    "SharedAccessKey",
    "SharedAccessKeyName",
    "SharedAccessSignature",
    "GatewayHostName",
    "x509",
];

impl FromStr for ConnectionString {
    type Err = Refused;

    /// Names are told apart by letter case, and none may be unknown or stand there twice, as in Python's SDK. An
    /// error never repeats a value, which might be the key.
    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut values: [Option<&str>; NAMES.len()] = [None; NAMES.len()];
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong("has a part without =; right is Name=value;Name=value"))?;
            let at = NAMES.iter().position(|known| *known == name).ok_or_else(|| {
                wrong(format!("has the name \"{}\"; known are {}", excerpt(name), NAMES.join(", ")))
            })?;
            if value.is_empty() {
                return Err(wrong(format!("has a {name} without a value")));
            }
            if values[at].replace(value).is_some() {
                return Err(wrong(format!("has {name} twice")));
            }
        }
        let [host, device, module, key, key_name, signature, gateway, x509] = values;
        let connection = Self {
            host_name: host_name("HostName", host.ok_or_else(|| wrong("has no HostName"))?)?,
            gateway_host_name: gateway.map(|name| host_name("GatewayHostName", name)).transpose()?,
            identity: identity(device, module)?,
            key: key.map(Key::from_base64).transpose().map_err(|refused| {
                Refused::new("connection string: SharedAccessKey", refused.why().to_owned())
            })?,
            key_name: key_name.map(str::to_owned),
            signature: signature.map(str::to_owned),
            x509: certificate(x509)?,
        };
        connection.check().map(|()| connection)
    }
}

fn identity(device: Option<&str>, module: Option<&str>) -> Result<Option<Identity>, Refused> {
    match (device, module) {
        (Some(device), module) => Identity::of(device, module).map(Some),
        (None, Some(_)) => Err(wrong("has a ModuleId without the DeviceId that it belongs to")),
        (None, None) => Ok(None),
    }
}

fn certificate(x509: Option<&str>) -> Result<bool, Refused> {
    match x509 {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(wrong("has an x509 that is neither true nor false")),
    }
}

/// A host name or address, perhaps with a port; anything else would end up in tokens and topics.
fn host_name(field: &'static str, text: &str) -> Result<String, Refused> {
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    match text.chars().find(|c| !right(*c)) {
        None => Ok(text.to_owned()),
        Some(c) => {
            Err(wrong(format!("has {c:?} in its {field}; right is a name such as hub.azure-devices.net")))
        }
    }
}

impl ConnectionString {
    /// Whether who and with what fit together.
    fn check(&self) -> Result<(), Refused> {
        let credentials = [self.key.is_some(), self.signature.is_some(), self.x509];
        match credentials.iter().filter(|there| **there).count() {
            0 => {
                return Err(wrong(
                    "has no credential; add SharedAccessKey=…, SharedAccessSignature=… or x509=true",
                ));
            }
            1 => {}
            _ => {
                return Err(wrong(
                    "has more than one of SharedAccessKey, SharedAccessSignature and x509=true",
                ));
            }
        }
        if self.identity.is_some() {
            return Ok(());
        }
        if self.x509 || (self.key.is_some() && self.key_name.is_none()) {
            return Err(wrong("says neither DeviceId, for a device, nor SharedAccessKeyName, for a service"));
        }
        Ok(())
    }
}

impl fmt::Display for ConnectionString {
    /// The string with its key: for configuration, not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={}", self.host_name)?;
        if let Some(identity) = &self.identity {
            write!(f, ";DeviceId={}", identity.device_id())?;
            if let Some(module) = identity.module_id() {
                write!(f, ";ModuleId={module}")?;
            }
        }
        if let Some(name) = &self.key_name {
            write!(f, ";SharedAccessKeyName={name}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ";SharedAccessKey={}", key.to_base64())?;
        }
        if let Some(signature) = &self.signature {
            write!(f, ";SharedAccessSignature={signature}")?;
        }
        if self.x509 {
            write!(f, ";x509=true")?;
        }
        match &self.gateway_host_name {
            Some(gateway) => write!(f, ";GatewayHostName={gateway}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ConnectionString {
    /// Who and where; the credential only by its kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("host_name", &self.host_name)
            .field("gateway_host_name", &self.gateway_host_name)
            .field("identity", &self.identity)
            .field("key_name", &self.key_name)
            .field("key", &self.key)
            .field("signature", &self.signature.as_ref().map(|_| "…"))
            .field("x509", &self.x509)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn what_is_written_is_read() {
        for text in [
            format!(
                "HostName=h;DeviceId=edge;ModuleId=$edgeHub;SharedAccessKey={KEY};GatewayHostName=edge01.local"
            ),
            format!("HostName=h:8443;DeviceId=edge;SharedAccessKey={KEY}"),
            format!("HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}"),
            "HostName=h;DeviceId=edge;x509=true".to_owned(),
            "HostName=h;DeviceId=edge;SharedAccessSignature=SharedAccessSignature sr=h&sig=a%3D&se=1"
                .to_owned(),
        ] {
            let connection: ConnectionString = text.parse().unwrap();
            assert_eq!(connection.to_string(), text);
            assert_eq!(format!("{text};").parse::<ConnectionString>().unwrap(), connection);
            let spaced = format!(" {} ; ", text.replace(';', " ; ")); // copied from a page, where lines are broken
            assert_eq!(spaced.parse::<ConnectionString>(), Ok(connection));
        }
    }

    #[test]
    fn the_peer_is_the_gateway_if_there_is_one() {
        let text = format!("HostName=h;DeviceId=d;SharedAccessKey={KEY}");
        assert_eq!(text.parse::<ConnectionString>().unwrap().peer(), "h");
        assert_eq!(format!("{text};GatewayHostName=g").parse::<ConnectionString>().unwrap().peer(), "g");
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_what_is_missing() {
        for (text, word) in [
            ("", "HostName"),
            ("HostName", "="),
            ("DeviceId=d;SharedAccessKey=K", "HostName"),
            ("HostName=h;DeviceId=d", "credential"),
            ("HostName=h;SharedAccessKey=K", "DeviceId"),
            ("HostName=h;ModuleId=m;SharedAccessKey=K", "DeviceId"),
            ("HostName=h;DeviceId=d;SharedAccessKey=K;x509=true", "more than one"),
            ("HostName=h;HostName=i;DeviceId=d;SharedAccessKey=K", "twice"),
            ("HostName=h;deviceId=d;SharedAccessKey=K", "deviceId"),
            ("HostName=h;DeviceId=;SharedAccessKey=K", "without a value"),
            ("HostName=h/x;DeviceId=d;SharedAccessKey=K", "'/'"),
            ("HostName=h;DeviceId=a b;SharedAccessKey=K", "device id"),
            ("HostName=h;DeviceId=d;x509=maybe", "x509"),
            ("HostName=h;DeviceId=d;SharedAccessKey=short", "base64"),
        ] {
            let why =
                text.replace("=K", &format!("={KEY}")).parse::<ConnectionString>().unwrap_err().to_string();
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn neither_logs_nor_errors_show_a_key() {
        let text = format!("HostName=h;DeviceId=d;SharedAccessKey={KEY}");
        assert!(!format!("{:?}", text.parse::<ConnectionString>().unwrap()).contains(KEY));
        let why = format!("{text}x").parse::<ConnectionString>().unwrap_err().to_string();
        assert!(!why.contains(KEY), "{why}");
    }
}
