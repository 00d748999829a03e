//! The SASL layer: one offer, one answer, one outcome. Challenges are never asked for.

use bytes::{Bytes, BytesMut};

use super::codec::{self, Reader};
use super::{Fault, Text, frame};

/// The largest SASL frame that is taken, in bytes. The standard says 512, but a token in PLAIN is often longer.
pub const SASL_FRAME_BYTES_MAX: u32 = 16_384;

/// How SASL ended, as it stands in `sasl-outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SaslCode {
    /// Welcome.
    Ok = 0,
    /// Wrong credentials.
    Auth = 1,
    /// Our own trouble.
    Sys = 2,
    /// Our own trouble, and it will last.
    SysPerm = 3,
    /// Our own trouble, and it will pass.
    SysTemp = 4,
}

/// What a client says in `sasl-init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaslInit {
    /// One of those that were offered.
    pub mechanism: Text,
    /// With PLAIN: authorisation id, NUL, user name, NUL, password.
    pub response: Option<Bytes>,
    /// The host that the client means.
    pub hostname: Option<Text>,
}

impl SaslInit {
    /// User name and password of PLAIN.
    pub fn plain(&self) -> Option<(&str, &str)> {
        let text = std::str::from_utf8(self.response.as_ref()?).ok()?;
        let mut parts = text.split('\0').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(user), Some(password), None) => Some((user, password)),
            _ => None,
        }
    }

    pub(super) fn read(body: &Bytes) -> Result<Self, Fault> {
        let mut reader = Reader::new(body);
        if reader.descriptor("sasl-init")? != 0x41 {
            return Err(Fault::SaslTurn);
        }
        let mut fields = reader.fields("sasl-init")?;
        let init = Self {
            mechanism: fields.text()?.ok_or(Fault::Missing("mechanism"))?,
            response: fields.binary()?,
            hostname: fields.text()?,
        };
        fields.skip();
        Ok(init)
    }
}

/// Appends `sasl-mechanisms`. An array even when there is only one: not every client reads a lone symbol.
pub(super) fn mechanisms(offered: &[Text], out: &mut BytesMut) {
    let names = offered.iter().cloned().map(super::Value::Symbol).collect();
    frame::encode(frame::SASL, 0, out, |out| {
        codec::described(0x40, 1, out, |out| codec::encode(&super::Value::Array(names), out));
    });
}

/// Appends `sasl-outcome`.
pub(super) fn outcome(code: SaslCode, out: &mut BytesMut) {
    frame::encode(frame::SASL, 0, out, |out| {
        codec::described(0x44, 1, out, |out| codec::ubyte(code as u8, out));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_written_as_it_was_seen_on_the_wire() {
        let mut out = BytesMut::new();
        outcome(SaslCode::Ok, &mut out);
        assert_eq!(out, &b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x00"[..]);
    }

    #[test]
    fn what_azure_eventhub_sends_is_understood() {
        let body = b"\x00\x53\x41\xc0\x19\x03\xa3\x09ANONYMOUS\xa0\x00\xa1\x09127.0.0.1";
        let init = SaslInit::read(&Bytes::from_static(body)).unwrap();
        assert_eq!((&*init.mechanism, init.hostname.as_deref()), ("ANONYMOUS", Some("127.0.0.1")));
        assert_eq!(init.response, Some(Bytes::new()));
    }

    #[test]
    fn user_and_password_come_out_of_plain_and_nothing_else_does() {
        let init = |response: &'static [u8]| SaslInit {
            mechanism: Text::from_static("PLAIN"),
            response: Some(Bytes::from_static(response)),
            hostname: None,
        };
        assert_eq!(init(b"\0user\0secret").plain(), Some(("user", "secret")));
        assert_eq!(init(b"me\0user\0secret").plain(), Some(("user", "secret")));
        for wrong in [&b""[..], b"\0user", b"\0user\0secret\0", b"\0\xff\0secret"] {
            assert_eq!(init(wrong).plain(), None, "{wrong:?}");
        }
    }
}
