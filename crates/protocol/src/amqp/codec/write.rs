//! From values to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::amqp::{Map, Text, Value};

pub(super) fn value(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null => null(out),
        Value::Bool(held) => boolean(*held, out),
        Value::UInt(held) => uint(*held, out),
        Value::ULong(held) => ulong(*held, out),
        Value::Int(held) => match i8::try_from(*held) {
            Ok(small) => out.put_slice(&[0x54, small.to_be_bytes()[0]]),
            Err(_) => wide(value, out),
        },
        Value::Long(held) => match i8::try_from(*held) {
            Ok(small) => out.put_slice(&[0x55, small.to_be_bytes()[0]]),
            Err(_) => wide(value, out),
        },
        Value::Binary(bytes) => variable(0xa0, bytes, out),
        Value::String(text) => variable(0xa1, text.as_bytes(), out),
        Value::Symbol(text) => variable(0xa3, text.as_bytes(), out),
        Value::List(items) => list(items, out),
        Value::Map(pairs) => map(pairs, out),
        Value::Array(items) => array(items, out),
        Value::Described(pair) => {
            out.put_u8(0x00);
            self::value(&pair.0, out);
            self::value(&pair.1, out);
        }
        _ => wide(value, out),
    }
}

/// With the one type code that an array of this type has.
fn wide(value: &Value, out: &mut BytesMut) {
    out.put_u8(wide_code(value));
    wide_body(value, out);
}

/// The type code of the widest form.
fn wide_code(value: &Value) -> u8 {
    match value {
        Value::Null | Value::Described(_) => 0x40,
        Value::Bool(_) => 0x56,
        Value::UByte(_) => 0x50,
        Value::UShort(_) => 0x60,
        Value::UInt(_) => 0x70,
        Value::ULong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xb0,
        Value::String(_) => 0xb1,
        Value::Symbol(_) => 0xb3,
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) => 0xf0,
    }
}

/// What follows [`wide_code`].
fn wide_body(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null | Value::Described(_) => {}
        Value::Bool(held) => out.put_u8(u8::from(*held)),
        Value::UByte(held) => out.put_u8(*held),
        Value::UShort(held) => out.put_u16(*held),
        Value::UInt(held) => out.put_u32(*held),
        Value::ULong(held) => out.put_u64(*held),
        Value::Byte(held) => out.put_i8(*held),
        Value::Short(held) => out.put_i16(*held),
        Value::Int(held) => out.put_i32(*held),
        Value::Long(held) | Value::Timestamp(held) => out.put_i64(*held),
        Value::Float(held) => out.put_f32(*held),
        Value::Double(held) => out.put_f64(*held),
        Value::Decimal32(bytes) => out.put_slice(bytes),
        Value::Decimal64(bytes) => out.put_slice(bytes),
        Value::Decimal128(bytes) | Value::Uuid(bytes) => out.put_slice(bytes),
        Value::Char(held) => out.put_u32((*held).into()),
        Value::Binary(bytes) => long(bytes, out),
        Value::String(text) | Value::Symbol(text) => long(text.as_bytes(), out),
        Value::List(items) => {
            sized(out, items.len(), |out| items.iter().for_each(|item| self::value(item, out)));
        }
        Value::Map(pairs) => sized(out, pairs.len() * 2, |out| write_pairs(pairs, out)),
        Value::Array(items) => sized(out, items.len(), |out| elements(items, out)),
    }
}

fn write_pairs(pairs: &Map, out: &mut BytesMut) {
    for (key, held) in &pairs.0 {
        value(key, out);
        value(held, out);
    }
}

fn long(bytes: &[u8], out: &mut BytesMut) {
    out.put_u32(length32(bytes.len()));
    out.put_slice(bytes);
}

