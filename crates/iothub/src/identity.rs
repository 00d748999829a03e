//! Who somebody is: a device, or a module of a device.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Refused;
use crate::cut::cut;
use crate::error::excerpt;

/// Longest device or module id, in characters. A longer one is refused.
pub const ID_CHARS_MAX: usize = 128;

/// A device (`edge`) or a module of one (`edge/filter`). Cheap to clone; ids are compared with their letter case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(Arc<str>);

impl Identity {
    /// A device. Its id has 1 to 128 ASCII letters, digits and characters of `-.+%_#*?!(),:=@$'`.
    pub fn device(device_id: &str) -> Result<Self, Refused> {
        check_id("device id", device_id)?;
        Ok(Self(device_id.into()))
    }

    /// A module of a device. Both ids follow the rule of [`Identity::device`].
    pub fn module(device_id: &str, module_id: &str) -> Result<Self, Refused> {
        check_id("device id", device_id)?;
        check_id("module id", module_id)?;
        let mut text = String::with_capacity(device_id.len() + 1 + module_id.len());
        text.push_str(device_id);
        text.push('/');
        text.push_str(module_id);
        Ok(Self(text.into()))
    }

    /// A device or, when there is a module id, a module.
    pub fn of(device_id: &str, module_id: Option<&str>) -> Result<Self, Refused> {
        match module_id {
            None => Self::device(device_id),
            Some(module_id) => Self::module(device_id, module_id),
        }
    }

    /// The device's id, also of a module.
    pub fn device_id(&self) -> &str {
        cut(&self.0, b'/').map_or(&self.0, |(device, _)| device)
    }

    /// The module's id; a device has none.
    pub fn module_id(&self) -> Option<&str> {
        cut(&self.0, b'/').map(|(_, module)| module)
    }

    /// The device that a module belongs to; a device is its own.
    pub fn owner(&self) -> Self {
        Self(self.device_id().into())
    }

    /// What a SAS token speaks for, not yet encoded: `host/devices/edge/modules/filter`.
    pub fn resource(&self, host: &str) -> String {
        format!("{host}/{}", self.path())
    }

    /// `devices/edge` or `devices/edge/modules/filter`: how topics and tokens name it.
    pub fn path(&self) -> String {
        let mut path = String::new();
        self.push_path(&mut path);
        path
    }

    /// Appends [`Identity::path`].
    pub(crate) fn push_path(&self, into: &mut String) {
        into.push_str("devices/");
        into.push_str(self.device_id());
        if let Some(module) = self.module_id() {
            into.push_str("/modules/");
            into.push_str(module);
        }
    }

    /// `edge` or `edge/filter`: also the MQTT client id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_id(what: &'static str, id: &str) -> Result<(), Refused> {
    if id.is_empty() {
        return Err(Refused::new(what, "is empty; it has 1 to 128 characters"));
    }
    if let Some(stranger) = id.chars().find(|c| !is_id_char(*c)) {
        let why = format!(
            "\"{}\" has {stranger:?} in it; right are ASCII letters, digits and - . + % _ # * ? ! ( ) , : = @ $ '",
            excerpt(id)
        );
        return Err(Refused::new(what, why));
    }
    if id.len() > ID_CHARS_MAX {
        return Err(Refused::new(what, format!("has {} characters; at most {ID_CHARS_MAX} fit", id.len())));
    }
    Ok(())
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || (c.is_ascii() && b"-.+%_#*?!(),:=@$'".contains(&(c as u8)))
}

impl Borrow<str> for Identity {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identity {
    type Err = Refused;

    /// Reads `device` or `device/module`.
    fn from_str(text: &str) -> Result<Self, Refused> {
        match text.split_once('/') {
            None => Self::device(text),
            Some((device, module)) => Self::module(device, module),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_writes() {
        for text in ["edge", "edge/filter", "edge/$edgeHub", "dev#1", "a-.+%_#*?!(),:=@$'z"] {
            let identity: Identity = text.parse().unwrap();
            assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn a_module_knows_its_device_and_its_resource() {
        let identity = Identity::module("edge-01", "sensor").unwrap();
        assert_eq!((identity.device_id(), identity.module_id()), ("edge-01", Some("sensor")));
        assert_eq!(identity.resource("hub.example"), "hub.example/devices/edge-01/modules/sensor");
        assert_eq!(identity.owner(), Identity::device("edge-01").unwrap());
    }

    #[test]
    fn an_id_that_no_hub_would_register_is_refused_with_the_character() {
        for id in ["", "a b", "a/b/c", "ü", "a&b", "a\"b", &"x".repeat(129)] {
            assert!(id.parse::<Identity>().is_err(), "{id:?} got through");
        }
        let why = Identity::device("a b").unwrap_err().to_string();
        assert!(why.contains("' '"), "{why}");
        assert!(Identity::device(&"x".repeat(128)).is_ok());
    }
}
