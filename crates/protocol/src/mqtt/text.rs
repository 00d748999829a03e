//! A string as MQTT has it.

use bytes::Bytes;

use super::Fault;
use crate::text::reads_as_text;

/// A string that can stand in an MQTT packet: UTF-8, no U+0000, at most 65,535 bytes. A cheap clone: it shares the
/// bytes it was read from, and keeps them in memory for as long.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// The longest string that MQTT can carry, in bytes.
    pub const BYTES_MAX: usize = 65_535;

    /// Checks `bytes` and keeps them without copying.
    ///
    /// # Errors
    /// Not UTF-8, a NUL in it, or more than 65,535 bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, Fault> {
        Self::marked(bytes.into()).map(|(text, _)| text)
    }

    /// The topic of a message.
    ///
    /// # Errors
    /// Empty `[MQTT-4.7.3-1]`, a wildcard in it `[MQTT-3.3.2-2]`, or no string at all.
    pub fn topic(bytes: impl Into<Bytes>) -> Result<Self, Fault> {
        match Self::marked(bytes.into())? {
            (_, marks) if marks.wildcard => Err(Fault::Wildcard),
            (text, _) if text.0.is_empty() => Err(Fault::EmptyTopic),
            (text, _) => Ok(text),
        }
    }

    /// A filter to subscribe to.
    ///
    /// # Errors
    /// Empty `[MQTT-4.7.3-1]`, a wildcard that shares its level or is followed by another `[MQTT-4.7.1-2]`
    /// `[MQTT-4.7.1-3]`, or no string at all.
    pub fn filter(bytes: impl Into<Bytes>) -> Result<Self, Fault> {
        match Self::marked(bytes.into())? {
            (text, _) if text.0.is_empty() => Err(Fault::EmptyTopic),
            (text, marks) if marks.wildcard && !is_filter(&text.0) => Err(Fault::Filter),
            (text, _) => Ok(text),
        }
    }

    /// Whether [`Text::new`] would take it.
    pub(crate) fn check(text: &str) -> Result<(), Fault> {
        if text.len() > Self::BYTES_MAX {
            Err(Fault::TextTooLong(text.len()))
        } else if Marks::of(text.as_bytes()).nul {
            Err(Fault::Nul)
        } else {
            Ok(())
        }
    }

    fn marked(bytes: Bytes) -> Result<(Self, Marks), Fault> {
        let marks = Marks::of(&bytes);
        if bytes.len() > Self::BYTES_MAX {
            Err(Fault::TextTooLong(bytes.len()))
        } else if marks.nul {
            Err(Fault::Nul)
        } else if !marks.ascii && std::str::from_utf8(&bytes).is_err() {
            Err(Fault::Utf8)
        } else {
            Ok((Self(bytes), marks))
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_filter(filter: &[u8]) -> bool {
    let mut levels = filter.split(|&byte| byte == b'/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.iter().any(|&byte| byte == b'+' || byte == b'#');
        if wild && (level.len() > 1 || level == b"#" && levels.peek().is_some()) {
            return false;
        }
    }
    true
}

reads_as_text!(Text);

/// What one branch-free pass over the bytes finds; the compiler makes vector instructions of it.
struct Marks {
    ascii: bool,
    nul: bool,
    wildcard: bool,
}

impl Marks {
    fn of(bytes: &[u8]) -> Self {
        let (mut high, mut nul, mut wildcard) = (0_u8, 0_u8, 0_u8);
        for &byte in bytes {
            high |= byte;
            nul |= u8::from(byte == 0);
            wildcard |= u8::from(byte == b'+') | u8::from(byte == b'#');
        }
        Self { ascii: high < 0x80, nul: nul != 0, wildcard: wildcard != 0 }
    }
}

impl TryFrom<String> for Text {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Text {
    type Error = Fault;

    fn try_from(text: &str) -> Result<Self, Fault> {
        Self::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: Result<Text, Fault>) -> Option<Fault> {
        text.err()
    }

    #[test]
    fn a_string_is_utf8_without_nul_and_not_too_long() {
        assert_eq!(fault(Text::new("")), None);
        assert_eq!(fault(Text::new("\u{feff}ü\u{10ffff}")), None); // [MQTT-1.5.3-3] keeps the byte order mark
        assert_eq!(fault(Text::new("a\0b")), Some(Fault::Nul));
        assert_eq!(fault(Text::new(&b"\xed\xa0\x80"[..])), Some(Fault::Utf8)); // U+D800, a surrogate
        assert_eq!(fault(Text::new(&b"\xc0\x80"[..])), Some(Fault::Utf8)); // NUL in two bytes
        assert_eq!(fault(Text::new(vec![b'a'; 65_535])), None);
        assert_eq!(fault(Text::new(vec![b'a'; 65_536])), Some(Fault::TextTooLong(65_536)));
    }

    #[test]
    fn wildcards_have_no_place_in_a_topic_and_their_own_in_a_filter() {
        for (text, topic, filter) in [
            ("a/b", None, None),
            ("/", None, None),
            ("", Some(Fault::EmptyTopic), Some(Fault::EmptyTopic)),
            ("#", Some(Fault::Wildcard), None),
            ("+/a/+", Some(Fault::Wildcard), None),
            ("a/#", Some(Fault::Wildcard), None),
            ("a#", Some(Fault::Wildcard), Some(Fault::Filter)),
            ("a/#/b", Some(Fault::Wildcard), Some(Fault::Filter)),
            ("#/", Some(Fault::Wildcard), Some(Fault::Filter)),
            ("a+/b", Some(Fault::Wildcard), Some(Fault::Filter)),
            ("++", Some(Fault::Wildcard), Some(Fault::Filter)),
        ] {
            assert_eq!(fault(Text::topic(text)), topic, "{text:?} as a topic");
            assert_eq!(fault(Text::filter(text)), filter, "{text:?} as a filter");
        }
    }
}
