//! Where upstream is, and in which words it is spoken to.

use std::path::PathBuf;
use std::str::FromStr;

use isotherm_client::{Credentials, Options, Sink, Transport, Trunk};
use isotherm_host::{Disk, Env, WiringError};
use isotherm_iothub::{ConnectionString, Identity, Key};

use super::shape::{Body, Template};

/// The variables that say where upstream is.
const CONNECTION: &str = "UpstreamConnectionString";
const PROTOCOL: &str = "UpstreamProtocol";
const CA_FILE: &str = "UpstreamCACertificateFile";
const TOPIC: &str = "UpstreamTopic";
const BODY: &str = "UpstreamBody";
const BATCH: &str = "UpstreamBatch";
/// Where messages go on a broker, unless `UpstreamTopic` says otherwise.
const DEFAULT_TOPIC: &str = "isotherm/{device}/{module}/{output}";

/// Where what reaches `$upstream` goes on to.
#[derive(Clone)]
pub struct Upstream {
    /// A connection string of a device (`HostName=…;DeviceId=…;SharedAccessKey=…`: everything goes as that device) or
    /// of a policy that may connect devices (`HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`: everybody goes as
    /// himself); one of an event hub or of Service Bus (`Endpoint=sb://…;EntityPath=…`); or the address of a broker,
    /// `mqtts://user:key@host:8883`, `amqps://user:key@host:5671/address`.
    pub connection: String,
    /// By which protocol; a broker's address says it itself.
    pub protocol: UpstreamProtocol,
    /// Whom to trust, a PEM file; without it the system's roots.
    pub ca: Option<PathBuf>,
    /// The topic on a broker, with `{device}`, `{module}`, `{output}` and `{sensor}` to be filled in.
    pub topic: String,
    /// What a body is: `protobuf` as it came, `json`, or a text with `{reading}`, `{timestamp}`, `{sensor}`,
    /// `{sequence}`, `{device}`, `{module}` and `{output}` to be filled in as JSON.
    pub body: String,
    /// Readings that wait together go together, as one `TemperatureReadingUpload`.
    pub batch: bool,
}

impl std::fmt::Debug for Upstream {
    /// Without the connection, which holds a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TheWay").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// How the cloud is spoken to, in edgeHub's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// MQTT over TLS.
    Mqtt,
    /// AMQP over TLS: one connection carries everybody.
    #[default]
    Amqp,
    /// MQTT over WebSocket.
    MqttWs,
    /// AMQP over WebSocket.
    AmqpWs,
}

impl FromStr for UpstreamProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "mqtt" => Ok(Self::Mqtt),
            "amqp" => Ok(Self::Amqp),
            "mqttws" => Ok(Self::MqttWs),
            "amqpws" => Ok(Self::AmqpWs),
            _ => Err(format!("{text:?} is not known; right are Mqtt, Amqp, MqttWs and AmqpWs")),
        }
    }
}

impl UpstreamProtocol {
    fn transport(self) -> Transport {
        match self {
            Self::Mqtt => Transport::Mqtt,
            Self::Amqp => Transport::Amqp,
            Self::MqttWs => Transport::MqttWebSocket,
            Self::AmqpWs => Transport::AmqpWebSocket,
        }
    }
}

impl Upstream {
    /// What the environment says; nothing if there is no upstream.
    ///
    /// # Errors
    /// When a variable makes no sense, by its name.
    pub fn from_env(env: &Env) -> Result<Option<Self>, WiringError> {
        let Some(connection) = env.get(CONNECTION) else { return Ok(None) };
        let protocol = env.get(PROTOCOL).map_or(Ok(UpstreamProtocol::default()), str::parse);
        let upstream = Self {
            protocol: protocol.map_err(|why| WiringError::new(PROTOCOL, why))?,
            ca: env.get(CA_FILE).map(PathBuf::from),
            topic: env.get(TOPIC).unwrap_or(DEFAULT_TOPIC).to_owned(),
            body: env.get(BODY).unwrap_or("protobuf").to_owned(),
            batch: match env.get(BATCH) {
                None | Some("none") => false,
                Some("upload") => true,
                Some(other) => {
                    let why = format!("{other:?} is neither none nor upload");
                    return Err(WiringError::new(BATCH, why));
                }
            },
            ..Self::to(connection)
        };
        Destination::read(&upstream)?;
        upstream.template()?;
        Ok(Some(upstream))
    }

