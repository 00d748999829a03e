//! A message: its body, what the hub knows about it, and what its sender wrote on it.

use bytes::Bytes;

use crate::Refused;

/// Largest device-to-cloud message, in bytes, counted as [`Message::size`] counts. A larger one is refused.
pub const MESSAGE_BYTES_MAX: usize = 262_144;
/// Largest cloud-to-device message, in bytes, counted the same way.
pub const C2D_BYTES_MAX: usize = 65_536;
/// Cloud-to-device messages that may wait for one device; the next is refused with 403004.
pub const C2D_QUEUE_MAX: usize = 50;

/// A message as it passes through clients, hub and journals. Cloning shares all of it.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Message {
    /// The payload, untouched.
    pub body: Bytes,
    /// The properties that the protocol itself knows.
    pub system: System,
    /// The properties that applications put on it.
    pub properties: Properties,
}

impl Message {
    /// A message with a body and nothing written on it.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
    /// The same with an application property more.
    pub fn with_property(self, _name: &str, _value: &str) -> Self {
        unimplemented!()
    }
    /// The same with a system property more.
    pub fn with_system(self, _property: SystemProperty, _value: &str) -> Self {
        unimplemented!()
    }
    /// What the quota counts.
    pub fn size(&self) -> usize {
        unimplemented!()
    }
    /// Appends the compact private form.
    pub fn encode(&self, _into: &mut Vec<u8>) {
        unimplemented!()
    }
    /// Reads it back.
    pub fn decode(_bytes: Bytes) -> Result<Self, Refused> {
        unimplemented!()
    }
}

/// A property that the protocol itself knows.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SystemProperty {
    MessageId,
    CorrelationId,
    UserId,
    To,
    ContentType,
    ContentEncoding,
    Expiry,
    OutputName,
    ConnectionDeviceId,
    ConnectionModuleId,
    InterfaceId,
    Component,
    Schema,
    CreationTime,
    Ack,
    Operation,
    DiagnosticId,
    CorrelationContext,
    EnqueuedTime,
    InputName,
    ConnectionAuthMethod,
    ConnectionGenerationId,
    MessageType,
    EdgeMessageId,
    OriginInterface,
    LockToken,
    DeliveryCount,
    SequenceNumber,
    ReportedSenderDeviceId,
    ReportedSenderModuleId,
}

impl SystemProperty {
    /// `$.mid` and so on: the name on an MQTT topic; `None` for what never travels there.
    pub const fn wire_name(self) -> Option<&'static str> {
        unimplemented!()
    }
    /// `messageId` and so on: the name in routes.
    pub const fn route_name(self) -> &'static str {
        unimplemented!()
    }
    /// The property that a route's `$name` means, letter case aside.
    pub fn from_route_name(_name: &str) -> Option<Self> {
        unimplemented!()
    }
}

/// The system properties that a message has.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct System;

impl System {
    /// The value, if it is set.
    pub fn get(&self, _property: SystemProperty) -> Option<&str> {
        unimplemented!()
    }
    /// Sets or replaces.
    pub fn set(&mut self, _property: SystemProperty, _value: impl AsRef<str>) {
        unimplemented!()
    }
    /// Removes; says whether it was there.
    pub fn remove(&mut self, _property: SystemProperty) -> bool {
        unimplemented!()
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (SystemProperty, &str)> {
        std::iter::empty()
    }
    /// How many.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }
}

/// The application properties of a message, in the order they were written.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Properties;

impl Properties {
    /// The value under exactly this name; `None` if there is no such property or its value is null.
    pub fn get(&self, _name: &str) -> Option<&str> {
        unimplemented!()
    }
    /// Tells a missing property (`None`) from a null one (`Some(None)`).
    pub fn find(&self, _name: &str) -> Option<Option<&str>> {
        unimplemented!()
    }
    /// Like [`Properties::find`], letter case aside, as routes compare names.
    pub fn find_ignoring_case(&self, _name: &str) -> Option<Option<&str>> {
        unimplemented!()
    }
    /// Sets or replaces.
    pub fn set(&mut self, _name: &str, _value: impl AsRef<str>) {
        unimplemented!()
    }
    /// Sets to null or to a value.
    pub fn put(&mut self, _name: &str, _value: Option<&str>) {
        unimplemented!()
    }
    /// Removes; says whether it was there.
    pub fn remove(&mut self, _name: &str) -> bool {
        unimplemented!()
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        std::iter::empty()
    }
    /// How many.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }
}
