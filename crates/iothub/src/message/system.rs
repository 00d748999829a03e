//! System properties: those that the protocol itself knows, under the names that each part of it uses.

use std::fmt;

use bytes::Bytes;

use crate::{Identity, packed};

macro_rules! system_properties {
    ($($(#[$doc:meta])* $name:ident = $tag:literal, $route:literal, $wire:expr;)*) => {
        /// A property that the protocol itself knows. The number is its place in journals and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum SystemProperty { $($(#[$doc])* $name = $tag),* }

        impl SystemProperty {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in an MQTT topic, decoded: `$.mid`. `None` for what never travels there.
            pub const fn wire_name(self) -> Option<&'static str> {
                match self { $(Self::$name => $wire),* }
            }

            /// The name in a route's condition, after the `$`: `messageId`.
            pub const fn route_name(self) -> &'static str {
                match self { $(Self::$name => $route),* }
            }

            const fn of_tag(tag: u8) -> Option<Self> {
                match tag { $($tag => Some(Self::$name),)* _ => None }
            }
        }
    };
}

system_properties! {
    /// Chosen by the sender, to tell one message from another.
    MessageId = 1, "messageId", Some("$.mid");
    /// The message that this one answers.
    CorrelationId = 2, "correlationId", Some("$.cid");
    /// Whom the sender acts for.
    UserId = 3, "userId", Some("$.uid");
    /// Where a cloud-to-device message goes.
    To = 4, "to", Some("$.to");
    /// The body's media type.
    ContentType = 5, "contentType", Some("$.ct");
    /// The body's character set.
    ContentEncoding = 6, "contentEncoding", Some("$.ce");
    /// When the message stops being of use.
    Expiry = 7, "absolute-expiry-time", Some("$.exp");
    /// The output that a module sent it to.
    OutputName = 8, "outputName", Some("$.on");
    /// The device that sent it, as the hub authenticated it.
    ConnectionDeviceId = 9, "connectionDeviceId", Some("$.cdid");
    /// The module that sent it, as the hub authenticated it.
    ConnectionModuleId = 10, "connectionModuleId", Some("$.cmid");
    /// The interface of a security message.
    InterfaceId = 11, "iothub-interface-id", Some("$.ifid");
    /// The digital twin's component.
    Component = 12, "dt-subject", Some("$.sub");
    /// What the body is, in the sender's words.
    Schema = 13, "messageSchema", Some("$.schema");
    /// When the sender made it.
    CreationTime = 14, "creationTime", Some("$.ctime");
    /// Which feedback the sender of a cloud-to-device message wants: `none`, `positive`, `negative`, `full`.
    Ack = 15, "ack", Some("iothub-ack");
    /// The operation it belongs to.
    Operation = 16, "operation", Some("iothub-operation");
    /// Distributed tracing: the trace.
    DiagnosticId = 17, "Diagnostic-Id", Some("$.diagid");
    /// Distributed tracing: the context.
    CorrelationContext = 18, "Correlation-Context", Some("$.diagctx");
    /// When the hub took it.
    EnqueuedTime = 19, "enqueuedTime", None;
    /// The input that it is delivered to.
    InputName = 20, "inputName", None;
    /// How its sender was authenticated, as JSON.
    ConnectionAuthMethod = 21, "connectionAuthMethod", None;
    /// Which generation of the sending device.
    ConnectionGenerationId = 22, "connectionDeviceGenerationId", None;
    /// `twinChangeNotification` for a change of reported properties.
    MessageType = 23, "messageType", None;
    /// The edge hub's own id of it.
    EdgeMessageId = 24, "edgeMessageId", None;
    /// `internal` for modules of this device, else `downstream`.
    OriginInterface = 25, "edgeHubOriginInterface", None;
    /// Which delivery this is, for whoever settles it.
    LockToken = 26, "lockToken", None;
    /// How often it was handed out before.
    DeliveryCount = 27, "deliveryCount", None;
    /// Its place in the queue it was read from.
    SequenceNumber = 28, "sequenceNumber", None;
    /// Whose reported properties changed: the device.
    ReportedSenderDeviceId = 29, "rpSenderDeviceId", None;
    /// Whose reported properties changed: the module.
    ReportedSenderModuleId = 30, "rpSenderModuleId", None;
}