/// A size and a count of four bytes each, then what `fill` writes.
fn sized(out: &mut BytesMut, count: usize, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(length32(count));
    fill(out);
    let size = length32(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn length32(length: usize) -> u32 {
    u32::try_from(length).expect("nothing of 4 GiB is ever written: messages are bounded far below")
}

/// An array in its widest form, or a list where no array can hold the values.
fn array(items: &[Value], out: &mut BytesMut) {
    if !uniform(items) {
        return list(items, out);
    }
    out.put_u8(0xf0);
    sized(out, items.len(), |out| elements(items, out));
}

/// Whether one constructor serves all of them, and all that is in them.
fn uniform(items: &[Value]) -> bool {
    items.iter().all(|item| alike(&items[0], item))
}

fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Described(one), Value::Described(other)) => one.0 == other.0 && alike(&one.1, &other.1),
        (Value::Array(_), Value::Array(items)) => uniform(items),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// The constructor, once, and then every element without one.
fn elements(items: &[Value], out: &mut BytesMut) {
    let mut first = items.first().unwrap_or(&Value::Null);
    while let Value::Described(pair) = first {
        out.put_u8(0x00);
        value(&pair.0, out);
        first = &pair.1;
    }
    out.put_u8(wide_code(first));
    for item in items {
        let mut item = item;
        while let Value::Described(pair) = item {
            item = &pair.1;
        }
        wide_body(item, out);
    }
}

fn list(items: &[Value], out: &mut BytesMut) {
    compound(0xc0, items.len(), out, |out| items.iter().for_each(|item| value(item, out)));
}

/// A map; an empty one is written as such.
pub(in crate::amqp) fn map(pairs: &Map, out: &mut BytesMut) {
    compound(0xc1, pairs.len() * 2, out, |out| write_pairs(pairs, out));
}

/// A list or map of what `fill` writes: `code` with one byte for size and count where that is enough, else with four.
/// The small form is tried first and widened by moving what was written, which is rare.
pub(in crate::amqp) fn compound(
    code: u8,
    count: usize,
    out: &mut BytesMut,
    fill: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.put_slice(&[code, 0, 0]);
    fill(out);
    let filled = out.len() - start - 3;
    match (u8::try_from(filled + 1), u8::try_from(count)) {
        (Ok(size), Ok(count)) => {
            out[start + 1] = size;
            out[start + 2] = count;
        }
        _ => {
            out.put_bytes(0, 6);
            out.copy_within(start + 3..start + 3 + filled, start + 9);
            out[start] = code | 0x10;
            out[start + 1..start + 5].copy_from_slice(&length32(filled + 4).to_be_bytes());
            out[start + 5..start + 9].copy_from_slice(&length32(count).to_be_bytes());
        }
    }
}

/// `00 53 code`: the only form of a descriptor that azure-eventhub reads.
pub(in crate::amqp) fn descriptor(code: u8, out: &mut BytesMut) {
    out.put_slice(&[0x00, 0x53, code]);
}

/// A described list of exactly `count` fields.
pub(in crate::amqp) fn described(
    code: u8,
    count: usize,
    out: &mut BytesMut,
    fill: impl FnOnce(&mut BytesMut),
) {
    descriptor(code, out);
    compound(0xc0, count, out, fill);
}

pub(in crate::amqp) fn null(out: &mut BytesMut) {
    out.put_u8(0x40);
}

pub(in crate::amqp) fn boolean(held: bool, out: &mut BytesMut) {
    out.put_u8(if held { 0x41 } else { 0x42 });
}

pub(in crate::amqp) fn ubyte(held: u8, out: &mut BytesMut) {
    out.put_slice(&[0x50, held]);
}

pub(in crate::amqp) fn ushort(held: u16, out: &mut BytesMut) {
    out.put_u8(0x60);
    out.put_u16(held);
}

pub(in crate::amqp) fn uint(held: u32, out: &mut BytesMut) {
    match u8::try_from(held) {
        Ok(0) => out.put_u8(0x43),
        Ok(small) => out.put_slice(&[0x52, small]),
        Err(_) => {
            out.put_u8(0x70);
            out.put_u32(held);
        }
    }
}

pub(in crate::amqp) fn ulong(held: u64, out: &mut BytesMut) {
    match u8::try_from(held) {
        Ok(0) => out.put_u8(0x44),
        Ok(small) => out.put_slice(&[0x53, small]),
        Err(_) => {
            out.put_u8(0x80);
            out.put_u64(held);
        }
    }
}

pub(in crate::amqp) fn timestamp(held: i64, out: &mut BytesMut) {
    out.put_u8(0x83);
    out.put_i64(held);
}

pub(in crate::amqp) fn binary(bytes: &Bytes, out: &mut BytesMut) {
    variable(0xa0, bytes, out);
}

pub(in crate::amqp) fn text(text: &str, out: &mut BytesMut) {
    variable(0xa1, text.as_bytes(), out);
}

pub(in crate::amqp) fn symbol(text: &str, out: &mut BytesMut) {
    // A content type may come by MQTT, where any text is allowed; a peer that is strict would close the connection.
    variable(0xa3, Text::in_ascii(text).as_bytes(), out);
}

/// Null, or what `write` writes of it.
pub(in crate::amqp) fn optional<T>(
    held: Option<T>,
    out: &mut BytesMut,
    write: impl FnOnce(T, &mut BytesMut),
) {
    match held {
        Some(held) => write(held, out),
        None => null(out),
    }
}

fn variable(code: u8, bytes: &[u8], out: &mut BytesMut) {
    match u8::try_from(bytes.len()) {
        Ok(length) => out.put_slice(&[code, length]),
        Err(_) => {
            out.put_u8(code | 0x10);
            out.put_u32(length32(bytes.len()));
        }
    }
    out.put_slice(bytes);
}