    /// To there, all else as by default.
    pub fn to(connection: &str) -> Self {
        Self {
            connection: connection.to_owned(),
            protocol: UpstreamProtocol::default(),
            ca: None,
            topic: DEFAULT_TOPIC.to_owned(),
            body: "protobuf".to_owned(),
            batch: false,
        }
    }

    fn template(&self) -> Result<Template, WiringError> {
        let body = Body::read(&self.body).map_err(|why| WiringError::new(BODY, why))?;
        let topic = &self.topic;
        if topic.is_empty() || topic.contains(['+', '#', '\0']) || topic.len() > 1_024 {
            let why = format!("{topic:?} is no topic to publish to: at most 1024 bytes, without + and #");
            return Err(WiringError::new(TOPIC, why));
        }
        Ok(Template { topic: topic.clone(), body })
    }
}

/// What a connection string or an address stands for.
enum Destination {
    Hub { connection: Box<ConnectionString>, port: Option<u16> },
    Sink(Sink),
}

impl Destination {
    fn read(upstream: &Upstream) -> Result<Self, WiringError> {
        let text = upstream.connection.as_str();
        let wrong = |why: String| WiringError::new(CONNECTION, why);
        if let Some((scheme, _)) = text.split_once("://").filter(|(scheme, _)| !scheme.contains('=')) {
            return match scheme.to_ascii_lowercase().as_str() {
                "mqtt" | "mqtts" | "tcp" | "ssl" => {
                    Self::checked(Sink::Broker { url: text.to_owned(), client_id: String::new() })
                }
                "amqp" | "amqps" => Self::checked(Sink::Address { url: text.to_owned() }),
                other => Err(wrong(format!("{other}:// is not spoken; mqtt, mqtts, amqp and amqps are"))),
            };
        }
        if text.split(';').any(|field| field.trim().to_ascii_lowercase().starts_with("endpoint=")) {
            return Self::checked(Sink::Entity { connection_string: text.to_owned() });
        }
        let mut connection: ConnectionString = text.parse().map_err(|why| wrong(format!("{why}")))?;
        if connection.key.is_none() && connection.signature.is_none() {
            return Err(wrong("says no SharedAccessKey, and nothing else is understood here".to_owned()));
        }
        if connection.identity.is_none() && connection.key_name.is_none() {
            return Err(wrong("says neither DeviceId nor SharedAccessKeyName".to_owned()));
        }
        let dialled = connection.gateway_host_name.as_mut();
        let name = dialled.unwrap_or(&mut connection.host_name);
        let port = match name.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => {
                    *name = host.to_owned();
                    Some(port)
                }
                Err(_) => None,
            },
            None => None,
        };
        Ok(Self::Hub { connection: Box::new(connection), port })
    }

    fn checked(sink: Sink) -> Result<Self, WiringError> {
        sink.check().map_err(|why| WiringError::new(CONNECTION, why))?;
        Ok(Self::Sink(sink))
    }
}

/// The other side, ready to be spoken to.
pub(super) struct Peer {
    place: Destination,
    roots: Option<String>,
    transport: Transport,
    trunk: Trunk,
    pub(super) batch: bool,
    pub(super) template: Template,
}

/// Who goes upstream as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// Everybody as himself.
    Themselves,
    /// Everybody as one device.
    OneDevice,
    /// As nobody: there are no identities there.
    Nobody,
}

impl Peer {
    pub(super) fn of(upstream: &Upstream, disk: &dyn Disk) -> Result<Self, WiringError> {
        let roots = match &upstream.ca {
            None => None,
            Some(path) => {
                let wrong = |why: String| WiringError::new(CA_FILE, format!("{}: {why}", path.display()));
                let bytes = disk.read(path).map_err(|error| wrong(error.to_string()))?;
                Some(String::from_utf8(bytes).map_err(|_| wrong("is no PEM text".to_owned()))?)
            }
        };
        let place = Destination::read(upstream)?;
        let transport = match &place {
            Destination::Sink(Sink::Broker { .. }) => Transport::Mqtt,
            Destination::Sink(_) if upstream.protocol == UpstreamProtocol::AmqpWs => Transport::AmqpWebSocket,
            Destination::Sink(_) => Transport::Amqp,
            Destination::Hub { .. } => upstream.protocol.transport(),
        };
        let template = upstream.template()?;
        Ok(Self { place, roots, transport, trunk: Trunk::new(), batch: upstream.batch, template })
    }

