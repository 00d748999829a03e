//! How a client says it: the words of each dialect. [`mqtt`] and [`amqp`] move them.

pub(crate) mod amqp;
mod broker;
mod hub;
pub(crate) mod mqtt;

use bytes::Bytes;
use isotherm_iothub::Message;
use isotherm_protocol::mqtt::{ConnectOptions, Qos};

pub(crate) use amqp::Entity;
pub(crate) use broker::Broker;
pub(crate) use hub::Hub;

/// What nobody does.
const AMQP_ONLY: &str = "an entity is spoken to by AMQP";

/// With whom we speak, and so in which words.
#[derive(Debug)]
pub(crate) enum Dialect {
    /// IoT Hub, edgeHub, or ours.
    Hub(Hub),
    /// Any MQTT 3.1.1 broker.
    Broker(Broker),
    /// An address of an AMQP 1.0 peer that is no hub.
    Entity(Entity),
}

/// What a publish from the other end is.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Input { name: String, message: Message },
    CloudToDevice { message: Message },
    Method { name: String, rid: String },
    TwinResult { status: u16, rid: String },
    Desired { version: u64 },
}

impl Dialect {
    /// What CONNECT says. A session that is clean has none of the subscriptions of an earlier one.
    pub(crate) fn connect(&self, password: Option<String>, window: usize, clean: bool) -> ConnectOptions {
        match self {
            Self::Hub(hub) => hub.connect(password, window, clean),
            Self::Broker(broker) => broker.connect(window),
            Self::Entity(_) => unreachable!("{AMQP_ONLY}"),
        }
    }

    /// What is subscribed to.
    pub(crate) fn filters(&self) -> Vec<(String, Qos)> {
        match self {
            Self::Hub(hub) => hub.filters(),
            Self::Broker(broker) => broker.filters(),
            Self::Entity(_) => Vec::new(),
        }
    }

    /// The inputs among it, of a module that has a twin.
    pub(crate) fn inputs(&self) -> Option<(String, Qos)> {
        match self {
            Self::Hub(hub) if hub.is_module() => Some(hub.inputs()),
            _ => None,
        }
    }

    /// Where a message is published.
    pub(crate) fn topic(&self, message: &Message) -> String {
        match self {
            Self::Hub(hub) => hub.topic(message),
            Self::Broker(broker) => broker.topic(message),
            Self::Entity(_) => unreachable!("{AMQP_ONLY}"),
        }
    }

    /// What a publish means; the reason if it means nothing.
    pub(crate) fn read(&self, topic: String, payload: Bytes) -> Result<Incoming, String> {
        match self {
            Self::Hub(hub) => hub.read(&topic, payload),
            Self::Broker(_) | Self::Entity(_) => {
                Ok(Incoming::Input { name: topic, message: Message::new(payload) })
            }
        }
    }

    /// Whether there are twins and methods.
    pub(crate) fn is_hub(&self) -> bool {
        matches!(self, Self::Hub(_))
    }

    /// Whether there is anywhere to send to.
    pub(crate) fn has_output(&self) -> bool {
        match self {
            Self::Hub(_) | Self::Entity(_) => true,
            Self::Broker(broker) => broker.output.is_some(),
        }
    }
}
