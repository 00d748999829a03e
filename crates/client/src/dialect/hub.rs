//! IoT Hub's words.

use bytes::Bytes;
use isotherm_iothub::{Feed, Identity, Message, ToClient, UserName, telemetry_topic};
use isotherm_protocol::mqtt::{ConnectOptions, Qos};

use super::{Incoming, mqtt};

/// The version of the API that is spoken.
const API_VERSION: &str = "2021-04-12";
/// What we are, in the hub's logs.
const CLIENT_TYPE: &str = concat!("isotherm/", env!("CARGO_PKG_VERSION"));

/// A hub, and who speaks with it.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) identity: Identity,
    /// The hub's name without a port, also behind a gateway.
    pub(crate) name: String,
}

impl Hub {
    pub(crate) fn connect(&self, password: Option<String>, window: usize, clean: bool) -> ConnectOptions {
        let user_name = UserName {
            client_type: Some(CLIENT_TYPE.to_owned()),
            ..UserName::new(&self.name, self.identity.clone(), API_VERSION)
        };
        ConnectOptions {
            client_id: self.identity.as_str().to_owned(),
            user_name: user_name.to_string(),
            password,
            clean,
            window: window + mqtt::BESIDES,
            ..ConnectOptions::default()
        }
    }

    /// All that a hub has for us. QoS 1 where something would be lost; the rest comes with QoS 0 whatever is asked for.
    pub(crate) fn filters(&self) -> Vec<(String, Qos)> {
        let own = if self.is_module() { Feed::Inputs } else { Feed::CloudToDevice };
        [own, Feed::TwinResults, Feed::Desired, Feed::Methods].map(|feed| self.filter(feed)).into()
    }

    pub(crate) fn inputs(&self) -> (String, Qos) {
        self.filter(Feed::Inputs)
    }

    fn filter(&self, feed: Feed) -> (String, Qos) {
        (feed.filter(&self.identity), Qos::AtLeastOnce)
    }

    pub(crate) fn is_module(&self) -> bool {
        self.identity.module_id().is_some()
    }

    pub(crate) fn topic(&self, message: &Message) -> String {
        telemetry_topic(&self.identity, message)
    }

    pub(crate) fn read(&self, topic: &str, body: Bytes) -> Result<Incoming, String> {
        let said = ToClient::parse(topic).map_err(|refused| refused.to_string())?;
        Ok(match said {
            ToClient::Input { input, system, properties, .. } => {
                Incoming::Input { name: input, message: Message { body, system, properties } }
            }
            ToClient::CloudToDevice { system, properties, .. } => {
                Incoming::CloudToDevice { message: Message { body, system, properties } }
            }
            ToClient::Method { name, rid } => Incoming::Method { name, rid },
            ToClient::TwinResult { status, rid, .. } => Incoming::TwinResult { status, rid },
            ToClient::Desired { version } => Incoming::Desired { version },
        })
    }
}
