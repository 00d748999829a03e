//! Shared access signatures: `SharedAccessSignature sr={resource}&sig={HMAC}&se={expiry}[&skn={policy}]`.
//!
//! Signed is the text `{sr}\n{se}` exactly as it stands in the token. Senders encode `sr` in different ways and each
//! is valid over its own text alone, so `sr` is kept as it came and never encoded again before it is checked.

mod key;

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;

use crate::error::excerpt;
use crate::{Identity, Refused, percent};

pub use key::Key;

/// How long after its expiry a token is still taken, in seconds: clocks at the edge are rarely right.
pub const SKEW_SECONDS: i64 = 300;
/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;

const SCHEME: &str = "SharedAccessSignature";

/// A token as it was received: read, but neither verified nor compared with anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// `sr` as it was written: this is what was signed.
    pub resource_raw: String,
    /// `sr` decoded once: this is what is compared, for example `hub.example/devices/edge/modules/filter`.
    pub resource: String,
    /// The HMAC-SHA256, in base64.
    pub signature: String,
    /// When it expires, in seconds since 1970 (UTC).
    pub expiry: i64,
    /// `skn`: the policy whose key signed it. Not covered by the signature.
    pub policy: Option<String>,
}

impl Token {
    /// Reads a token: one blank after the scheme, then the fields in any order and letter case, each at most once.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let wrong = |why: &'static str| Refused::new("SAS token", why);
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refused::new("SAS token", format!("is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let (scheme, fields) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(wrong("does not begin with the word SharedAccessSignature and one blank"));
        }
        let mut found = Fields::default();
        fields.split('&').try_for_each(|field| found.take(field))?;
        let resource_raw = found.sr.ok_or_else(|| wrong("has no sr, the resource it is for"))?;
        let signature = found.sig.ok_or_else(|| wrong("has no sig, the signature"))?;
        let expiry = found.se.ok_or_else(|| wrong("has no se, the second at which it expires"))?;
        Ok(Self {
            resource_raw: resource_raw.to_owned(),
            resource: percent::decode_owned(resource_raw).map_err(|refused| in_field("sr", &refused))?,
            signature: percent::decode_owned(signature).map_err(|refused| in_field("sig", &refused))?,
            expiry: seconds(expiry)?,
            policy: found
                .skn
                .filter(|policy| !policy.is_empty())
                .map(percent::decode_owned)
                .transpose()
                .map_err(|refused| in_field("skn", &refused))?,
        })
    }

    /// Whether `key` signed it. Compares in constant time.
    pub fn verify(&self, key: &Key) -> bool {
        let signed = format!("{}\n{}", self.resource_raw, self.expiry);
        BASE64_STANDARD
            .decode(&self.signature)
            .is_ok_and(|signature| key.verify(signed.as_bytes(), &signature))
    }

    /// Whether it is over, with five minutes' grace.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expiry.saturating_add(SKEW_SECONDS) < now.as_second()
    }

    /// Whether it is for exactly that identity at one of these hosts, letter case aside, as IoT Edge compares.
    /// (A device's token is not for its modules.)
    pub fn is_for(&self, hosts: &[&str], who: &Identity) -> bool {
        let Some((host, path)) = self.resource.split_once('/') else { return false };
        hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) && path.eq_ignore_ascii_case(&who.path())
    }

    /// The text that is to be signed, for a resource that is not yet encoded.
    pub fn string_to_sign(resource: &str, expiry: i64) -> String {
        format!("{}\n{expiry}", percent::encode(resource))
    }

    /// The token, once somebody has signed [`Token::string_to_sign`] of the same resource and expiry.
    pub fn assemble(resource: &str, signature_base64: &str, expiry: i64, policy: Option<&str>) -> String {
        let (resource, signature) = (percent::encode(resource), percent::encode(signature_base64));
        let mut token = format!("{SCHEME} sr={resource}&sig={signature}&se={expiry}");
        if let Some(policy) = policy {
            token.push_str("&skn=");
            percent::encode_into(&mut token, policy);
        }
        token
    }

    /// Signs and assembles.
    pub fn mint(key: &Key, resource: &str, expiry: i64, policy: Option<&str>) -> String {
        let signature = key.sign(Self::string_to_sign(resource, expiry).as_bytes());
        Self::assemble(resource, &signature, expiry, policy)
    }
}

#[derive(Default)]
struct Fields<'a> {
    sr: Option<&'a str>,
    sig: Option<&'a str>,
    se: Option<&'a str>,
    skn: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Takes one `name=value`; names that nobody knows are passed over.
    fn take(&mut self, field: &'a str) -> Result<(), Refused> {
        let Some((name, value)) = field.split_once('=') else {
            let why = format!("has \"{}\" where name=value is right", excerpt(field));
            return Err(Refused::new("SAS token", why));
        };
        let slots =
            [("sr", &mut self.sr), ("sig", &mut self.sig), ("se", &mut self.se), ("skn", &mut self.skn)];
        for (known, slot) in slots {
            if known.eq_ignore_ascii_case(name) && slot.replace(value).is_some() {
                return Err(Refused::new("SAS token", format!("has more than one {known}")));
            }
        }
        Ok(())
    }
}

