//! What stands in a segment file.
//!
//! A file begins with [`MAGIC`] and the offset from which on it holds records; then come entries of `[kind and length u32][crc32 u32][offset u64][payload]`, all
//! little-endian. The checksum covers everything but itself. Each commit begins with a *mark*: it says what is
//! forgotten, and since it is written only after the commit before it was synced, it proves that all in front of it
//! was on disk. That is how damage is told from an end that was never synced: before a mark it is damage, after the
//! last mark it is a torn tail. The mark also says how long its commit is: of the last one either all is there or none
//! of it counts, for a record without the note that was written with it would be a record that its owner makes again.

use std::{io, ops::Range};

use isotherm_host::File;

/// The first bytes of every segment file; the last of them is the version of the format.
pub(crate) const MAGIC: [u8; 8] = *b"ISOJRNL\x01";
/// Bytes in front of each payload.
pub(crate) const HEADER: usize = 16;
/// The largest payload of one record, in bytes; `append` refuses more, and a longer length on disk is damage.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// How far the offsets may leap over damage and still be believed.
const LEAP_MAX: u64 = 1 << 32;

/// Bytes in a mark: how many follow it in its commit. (Older files have none there.)
const MARK: usize = 8;

const KIND_SHIFT: u32 = 30;
const LENGTH_MASK: u32 = (1 << KIND_SHIFT) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was appended, under its offset.
    Record,
    /// The start of a commit; its offset is the first that is not forgotten.
    Mark,
    /// The note; its offset is the next record's.
    Note,
    /// The first entry of a segment; all its records are at this offset or above.
    Base,
}

impl Kind {
    fn of(word: u32) -> Self {
        match word >> KIND_SHIFT {
            0 => Self::Record,
            1 => Self::Mark,
            2 => Self::Note,
            _ => Self::Base,
        }
    }
}

/// Writes one entry at the end of `into`; `payload` writes its bytes in place.
pub(crate) fn write(into: &mut Vec<u8>, kind: Kind, offset: u64, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend_from_slice(&[0; HEADER]);
    payload(into);
    let length = u32::try_from(into.len() - start - HEADER).expect("a record is far smaller than 4 GiB");
    debug_assert!(length <= LENGTH_MASK);
    let word = length | ((kind as u32) << KIND_SHIFT);
    let entry = &mut into[start..];
    entry[0..4].copy_from_slice(&word.to_le_bytes());
    entry[8..16].copy_from_slice(&offset.to_le_bytes());
    let crc = checksum(entry);
    entry[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(entry: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&entry[0..4]);
    crc.update(&entry[8..]);
    crc.finalize()
}

/// What an entry's first sixteen bytes say.
struct Head {
    kind: Kind,
    length: usize,
    crc: u32,
    offset: u64,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = u32::from_le_bytes(bytes[0..4].try_into().expect("four bytes"));
        let length = (word & LENGTH_MASK) as usize;
        Some(Self {
            kind: Kind::of(word),
            length,
            crc: u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")),
            offset: u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")),
        })
        .filter(|head| head.length <= RECORD_BYTES_MAX)
    }

    /// Whether an entry with this head could stand where `expected` is the next record's offset.
    fn plausible(&self, expected: u64) -> bool {
        match self.kind {
            Kind::Record | Kind::Note => self.offset >= expected && self.offset - expected < LEAP_MAX,
            Kind::Mark => matches!(self.length, 0 | MARK) && self.offset < expected.saturating_add(LEAP_MAX),
            Kind::Base => self.length == 0 && self.offset >= expected,
        }
    }
}

/// One entry that was read and found whole.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    /// Where the payload stands in the scanner's buffer.
    pub(crate) payload: Range<usize>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Entry(Entry),
    /// Something at this position is no entry; `resync` finds what comes after it.
    Damage,
    End,
}

/// Reads the entries of one segment file in order, with one buffer.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn File,
    buffer: Vec<u8>,
    /// The position in the file of the buffer's first byte.
    base: u64,
    /// The position in the file of the next entry.
    at: u64,
    /// Where the file ends for us.
    end: u64,
    read_ahead: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a dyn File, at: u64, end: u64, read_ahead: usize) -> Self {
        Self { file, buffer: Vec::new(), base: at, at, end, read_ahead }
    }

    /// The position of the next entry.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Where the commit ends that begins with this mark.
    pub(crate) fn commit_end(&self, mark: &Entry) -> u64 {
        let rest = self.payload(mark.payload.clone()).try_into().map_or(0, u64::from_le_bytes);
        self.at.saturating_add(rest)
    }

    pub(crate) fn payload(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next entry, if it is whole and can stand where `expected` is the next record's offset.
    pub(crate) fn step(&mut self, expected: u64) -> io::Result<Step> {
        if self.at >= self.end {
            return Ok(Step::End);
        }
        let Some(entry) = self.whole(self.at, expected)? else { return Ok(Step::Damage) };
        self.at += (HEADER + entry.payload.len()) as u64;
        Ok(Step::Entry(entry))
    }

    /// Moves past damage to the next whole entry; false when there is none.
    pub(crate) fn resync(&mut self, expected: u64) -> io::Result<bool> {
        // If only the payload was hit, its length still leads to the next entry.
        if let Some(head) = self.head(self.at)? {
            let next = self.at + (HEADER + head.length) as u64;
            if self.whole(next, expected)?.is_some() {
                self.at = next;
                return Ok(true);
            }
        }
        while self.at < self.end {
            self.at += 1;
            if self.whole(self.at, expected)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn whole(&mut self, at: u64, expected: u64) -> io::Result<Option<Entry>> {
        let Some(head) = self.head(at)?.filter(|head| head.plausible(expected)) else { return Ok(None) };
        let size = HEADER + head.length;
        let Some(start) = self.fill(at, size)? else { return Ok(None) };
        let entry = &self.buffer[start..start + size];
        if checksum(entry) != head.crc {
            return Ok(None);
        }
        Ok(Some(Entry { kind: head.kind, offset: head.offset, payload: start + HEADER..start + size }))
    }

    fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        let Some(start) = self.fill(at, HEADER)? else { return Ok(None) };
        Ok(Head::parse(&self.buffer[start..start + HEADER]))
    }

    /// Makes sure that `size` bytes from `at` on are in the buffer, and says where; `None` past the end.
    fn fill(&mut self, at: u64, size: usize) -> io::Result<Option<usize>> {
        if at + size as u64 > self.end {
            return Ok(None);
        }
        let start = (at - self.base) as usize;
        if start + size <= self.buffer.len() {
            return Ok(Some(start));
        }
        // Keep from the current entry on: a resync may look ahead and come back.
        let keep = ((self.at - self.base) as usize).min(self.buffer.len());
        self.buffer.drain(..keep);
        self.base += keep as u64;
        let start = (at - self.base) as usize;
        let room = (self.end - self.base) as usize;
        let wanted = (start + size.max(self.read_ahead)).min(room);
        let mut have = self.buffer.len();
        self.buffer.resize(wanted, 0);
        while have < wanted {
            match self.file.read_at(self.base + have as u64, &mut self.buffer[have..])? {
                0 => break, // shorter than it said
                count => have += count,
            }
        }
        self.buffer.truncate(have);
        Ok((start + size <= have).then_some(start))
    }
}
