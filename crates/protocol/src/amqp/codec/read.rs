//! From bytes to values.

use bytes::Bytes;

use super::{DEPTH_MAX, Fields, VALUES_MAX};
use crate::amqp::{Fault, Map, Text, Value};

/// Walks over bytes, never past `end`, and keeps count of what it makes.
pub(in crate::amqp) struct Reader<'b> {
    bytes: &'b Bytes,
    at: usize,
    end: usize,
    values: usize,
}

/// How long a compound value is and where it ends.
struct Extent {
    count: usize,
    end: usize,
}

impl<'b> Reader<'b> {
    pub(in crate::amqp) fn new(bytes: &'b Bytes) -> Self {
        Self { bytes, at: 0, end: bytes.len(), values: VALUES_MAX }
    }

    pub(in crate::amqp) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// What was not read, without copying.
    pub(in crate::amqp) fn rest(self) -> Bytes {
        self.bytes.slice(self.at..self.end)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let end = self.at + N;
        if end > self.end {
            return Err(Fault::Truncated);
        }
        let taken = self.bytes[self.at..end].try_into().expect("N bytes make an array of N");
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn peek(&self) -> Result<u8, Fault> {
        if self.at < self.end { Ok(self.bytes[self.at]) } else { Err(Fault::Truncated) }
    }

    fn length(&mut self, wide: bool) -> Result<usize, Fault> {
        Ok(if wide { u32::from_be_bytes(self.take()?) as usize } else { self.byte()?.into() })
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, Fault> {
        if length > self.end - self.at {
            return Err(Fault::Truncated);
        }
        let slice = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(slice)
    }

    /// Size and count of a list, map or array. An element that takes bytes takes at least one, so a list or map whose
    /// count is above its size is refused before anything is allocated.
    fn extent(&mut self, code: u8) -> Result<Extent, Fault> {
        if code == 0x45 {
            return Ok(Extent { count: 0, end: self.at });
        }
        let wide = code & 0x10 != 0;
        let size = self.length(wide)?;
        if size > self.end - self.at {
            return Err(Fault::Truncated);
        }
        let end = self.at + size;
        let count = self.length(wide)?;
        if self.at > end || (code & 0xe0 == 0xc0 && count > end - self.at) {
            return Err(Fault::Truncated);
        }
        Ok(Extent { count, end })
    }

    /// The code of a described value's descriptor: a ulong, or the symbol that stands for it.
    pub(in crate::amqp) fn descriptor(&mut self, wanted: &'static str) -> Result<u64, Fault> {
        match self.byte()? {
            0x00 => {}
            found => return Err(Fault::WrongType { found, wanted }),
        }
        match self.byte()? {
            0x53 => self.byte().map(u64::from),
            0x80 => self.take().map(u64::from_be_bytes),
            0x44 => Ok(0),
            code @ (0xa3 | 0xb3) => {
                let length = self.length(code & 0x10 != 0)?;
                let name = self.slice(length)?;
                symbolic(&name).ok_or(Fault::Descriptor(wanted))
            }
            _ => Err(Fault::Descriptor(wanted)),
        }
    }

    /// A list whose fields are read one by one.
    pub(in crate::amqp) fn fields(&mut self, wanted: &'static str) -> Result<Fields<'_, 'b>, Fault> {
        match self.byte()? {
            code @ (0x45 | 0xc0 | 0xd0) => {
                let Extent { count, end } = self.extent(code)?;
                let outer_end = std::mem::replace(&mut self.end, end);
                Ok(Fields::new(self, count, outer_end))
            }
            found => Err(Fault::WrongType { found, wanted }),
        }
    }

    /// Any value.
    pub(in crate::amqp) fn value(&mut self) -> Result<Value, Fault> {
        self.value_at(0)
    }

    /// A map, or null.
    pub(in crate::amqp) fn map(&mut self) -> Result<Map, Fault> {
        self.map_at(0)
    }

    /// A list, or null.
    pub(in crate::amqp) fn list(&mut self) -> Result<Vec<Value>, Fault> {
        match self.value()? {
            Value::List(values) => Ok(values),
            Value::Null => Ok(Vec::new()),
            _ => Err(Fault::Descriptor("a list")),
        }
    }

    /// Bytes, or null.
    pub(in crate::amqp) fn binary(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.byte()? {
            0x40 => Ok(None),
            code @ (0xa0 | 0xb0) => {
                let length = self.length(code & 0x10 != 0)?;
                self.slice(length).map(Some)
            }
            found => Err(Fault::WrongType { found, wanted: "binary" }),
        }
    }

    pub(super) fn map_at(&mut self, depth: usize) -> Result<Map, Fault> {
        match self.byte()? {
            0x40 => Ok(Map::new()),
            code @ (0xc1 | 0xd1) => self.pairs(code, depth),
            found => Err(Fault::WrongType { found, wanted: "a map" }),
        }
    }

    fn value_at(&mut self, depth: usize) -> Result<Value, Fault> {
        match self.byte()? {
            0x00 => {
                deeper(depth)?;
                self.count(1)?;
                let descriptor = self.value_at(depth + 1)?;
                Ok(Value::described(descriptor, self.value_at(depth + 1)?))
            }
            code => self.body(code, depth),
        }
    }

    /// What follows the type code, which in an array stands only once.
    fn body(&mut self, code: u8, depth: usize) -> Result<Value, Fault> {
        self.count(1)?;
        Ok(match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x43 => Value::UInt(0),
            0x44 => Value::ULong(0),
            0x50 => Value::UByte(self.byte()?),
            0x51 => Value::Byte(i8::from_be_bytes(self.take()?)),
            0x52 => Value::UInt(self.byte()?.into()),
            0x53 => Value::ULong(self.byte()?.into()),
            0x54 => Value::Int(i8::from_be_bytes(self.take()?).into()),
            0x55 => Value::Long(i8::from_be_bytes(self.take()?).into()),
            0x56 => Value::Bool(truth(self.byte()?)?),
            0x60 => Value::UShort(u16::from_be_bytes(self.take()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.take()?)),
            0x70 => Value::UInt(u32::from_be_bytes(self.take()?)),
            0x71 => Value::Int(i32::from_be_bytes(self.take()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.take()?)),
            0x73 => Value::Char(char::from_u32(u32::from_be_bytes(self.take()?)).ok_or(Fault::Char)?),
            0x74 => Value::Decimal32(self.take()?),
            0x80 => Value::ULong(u64::from_be_bytes(self.take()?)),
            0x81 => Value::Long(i64::from_be_bytes(self.take()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.take()?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(self.take()?)),
            0x84 => Value::Decimal64(self.take()?),
            0x94 => Value::Decimal128(self.take()?),
            0x98 => Value::Uuid(self.take()?),
            0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 => self.variable(code)?,
            0x45 | 0xc0 | 0xd0 => Value::List(self.items(code, depth)?),
            0xc1 | 0xd1 => Value::Map(self.pairs(code, depth)?),
            0xe0 | 0xf0 => Value::Array(self.array(code, depth)?),
            _ => return Err(Fault::TypeCode(code)),
        })
    }

    pub(super) fn variable(&mut self, code: u8) -> Result<Value, Fault> {
        let length = self.length(code & 0x10 != 0)?;
        let bytes = self.slice(length)?;
        Ok(match code & 0x0f {
            0 => Value::Binary(bytes),
            1 => Value::String(Text::new(bytes)?),
            _ => Value::Symbol(Text::symbol(bytes)?),
        })
    }

    fn items(&mut self, code: u8, depth: usize) -> Result<Vec<Value>, Fault> {
        deeper(depth)?;
        let extent = self.extent(code)?;
        self.within(&extent, |reader| {
            let mut items = Vec::with_capacity(reader.room(extent.count)?);
            for _ in 0..extent.count {
                items.push(reader.value_at(depth + 1)?);
            }
            Ok(items)
        })
    }

    fn pairs(&mut self, code: u8, depth: usize) -> Result<Map, Fault> {
        deeper(depth)?;
        let extent = self.extent(code)?;
        if extent.count % 2 == 1 {
            return Err(Fault::MapOdd(extent.count));
        }
        self.within(&extent, |reader| {
            let mut pairs = Vec::with_capacity(reader.room(extent.count)? / 2);
            for _ in 0..extent.count / 2 {
                pairs.push((reader.value_at(depth + 1)?, reader.value_at(depth + 1)?));
            }
            Ok(Map(pairs))
        })
    }

    /// The elements of an array. Some types take no bytes at all, so here the count says nothing about the size and
    /// only the bound on values stands between a peer and our memory.
    fn array(&mut self, code: u8, depth: usize) -> Result<Vec<Value>, Fault> {
        deeper(depth)?;
        let extent = self.extent(code)?;
        self.within(&extent, |reader| {
            let room = reader.room(extent.count)?;
            let mut descriptors = Vec::new();
            let mut element = reader.byte()?;
            while element == 0x00 {
                if depth + descriptors.len() >= DEPTH_MAX {
                    return Err(Fault::Depth(DEPTH_MAX));
                }
                // Each element gets a copy, so only descriptors that are cheap to copy are taken.
                match reader.value_at(depth + 1)? {
                    simple @ (Value::ULong(_) | Value::Symbol(_)) => descriptors.push(simple),
                    _ => return Err(Fault::Descriptor("a ulong or a symbol")),
                }
                element = reader.byte()?;
            }
            let inner = depth + 1 + descriptors.len();
            let mut values = Vec::with_capacity(room);
            for _ in 0..extent.count {
                reader.count(2 * descriptors.len())?;
                let value = reader.body(element, inner)?;
                let describe = |value, descriptor: &Value| Value::described(descriptor.clone(), value);
                values.push(descriptors.iter().rev().fold(value, describe));
            }
            Ok(values)
        })
    }

    /// Reads inside of `extent`, all of it.
    fn within<T>(
        &mut self,
        extent: &Extent,
        read: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outer_end = std::mem::replace(&mut self.end, extent.end);
        let value = read(self)?;
        if self.at != extent.end {
            return Err(Fault::Truncated);
        }
        self.end = outer_end;
        Ok(value)
    }

    /// How many elements may be allocated for, if that many may be at all.
    fn room(&self, count: usize) -> Result<usize, Fault> {
        if count <= self.values { Ok(count) } else { Err(Fault::TooManyValues(VALUES_MAX)) }
    }

    /// Goes on after a list of which the rest is of no interest.
    pub(super) fn leave(&mut self, outer_end: usize) {
        self.at = self.end;
        self.end = outer_end;
    }

    /// Counts what is about to be made.
    pub(in crate::amqp) fn count(&mut self, values: usize) -> Result<(), Fault> {
        self.values = self.values.checked_sub(values).ok_or(Fault::TooManyValues(VALUES_MAX))?;
        Ok(())
    }
}

fn deeper(depth: usize) -> Result<(), Fault> {
    if depth < DEPTH_MAX { Ok(()) } else { Err(Fault::Depth(DEPTH_MAX)) }
}

pub(super) fn truth(byte: u8) -> Result<bool, Fault> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Fault::Boolean(other)),
    }
}

