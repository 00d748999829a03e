//! One buffer to read into and one to write from for each thread.

use bytes::BytesMut;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// How much is read at once.
pub(super) const READ_BYTES: usize = 64 << 10;
/// A buffer that grew past this is given back to the system.
const KEPT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static READING: Cell<BytesMut> = Cell::default();
    static WRITING: Cell<BytesMut> = Cell::default();
}

/// This thread's buffer to read into: empty, with room. When everything that was cut out of it is gone the same
/// memory is used again, so a loop that keeps nothing allocates nothing.
pub(super) fn reading() -> Scratch {
    let mut scratch = Scratch::borrow(&READING);
    scratch.reserve(READ_BYTES);
    scratch
}

/// This thread's buffer to write from: empty.
pub(super) fn writing() -> Scratch {
    Scratch::borrow(&WRITING)
}

/// A buffer out of a thread's slot, which goes back there.
pub(super) struct Scratch {
    buffer: BytesMut,
    home: &'static LocalKey<Cell<BytesMut>>,
}

impl Scratch {
    fn borrow(home: &'static LocalKey<Cell<BytesMut>>) -> Self {
        let mut buffer = home.take();
        buffer.clear();
        Self { buffer, home }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.buffer.capacity() <= KEPT_BYTES_MAX {
            self.home.set(std::mem::take(&mut self.buffer));
        }
    }
}

impl Deref for Scratch {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.buffer
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }
}
