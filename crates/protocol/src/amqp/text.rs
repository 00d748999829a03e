//! A string or a symbol as AMQP has it.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::Fault;

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

    /// One that is part of the program: costs nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        // Looked at again rather than trusted: this costs a few nanoseconds and spares the crate its only `unsafe`.
        std::str::from_utf8(&self.0).expect("only `new` makes a Text, and it has looked")
    }

    /// The same bytes, shared.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The same text in memory of its own, so that it no longer keeps a whole read buffer alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

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
