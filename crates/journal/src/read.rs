//! The way back from the disk, for readers that are behind what memory holds.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use isotherm_host::{Disk, File};

use crate::{
    Offset,
    commit::file_of,
    record::{HEADER, Kind, MAGIC, Scanner, Step},
    state::Segment,
    tail::Found,
};

/// Readers that go on where they were start there; this many can take turns before one has to search again.
const CURSORS: usize = 4;
/// Bounds, in bytes, of what is read from a file at a time.
const READ_AHEAD: std::ops::RangeInclusive<usize> = 4 << 10..=128 << 10;

/// Where in the files a reader stopped.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    next: Offset,
    segment: u64,
    position: u64,
}

/// Reads segments; one file is open at a time.
#[derive(Debug)]
pub(crate) struct Reader {
    disk: Arc<dyn Disk>,
    file: Option<(u64, Box<dyn File>)>,
    cursors: [Option<Cursor>; CURSORS],
    turn: usize,
}

impl Reader {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, file: None, cursors: [None; CURSORS], turn: 0 }
    }

    /// Adds the segment's records from `from` on to `found`, and says how many damaged stretches it passed over.
    pub(crate) fn read(
        &mut self,
        dir: &Path,
        segment: &Segment,
        from: Offset,
        ahead: usize,
        found: &mut Found,
    ) -> io::Result<u64> {
        if self.file.as_ref().is_none_or(|(id, _)| *id != segment.id) {
            self.file = Some((segment.id, self.disk.open(&file_of(dir, segment.id), false)?));
        }
        let (_, file) = self.file.as_ref().expect("opened above");
        let cursor = self.cursors.iter().position(|cursor| {
            cursor.is_some_and(|cursor| cursor.segment == segment.id && cursor.next == from)
        });
        let slot = cursor.unwrap_or(self.turn);
        let start =
            cursor.and_then(|index| self.cursors[index]).map_or(MAGIC.len() as u64, |cursor| cursor.position);
        let ahead = ahead.clamp(*READ_AHEAD.start(), *READ_AHEAD.end());
        let mut scanner = Scanner::new(file.as_ref(), start, segment.bytes, ahead);
        let damaged = scan(&mut scanner, segment, from, found)?;
        if let Some(next) = found.next {
            let position = scanner.position();
            self.cursors[slot] = Some(Cursor { next, segment: segment.id, position });
            self.turn = (self.turn + usize::from(cursor.is_none())) % CURSORS;
        }
        Ok(damaged)
    }

    /// Lets go of a file that is about to be unlinked, so that its space comes back.
    pub(crate) fn close(&mut self, id: u64) {
        self.file.take_if(|(open, _)| *open == id);
    }
}

fn scan(scanner: &mut Scanner<'_>, segment: &Segment, from: Offset, found: &mut Found) -> io::Result<u64> {
    let mut damaged = 0;
    let mut expected = segment.base;
    while !found.is_full() {
        match scanner.step(expected)? {
            Step::End => break,
            Step::Damage => {
                damaged += 1;
                if !scanner.resync(expected)? {
                    break;
                }
            }
            Step::Entry(entry) if entry.kind == Kind::Record => {
                expected = entry.offset + 1;
                if entry.offset >= from {
                    let payload = Bytes::copy_from_slice(scanner.payload(entry.payload));
                    found.push(entry.offset, payload);
                }
            }
            Step::Entry(_) => {}
        }
    }
    Ok(damaged)
}

/// How many bytes the records a caller asks for may take in a file.
pub(crate) fn ahead(records: usize, bytes: usize) -> usize {
    bytes.saturating_add(records.saturating_mul(HEADER))
}
