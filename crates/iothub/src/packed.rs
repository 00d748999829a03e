//! Short texts one after another in one piece of memory: a length as a variable-sized integer, then the bytes.
//!
//! Properties are kept like this in memory and in journals alike, so that a message costs two allocations however
//! many properties it has, a clone costs none, and writing it to a journal is a copy.

/// Appends a length: seven bits a byte, the lowest first, the top bit says that more follow.
pub(crate) fn put_length(into: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        into.push(length as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
}

/// Appends a text with its length before it.
pub(crate) fn put_text(into: &mut Vec<u8>, text: &str) {
    put_length(into, text.len());
    into.extend_from_slice(text.as_bytes());
}

/// Takes a length off the front; `None` if there is none, or one that no memory could hold.
pub(crate) fn take_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0u32;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        let bits = u32::from(byte & 0x7f);
        length |= bits.checked_shl(7 * at as u32).filter(|shifted| shifted >> (7 * at) == bits)?;
        if byte & 0x80 == 0 {
            return Some((length as usize, &bytes[at + 1..]));
        }
    }
    None
}

/// Takes `length` bytes of UTF-8 off the front.
pub(crate) fn take_str(bytes: &[u8], length: usize) -> Option<(&str, &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// Takes a text with its length before it off the front.
pub(crate) fn take_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = take_length(bytes)?;
    take_str(rest, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_reads_back_what_it_wrote() {
        for length in [0, 1, 127, 128, 255, 16_383, 16_384, 262_144, u32::MAX as usize] {
            let mut bytes = Vec::new();
            put_length(&mut bytes, length);
            assert_eq!(take_length(&bytes), Some((length, &[][..])));
        }
    }

    #[test]
    fn a_length_that_never_ends_or_is_too_large_is_none() {
        assert_eq!(take_length(&[]), None);
        assert_eq!(take_length(&[0x80]), None);
        assert_eq!(take_length(&[0xff; 9]), None);
        assert_eq!(take_length(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
    }

    #[test]
    fn a_text_longer_than_what_is_there_is_none() {
        let mut bytes = Vec::new();
        put_text(&mut bytes, "über");
        assert_eq!(take_text(&bytes), Some(("über", &[][..])));
        assert_eq!(take_text(&bytes[..3]), None);
        assert_eq!(take_text(&[1, 0xff]), None);
    }
}
