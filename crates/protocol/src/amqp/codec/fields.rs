//! The fields of a list, read one by one.

use bytes::Bytes;

use super::read::{Reader, truth};
use crate::amqp::{Fault, Map, Text, Value};

/// The fields of a list, in their order; those that were left away at the end are as good as null.
pub(in crate::amqp) struct Fields<'r, 'b> {
    reader: &'r mut Reader<'b>,
    left: usize,
    outer_end: usize,
}

impl<'r, 'b> Fields<'r, 'b> {
    /// The list has `left` fields and fills what `reader` may read; what it may read afterwards goes to `outer_end`.
    pub(super) fn new(reader: &'r mut Reader<'b>, left: usize, outer_end: usize) -> Self {
        Self { reader, left, outer_end }
    }

    /// The type code of the next field, unless it is null or not there.
    fn code(&mut self) -> Result<Option<u8>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(self.reader.byte()?).filter(|&code| code != 0x40))
    }

    /// The reader, if the next field is neither null nor left away; nothing of it is read yet.
    pub(in crate::amqp) fn next(&mut self) -> Result<Option<&mut Reader<'b>>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.reader.peek()? == 0x40 {
            self.reader.byte()?;
            return Ok(None);
        }
        Ok(Some(self.reader))
    }

    pub(in crate::amqp) fn boolean(&mut self) -> Result<Option<bool>, Fault> {
        Ok(Some(match self.code()? {
            None => return Ok(None),
            Some(0x41) => true,
            Some(0x42) => false,
            Some(0x56) => truth(self.reader.byte()?)?,
            Some(found) => return Err(Fault::WrongType { found, wanted: "boolean" }),
        }))
    }

    pub(in crate::amqp) fn ubyte(&mut self) -> Result<Option<u8>, Fault> {
        match self.code()? {
            None => Ok(None),
            Some(0x50) => self.reader.byte().map(Some),
            Some(found) => Err(Fault::WrongType { found, wanted: "ubyte" }),
        }
    }

    pub(in crate::amqp) fn ushort(&mut self) -> Result<Option<u16>, Fault> {
        match self.code()? {
            None => Ok(None),
            Some(0x60) => Ok(Some(u16::from_be_bytes(self.reader.take()?))),
            Some(found) => Err(Fault::WrongType { found, wanted: "ushort" }),
        }
    }

    pub(in crate::amqp) fn uint(&mut self) -> Result<Option<u32>, Fault> {
        Ok(Some(match self.code()? {
            None => return Ok(None),
            Some(0x43) => 0,
            Some(0x52) => self.reader.byte()?.into(),
            Some(0x70) => u32::from_be_bytes(self.reader.take()?),
            Some(found) => return Err(Fault::WrongType { found, wanted: "uint" }),
        }))
    }

    pub(in crate::amqp) fn ulong(&mut self) -> Result<Option<u64>, Fault> {
        Ok(Some(match self.code()? {
            None => return Ok(None),
            Some(0x44) => 0,
            Some(0x53) => self.reader.byte()?.into(),
            Some(0x80) => u64::from_be_bytes(self.reader.take()?),
            Some(found) => return Err(Fault::WrongType { found, wanted: "ulong" }),
        }))
    }

    pub(in crate::amqp) fn timestamp(&mut self) -> Result<Option<i64>, Fault> {
        match self.code()? {
            None => Ok(None),
            Some(0x83) => Ok(Some(i64::from_be_bytes(self.reader.take()?))),
            Some(found) => Err(Fault::WrongType { found, wanted: "timestamp" }),
        }
    }

    /// A string or a symbol: clients mix them up, and nothing depends on it.
    pub(in crate::amqp) fn text(&mut self) -> Result<Option<Text>, Fault> {
        match self.code()? {
            None => Ok(None),
            Some(code @ (0xa1 | 0xa3 | 0xb1 | 0xb3)) => match self.reader.variable(code)? {
                Value::String(text) | Value::Symbol(text) => Ok(Some(text)),
                _ => Err(Fault::WrongType { found: code, wanted: "string or symbol" }),
            },
            Some(found) => Err(Fault::WrongType { found, wanted: "string or symbol" }),
        }
    }

    /// The same where the standard has a symbol, so that it can be handed on as one.
    pub(in crate::amqp) fn symbol(&mut self) -> Result<Option<Text>, Fault> {
        match self.text()? {
            Some(text) if !text.is_ascii() => Err(Fault::Ascii),
            text => Ok(text),
        }
    }

    pub(in crate::amqp) fn binary(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.next()? {
            None => Ok(None),
            Some(reader) => reader.binary(),
        }
    }

    pub(in crate::amqp) fn map(&mut self) -> Result<Map, Fault> {
        match self.next()? {
            None => Ok(Map::new()),
            Some(reader) => reader.map_at(0),
        }
    }

    pub(in crate::amqp) fn value(&mut self) -> Result<Value, Fault> {
        match self.next()? {
            None => Ok(Value::Null),
            Some(reader) => reader.value(),
        }
    }

    /// Whatever fields are left are of no interest; the next thing to read is what follows the list.
    pub(in crate::amqp) fn skip(self) {
        self.reader.leave(self.outer_end);
    }
}
