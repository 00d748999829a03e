//! A mistake in a route and the character where it is.

use std::fmt;

/// Why a route does not compile. `Display` shows the sentence, the line and a caret under the character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    /// The mistake's place: characters from the start of the text, the first being 0.
    pub at: usize,
    /// What is wrong and what would be right.
    pub message: String,
    line: String,
    column: usize,
}

impl RouteError {
    /// A mistake at byte `byte` of `text`, which must lie on a character's boundary or at the end.
    pub(super) fn new(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = &text[..byte];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[byte..].find('\n').map_or(text.len(), |more| byte + more);
        Self {
            at: before.chars().count(),
            message: message.into(),
            line: text[start..end].to_owned(),
            column: text[start..byte].chars().count(),
        }
    }

    /// The mistake's column in its line, the first being 1, as editors count.
    pub fn column(&self) -> usize {
        self.column + 1
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        // Control characters would move the caret away from what it points at.
        let line: String = self.line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(f, "  {line}")?;
        write!(f, "  {:>width$}", '^', width = self.column + 1)
    }
}

impl std::error::Error for RouteError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_character_even_in_a_later_line() {
        let error = RouteError::new("FROM /ü\nWHERE ? INTO", 15, "`?` is no operand");
        assert_eq!(error.at, 14);
        assert_eq!(error.column(), 7);
        assert_eq!(error.to_string(), "`?` is no operand\n  WHERE ? INTO\n        ^");
    }
}
