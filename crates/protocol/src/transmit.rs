//! What waits to be written.

use bytes::BytesMut;

/// What a session keeps between two writes so that it need not ask for memory again, in bytes. Given back when the
/// session rests.
const KEPT_BYTES_MAX: usize = 65_536;

/// Bytes that wait to be written. Whoever drives the session bounds them: it hands nothing in while much waits.
#[derive(Debug, Default)]
pub(crate) struct Transmit(BytesMut);

impl Transmit {
    /// To append to.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    /// How many bytes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.len()
    }

    /// Moves everything to the end of `into`: by a copy as long as it fits into memory that is there already, by
    /// handing over the buffer where the copy would have had to ask for more.
    pub(crate) fn give(&mut self, into: &mut BytesMut) {
        if into.is_empty() && self.0.len() > into.capacity() {
            std::mem::swap(&mut self.0, into);
        } else {
            into.extend_from_slice(&self.0);
            self.0.clear();
        }
        if self.0.capacity() > KEPT_BYTES_MAX {
            self.0 = BytesMut::new();
        }
    }

    /// Gives memory back if nothing waits.
    pub(crate) fn rest(&mut self) {
        if self.0.is_empty() {
            self.0 = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_given_once_and_in_order() {
        let (mut transmit, mut into) = (Transmit::default(), BytesMut::new());
        transmit.buffer().extend_from_slice(b"one ");
        transmit.give(&mut into);
        transmit.buffer().extend_from_slice(b"two");
        transmit.give(&mut into);
        transmit.give(&mut into);
        assert_eq!(into, &b"one two"[..]);
    }

    #[test]
    fn a_large_write_leaves_no_large_buffer_behind() {
        let (mut transmit, mut into) = (Transmit::default(), BytesMut::with_capacity(1 << 20));
        transmit.buffer().extend_from_slice(&[7; 200_000]);
        transmit.give(&mut into);
        assert_eq!(into.len(), 200_000);
        assert_eq!(transmit.0.capacity(), 0);
    }
}
