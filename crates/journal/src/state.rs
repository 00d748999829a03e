//! What a journal knows about itself: which segments there are, what is forgotten, what is pending.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    Full, Offset, Settings,
    record::{HEADER, MAGIC},
    tail::{Chunk, Tail},
};

/// One segment file; all that is kept in memory of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its file's name is this number.
    pub(crate) id: u64,
    /// No record in it is below.
    pub(crate) base: Offset,
    /// All records in it are below.
    pub(crate) end: Offset,
    /// Its synced length in bytes.
    pub(crate) bytes: u64,
}

/// What one step of a commit is to write: one mark, some chunks, perhaps the note, all to one segment.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) segment: Segment,
    /// How long a segment's file may be made ahead of what it holds.
    pub(crate) segment_bytes: u64,
    /// Whether the segment's file is to be made first.
    pub(crate) roll: bool,
    pub(crate) first: Offset,
    pub(crate) chunks: Vec<Chunk>,
    /// What the chunks lead up to.
    pub(crate) end: Offset,
    /// The note that the segments before hold: a new segment begins with it, for they may go.
    pub(crate) carried: Option<Bytes>,
    /// The note as it is once the chunks are there.
    pub(crate) note: Option<Bytes>,
}

impl Plan {
    /// How many bytes follow the mark.
    pub(crate) fn rest_bytes(&self) -> u64 {
        let notes = self.carried.iter().chain(&self.note).map(|note| HEADER + note.len());
        let chunks = self.chunks.iter().map(|chunk| chunk.bytes.len());
        notes.chain(chunks).sum::<usize>() as u64
    }
}

#[derive(Debug)]
pub(crate) struct State {
    limit_bytes: u64,
    segment_bytes: u64,
    tail_bytes: usize,
    pub(crate) first: Offset,
    pub(crate) tail: Tail,
    /// Oldest first; the last one is written to.
    pub(crate) segments: VecDeque<Segment>,
    /// The sum of the segments' bytes.
    segments_bytes: u64,
    /// Segments that hold nothing any more, to be unlinked by the next commit.
    pub(crate) doomed: Vec<u64>,
    forgotten: bool,
    pub(crate) note: Option<Bytes>,
    /// The note as it is on disk.
    note_kept: Option<Bytes>,
    /// The newest segment that has it; this one stays.
    note_in: u64,
    pub(crate) corrupt: u64,
}

impl State {
    pub(crate) fn new(
        settings: &Settings,
        segments: VecDeque<Segment>,
        first: Offset,
        next: Offset,
        note: Option<(u64, Bytes)>,
    ) -> Self {
        let (note_in, note) = note.map_or((u64::MAX, None), |(id, note)| (id, Some(note)));
        // Small enough that what is dead in the oldest segment is little beside the limit.
        let segment_bytes = settings.segment_bytes.min(settings.limit_bytes / 8).max(1);
        let mut state = Self {
            limit_bytes: settings.limit_bytes,
            segment_bytes,
            tail_bytes: settings.tail_bytes,
            first,
            tail: Tail::starting_at(next, segment_bytes),
            segments_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments,
            doomed: Vec::new(),
            forgotten: false,
            note_kept: note.clone(),
            note_in,
            note,
            corrupt: 0,
        };
        state.retire();
        state
    }

    /// Bytes of records that are not forgotten: exact but for the oldest segment, which counts by its share of records.
    pub(crate) fn bytes(&self) -> u64 {
        let dead = self.segments.front().map_or(0, |front| front.bytes - self.live_bytes(front));
        self.segments_bytes - dead + self.tail.pending_bytes(self.first)
    }

    fn live_bytes(&self, segment: &Segment) -> u64 {
        let all = segment.end - segment.base;
        let live = segment.end.saturating_sub(self.first.max(segment.base));
        if live == 0 {
            return 0;
        }
        (u128::from(segment.bytes) * u128::from(live) / u128::from(all)) as u64
    }

    pub(crate) fn append(&mut self, size: usize, payload: impl FnOnce(&mut Vec<u8>)) -> Result<Offset, Full> {
        let wanted = (HEADER + size) as u64;
        if size > crate::RECORD_BYTES_MAX || self.bytes() + wanted > self.limit_bytes {
            return Err(Full { wanted, limit_bytes: self.limit_bytes });
        }
        Ok(self.tail.append(size, payload))
    }

    pub(crate) fn forget(&mut self, below: Offset) {
        let first = below.min(self.tail.next());
        if first <= self.first {
            return;
        }
        self.first = first;
        self.forgotten = true;
        self.tail.forget(first);
        self.retire();
    }

