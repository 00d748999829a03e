//! Texts in two, at a character of ASCII. The standard library's way looks for any character, with a searcher that
//! costs more than the short texts that are cut for every message.

/// What is before the first `at` and what is behind it.
pub(crate) fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    debug_assert!(at.is_ascii());
    let place = text.bytes().position(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_cuts_where_the_standard_library_does() {
        for text in ["", "/", "a/b", "ü/ß/", "no cut", "//", "€"] {
            assert_eq!(cut(text, b'/'), text.split_once('/'), "{text:?}");
        }
    }
}
