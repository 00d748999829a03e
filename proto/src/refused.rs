//! Why bytes were not taken for a message.

use std::fmt;

/// A message, or a part of one, that was refused at the door.
///
/// Displays as `what: why`, where `why` also says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    what: String,
    why: String,
}

impl Refused {
    /// Refuses `what` (a field, or the body as a whole) and says why.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }

    /// The same refusal, seen from outside: `readings[3]` around `reading`.
    pub(crate) fn within(self, place: &str) -> Self {
        Self { what: format!("{place}.{}", self.what), why: self.why }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for Refused {}