    pub(super) fn identities(&self) -> As {
        match &self.place {
            Destination::Hub { connection, .. } if connection.identity.is_none() => As::Themselves,
            Destination::Hub { .. } => As::OneDevice,
            Destination::Sink(_) => As::Nobody,
        }
    }

    /// Whether each message says where it goes on a broker.
    pub(super) fn has_topics(&self) -> bool {
        matches!(self.place, Destination::Sink(Sink::Broker { .. }))
    }

    /// The one device that everybody goes as.
    pub(super) fn device(&self) -> Option<&Identity> {
        match &self.place {
            Destination::Hub { connection, .. } => connection.identity.as_ref(),
            Destination::Sink(_) => None,
        }
    }

    /// What a client for `who` is to be given; the sink in place of a hub.
    pub(super) fn options(&self, who: &Identity, client_id: &str) -> (Option<Sink>, Options) {
        let nothing = || Options::new(who.clone(), "upstream", Credentials::Key(Key::from_bytes(&[])));
        let (sink, mut options) = match &self.place {
            Destination::Sink(Sink::Broker { url, .. }) => {
                let sink = Sink::Broker { url: url.clone(), client_id: client_id.to_owned() };
                (Some(sink), nothing())
            }
            Destination::Sink(sink) => (Some(sink.clone()), nothing()),
            Destination::Hub { connection, port } => {
                let credentials = match (&connection.key, &connection.key_name, &connection.signature) {
                    (Some(key), Some(name), _) => {
                        Credentials::Policy { name: name.clone(), key: key.clone() }
                    }
                    (Some(key), None, _) => Credentials::Key(key.clone()),
                    (None, _, token) => Credentials::Token(token.clone().unwrap_or_default()),
                };
                let mut options = Options::new(who.clone(), &connection.host_name, credentials);
                options.gateway = connection.gateway_host_name.clone();
                if let Some(port) = *port {
                    let dialled = options.gateway.clone().unwrap_or_else(|| connection.host_name.clone());
                    options.gateway = Some(format!("{dialled}:{port}"));
                    options.amqps_port = port;
                    options.https_port = port;
                }
                options.trunk = Some(self.trunk.clone());
                (None, options)
            }
        };
        options.roots = self.roots.clone();
        options.transport = self.transport;
        (sink, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn peer(connection: &str) -> Peer {
        Peer::of(&Upstream::to(connection), &isotherm_host::MemoryDisk::new()).unwrap()
    }

    #[test]
    fn a_connection_says_who_goes_as_whom() {
        let device = peer(&format!("HostName=cloud;DeviceId=edge;SharedAccessKey={KEY}"));
        assert_eq!(device.identities(), As::OneDevice);
        let policy = peer(&format!("HostName=cloud:1234;SharedAccessKeyName=device;SharedAccessKey={KEY}"));
        assert_eq!(policy.identities(), As::Themselves);
        let (_, options) = policy.options(&Identity::device("d").unwrap(), "");
        assert_eq!((options.host_name.as_str(), options.gateway.as_deref()), ("cloud", Some("cloud:1234")));
        for sink in [
            "mqtt://broker",
            "amqps://u:k@host/queue",
            "Endpoint=sb://n/;SharedAccessKeyName=s;SharedAccessKey=k;EntityPath=e",
        ] {
            assert_eq!(peer(sink).identities(), As::Nobody, "{sink}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named_with_what_would_be_right() {
        let connection = format!("HostName=cloud;DeviceId=edge;SharedAccessKey={KEY}");
        for (name, value, words) in [
            (PROTOCOL, "pigeon", "AmqpWs"),
            (BATCH, "some", "upload"),
            (TOPIC, "a/#", "without + and #"),
            (BODY, "{\"temp\": {nothing}}", "{reading}"),
            (CONNECTION, "http://cloud", "mqtts"),
            (CONNECTION, "HostName=cloud;DeviceId=d", "SharedAccessKey"),
            (CONNECTION, "Endpoint=sb://n/;SharedAccessKeyName=s;SharedAccessKey=k", "EntityPath"),
            (CONNECTION, "amqps://host", "address"),
        ] {
            let variables = [(CONNECTION, connection.as_str()), (name, value)];
            let why = Upstream::from_env(&Env::of(variables)).unwrap_err().to_string();
            assert!(why.contains(name) && why.contains(words), "{why}");
        }
        assert!(Upstream::from_env(&Env::default()).unwrap().is_none());
    }
}
