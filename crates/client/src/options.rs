//! What can be said about a connection in place of the environment.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use isotherm_host::tls::ClientIdentity;
use isotherm_iothub::{Identity, Key};

use crate::dialect::amqp::Trunk;

/// The port of MQTT over TLS, unless the host's name carries another.
pub const MQTTS_PORT: u16 = 8883;
/// The port of AMQP over TLS, unless `EdgeHubAmqpsPort` says otherwise.
pub const AMQPS_PORT: u16 = 5671;
/// The port of WebSocket and REST, unless `EdgeHubHttpsPort` says otherwise.
pub const HTTPS_PORT: u16 = 443;
/// How many bytes of messages an outbox holds, unless `OUTBOX_BYTES_MAX` says otherwise.
pub const OUTBOX_BYTES_MAX: u64 = 64 << 20;
/// Messages on their way to the hub at once, unless it is told otherwise.
const WINDOW: usize = 200;
/// No more than this may be asked for: each has a number of its own on the wire.
const WINDOW_MAX: usize = 10_000;
/// How long a token is good for. It is renewed after 80 to 90 % of that.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// Who connects where, with what, and what is kept meanwhile. [`Options::new`] has a default for all the rest.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who connects.
    pub identity: Identity,
    /// The hub's name. Tokens are for it. It may carry a port, `localhost:18883`, which counts when it is dialled.
    pub host_name: String,
    /// The edge device to dial in place of the hub; it may carry a port.
    pub gateway: Option<String>,
    /// What proves who connects.
    pub credentials: Credentials,
    /// Whom to trust, PEM. `None`: what the workload API says, else the system's roots.
    pub roots: Option<String>,
    /// How bytes travel.
    pub transport: Transport,
    /// The port of AMQP over TLS.
    pub amqps_port: u16,
    /// The port of WebSocket and REST.
    pub https_port: u16,
    /// Over AMQP, a connection that others use too. `None`: one of its own.
    pub trunk: Option<Trunk>,
    /// Where the outbox and the last twin are kept; one process at a time.
    pub state_dir: PathBuf,
    /// How many bytes the outbox may hold.
    pub outbox_bytes_max: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// Where the outbox is.
    pub custody: Custody,
    /// Messages on their way to the hub at once, not acknowledged yet: as many may come twice after a cut. More let a
    /// hub that is far away be sent to faster.
    pub window: usize,
    /// Whether messages that wait together go as one delivery, which is several times as fast: over AMQP, and to a hub.
    /// If such a one is refused, its messages are sent again one by one.
    pub batches: bool,
    /// How long a token is good for.
    pub token_life: Duration,
}

impl Options {
    /// With every default; state in `.isotherm/{device}-{module}`.
    pub fn new(identity: Identity, host_name: &str, credentials: Credentials) -> Self {
        Self {
            state_dir: PathBuf::from(isotherm_host::DEFAULT_STATE_FOLDER).join(folder_of(identity.as_str())),
            identity,
            host_name: host_name.to_owned(),
            gateway: None,
            credentials,
            roots: None,
            transport: Transport::default(),
            amqps_port: AMQPS_PORT,
            https_port: HTTPS_PORT,
            trunk: None,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            when_full: WhenFull::default(),
            custody: Custody::default(),
            window: WINDOW,
            batches: false,
            token_life: TOKEN_LIFE,
        }
    }

    pub(crate) fn in_flight_max(&self) -> usize {
        self.window.clamp(1, WINDOW_MAX)
    }
}

/// The name of an identity's folder: `device-module`, and nothing in it that a folder may not have.
pub(crate) fn folder_of(name: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.$".contains(letter);
    let name: String = name.chars().map(|letter| if fits(letter) { letter } else { '-' }).collect();
    if name.starts_with('.') { format!("-{name}") } else { name }
}

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// MQTT over TLS, port 8883.
    #[default]
    Mqtt,
    /// MQTT over WebSocket over TLS, port 443.
    MqttWebSocket,
    /// The first, and the second after a dial that failed, in turn.
    MqttEither,
    /// AMQP over TLS, port 5671.
    Amqp,
    /// AMQP over WebSocket over TLS, port 443.
    AmqpWebSocket,
    /// The first, and the second after a dial that failed, in turn.
    AmqpEither,
}

