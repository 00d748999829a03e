//! A message: its body, what the protocol knows about it, and what applications wrote on it.

mod properties;
mod system;

use bytes::{Bytes, BytesMut};

use crate::packed;
use crate::{Identity, Refused};

pub use properties::Properties;
pub(crate) use properties::PropertiesBuilder;
pub(crate) use system::SystemBuilder;
pub use system::{System, SystemProperty};

/// Largest device-to-cloud message, in bytes, counted as [`Message::size`] counts. A larger one is refused.
pub const MESSAGE_BYTES_MAX: usize = 262_144;
/// Largest cloud-to-device message, in bytes, counted the same way. A larger one is refused with 413001.
pub const C2D_BYTES_MAX: usize = 65_536;
/// Cloud-to-device messages that may wait for one device; the next is refused with 403004.
pub const C2D_QUEUE_MAX: usize = 50;
/// Times that a cloud-to-device message is handed out before it is given up as undeliverable.
pub const C2D_DELIVERIES_MAX: u32 = 10;
/// Longest message id or correlation id, in characters.
pub const MESSAGE_ID_CHARS_MAX: usize = 128;
/// Application properties on one message; a bag with more is refused.
pub const PROPERTIES_MAX: usize = 256;

/// A message as it passes through clients, hub and journals. A clone shares all of it.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Message {
    /// The payload, untouched.
    pub body: Bytes,
    /// The properties that the protocol itself knows.
    pub system: System,
    /// The properties that applications put on it.
    pub properties: Properties,
}

/// The first byte of the private form: what follows may change when this does.
const FORM: u8 = 1;

impl Message {
    /// A message with a body and nothing written on it.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// The same with an application property more.
    pub fn with_property(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.properties.set(name, value);
        self
    }

    /// The same with a system property more.
    pub fn with_system(mut self, property: SystemProperty, value: impl AsRef<str>) -> Self {
        self.system.set(property, value);
        self
    }

    /// What the quota counts, in bytes: the body, the values of system properties, the names and values of
    /// application properties.
    pub fn size(&self) -> usize {
        self.body.len() + self.system.size() + self.properties.size()
    }

    /// The same without the hub's own words on who sent it: what counts against the sender's limit.
    pub fn size_as_sent(&self, from: &Identity) -> usize {
        let stamp = from.device_id().len() + from.module_id().map_or(0, str::len);
        self.size() - if self.system.is_stamped(from) { stamp } else { 0 }
    }

    /// A message that `from` sent, in one piece of memory of its own, however large those are that its parts were read
    /// from. Whom it names as its sender already does not count.
    pub fn gathered(from: &Identity, body: &[u8], system: &System, properties: &Properties) -> Self {
        let stamp = system::stamp_bytes(from);
        let (system, properties) = (system.packed(), properties.packed());
        let mut piece = Vec::with_capacity(system.len() + stamp + properties.len() + body.len());
        system::copy_stamped(&mut piece, system, from);
        let system = piece.len();
        piece.extend_from_slice(properties);
        let properties = piece.len();
        piece.extend_from_slice(body);
        let piece = Bytes::from(piece);
        Self {
            system: System::trusted(piece.slice(..system)),
            properties: Properties::trusted(piece.slice(system..properties)),
            body: piece.slice(properties..),
        }
    }

    /// Writes on it who sent it: that is for the session to say, whatever the message says.
    pub fn stamp(&mut self, from: &Identity) {
        if !self.system.is_stamped(from) {
            let mut packed = Vec::with_capacity(self.system.packed().len() + system::stamp_bytes(from));
            system::copy_stamped(&mut packed, self.system.packed(), from);
            self.system = System::trusted(packed.into());
        }
    }

    /// Appends the compact private form: for journals of ours, not for any wire.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let (system, properties) = (self.system.packed(), self.properties.packed());
        into.reserve(self.body.len() + system.len() + properties.len() + 11);
        into.push(FORM);
        packed::put_length(into, system.len());
        into.extend_from_slice(system);
        packed::put_length(into, properties.len());
        into.extend_from_slice(properties);
        into.extend_from_slice(&self.body);
    }

    /// Reads back what [`Message::encode`] wrote, copying nothing. Refuses every other input.
    pub fn decode(bytes: Bytes) -> Result<Self, Refused> {
        Self::decoded(&bytes).ok_or_else(|| {
            Refused::new(
                "message record",
                "is not in the form that this version writes; it was damaged or written by a newer version",
            )
        })
    }

    fn decoded(bytes: &Bytes) -> Option<Self> {
        let (&FORM, rest) = bytes.split_first()? else { return None };
        let (length, rest) = packed::take_length(rest)?;
        let (system, rest) = rest.split_at_checked(length)?;
        let (length, rest) = packed::take_length(rest)?;
        let (properties, body) = rest.split_at_checked(length)?;
        Some(Self {
            system: System::of_packed(bytes.slice_ref(system))?,
            properties: Properties::of_packed(bytes.slice_ref(properties))?,
            body: bytes.slice_ref(body),
        })
    }
}