impl SystemProperty {
    /// The property that a route's `$name` means, letter case aside. `cid` is another word for the correlation id.
    pub fn from_route_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("cid") {
            return Some(Self::CorrelationId);
        }
        Self::ALL.iter().copied().find(|property| property.route_name().eq_ignore_ascii_case(name))
    }

    /// The property of that name in an MQTT topic, decoded, letter case told apart.
    pub fn from_wire_name(name: &str) -> Option<Self> {
        // Written out, since this is asked for every property of every message: a test holds it against `wire_name`.
        let Some(short) = name.strip_prefix("$.") else {
            return match name {
                "iothub-ack" => Some(Self::Ack),
                "iothub-operation" => Some(Self::Operation),
                _ => None,
            };
        };
        Some(match short {
            "mid" => Self::MessageId,
            "cid" => Self::CorrelationId,
            "uid" => Self::UserId,
            "to" => Self::To,
            "ct" => Self::ContentType,
            "ce" => Self::ContentEncoding,
            "exp" => Self::Expiry,
            "on" => Self::OutputName,
            "cdid" => Self::ConnectionDeviceId,
            "cmid" => Self::ConnectionModuleId,
            "ifid" => Self::InterfaceId,
            "sub" => Self::Component,
            "schema" => Self::Schema,
            "ctime" => Self::CreationTime,
            "diagid" => Self::DiagnosticId,
            "diagctx" => Self::CorrelationContext,
            _ => return None,
        })
    }
}

/// The system properties that a message has: few, so they lie one behind the other and are searched in turn.
#[derive(Clone, Default)]
pub struct System(Bytes);

impl System {
    /// The value, if it is set.
    pub fn get(&self, property: SystemProperty) -> Option<&str> {
        str::from_utf8(self.raw(property)?).ok()
    }

    /// The bytes of its value. Only what is asked for is read as text.
    fn raw(&self, property: SystemProperty) -> Option<&[u8]> {
        entries(&self.0).find(|entry| entry.number == property as u8).map(|entry| entry.value)
    }

    /// Sets or replaces.
    pub fn set(&mut self, property: SystemProperty, value: impl AsRef<str>) {
        self.remove(property);
        let mut packed = Vec::from(std::mem::take(&mut self.0));
        append(&mut packed, property, value.as_ref());
        self.0 = packed.into();
    }

    /// Removes it; says whether it was there.
    pub fn remove(&mut self, property: SystemProperty) -> bool {
        if self.get(property).is_none() {
            return false;
        }
        let mut packed = Vec::with_capacity(self.0.len());
        for (kept, value) in self.iter().filter(|(found, _)| *found != property) {
            append(&mut packed, kept, value);
        }
        self.0 = packed.into();
        true
    }

    /// All of them, in the order they were set.
    pub fn iter(&self) -> impl Iterator<Item = (SystemProperty, &str)> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (property, value, after) = split_first(rest)?;
            rest = after;
            Some((property, value))
        })
    }

    /// Those of `wanted` that are set, in the order of `wanted`.
    pub(crate) fn select<'s>(
        &'s self,
        wanted: &'s [SystemProperty],
    ) -> impl Iterator<Item = (SystemProperty, &'s str)> {
        let set = entries(&self.0).fold(0, |set, entry| set | 1_u64 << entry.number);
        let is_set = move |property: &&SystemProperty| set & bit(**property) != 0;
        wanted.iter().filter(is_set).filter_map(|property| Some((*property, self.get(*property)?)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn packed(&self) -> &[u8] {
        &self.0
    }

    /// Takes a packed list that was made here.
    pub(super) fn trusted(packed: Bytes) -> Self {
        Self(packed)
    }

    /// Bytes of all values.
    pub(super) fn size(&self) -> usize {
        entries(&self.0).map(|entry| entry.value.len()).sum()
    }

    /// Whether it says that `from` sent it.
    pub(super) fn is_stamped(&self, from: &Identity) -> bool {
        self.raw(SystemProperty::ConnectionDeviceId) == Some(from.device_id().as_bytes())
            && self.raw(SystemProperty::ConnectionModuleId) == from.module_id().map(str::as_bytes)
    }

    /// Takes a packed list from outside, if it is one to its last byte and names nothing twice.
    pub(super) fn of_packed(packed: Bytes) -> Option<Self> {
        let (mut rest, mut seen) = (&packed[..], 0u64);
        while !rest.is_empty() {
            let (property, _, after) = split_first(rest)?;
            if seen & bit(property) != 0 {
                return None;
            }
            seen |= bit(property);
            rest = after;
        }
        Some(Self(packed))
    }
}

/// Collects system properties without looking back: for parsers, which meet many at once.
pub(crate) struct SystemBuilder {
    packed: Vec<u8>,
    bytes: usize,
    seen: u64,
}

impl SystemBuilder {
    /// `bytes` is what it may come to: taken at once with the first property, and only then.
    pub(crate) fn with_bytes(bytes: usize) -> Self {
        Self { packed: Vec::new(), bytes, seen: 0 }
    }

    /// Adds one unless it is there already: of two, the first counts.
    pub(crate) fn add(&mut self, property: SystemProperty, value: &str) {
        if self.seen & bit(property) == 0 {
            if self.seen == 0 {
                self.packed.reserve_exact(self.bytes);
            }
            self.seen |= bit(property);
            append(&mut self.packed, property, value);
        }
    }

    pub(crate) fn build(self) -> System {
        System(self.packed.into())
    }
}

/// At most so many bytes more does a list have that says who sent it.
pub(super) fn stamp_bytes(from: &Identity) -> usize {
    from.as_str().len() + 2 * 4 // a number and a length each
}

/// Copies a packed list, with `from` as whoever sent it.
pub(super) fn copy_stamped(into: &mut Vec<u8>, packed: &[u8], from: &Identity) {
    const STAMP: [u8; 2] =
        [SystemProperty::ConnectionDeviceId as u8, SystemProperty::ConnectionModuleId as u8];
    for entry in entries(packed).filter(|entry| !STAMP.contains(&entry.number)) {
        into.extend_from_slice(entry.whole);
    }
    append(into, SystemProperty::ConnectionDeviceId, from.device_id());
    if let Some(module) = from.module_id() {
        append(into, SystemProperty::ConnectionModuleId, module);
    }
}

const fn bit(property: SystemProperty) -> u64 {
    1 << property as u8
}

fn append(packed: &mut Vec<u8>, property: SystemProperty, value: &str) {
    packed.push(property as u8);
    packed::put_text(packed, value);
}

/// One property as it lies there.
struct Entry<'a> {
    number: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

/// The entries of a list that has been checked: for those who need not read every value as text.
fn entries(mut packed: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (&number, rest) = packed.split_first()?;
        let (length, rest) = packed::take_length(rest)?;
        let (value, after) = rest.split_at_checked(length)?;
        let (whole, _) = packed.split_at(packed.len() - after.len());
        packed = after;
        Some(Entry { number, value, whole })
    })
}

