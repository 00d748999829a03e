//! Outcomes, and the errors that are told to a peer.

use std::sync::Arc;

use bytes::BytesMut;

use super::codec::{self, Fields, Reader};
use super::{Fault, Map, Text, Value};

/// An error as it stands in `close`, `end`, `detach` and `rejected`. Its three fields are always written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Error {
    /// What happened, in a word: `amqp:not-found`.
    pub condition: Text,
    /// What happened, in a sentence.
    pub description: Option<Text>,
    /// Whatever else a client may want to know, such as where it is redirected to.
    pub info: Map,
}

impl Error {
    /// `condition` is a symbol such as `amqp:not-found`.
    pub fn new(condition: &'static str, description: impl Into<Text>) -> Self {
        Self {
            condition: Text::from_static(condition),
            description: Some(description.into()),
            info: Map::new(),
        }
    }

    pub(super) fn of(fault: Fault) -> Self {
        Self::new(fault.condition(), fault.to_string())
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        codec::described(0x1d, 3, out, |out| {
            codec::symbol(&self.condition, out);
            codec::optional(self.description.as_ref(), out, |text, out| codec::text(text, out));
            write_map(&self.info, out);
        });
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        if reader.descriptor("an error")? != 0x1d {
            return Err(Fault::Descriptor("an error"));
        }
        let mut fields = reader.fields("an error")?;
        let error = Self {
            condition: fields.text()?.ok_or(Fault::Missing("condition"))?,
            description: fields.text()?,
            info: fields.map()?,
        };
        fields.skip();
        Ok(error)
    }

    /// The next field, if it is there.
    pub(super) fn field(fields: &mut Fields<'_, '_>) -> Result<Option<Self>, Fault> {
        fields.next()?.map(Self::read).transpose()
    }
}

/// A map that has something in it, or null.
pub(super) fn write_map(map: &Map, out: &mut BytesMut) {
    if map.is_empty() { codec::null(out) } else { codec::map(map, out) }
}

/// What became of a delivery. Whatever is large in it is shared: one disposition may be about thousands.
#[derive(Debug, Clone, PartialEq)]
pub enum DeliveryState {
    /// It was taken over.
    Accepted,
    /// It makes no sense and must not come back.
    Rejected(Option<Arc<Error>>),
    /// It was not looked at, or is given back.
    Released,
    /// It is given back, with something to say.
    Modified {
        /// Counts as a failed attempt.
        delivery_failed: bool,
        /// Not to this link again.
        undeliverable_here: bool,
        /// To be merged into the message's annotations.
        annotations: Arc<Map>,
    },
    /// How far an unfinished delivery has come; says nothing about how it ends.
    Received {
        /// The section, counted from 0.
        section: u32,
        /// The byte in it.
        offset: u64,
    },
    /// Something of an extension, such as transactions.
    Other(Arc<Value>),
}

impl DeliveryState {
    /// Whether the delivery has come to its end with this.
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Received { .. } | Self::Other(_))
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Accepted => codec::described(0x24, 0, out, |_| {}),
            Self::Released => codec::described(0x26, 0, out, |_| {}),
            Self::Rejected(error) => codec::described(0x25, 1, out, |out| {
                codec::optional(error.as_deref(), out, Error::write);
            }),
            Self::Modified { delivery_failed, undeliverable_here, annotations } => {
                codec::described(0x27, 3, out, |out| {
                    codec::boolean(*delivery_failed, out);
                    codec::boolean(*undeliverable_here, out);
                    write_map(annotations, out);
                });
            }
            Self::Received { section, offset } => codec::described(0x23, 2, out, |out| {
                codec::uint(*section, out);
                codec::ulong(*offset, out);
            }),
            Self::Other(value) => codec::encode(value, out),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let code = reader.descriptor("a delivery state")?;
        if !(0x23..=0x27).contains(&code) {
            let value = Value::described(Value::ULong(code), reader.value()?);
            return Ok(Self::Other(Arc::new(value)));
        }
        let mut fields = reader.fields("a delivery state")?;
        let state = match code {
            0x23 => Self::Received {
                section: fields.uint()?.unwrap_or_default(),
                offset: fields.ulong()?.unwrap_or_default(),
            },
            0x24 => Self::Accepted,
            0x25 => Self::Rejected(Error::field(&mut fields)?.map(Arc::new)),
            0x26 => Self::Released,
            _ => Self::Modified {
                delivery_failed: fields.boolean()?.unwrap_or_default(),
                undeliverable_here: fields.boolean()?.unwrap_or_default(),
                annotations: Arc::new(fields.map()?),
            },
        };
        fields.skip();
        Ok(state)
    }

    /// The next field, if it is there.
    pub(super) fn field(fields: &mut Fields<'_, '_>) -> Result<Option<Self>, Fault> {
        fields.next()?.map(Self::read).transpose()
    }
}
