//! A string or a symbol as AMQP has it.

use std::borrow::Cow;

use bytes::Bytes;

use super::Fault;
use crate::text::reads_as_text;

/// UTF-8 over shared bytes. A cheap clone: it shares the bytes it was read from, and keeps them in memory for as
/// long. Symbols are texts too; that they are ASCII is checked when they are read.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// Checks `bytes` and keeps them without copying.
    ///
    /// # Errors
    /// Not UTF-8.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, Fault> {
        let bytes = bytes.into();
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(Fault::Utf8),
        }
    }

    /// A symbol: checks that `bytes` are ASCII.
    ///
    /// # Errors
    /// Not ASCII.
    pub fn symbol(bytes: impl Into<Bytes>) -> Result<Self, Fault> {
        let bytes = bytes.into();
        if bytes.is_ascii() { Ok(Self(bytes)) } else { Err(Fault::Ascii) }
    }

    /// What a symbol can say of any text: a question mark for each letter that is not ASCII.
    pub fn in_ascii(text: &str) -> Cow<'_, str> {
        if text.is_ascii() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.chars().map(|letter| if letter.is_ascii() { letter } else { '?' }).collect())
    }

    /// One that is part of the program: costs nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The same text in memory of its own, so that it no longer keeps a whole read buffer alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

reads_as_text!(Text);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}
