//! The end of the journal that is in memory: what waits for the next commit, and a little of what was synced last, so
//! that a reader who keeps up never asks the disk.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    Offset,
    record::{self, HEADER, Kind},
};

/// An open chunk is sealed at this size, in bytes, or at that of a segment, so that segments come out near their own.
const CHUNK_BYTES: usize = 256 << 10;

/// Records that stand one after the other in one piece of memory, headers included.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) base: Offset,
    pub(crate) bytes: Bytes,
    /// Where each record ends.
    ends: Vec<u32>,
}

impl Chunk {
    pub(crate) fn end(&self) -> Offset {
        self.base + self.ends.len() as u64
    }

    fn start_of(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn payload(&self, index: usize) -> Bytes {
        self.bytes.slice(self.start_of(index) + HEADER..self.ends[index] as usize)
    }
}

/// The chunk that is being appended to, and the sealed ones before it.
#[derive(Debug)]
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    chunk_bytes: usize,
    open: Vec<u8>,
    open_base: Offset,
    open_ends: Vec<u32>,
    /// Bytes in sealed chunks that are durable.
    kept: usize,
    /// Bytes in sealed chunks that are not.
    waiting: usize,
    durable: Offset,
}

impl Tail {
    pub(crate) fn starting_at(next: Offset, segment_bytes: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            chunk_bytes: usize::try_from(segment_bytes).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES),
            open: Vec::new(),
            open_base: next,
            open_ends: Vec::new(),
            kept: 0,
            waiting: 0,
            durable: next,
        }
    }

    pub(crate) fn next(&self) -> Offset {
        self.open_base + self.open_ends.len() as u64
    }

    pub(crate) fn durable(&self) -> Offset {
        self.durable
    }

    /// The first offset that is in memory.
    pub(crate) fn first(&self) -> Offset {
        self.chunks.front().map_or(self.open_base, |chunk| chunk.base)
    }

    /// Bytes from `first` on that are not durable yet.
    pub(crate) fn pending_bytes(&self, first: Offset) -> u64 {
        (self.waiting + self.open.len() - self.dead_bytes(first)) as u64
    }

    /// Bytes below `first` in a piece that is not durable yet and still needed for what is above.
    fn dead_bytes(&self, first: Offset) -> usize {
        let index = |base: Offset| first.saturating_sub(base) as usize;
        match self.chunks.front() {
            Some(front) if front.end() > self.durable => front.start_of(index(front.base)),
            Some(_) => 0,
            None => index(self.open_base).checked_sub(1).map_or(0, |before| self.open_ends[before] as usize),
        }
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.durable < self.next()
    }

    pub(crate) fn append(&mut self, size: usize, payload: impl FnOnce(&mut Vec<u8>)) -> Offset {
        if self.open.len() >= self.chunk_bytes {
            let records = self.open_ends.len();
            self.seal();
            self.open.reserve(self.chunk_bytes); // the next one is about as long
            self.open_ends.reserve(records);
        }
        let offset = self.next();
        self.open.reserve(HEADER + size);
        record::write(&mut self.open, Kind::Record, offset, payload);
        self.open_ends.push(u32::try_from(self.open.len()).expect("a chunk is far smaller than 4 GiB"));
        offset
    }

    fn seal(&mut self) {
        if self.open_ends.is_empty() {
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.open));
        let ends = std::mem::take(&mut self.open_ends);
        self.waiting += bytes.len();
        let base = self.open_base;
        self.open_base += ends.len() as u64;
        self.chunks.push_back(Chunk { base, bytes, ends });
    }

    /// What is to be written next, at most `room` bytes of it but one chunk at least.
    pub(crate) fn pending(&mut self, room: u64) -> Vec<Chunk> {
        self.seal();
        let from = self.chunks.partition_point(|chunk| chunk.end() <= self.durable);
        let mut bytes = 0;
        let fits = |chunk: &&Chunk| {
            bytes += chunk.bytes.len() as u64;
            bytes <= room
        };
        let count = self.chunks.range(from..).take_while(fits).count().max(1);
        self.chunks.range(from..).take(count).cloned().collect()
    }

    /// All below `durable` is on disk; no more than `keep` bytes of it stay.
    pub(crate) fn written(&mut self, durable: Offset, keep: usize) {
        for chunk in self.chunks.iter().skip_while(|chunk| chunk.end() <= self.durable) {
            if chunk.end() <= durable {
                self.waiting -= chunk.bytes.len();
                self.kept += chunk.bytes.len();
            }
        }
        self.durable = self.durable.max(durable);
        while self.kept > keep {
            self.pop();
        }
    }

    /// Lets go of every whole chunk below `first`, written or not.
    pub(crate) fn forget(&mut self, first: Offset) {
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= first) {
            self.pop();
        }
        if first >= self.next() {
            self.open_base = self.next();
            self.open.clear();
            self.open_ends.clear();
            if self.open.capacity() > 2 * self.chunk_bytes {
                self.open = Vec::new(); // a large message is gone, so its room goes too
            }
        }
    }

    fn pop(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            let sum = if chunk.end() <= self.durable { &mut self.kept } else { &mut self.waiting };
            *sum -= chunk.bytes.len();
        }
    }

    /// Adds records from `from` on to `found`, as far as the limits allow.
    pub(crate) fn read(&mut self, from: Offset, found: &mut Found) {
        self.seal(); // a sealed chunk is handed out without copying
        let start = self.chunks.partition_point(|chunk| chunk.end() <= from);
        for chunk in self.chunks.range(start..) {
            for index in from.saturating_sub(chunk.base) as usize..chunk.ends.len() {
                if found.is_full() {
                    return;
                }
                found.push(chunk.base + index as u64, chunk.payload(index));
            }
        }
    }
}

/// Records that a read has found, and how many more it wants.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) records: Vec<(Offset, Bytes)>,
    /// The offset after the last one found.
    pub(crate) next: Option<Offset>,
    records_left: usize,
    bytes_left: usize,
}

impl Found {
    pub(crate) fn up_to(records: usize, bytes: usize) -> Self {
        Self { records: Vec::new(), next: None, records_left: records, bytes_left: bytes }
    }

    /// Whether no more is wanted; the first record is always wanted, however large.
    pub(crate) fn is_full(&self) -> bool {
        self.records_left == 0 || (self.bytes_left == 0 && !self.records.is_empty())
    }

    pub(crate) fn push(&mut self, offset: Offset, payload: Bytes) {
        self.records_left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(payload.len() + HEADER);
        self.next = Some(offset + 1);
        self.records.push((offset, payload));
    }
}
