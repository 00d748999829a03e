//! Symmetric keys, which never show themselves in a log.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::hmac;

use crate::Refused;

/// A symmetric key. Cheap to clone; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    bytes: Box<[u8]>,
    hmac: hmac::Key,
}

impl Key {
    /// Lengths that a registered key may have, in bytes.
    pub const BYTES: RangeInclusive<usize> = 16..=64;

    /// Reads a key as connection strings and the registry write it: base64 of 16 to 64 bytes.
    pub fn from_base64(text: &str) -> Result<Self, Refused> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| {
            Refused::new(
                "key",
                "is not base64; right are groups of four letters, digits, + and /, padded with =",
            )
        })?;
        if !Self::BYTES.contains(&bytes.len()) {
            return Err(Refused::new("key", format!("has {} bytes; right are 16 to 64", bytes.len())));
        }
        Ok(Self::from_bytes(&bytes))
    }

    /// A key of any length, from its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Arc::new(Inner { bytes: bytes.into(), hmac: hmac::Key::new(hmac::HMAC_SHA256, bytes) }))
    }

    /// The key as the registry and connection strings show it. Take care where it goes.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.0.bytes)
    }

    /// The HMAC-SHA256 of `data`, in base64.
    pub fn sign(&self, data: &[u8]) -> String {
        BASE64_STANDARD.encode(hmac::sign(&self.0.hmac, data))
    }

    /// Whether `signature` is the HMAC-SHA256 of `data`, in constant time.
    pub fn verify(&self, data: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0.hmac, data, signature).is_ok()
    }

    /// The key of one registration under a group enrollment's key.
    pub fn derive(&self, registration_id: &str) -> Self {
        Self::from_bytes(hmac::sign(&self.0.hmac, registration_id.as_bytes()).as_ref())
    }
}

impl PartialEq for Key {
    /// For configuration and tests; a stranger's signature is compared by [`Key::verify`].
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_what_it_writes_and_shows_nothing_in_logs() {
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let key = Key::from_base64(text).unwrap();
        assert_eq!(key.to_base64(), text);
        assert_eq!(format!("{key:?}"), "Key(…)");
    }

    #[test]
    fn a_key_has_16_to_64_bytes() {
        for (length, right) in [(15, false), (16, true), (64, true), (65, false), (0, false)] {
            let text = BASE64_STANDARD.encode(vec![7; length]);
            assert_eq!(Key::from_base64(&text).is_ok(), right, "{length} bytes");
        }
        assert!(Key::from_base64("not base64!").unwrap_err().to_string().contains("base64"));
    }
}
