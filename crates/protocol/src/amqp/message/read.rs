//! From bytes to a message.

use bytes::Bytes;

use super::{Body, Header, Message, Properties};
use crate::amqp::Fault;
use crate::amqp::codec::{Fields, Reader};

const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;

impl Message {
    /// Reads a whole message. Bodies and texts are slices of `bytes`: who keeps one for long keeps all of that.
    ///
    /// # Errors
    /// Sections that do not exist, are out of order or hold something else than they should.
    pub fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        let mut reader = Reader::new(bytes);
        let mut message = Self::default();
        let mut last = 0;
        while !reader.is_empty() {
            let code = reader.descriptor("a message section")?;
            let again = code == last && matches!(code, DATA | SEQUENCE);
            if code < last || (code == last && !again) {
                return Err(Fault::SectionOrder);
            }
            last = code;
            message.section(code, &mut reader)?;
        }
        Ok(message)
    }

    fn section(&mut self, code: u64, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match code {
            0x70 => self.header = Some(header(reader)?),
            0x71 => self.delivery_annotations = reader.map()?,
            0x72 => self.annotations = reader.map()?,
            0x73 => *self.properties = properties(reader)?,
            0x74 => self.application_properties = reader.map()?,
            DATA | SEQUENCE | VALUE => return self.body(code, reader),
            0x78 => self.footer = reader.map()?,
            _ => return Err(Fault::Descriptor("a message section")),
        }
        Ok(())
    }

    fn body(&mut self, code: u64, reader: &mut Reader<'_>) -> Result<(), Fault> {
        self.body = match (code, std::mem::take(&mut self.body)) {
            (DATA, Body::Nothing) => Body::Data(data(reader)?),
            (DATA, Body::Data(first)) => Body::Pieces(vec![first, data(reader)?]),
            (DATA, Body::Pieces(mut pieces)) => {
                pieces.push(data(reader)?);
                Body::Pieces(pieces)
            }
            (SEQUENCE, Body::Nothing) => Body::Sequences(vec![reader.list()?]),
            (SEQUENCE, Body::Sequences(mut sequences)) => {
                sequences.push(reader.list()?);
                Body::Sequences(sequences)
            }
            (VALUE, Body::Nothing) => Body::Value(reader.value()?),
            _ => return Err(Fault::SectionOrder),
        };
        Ok(())
    }
}

fn data(reader: &mut Reader<'_>) -> Result<Bytes, Fault> {
    reader.count(1)?; // in pieces too, one on the wire takes less than one in memory
    reader.binary()?.ok_or(Fault::Missing("data"))
}

fn header(reader: &mut Reader<'_>) -> Result<Header, Fault> {
    let mut fields = reader.fields("a header")?;
    let header = Header {
        durable: fields.boolean()?.unwrap_or_default(),
        priority: fields.ubyte()?.unwrap_or(4),
        ttl: fields.uint()?,
        first_acquirer: fields.boolean()?.unwrap_or_default(),
        delivery_count: fields.uint()?.unwrap_or_default(),
    };
    fields.skip();
    Ok(header)
}

fn properties(reader: &mut Reader<'_>) -> Result<Properties, Fault> {
    let mut fields = reader.fields("properties")?;
    let properties = Properties {
        message_id: fields.value()?,
        user_id: user_id(&mut fields)?,
        to: fields.text()?,
        subject: fields.text()?,
        reply_to: fields.text()?,
        correlation_id: fields.value()?,
        content_type: fields.symbol()?,
        content_encoding: fields.symbol()?,
        absolute_expiry_time: fields.timestamp()?,
        creation_time: fields.timestamp()?,
        group_id: fields.text()?,
        group_sequence: fields.uint()?,
        reply_to_group_id: fields.text()?,
    };
    fields.skip();
    Ok(properties)
}

/// A binary, as the standard has it; JavaScript clients write what their user gave them, a string most often.
fn user_id(fields: &mut Fields<'_, '_>) -> Result<Option<Bytes>, Fault> {
    use crate::amqp::Value;
    match fields.value()? {
        Value::Null => Ok(None),
        Value::Binary(bytes) => Ok(Some(bytes)),
        Value::String(text) | Value::Symbol(text) => Ok(Some(text.as_bytes().clone())),
        _ => Err(Fault::Field("user-id")),
    }
}
