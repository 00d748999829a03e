//! A plain broker's words: one topic in, one out, and bodies only. There are no properties, twins and methods.

use isotherm_iothub::{Message, SystemProperty};
use isotherm_protocol::mqtt::{ConnectOptions, Qos};

use super::mqtt;

/// A broker, and what is wanted of it.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) client_id: String,
    /// Empty if the broker wants none.
    pub(crate) user: String,
    pub(crate) key: Option<String>,
    pub(crate) input: Option<String>,
    /// Empty: each message says its own, as its output.
    pub(crate) output: Option<String>,
}

impl Broker {
    /// The session is kept by the broker, so that nothing on the input is missed while we are away.
    pub(crate) fn connect(&self, window: usize) -> ConnectOptions {
        ConnectOptions {
            client_id: self.client_id.clone(),
            user_name: self.user.clone(),
            password: self.key.clone(),
            clean: false,
            window: window + mqtt::BESIDES,
            ..ConnectOptions::default()
        }
    }

    pub(crate) fn filters(&self) -> Vec<(String, Qos)> {
        self.input.iter().map(|topic| (topic.clone(), Qos::AtLeastOnce)).collect()
    }

    pub(crate) fn topic(&self, message: &Message) -> String {
        let own = || self.output.clone().unwrap_or_default();
        match &self.output {
            Some(topic) if topic.is_empty() => {
                message.system.get(SystemProperty::OutputName).map_or_else(own, str::to_owned)
            }
            _ => own(),
        }
    }
}