impl From<BytesMut> for Message {
    fn from(body: BytesMut) -> Self {
        Self::new(body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn alert() -> Message {
        Message::new("31")
            .with_system(SystemProperty::ContentType, "text/plain")
            .with_property("MessageType", "Alert")
    }

    #[test]
    fn the_quota_counts_body_values_and_names() {
        assert_eq!(Message::new("12345").size(), 5);
        assert_eq!(alert().size(), 2 + "text/plain".len() + "MessageType".len() + "Alert".len());
        let mut message = Message::default();
        message.properties.put("k", None);
        assert_eq!(message.size(), 1);
    }

    #[test]
    fn who_sent_it_is_written_on_it_whatever_it_says_itself() {
        let (device, module): (Identity, Identity) = ("d".parse().unwrap(), "edge/m".parse().unwrap());
        let forged = alert()
            .with_system(SystemProperty::ConnectionDeviceId, "other")
            .with_system(SystemProperty::ConnectionModuleId, "other");
        for from in [&device, &module] {
            let gathered = Message::gathered(from, &forged.body, &forged.system, &forged.properties);
            let mut stamped = forged.clone();
            stamped.stamp(from);
            for message in [&gathered, &stamped] {
                assert_eq!(message.system.get(SystemProperty::ConnectionDeviceId), Some(from.device_id()));
                assert_eq!(message.system.get(SystemProperty::ConnectionModuleId), from.module_id());
                assert_eq!(message.system.get(SystemProperty::ContentType), Some("text/plain"));
                assert_eq!((&message.body, &message.properties), (&alert().body, &alert().properties));
                assert_eq!(message.size_as_sent(from), alert().size());
            }
            let before = stamped.system.packed().as_ptr();
            stamped.stamp(from);
            assert_eq!(stamped.system.packed().as_ptr(), before, "once is enough");
        }
    }

    #[test]
    fn a_gathered_message_shares_nothing_with_what_it_was_read_from() {
        let read = Bytes::from(vec![b'x'; 4_096]);
        let message = Message::gathered(
            &"d".parse().unwrap(),
            &read.slice(7..9),
            &System::default(),
            &Properties::default(),
        );
        assert_eq!(message.body, "xx");
        assert!(read.is_unique());
    }

    #[test]
    fn a_decoded_body_is_a_slice_of_the_input() {
        let mut bytes = Vec::new();
        alert().encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        let message = Message::decode(bytes.clone()).unwrap();
        assert_eq!(message, alert());
        assert!(bytes.as_ptr_range().contains(&message.body.as_ptr()));
    }

    #[test]
    fn a_record_of_another_form_or_cut_short_is_refused() {
        let mut bytes = Vec::new();
        alert().encode(&mut bytes);
        let head = bytes.len() - alert().body.len();
        for cut in 0..head {
            assert!(Message::decode(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        bytes[0] = 2;
        assert!(Message::decode(bytes.into()).is_err());
    }

    fn message() -> impl Strategy<Value = Message> {
        let system = vec((0..SystemProperty::ALL.len(), ".{0,40}"), 0..6);
        let properties = vec((".{1,200}", option::of(".{0,200}")), 0..6);
        (vec(any::<u8>(), 0..300), system, properties).prop_map(|(body, system, properties)| {
            let mut message = Message::new(body);
            for (at, value) in system {
                message.system.set(SystemProperty::ALL[at], value);
            }
            for (name, value) in properties {
                message.properties.put(&name, value.as_deref());
            }
            message
        })
    }

    proptest! {
        #[test]
        fn any_message_survives_the_round_trip(message in message()) {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            prop_assert_eq!(Message::decode(bytes.into()).unwrap(), message);
        }

        #[test]
        fn the_size_counts_what_can_be_read(message in message()) {
            let system: usize = message.system.iter().map(|(_, value)| value.len()).sum();
            let properties = message.properties.iter();
            let properties: usize = properties.map(|(name, value)| name.len() + value.map_or(0, str::len)).sum();
            prop_assert_eq!(message.size(), message.body.len() + system + properties);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..60)) {
            let with_form: Vec<u8> = [&[FORM][..], &bytes].concat();
            if let Ok(message) = Message::decode(with_form.into()) {
                prop_assert!(message.size() <= bytes.len());
                prop_assert_eq!(message.properties.iter().count(), message.properties.len());
            }
            let _ = Message::decode(bytes.into());
        }
    }
}