fn seconds(text: &str) -> Result<i64, Refused> {
    // Only the plain form: what was signed is the text, and it is written again from the number.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or_else(|| {
        let why = format!("\"{}\" is not a whole number of seconds since 1970", excerpt(text));
        Refused::new("SAS token: se", why)
    })
}

fn in_field(field: &str, refused: &Refused) -> Refused {
    Refused::new(format!("SAS token: {field}: {}", refused.what()), refused.why().to_owned())
}

impl fmt::Debug for Token {
    /// Everything but the signature, which would let whoever reads a log in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?}, until {}, policy {:?})", self.resource, self.expiry, self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes(&(0..32).collect::<Vec<u8>>())
    }

    #[test]
    fn fields_come_in_any_order_and_letter_case() {
        let token = Token::parse("sharedaccesssignature SKN=p&Se=5&SIG=YQ%3D%3D&sR=h%2Fdevices%2fd").unwrap();
        assert_eq!(token.resource_raw, "h%2Fdevices%2fd");
        assert_eq!(token.resource, "h/devices/d");
        assert_eq!((token.signature.as_str(), token.expiry, token.policy.as_deref()), ("YQ==", 5, Some("p")));
    }

    #[test]
    fn the_text_that_was_sent_is_verified_however_it_was_encoded() {
        for sr in ["h/devices/d", "h%2Fdevices%2Fd", "h%2fdevices%2fd"] {
            let signature = key().sign(format!("{sr}\n9").as_bytes());
            // A slash in the signature may come as it is.
            let raw = signature.replace('+', "%2B");
            let token = Token::parse(&format!("SharedAccessSignature sr={sr}&sig={raw}&se=9")).unwrap();
            assert!(token.verify(&key()), "{sr}");
        }
    }

    #[test]
    fn another_key_resource_or_expiry_does_not_verify() {
        let token = Token::parse(&Token::mint(&key(), "h/devices/d", 9, None)).unwrap();
        assert!(token.verify(&key()));
        assert!(!token.verify(&Key::from_bytes(&[1; 32])));
        assert!(!Token { expiry: 10, ..token.clone() }.verify(&key()));
        assert!(!Token { resource_raw: "h%2Fdevices%2Fe".into(), ..token.clone() }.verify(&key()));
        assert!(!Token { signature: "not base64".into(), ..token.clone() }.verify(&key()));
        assert!(!Token { signature: String::new(), ..token }.verify(&key()));
    }

    #[test]
    fn a_token_is_good_for_five_minutes_more() {
        let token = Token::parse(&Token::mint(&key(), "h", 1000, None)).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!token.expired(at(1300)));
        assert!(token.expired(at(1301)));
    }

    #[test]
    fn an_expiry_beyond_all_time_does_not_overflow() {
        let token = Token::parse(&format!("SharedAccessSignature sr=h&sig=YQ==&se={}", i64::MAX)).unwrap();
        assert!(!token.expired(Timestamp::MAX));
    }

    #[test]
    fn a_token_is_for_one_identity_at_one_hub() {
        let token =
            Token::parse(&Token::mint(&key(), "hub.example/devices/edge/modules/f", 9, None)).unwrap();
        let module: Identity = "edge/f".parse().unwrap();
        assert!(token.is_for(&["other", "HUB.example"], &module));
        assert!(token.is_for(&["hub.example"], &"Edge/F".parse().unwrap()));
        assert!(!token.is_for(&["other"], &module));
        assert!(!token.is_for(&["hub.example"], &module.owner()));
        let device = Token::parse(&Token::mint(&key(), "hub.example/devices/edge", 9, None)).unwrap();
        assert!(!device.is_for(&["hub.example"], &module));
    }

    #[test]
    fn a_malformed_token_is_refused_with_what_is_missing() {
        for (text, word) in [
            ("", "SharedAccessSignature"),
            ("Bearer x", "SharedAccessSignature"),
            ("SharedAccessSignature", "name=value"),
            ("SharedAccessSignature  sr=h&sig=a&se=1", "sr"),
            ("SharedAccessSignature sig=a&se=1", "sr"),
            ("SharedAccessSignature sr=h&se=1", "sig"),
            ("SharedAccessSignature sr=h&sig=a", "se"),
            ("SharedAccessSignature sr=h&sig=a&se=soon", "soon"),
            ("SharedAccessSignature sr=h&sig=a&se=+5", "+5"),
            ("SharedAccessSignature sr=h&sig=a&se=05", "05"),
            ("SharedAccessSignature sr=h&sig=a&se=1&sr=i", "more than one"),
            ("SharedAccessSignature sr=%zz&sig=a&se=1", "%25"),
        ] {
            let why = Token::parse(text).unwrap_err().to_string();
            assert!(why.contains(word), "{text}: {why}");
        }
        assert!(Token::parse(&format!("SharedAccessSignature sr={}", "h".repeat(TOKEN_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_log_never_shows_the_signature() {
        let token = Token::parse(&Token::mint(&key(), "h", 9, Some("p"))).unwrap();
        assert!(!format!("{token:?}").contains(&token.signature));
    }
}
