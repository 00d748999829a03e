//! Where messages go that are for no hub.

use isotherm_host::WiringError;
use isotherm_iothub::{Identity, Key};

use crate::{
    Credentials, Options,
    connection::{Login, Target},
    dialect::{
        Broker, Dialect, Entity,
        amqp::{Sasl, Trunk},
    },
    url::{self, Scheme, Url},
};

/// Somebody who takes messages and is no hub.
#[derive(Clone)]
pub enum Sink {
    /// Any MQTT 3.1.1 broker: each message goes, with QoS 1, to the topic that its output names.
    Broker {
        /// `mqtts://user:key@host:8883`, or `mqtt://…` without TLS.
        url: String,
        /// The name of our session.
        client_id: String,
    },
    /// An event hub, or a queue or topic of Service Bus:
    /// `Endpoint=sb://…/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=…`.
    Entity {
        /// As the portal shows it.
        connection_string: String,
    },
    /// An address of any AMQP 1.0 peer.
    Address {
        /// `amqps://user:key@host:5671/address`, or `amqp://…` without TLS.
        url: String,
    },
}

impl std::fmt::Debug for Sink {
    /// By kind only: the rest holds keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Broker { .. } => "Broker",
            Self::Entity { .. } => "Entity",
            Self::Address { .. } => "Address",
        })
    }
}

impl Sink {
    /// Whether the address makes sense.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let nobody = Identity::device("sink").expect("a name that is allowed");
        self.read(&Options::new(nobody, "sink", Credentials::Token(String::new()))).map(drop)
    }

    pub(crate) fn target(&self, options: &Options) -> Result<Target, WiringError> {
        self.read(options).map_err(|why| WiringError::new("the address", why))
    }

    fn read(&self, options: &Options) -> Result<Target, String> {
        match self {
            Self::Broker { url, client_id } => {
                let url = url::parse(url, Scheme::Mqtt)?;
                let broker = Broker {
                    client_id: client_id.clone(),
                    user: url.user.clone(),
                    key: url.key.clone(),
                    input: None,
                    output: Some(String::new()),
                };
                Ok(target(Dialect::Broker(broker), &url, options))
            }
            Self::Address { url } => {
                let url = url::parse(url, Scheme::Amqp)?;
                let sasl = match (&url.user, &url.key) {
                    (user, Some(key)) => Sasl::Plain { user: user.clone(), key: key.clone() },
                    (_, None) => Sasl::Anonymous,
                };
                let entity = Entity { address: url.path.clone(), sasl };
                Ok(target(Dialect::Entity(entity), &url, options))
            }
            Self::Entity { connection_string } => {
                let parts = Parts::read(connection_string)?;
                Ok(parts.target(options))
            }
        }
    }
}

fn target(dialect: Dialect, url: &Url, options: &Options) -> Target {
    Target {
        dialect,
        peer: url.peer.clone(),
        port: url.port,
        amqps_port: url.port,
        https_port: options.https_port,
        tls: url.tls,
        roots: options.roots.clone(),
        transport: options.transport,
        trunk: Trunk::private(),
        window: options.in_flight_max(),
        batches: options.batches,
        login: None,
    }
}

/// A connection string of Event Hubs or Service Bus, taken apart.
struct Parts {
    host: String,
    port: u16,
    policy: String,
    key: Key,
    entity: String,
    /// As the emulators want it: without TLS.
    plain: bool,
}

impl Parts {
    fn read(text: &str) -> Result<Self, String> {
        let get = |name: &str| {
            let fields = text.split(';').filter_map(|field| field.split_once('='));
            fields
                .into_iter()
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let required = |name: &str| {
            get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                format!(
                    "says no {name}; right is Endpoint=sb://…/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=…"
                )
            })
        };
        let endpoint = required("Endpoint")?;
        let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).trim_end_matches('/');
        let plain = get("UseDevelopmentEmulator").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let (host, port) = crate::wiring::split_port(host, if plain { 5672 } else { 5671 });
        // These keys are used as they are written: they are no base64 to whoever made them.
        let key = Key::from_bytes(required("SharedAccessKey")?.as_bytes());
        Ok(Self {
            host: host.to_owned(),
            port,
            policy: required("SharedAccessKeyName")?.to_owned(),
            key,
            entity: required("EntityPath")?.to_owned(),
            plain,
        })
    }

    fn target(self, options: &Options) -> Target {
        let resource = format!("sb://{}/{}", self.host, self.entity);
        let entity = Entity { address: self.entity, sasl: Sasl::Anonymous };
        Target {
            dialect: Dialect::Entity(entity),
            peer: self.host,
            port: self.port,
            amqps_port: self.port,
            https_port: options.https_port,
            tls: !self.plain,
            roots: options.roots.clone(),
            transport: options.transport,
            trunk: Trunk::private(),
            window: options.in_flight_max(),
            batches: options.batches,
            login: Some(Login {
                resource,
                credentials: Credentials::Policy { name: self.policy, key: self.key },
                token_life: options.token_life,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_that_lacks_something_is_told_what() {
        let right = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=a+b=;EntityPath=e";
        let parts = Parts::read(right).unwrap();
        assert_eq!((parts.host.as_str(), parts.port), ("ns.servicebus.windows.net", 5671));
        for name in ["Endpoint", "SharedAccessKeyName", "SharedAccessKey", "EntityPath"] {
            let wrong = right.replace(&format!("{name}="), "Other=");
            let why = Parts::read(&wrong).err().expect("something is missing");
            assert!(why.contains(name), "{why}");
        }
    }

    #[test]
    fn what_is_printed_holds_no_key() {
        let sink = Sink::Address { url: "amqp://user:secret@host/queue".to_owned() };
        assert!(!format!("{sink:?}").contains("secret"));
    }
}
