//! One identity's connection to a hub, a module's or a device's.
#![allow(unused)]

use std::{path::PathBuf, time::Duration};

use isotherm_host::Host;
use isotherm_iothub::{Identity, Key, Message, MethodCall, MethodResult};
use serde_json::Value;

/// One identity's connection to a hub.
#[derive(Debug)]
pub struct Client;

/// What can be said about a connection in place of the environment.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who connects.
    pub identity: Identity,
    /// The hub's name, with a port or without: `contoso.azure-devices.net`, `localhost:18883`.
    pub host_name: String,
    /// The edge device in between, with a port or without.
    pub gateway: Option<String>,
    /// What proves it.
    pub credentials: Credentials,
    /// Whom to trust, PEM; `None`: the system's roots.
    pub roots: Option<String>,
    /// How bytes travel.
    pub transport: Transport,
    /// Where the outbox and the last twin are kept.
    pub state_dir: PathBuf,
    /// How many bytes the outbox may hold.
    pub outbox_bytes_max: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// The port of the hub's REST API.
    pub https_port: u16,
}

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// MQTT over TLS, port 8883.
    #[default]
    Mqtt,
    /// MQTT over WebSocket over TLS, port 443.
    MqttWebSocket,
}

/// What happens when the outbox is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The oldest messages give way; they are counted and logged.
    #[default]
    DropOldest,
    /// `send` answers [`SendError::Full`].
    Refuse,
}

/// What proves an identity.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A shared access key.
    Key(Key),
    /// A token made by someone else; it cannot be renewed.
    Token(String),
    /// A client certificate, PEM.
    Certificate {
        /// The chain, leaf first.
        chain: String,
        /// Its private key.
        key: String,
    },
}

/// What comes from the hub.
#[derive(Debug)]
pub enum Event {
    /// The whole desired section, with `$version`; at start the last known one, before the hub is reached.
    Desired(Value),
    /// A message on an input.
    Input {
        /// The input's name.
        name: String,
        /// What it says.
        message: Message,
        /// To be given to [`Client::accept`].
        delivery: Delivery,
    },
    /// A message from the cloud.
    CloudToDevice {
        /// What it says.
        message: Message,
        /// To be given to [`Client::accept`].
        delivery: Delivery,
    },
    /// A direct method.
    Method(Call),
    /// The hub accepted the connection.
    Connected,
    /// The connection is gone; another is on its way.
    Disconnected {
        /// In words.
        reason: String,
    },
    /// The process is to end.
    Stop,
}

/// A direct method that waits for its answer.
#[derive(Debug)]
pub struct Call {
    /// The method's name.
    pub name: String,
    /// What the caller gave, `null` if nothing.
    pub payload: Value,
    /// The request id.
    pub rid: String,
}

/// The claim on one delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery(u64);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A variable is missing or makes no sense.
    #[error(transparent)]
    Wiring(#[from] isotherm_host::WiringError),
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The outbox is full and told to refuse.
    #[error("the outbox is full")]
    Full,
}

/// Why a method brought no result.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The hub could not be reached.
    #[error("the hub could not be reached: {0}")]
    Unreachable(String),
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages taken into the outbox.
    pub sent: u64,
    /// Messages the hub has acknowledged.
    pub delivered: u64,
    /// Messages that gave way in a full outbox.
    pub dropped: u64,
    /// Connections after the first.
    pub reconnects: u64,
}

impl Client {
    /// Reads the environment and begins to dial; does not wait for the hub.
    pub async fn connect(host: &Host) -> Result<Self, ConnectError> {
        unimplemented!()
    }
    /// Begins to dial with these options.
    pub async fn with(host: &Host, options: Options) -> Result<Self, ConnectError> {
        unimplemented!()
    }
    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> Event {
        unimplemented!()
    }
    /// Takes a message into the outbox and returns once it is on disk; `""` is plain telemetry.
    pub async fn send(&mut self, output: &str, message: Message, bookmark: Option<&[u8]>) -> Result<(), SendError> {
        unimplemented!()
    }
    /// Like `send`, many messages with one sync.
    pub async fn send_all(
        &mut self,
        output: &str,
        messages: Vec<Message>,
        bookmark: Option<&[u8]>,
    ) -> Result<(), SendError> {
        unimplemented!()
    }
    /// Takes a message into the outbox without waiting for the disk. What is accepted after it is
    /// acknowledged to the hub only once the message is on disk: the quick way for a module that forwards.
    pub fn post(&mut self, output: &str, message: &Message) -> Result<(), SendError> {
        unimplemented!()
    }
    /// The last bookmark that was kept.
    pub fn bookmark(&self) -> Option<Vec<u8>> {
        unimplemented!()
    }
    /// Acknowledges an input or a message from the cloud, after all that was posted before is on disk.
    pub fn accept(&mut self, delivery: Delivery) {
        unimplemented!()
    }
    /// Merges into what is to be reported; sent again until the hub has it.
    pub fn report(&mut self, patch: Value) {
        unimplemented!()
    }
    /// Answers a direct method.
    pub fn respond(&mut self, call: Call, status: i32, payload: Value) {
        unimplemented!()
    }
    /// The last known twin: `{"desired":{..},"reported":{..}}`.
    pub fn twin(&self) -> Option<Value> {
        unimplemented!()
    }
    /// Calls a method of another module or device, by way of the gateway.
    pub async fn invoke(&self, target: &Identity, call: MethodCall) -> Result<MethodResult, InvokeError> {
        unimplemented!()
    }
    /// Messages in the outbox.
    pub fn held(&self) -> u64 {
        unimplemented!()
    }
    /// What was done so far.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }
    /// Waits until the outbox is empty, no longer than `limit`.
    pub async fn flush(&mut self, limit: Duration) -> bool {
        unimplemented!()
    }
}
