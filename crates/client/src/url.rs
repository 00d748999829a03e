//! Addresses of brokers: `mqtts://user:key@host:port`, `amqps://user:key@host:port/address`.

use percent_encoding::percent_decode_str;

use crate::wiring::split_port;

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Mqtt,
    Amqp,
}

impl Scheme {
    fn tls(self, scheme: &str) -> Option<bool> {
        match (self, scheme) {
            (Self::Mqtt, "mqtt" | "tcp") | (Self::Amqp, "amqp") => Some(false),
            (Self::Mqtt, "mqtts" | "ssl") | (Self::Amqp, "amqps") => Some(true),
            _ => None,
        }
    }

    fn port(self, tls: bool) -> u16 {
        match (self, tls) {
            (Self::Mqtt, true) => 8883,
            (Self::Mqtt, false) => 1883,
            (Self::Amqp, true) => 5671,
            (Self::Amqp, false) => 5672,
        }
    }

    fn right(self) -> &'static str {
        match self {
            Self::Mqtt => "right is mqtt://host:1883 or mqtts://user:key@host:8883",
            Self::Amqp => "right is amqp://user:key@host:5672/address or amqps://user:key@host:5671/address",
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    pub(crate) user: String,
    pub(crate) key: Option<String>,
    pub(crate) peer: String,
    pub(crate) port: u16,
    /// What stands behind the first slash.
    pub(crate) path: String,
}

/// Reads an address; user, key and path may be percent-encoded.
pub(crate) fn parse(url: &str, kind: Scheme) -> Result<Url, String> {
    let right = kind.right();
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("has no scheme; {right}"))?;
    let scheme = scheme.to_ascii_lowercase();
    let tls = kind.tls(&scheme).ok_or_else(|| format!("{scheme}:// is not spoken; {right}"))?;
    let (rest, path) = match kind {
        Scheme::Mqtt => (rest.trim_end_matches('/'), ""),
        Scheme::Amqp => rest.split_once('/').unwrap_or((rest, "")),
    };
    let (login, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (user, key) = match login.split_once(':') {
        Some((user, key)) => (user, Some(key)),
        None => (login, None),
    };
    let (peer, port) = split_port(address, kind.port(tls));
    let port_is_odd = peer == address && address.contains(':') && !address.ends_with(']');
    if peer.is_empty() || peer.contains('/') || port_is_odd {
        return Err(format!("names no host and port; {right}"));
    }
    if kind == Scheme::Amqp && path.is_empty() {
        return Err(format!("names no address to send to; {right}"));
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let key = key.map(decode);
    Ok(Url { tls, user: decode(user), key, peer: peer.to_owned(), port, path: decode(path) })
}
