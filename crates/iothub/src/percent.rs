//! Percent-encoding as topics and tokens use it: RFC 3986's unreserved characters stay, all else is `%XX`.
//! `+` is a plus sign and never a space; a malformed `%` is an error and never a literal.

use crate::Refused;
use crate::error::excerpt;

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// [`is_unreserved`] as a table: topics are written for every message.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_unreserved(byte as u8);
        byte += 1;
    }
    table
};

/// What a scratch space begins with, in bytes: most names and values fit, so it grows once.
const SCRATCH_BYTES: usize = 64;

/// Appends `text` with everything but unreserved characters as `%XX`, upper-case digits.
pub(crate) fn encode_into(into: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut kept = 0;
    for (at, byte) in text.bytes().enumerate() {
        if UNRESERVED[usize::from(byte)] {
            continue;
        }
        // A byte in the middle of a character is never unreserved, so both ends of what is kept are boundaries
        // (an empty piece between two such bytes is not looked at).
        if kept < at {
            into.push_str(&text[kept..at]);
        }
        into.extend(['%', DIGITS[usize::from(byte >> 4)] as char, DIGITS[usize::from(byte & 15)] as char]);
        kept = at + 1;
    }
    if kept < text.len() {
        into.push_str(&text[kept..]);
    }
}

/// [`encode_into`] a text of its own.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    encode_into(&mut encoded, text);
    encoded
}

/// Decodes once. What has no `%` is returned as it is; all else is put together in `scratch`.
pub(crate) fn decode<'a>(text: &'a str, scratch: &'a mut Vec<u8>) -> Result<&'a str, Refused> {
    if !text.as_bytes().contains(&b'%') {
        return Ok(text);
    }
    scratch.clear();
    scratch.reserve(text.len().max(SCRATCH_BYTES));
    let mut pieces = text.as_bytes().split(|byte| *byte == b'%');
    scratch.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (Some(high), Some(low)) = (digit(piece.first()), digit(piece.get(1))) else {
            let why = "has a % without two hexadecimal digits after it; a percent sign is written %25";
            return Err(Refused::new(format!("\"{}\"", excerpt(text)), why));
        };
        scratch.push(high << 4 | low);
        scratch.extend_from_slice(&piece[2..]);
    }
    std::str::from_utf8(scratch).map_err(|_| {
        Refused::new(
            format!("\"{}\"", excerpt(text)),
            "is not UTF-8 once decoded; a character such as ü is written %C3%BC",
        )
    })
}

/// Decodes once into a text of its own.
pub(crate) fn decode_owned(text: &str) -> Result<String, Refused> {
    decode(text, &mut Vec::new()).map(str::to_owned)
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    match *byte? {
        byte @ b'0'..=b'9' => Some(byte - b'0'),
        byte @ b'a'..=b'f' => Some(byte - b'a' + 10),
        byte @ b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(encode("prop a=v&b/ü+#$%"), "prop%20a%3Dv%26b%2F%C3%BC%2B%23%24%25");
        assert_eq!(encode("üü"), "%C3%BC%C3%BC");
    }

    #[test]
    fn a_plus_is_a_plus() {
        assert_eq!(decode_owned("a+b%2Bc%20d").unwrap(), "a+b+c d");
    }

    #[test]
    fn digits_may_have_either_case() {
        assert_eq!(decode_owned("%2f%2F").unwrap(), "//");
    }

    #[test]
    fn a_malformed_percent_is_refused_with_what_would_be_right() {
        for text in ["%", "a%2", "%zz", "%%", "%+1", "100%"] {
            let why = decode_owned(text).unwrap_err().to_string();
            assert!(why.contains("%25"), "{why}");
        }
        assert!(decode_owned("%ff").unwrap_err().to_string().contains("UTF-8"));
    }

    proptest! {
        #[test]
        fn any_text_survives_the_round_trip(text in ".*") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| is_unreserved(byte) || byte == b'%'));
            prop_assert_eq!(decode_owned(&encoded).unwrap(), text);
        }
    }
}