impl Transport {
    pub(crate) fn is_amqp(self) -> bool {
        matches!(self, Self::Amqp | Self::AmqpWebSocket | Self::AmqpEither)
    }

    /// Whether the first dial goes to the WebSocket.
    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::MqttWebSocket | Self::AmqpWebSocket)
    }

    /// Whether the other way is tried after one that failed.
    pub(crate) fn is_either(self) -> bool {
        matches!(self, Self::MqttEither | Self::AmqpEither)
    }
}

impl FromStr for Transport {
    type Err = String;

    /// As IoT Edge names them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = [
            ("Mqtt_Tcp_Only", Self::Mqtt),
            ("Mqtt_WebSocket_Only", Self::MqttWebSocket),
            ("Mqtt", Self::MqttEither),
            ("Amqp_Tcp_Only", Self::Amqp),
            ("Amqp_WebSocket_Only", Self::AmqpWebSocket),
            ("Amqp", Self::AmqpEither),
        ];
        let found = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, transport)| *transport).ok_or_else(|| {
            let right: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is not known; right are {}", right.join(", "))
        })
    }
}

/// What happens when the outbox is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The oldest messages give way; they are counted and logged.
    #[default]
    DropOldest,
    /// `send` answers [`SendError::Full`](crate::SendError::Full).
    Refuse,
}

/// Who holds a message while it is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Custody {
    /// This process: its outbox is on disk, and `send` returns once it is synced. What is accepted is acknowledged
    /// to the hub as soon as everything sent before is on disk.
    #[default]
    Disk,
    /// Whoever had it before: the outbox is in memory, and what is accepted is acknowledged to the hub only when
    /// everything sent before has been acknowledged by the hub in turn. For modules that only forward: nothing is
    /// lost, the disk is never asked, and a message takes no longer than the network does.
    HandToHand,
}

/// What proves an identity.
#[derive(Clone)]
pub enum Credentials {
    /// A shared access key, with which tokens are signed.
    Key(Key),
    /// A shared access policy's key, which signs for everybody that the policy is good for.
    Policy {
        /// The policy's name.
        name: String,
        /// Its key.
        key: Key,
    },
    /// A token that somebody else made. It cannot be renewed.
    Token(String),
    /// A client certificate and its key.
    Certificate(ClientIdentity),
    /// The workload API of IoT Edge: it has the key, and signs.
    Workload(Workload),
}

impl fmt::Debug for Credentials {
    /// By kind only: the rest is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Policy { .. } => "Policy",
            Self::Token(_) => "Token",
            Self::Certificate(_) => "Certificate",
            Self::Workload(_) => "Workload",
        })
    }
}

/// Where the workload API is, and as whom it knows this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `unix:///var/run/iotedge/workload.sock` or `http://host:port`.
    pub uri: String,
    /// The generation of the module's identity.
    pub generation_id: String,
    /// The API's version, such as `2022-08-03`.
    pub api_version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_one_folder_whatever_its_letters() {
        assert_eq!(folder_of("edge/$edgeHub"), "edge-$edgeHub");
        assert_eq!(folder_of("../etc"), "-..-etc");
        assert_eq!(folder_of("a b#c"), "a-b-c");
    }

    #[test]
    fn what_is_printed_holds_no_key() {
        let key = Key::from_bytes(&[7; 32]);
        let base64 = key.to_base64();
        let options = Options::new(Identity::device("d").unwrap(), "h", Credentials::Key(key));
        assert!(!format!("{options:?}").contains(&base64));
    }
}
