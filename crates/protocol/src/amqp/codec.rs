//! Values and bytes: the type system of AMQP 1.0, part 1 of the standard.
//!
//! What is read is bounded in depth and in number before memory is asked for. What is written uses the forms that
//! every known client reads: small descriptors, `list8` or `list32` and never `list0`.

mod fields;
mod read;
mod write;

use bytes::{Bytes, BytesMut};

pub(super) use fields::Fields;
pub(super) use read::Reader;
pub(super) use write::{binary, map, timestamp, ubyte, ushort};
pub(super) use write::{boolean, compound, described, descriptor, null, optional, symbol, text, uint, ulong};

use super::{Fault, Value};

/// Levels of values within values. Clients nest three; each level costs stack, so a deeper one ends the connection.
pub const DEPTH_MAX: usize = 32;

/// Values in one frame, or in one message outside of its data sections. Each takes 40 bytes once read, and some only
/// one on the wire; a frame or message with more ends the connection.
pub const VALUES_MAX: usize = 8_192;

/// Reads one value, which has to be all of `bytes`. Strings, symbols and binaries are slices of it, not copies.
///
/// # Errors
/// Not a value, or one that is too deep or has too many others in it.
pub fn decode(bytes: &Bytes) -> Result<Value, Fault> {
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    if reader.is_empty() { Ok(value) } else { Err(Fault::Truncated) }
}

/// Appends one value in the shortest form of its type.
pub fn encode(value: &Value, into: &mut BytesMut) {
    write::value(value, into);
}
