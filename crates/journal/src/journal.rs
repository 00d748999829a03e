//! The journal itself: a handle, and the order in which its parts are locked.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use isotherm_host::Disk;

use crate::{
    Full, JournalError, NOTE_BYTES_MAX, Offset, Recovery, Settings,
    commit::{self, Writer},
    read::{self, Reader},
    recover,
    state::State,
    tail::Found,
};

/// A journal; clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

/// Locks are taken in the order writer, reader, state; the state's is never held while the disk works.
#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    writer: Mutex<Writer>,
    reader: Mutex<Reader>,
    state: Mutex<State>,
}

impl Journal {
    /// Opens the journal in `dir`, creating it if need be: reads all segments once, cuts off what was never synced.
    ///
    /// # Errors
    /// Only what the disk says; damaged or foreign content is counted in [`Recovery`] and passed over.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: Settings,
    ) -> Result<(Self, Recovery), JournalError> {
        let found = recover::recover(disk.as_ref(), dir)?;
        let mut state = State::new(&settings, found.segments, found.first, found.next, found.note);
        state.corrupt = found.report.corrupt_records;
        let inner = Inner {
            writer: Mutex::new(Writer::new(disk.clone(), dir.to_owned())),
            reader: Mutex::new(Reader::new(disk.clone())),
            state: Mutex::new(state),
            dir: dir.to_owned(),
            disk,
        };
        Ok((Self { inner: Arc::new(inner) }, found.report))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("nothing panics while it holds the journal's state")
    }

    /// Takes a record into memory; it is durable after the next [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`Full`] when the record would pass the limit, or is larger than [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX).
    pub fn append(&self, payload: &[u8]) -> Result<Offset, Full> {
        self.state().append(payload.len(), |into| into.extend_from_slice(payload))
    }

    /// Like [`append`](Self::append), for a payload of at most `size` bytes that `write` puts at the end of what it is
    /// given, without a copy in between. `write` must not use the journal.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_with(&self, size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<Offset, Full> {
        self.state().append(size, write)
    }

    /// Appends several records, and perhaps a note about them, as one: whatever commits goes before all of them or
    /// after. With a note among them they share one commit, so that after a crash all of it is there or nothing is.
    /// `write` must not use the journal but through what it is given.
    pub fn group<T>(&self, write: impl FnOnce(&mut Group<'_>) -> T) -> T {
        write(&mut Group { state: self.state() })
    }

    /// Writes all that is pending, syncs it, gives back space, and says the first offset not yet durable. What comes
    /// meanwhile, or is forgotten, is left to the next commit: whoever waits for this one waits no longer for it.
    ///
    /// Blocks on the disk; others that commit meanwhile wait, and find most of their work done.
    ///
    /// # Errors
    /// What the disk says. Nothing is lost from memory; a later commit tries again.
    pub fn commit(&self) -> io::Result<Offset> {
        let mut writer = self.inner.writer.lock().expect("nothing panics while it commits");
        let (mut planned, goal) = self.state().plan_all();
        let mut result = Ok(());
        while let Some(plan) = planned {
            match writer.write(&plan) {
                Ok(bytes) => planned = self.state().done(&plan, bytes, goal),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.unlink(result.is_ok());
        result.map(|()| self.durable())
    }

    /// Removes the files of segments that hold nothing any more, also when the disk is full: then most of all.
    ///
    /// As long as no mark on disk says that they are forgotten, they go one after the other, oldest first, so that a
    /// crash never leaves a hole.
    fn unlink(&self, marked: bool) {
        let doomed = std::mem::take(&mut self.state().doomed);
        for (index, &id) in doomed.iter().enumerate() {
            self.inner.reader.lock().expect("nothing panics while it reads").close(id);
            let removed = self.inner.disk.remove(&commit::file_of(&self.inner.dir, id));
            let safe = marked || self.inner.disk.sync_dir(&self.inner.dir).is_ok();
            if removed.is_err() || !safe {
                let left = &doomed[index + usize::from(removed.is_ok())..];
                self.state().doomed.splice(..0, left.iter().copied());
                return;
            }
        }
    }

    /// Whether a commit would have something to do.
    pub fn is_dirty(&self) -> bool {
        self.state().is_dirty()
    }

    /// The first offset that is not yet durable.
    pub fn durable(&self) -> Offset {
        self.state().tail.durable()
    }

    /// Whether both are handles to the same journal.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The first offset that is neither durable nor forgotten.
    pub fn kept(&self) -> Offset {
        let state = self.state();
        state.tail.durable().max(state.first)
    }

    /// Bytes in memory that are not durable yet, headers included.
    pub fn pending_bytes(&self) -> u64 {
        self.state().tail.pending_bytes(0)
    }

    /// The offset that the next record gets.
    pub fn next(&self) -> Offset {
        self.state().tail.next()
    }

    /// The oldest offset that is not forgotten; equal to [`next`](Self::next) when nothing is held.
    pub fn first(&self) -> Offset {
        self.state().first
    }

    /// Forgets all records below; kept with the next commit, which also unlinks whole segments.
    pub fn forget(&self, below: Offset) {
        self.state().forget(below);
    }

    /// Reads up to `max_records` and about `max_bytes` (one record at least) from `from` on, those not yet durable
    /// included. Empty means that there is nothing readable from `from` on. May block on the disk when `from` is
    /// further behind than memory reaches.
    ///
    /// # Errors
    /// What the disk says. Damaged records are no error: they are passed over and counted.
    pub fn read(
        &self,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> io::Result<Vec<(Offset, Bytes)>> {
        let mut found = Found::up_to(max_records, max_bytes);
        let mut from = from;
        if !self.read_tail(from, &mut found) {
            let ahead = read::ahead(max_records, max_bytes);
            let mut reader = self.inner.reader.lock().expect("nothing panics while it reads");
            while !self.read_tail(from, &mut found) && !found.is_full() {
                from = self.read_segment(&mut reader, from, ahead, &mut found)?;
            }
        }
        Ok(found.records)
    }

    /// Reads what memory has, if it has it; false if the disk has to be asked.
    fn read_tail(&self, from: Offset, found: &mut Found) -> bool {
        let mut state = self.state();
        let from = from.max(state.first);
        let here = from >= state.tail.first();
        if here && !found.is_full() {
            state.tail.read(from, found);
        }
        here
    }

    /// Reads on in the segment that has `from`, and says where the next one goes on.
    fn read_segment(
        &self,
        reader: &mut Reader,
        from: Offset,
        ahead: usize,
        found: &mut Found,
    ) -> io::Result<Offset> {
        let (segment, from, in_memory) = {
            let state = self.state();
            let from = from.max(state.first);
            let index = state.segments.partition_point(|segment| segment.end <= from);
            (state.segments.get(index).cloned(), from, state.tail.first())
        };
        let Some(segment) = segment else { return Ok(in_memory) };
        match reader.read(&self.inner.dir, &segment, from, ahead, found) {
            Ok(0) => {}
            Ok(damaged) => self.state().corrupt += damaged,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.first() >= segment.end => {} // just unlinked
            Err(error) => return Err(error),
        }
        Ok(if found.is_full() { found.next.unwrap_or(from) } else { segment.end })
    }

    /// Bytes of records that are not forgotten, headers included: exact but for the oldest segment, of which the
    /// forgotten part is reckoned by its share of records.
    pub fn bytes(&self) -> u64 {
        self.state().bytes()
    }

    /// Forgets the oldest records until at least `bytes` bytes of them are gone, and says how many records that was.
    pub fn drop_oldest(&self, bytes: u64) -> u64 {
        self.state().drop_oldest(bytes)
    }

    /// Keeps a small note beside the records, up to [`NOTE_BYTES_MAX`] bytes. It goes to disk with the next commit,
    /// never before the records appended before it; the last one survives, whatever is forgotten.
    pub fn set_note(&self, note: &[u8]) {
        self.state().set_note(&note[..note.len().min(NOTE_BYTES_MAX)]);
    }

    /// The last note.
    pub fn note(&self) -> Option<Bytes> {
        self.state().note.clone()
    }

    /// Damage met since the start, the opening included; a record that is read twice counts twice.
    pub fn corrupt(&self) -> u64 {
        self.state().corrupt
    }
}

/// Several changes that no commit comes between.
#[derive(Debug)]
pub struct Group<'a> {
    state: MutexGuard<'a, State>,
}

impl Group<'_> {
    /// As [`Journal::append_with`].
    ///
    /// # Errors
    /// As there.
    pub fn append_with(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<Offset, Full> {
        self.state.append(size, write)
    }

    /// As [`Journal::drop_oldest`].
    pub fn drop_oldest(&mut self, bytes: u64) -> u64 {
        self.state.drop_oldest(bytes)
    }

    /// As [`Journal::next`].
    pub fn next(&self) -> Offset {
        self.state.tail.next()
    }

    /// How many records are there that are not forgotten.
    pub fn held(&self) -> u64 {
        self.state.tail.next() - self.state.first
    }

    /// As [`Journal::set_note`].
    pub fn set_note(&mut self, note: &[u8]) {
        self.state.set_note(&note[..note.len().min(NOTE_BYTES_MAX)]);
    }
}