    /// Strikes segments with nothing left in them from the list; never the last, which is written to.
    fn retire(&mut self) {
        // The next one must be there in truth, for it says where offsets go on.
        let done = |front: &Segment, next: &Segment| {
            front.end <= self.first && front.id < self.note_in && next.bytes > 0
        };
        while self.segments.len() > 1 && done(&self.segments[0], &self.segments[1]) {
            let Some(segment) = self.segments.pop_front() else { return };
            self.segments_bytes -= segment.bytes;
            self.doomed.push(segment.id);
        }
    }

    pub(crate) fn drop_oldest(&mut self, bytes: u64) -> u64 {
        let before = self.first;
        let target = self.bytes().saturating_sub(bytes);
        while self.bytes() > target && self.first < self.tail.next() {
            self.forget(self.first + self.oldest_worth(self.bytes() - target));
        }
        self.first - before
    }

    /// How many of the oldest records make up `bytes`, no further than the segment they are in.
    fn oldest_worth(&self, bytes: u64) -> u64 {
        let Some(segment) = self.segments.iter().find(|segment| segment.end > self.first) else { return 1 };
        let records = segment.end - self.first.max(segment.base);
        let gap = segment.base.saturating_sub(self.first);
        let live = self.live_bytes(segment).max(1);
        gap + (u128::from(bytes) * u128::from(records)).div_ceil(u128::from(live)).min(records.into()) as u64
    }

    pub(crate) fn set_note(&mut self, note: &[u8]) {
        if self.note.as_deref() != Some(note) {
            self.note = Some(Bytes::copy_from_slice(note));
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.has_news() || !self.doomed.is_empty()
    }

    /// Whether something is to be written.
    fn has_news(&self) -> bool {
        self.tail.has_pending() || self.forgotten || self.note != self.note_kept
    }

    /// The first step of a commit, and the offset that it has to reach.
    pub(crate) fn plan_all(&mut self) -> (Option<Plan>, Offset) {
        (self.plan(), self.tail.next())
    }

    /// What to write next; `None` when all is on disk.
    pub(crate) fn plan(&mut self) -> Option<Plan> {
        if !self.has_news() {
            return None;
        }
        let last = self.segments.back().expect("a journal has a segment from its opening on").clone();
        let room = self.segment_bytes.saturating_sub(last.bytes);
        // A note goes with the records before it, all in one commit: a record without its note would be one that its
        // owner makes again under the same number.
        let noted = self.note != self.note_kept;
        let most = |room: u64| if noted { u64::MAX } else { room };
        let mut chunks = self.tail.pending(most(room));
        let size: u64 = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        let roll = last.bytes > MAGIC.len() as u64 && (room == 0 || size > room);
        let mut segment = last;
        if roll {
            chunks = self.tail.pending(most(self.segment_bytes));
            segment = Segment { id: segment.id + 1, ..segment };
        }
        if roll || segment.bytes == 0 {
            let base = chunks.first().map_or(self.tail.next(), |chunk| chunk.base);
            segment = Segment { id: segment.id, base, end: base, bytes: 0 };
        }
        // Chunks that were forgotten before they were written leave no trace, so the end may lie past the chunks.
        let rest = chunks.last().is_some_and(|last| last.end() < self.tail.next());
        let end = if rest { chunks.last().map_or(0, Chunk::end) } else { self.tail.next() };
        // A note speaks of all records before it, so it waits for the last of them.
        let note = if rest || !noted { None } else { self.note.clone() };
        let carried = if segment.bytes == 0 { self.note_kept.clone() } else { None };
        Some(Plan {
            segment,
            segment_bytes: self.segment_bytes,
            roll,
            first: self.first,
            chunks,
            end,
            carried,
            note,
        })
    }

    /// All that was planned is on disk and `bytes` is the segment's new length; says what to write next, if the commit
    /// has not reached its goal.
    pub(crate) fn done(&mut self, plan: &Plan, bytes: u64, goal: Offset) -> Option<Plan> {
        if plan.roll {
            self.segments.push_back(plan.segment.clone());
        }
        let last = self.segments.back_mut().expect("a journal has a segment from its opening on");
        self.segments_bytes += bytes - last.bytes;
        *last = Segment { bytes, end: plan.end, ..plan.segment };
        self.tail.written(plan.end, self.tail_bytes);
        self.forgotten &= self.first != plan.first;
        if plan.carried.is_some() || plan.note.is_some() {
            self.note_in = plan.segment.id;
            self.note_kept = plan.note.clone().or_else(|| self.note_kept.take());
        }
        self.retire();
        if self.tail.durable() < goal { self.plan() } else { None }
    }
}