fn split_first(packed: &[u8]) -> Option<(SystemProperty, &str, &[u8])> {
    let (&tag, rest) = packed.split_first()?;
    let (value, rest) = packed::take_text(rest)?;
    Some((SystemProperty::of_tag(tag)?, value, rest))
}

impl PartialEq for System {
    /// The same properties with the same values, whatever their order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(property, value)| other.get(property) == Some(value))
    }
}

impl Eq for System {}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::SystemProperty::*;
    use super::*;

    #[test]
    fn what_is_set_is_there_until_it_is_removed() {
        let mut system = System::default();
        system.set(MessageId, "1");
        system.set(ContentType, "text/plain");
        system.set(MessageId, "2");
        assert_eq!(system.get(MessageId), Some("2"));
        assert_eq!(system.iter().collect::<Vec<_>>(), [(ContentType, "text/plain"), (MessageId, "2")]);
        assert!(system.remove(ContentType) && !system.remove(ContentType));
        assert_eq!((system.len(), system.get(ContentType)), (1, None));
    }

    #[test]
    fn setting_one_leaves_a_clone_alone() {
        let mut system = System::default();
        system.set(MessageId, "1");
        let clone = system.clone();
        system.set(UserId, "u");
        assert_eq!((clone.len(), system.len()), (1, 2));
    }

    #[test]
    fn the_order_of_setting_makes_no_difference() {
        let (mut one, mut other) = (System::default(), System::default());
        one.set(MessageId, "1");
        one.set(UserId, "u");
        other.set(UserId, "u");
        assert_ne!(one, other);
        other.set(MessageId, "1");
        assert_eq!(one, other);
    }

    #[test]
    fn the_numbers_are_dense_so_that_each_can_be_a_place() {
        for (at, property) in SystemProperty::ALL.iter().enumerate() {
            assert_eq!(*property as usize, at + 1);
        }
    }

    #[test]
    fn a_selection_comes_in_the_order_that_was_asked_for() {
        let mut system = System::default();
        system.set(UserId, "u");
        system.set(MessageId, "1");
        let selected: Vec<_> = system.select(&[MessageId, To, UserId]).collect();
        assert_eq!(selected, [(MessageId, "1"), (UserId, "u")]);
    }

    #[test]
    fn every_property_is_found_by_its_names() {
        for property in SystemProperty::ALL {
            assert_eq!(SystemProperty::from_route_name(property.route_name()), Some(*property));
            if let Some(name) = property.wire_name() {
                assert_eq!(SystemProperty::from_wire_name(name), Some(*property));
            }
        }
        assert_eq!(SystemProperty::from_route_name("CONNECTIONMODULEID"), Some(ConnectionModuleId));
        assert_eq!(SystemProperty::from_route_name("cid"), Some(CorrelationId));
        assert_eq!(SystemProperty::from_wire_name("$.MID"), None);
    }

    #[test]
    fn the_size_is_that_of_all_values() {
        let mut system = System::default();
        assert_eq!(system.size(), 0);
        system.set(MessageId, "x".repeat(300));
        system.set(UserId, "");
        system.set(To, "über");
        assert_eq!(system.size(), 305);
    }

    #[test]
    fn a_packed_list_that_names_one_twice_is_none() {
        assert!(System::of_packed(Bytes::from_static(&[1, 1, b'a', 2, 1, b'b'])).is_some());
        assert!(System::of_packed(Bytes::from_static(&[1, 1, b'a', 1, 1, b'b'])).is_none());
        assert!(System::of_packed(Bytes::from_static(&[99, 1, b'a'])).is_none());
    }
}