/// The numeric descriptor that a symbolic one stands for. Nobody is known to send these, but they are allowed.
fn symbolic(name: &[u8]) -> Option<u64> {
    const NAMES: [(&str, u64); 32] = [
        ("amqp:open:list", 0x10),
        ("amqp:begin:list", 0x11),
        ("amqp:attach:list", 0x12),
        ("amqp:flow:list", 0x13),
        ("amqp:transfer:list", 0x14),
        ("amqp:disposition:list", 0x15),
        ("amqp:detach:list", 0x16),
        ("amqp:end:list", 0x17),
        ("amqp:close:list", 0x18),
        ("amqp:error:list", 0x1d),
        ("amqp:received:list", 0x23),
        ("amqp:accepted:list", 0x24),
        ("amqp:rejected:list", 0x25),
        ("amqp:released:list", 0x26),
        ("amqp:modified:list", 0x27),
        ("amqp:source:list", 0x28),
        ("amqp:target:list", 0x29),
        ("amqp:coordinator:list", 0x30),
        ("amqp:sasl-mechanisms:list", 0x40),
        ("amqp:sasl-init:list", 0x41),
        ("amqp:sasl-challenge:list", 0x42),
        ("amqp:sasl-response:list", 0x43),
        ("amqp:sasl-outcome:list", 0x44),
        ("amqp:header:list", 0x70),
        ("amqp:delivery-annotations:map", 0x71),
        ("amqp:message-annotations:map", 0x72),
        ("amqp:properties:list", 0x73),
        ("amqp:application-properties:map", 0x74),
        ("amqp:data:binary", 0x75),
        ("amqp:amqp-sequence:list", 0x76),
        ("amqp:amqp-value:*", 0x77),
        ("amqp:footer:map", 0x78),
    ];
    NAMES.iter().find(|(held, _)| held.as_bytes() == name).map(|&(_, code)| code)
}
