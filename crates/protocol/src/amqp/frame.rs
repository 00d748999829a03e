//! Frames: eight bytes of header, then a performative, then perhaps a piece of a message.

use bytes::{BufMut, Bytes, BytesMut};

use super::Fault;

/// The header of a connection with nothing around it.
pub const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// The header of a connection that begins with SASL.
pub const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
/// The smallest frame that every peer has to take, in bytes.
pub const FRAME_BYTES_MIN: u32 = 512;

/// The type of an AMQP frame, the fifth byte.
pub(super) const AMQP: u8 = 0;
/// The type of a SASL frame.
pub(super) const SASL: u8 = 1;

/// One frame off the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 0 for AMQP, 1 for SASL.
    pub kind: u8,
    /// The session's channel; means nothing in SASL.
    pub channel: u16,
    /// All after the header; a slice of what was read. Empty in a frame that only says that its sender is alive.
    pub body: Bytes,
}

/// Takes one frame off the front of `bytes`; nothing as long as it is not whole.
///
/// # Errors
/// A size below eight or above `frame_bytes_max`, an offset outside the frame, an unknown type. Each is said as soon
/// as it can be known: nobody has to buffer what will be refused.
pub fn decode(bytes: &mut BytesMut, frame_bytes_max: u32) -> Result<Option<Frame>, Fault> {
    let Some(&header) = bytes.first_chunk::<8>() else { return early(bytes, frame_bytes_max) };
    let [a, b, c, d, doff, kind, e, f] = header;
    let size = u32::from_be_bytes([a, b, c, d]);
    check_size(size, frame_bytes_max)?;
    let start = usize::from(doff) * 4;
    if start < 8 || start > size as usize {
        return Err(Fault::FrameOffset { doff, size });
    }
    if kind > SASL {
        return Err(Fault::FrameType(kind));
    }
    if bytes.len() < size as usize {
        return Ok(None);
    }
    let body = bytes.split_to(size as usize).freeze().slice(start..);
    Ok(Some(Frame { kind, channel: u16::from_be_bytes([e, f]), body }))
}

/// With fewer than eight bytes there, the size may still be wrong already.
fn early(bytes: &BytesMut, frame_bytes_max: u32) -> Result<Option<Frame>, Fault> {
    match bytes.first_chunk::<4>() {
        Some(&size) => check_size(u32::from_be_bytes(size), frame_bytes_max).map(|()| None),
        None => Ok(None),
    }
}

fn check_size(size: u32, limit: u32) -> Result<(), Fault> {
    match size {
        0..8 => Err(Fault::FrameShort(size)),
        _ if size > limit => Err(Fault::FrameTooLarge { size, limit }),
        _ => Ok(()),
    }
}

/// Appends a frame of what `fill` writes.
pub(super) fn encode(kind: u8, channel: u16, out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(&[0, 0, 0, 0, 2, kind]);
    out.put_u16(channel);
    fill(out);
    let size = u32::try_from(out.len() - start).expect("frames are bounded far below 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a frame that says nothing but that we are here.
pub(super) fn empty(out: &mut BytesMut) {
    encode(AMQP, 0, out, |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Option<Frame>, Fault> {
        decode(&mut BytesMut::from(bytes), 512)
    }

    #[test]
    fn a_frame_is_taken_when_it_is_whole_and_not_before() {
        let mut written = BytesMut::new();
        encode(AMQP, 3, &mut written, |out| out.put_slice(b"body"));
        for cut in 0..written.len() {
            assert_eq!(decoded(&written[..cut]), Ok(None), "{cut} bytes of it");
        }
        let frame = Frame { kind: AMQP, channel: 3, body: Bytes::from_static(b"body") };
        assert_eq!(decoded(&written), Ok(Some(frame)));
    }

    #[test]
    fn an_extended_header_is_skipped() {
        let bytes = [0, 0, 0, 13, 3, 0, 0, 1, 9, 9, 9, 9, 7];
        let frame = Frame { kind: AMQP, channel: 1, body: Bytes::from_static(&[7]) };
        assert_eq!(decoded(&bytes), Ok(Some(frame)));
    }

    #[test]
    fn a_header_that_cannot_be_is_refused_before_its_frame_has_come() {
        assert_eq!(decoded(&[0, 0, 0, 7]), Err(Fault::FrameShort(7)));
        assert_eq!(decoded(&[0, 0, 0, 0]), Err(Fault::FrameShort(0)));
        assert_eq!(decoded(&[0, 0, 2, 1]), Err(Fault::FrameTooLarge { size: 513, limit: 512 }));
        assert_eq!(decoded(&[0, 0, 0, 8, 1, 0, 0, 0]), Err(Fault::FrameOffset { doff: 1, size: 8 }));
        assert_eq!(decoded(&[0, 0, 0, 8, 3, 0, 0, 0]), Err(Fault::FrameOffset { doff: 3, size: 8 }));
        assert_eq!(decoded(&[0, 0, 0, 8, 2, 2, 0, 0]), Err(Fault::FrameType(2)));
    }
}
