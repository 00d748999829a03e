//! MQTT topics, read and written side by side.

use std::fmt;
use std::str::FromStr;
use crate::{Identity, Message, Properties, Refused, System};

/// What a client says to the hub, by its topic.
#[derive(Clone, Debug, PartialEq)]
pub enum ToHub {
    /// A message.
    Telemetry {
        /// Whose topic it is; not yet known to be the sender's.
        identity: Identity,
        /// The bag.
        properties: (System, Properties),
    },
    /// The answer to a direct method.
    MethodResponse {
        /// The method's own number.
        status: i32,
        /// Which call.
        rid: String,
    },
    /// Asks for the twin.
    TwinGet {
        /// To be echoed.
        rid: String,
    },
    /// Reports properties.
    TwinPatch {
        /// To be echoed; without one no answer is wanted.
        rid: Option<String>,
    },
    /// A method response that can belong to no call: to be logged and acknowledged, nothing more.
    Ignored(Refused),
}

impl ToHub {
    /// Reads any topic that a client may publish to.
    pub fn parse(_topic: &str) -> Result<Self, Refused> { unimplemented!() }
    /// The same, and a telemetry topic of anybody but `who` is refused. Cheaper than [`ToHub::parse`].
    pub fn parse_from(_topic: &str, _who: &Identity) -> Result<Self, Refused> { unimplemented!() }
}

/// What the hub says to a client, by its topic.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ToClient {
    CloudToDevice { identity: Identity, system: System, properties: Properties },
    Input { identity: Identity, input: String, system: System, properties: Properties },
    Method { name: String, rid: String },
    TwinResult { status: u16, rid: String, version: Option<u64> },
    Desired { version: u64 },
}

impl ToClient {
    /// Reads any topic that the hub publishes to.
    pub fn parse(_topic: &str) -> Result<Self, Refused> { unimplemented!() }
    /// Writes it.
    pub fn to_topic(&self) -> String { unimplemented!() }
}

/// Where `who` publishes a message.
pub fn telemetry_topic(_who: &Identity, _message: &Message) -> String { unimplemented!() }
/// Where the hub delivers to a module's input.
pub fn input_topic(_who: &Identity, _input: &str, _message: &Message) -> String { unimplemented!() }
/// Where the hub delivers cloud-to-device messages.
pub fn devicebound_topic(_who: &Identity, _message: &Message) -> String { unimplemented!() }
/// Where the hub calls a method.
pub fn method_topic(_name: &str, _rid: &str) -> String { unimplemented!() }
/// Where a client answers one.
pub fn method_response_topic(_status: i32, _rid: &str) -> String { unimplemented!() }
/// Where a client asks for its twin.
pub fn twin_get_topic(_rid: &str) -> String { unimplemented!() }
/// Where a client reports.
pub fn reported_topic(_rid: &str) -> String { unimplemented!() }
/// Where the hub answers a twin request.
pub fn twin_result_topic(_status: u16, _rid: &str, _version: Option<u64>) -> String { unimplemented!() }
/// Where the hub sends a desired patch.
pub fn desired_topic(_version: u64) -> String { unimplemented!() }

/// What a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Feed { Methods, Desired, CloudToDevice, TwinResults, Inputs }

/// What a topic filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterMeaning {
    /// One of the feeds.
    Feed(Feed),
    /// Something of another identity.
    Foreign,
    /// Nothing that the hub has.
    Unknown,
}

impl Feed {
    /// What `filter` means when `who` subscribes to it.
    pub fn of_filter(_filter: &str, _who: &Identity) -> FilterMeaning { unimplemented!() }
    /// The filter to subscribe with.
    pub fn filter(self, _who: &Identity) -> String { unimplemented!() }
}

/// The user name of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// The hub's host name.
    pub hub: String,
    /// Who connects.
    pub identity: Identity,
    /// `api-version`, never empty, not looked at.
    pub api_version: String,
    /// `DeviceClientType`.
    pub client_type: Option<String>,
    /// `model-id`.
    pub model_id: Option<String>,
    /// `auth-chain`.
    pub auth_chain: Option<String>,
}

impl FromStr for UserName {
    type Err = Refused;
    fn from_str(_text: &str) -> Result<Self, Refused> { unimplemented!() }
}
impl UserName {
    /// Reads it; the same as `FromStr`.
    pub fn parse(text: &str) -> Result<Self, Refused> { text.parse() }
}
impl fmt::Display for UserName {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result { unimplemented!() }
}
