//! Append, sync, read, forget: what a message waits in until the next hand has closed around it.
//!
//! A journal is a folder of segment files. [`Journal::append`] takes a record into memory, [`Journal::commit`] brings
//! all that is pending to disk with one write and one sync, [`Journal::read`] reads from any offset that is not
//! forgotten, and [`Journal::forget`] lets go of everything below one. Many may append and read while one commits;
//! what they append meanwhile goes with the next commit, so the busier it is, the less a record costs.
//!
//! What holds:
//! - A record below [`Journal::durable`] survives the loss of the process and of power. After a crash there may be
//!   more records than that, but they are always the next ones, without a gap.
//! - A commit that fails loses nothing: all stays in memory, what was half written is cut off, and the next commit
//!   writes it again.
//! - A record that was damaged on disk is never handed out. It is counted, and those behind it are still read.
//! - Memory holds what is pending, [`Settings::tail_bytes`] of what was synced last, and a few words per segment. At
//!   most two files are open.
//!
//! ```
//! # use std::{path::Path, sync::Arc};
//! use isotherm_host::MemoryDisk;
//! use isotherm_journal::{Journal, Settings};
//!
//! let (journal, recovery) = Journal::open(Arc::new(MemoryDisk::new()), Path::new("outbox"), Settings::default())?;
//! assert_eq!(recovery.records, 0);
//! let offset = journal.append(b"21.5")?;
//! journal.commit()?; // now it may be promised
//! assert_eq!(&journal.read(offset, 10, 1024)?[0].1[..], b"21.5");
//! journal.forget(offset + 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod commit;
mod read;
mod record;
mod recover;
mod state;
mod tail;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use isotherm_host::Disk;

pub use record::RECORD_BYTES_MAX;

use commit::Writer;
use read::Reader;
use state::State;
use tail::Found;

/// The number of a record: dense, starting at 0, never used twice.
pub type Offset = u64;

/// The largest note, in bytes; a longer one is cut.
pub const NOTE_BYTES_MAX: usize = 4 << 10;

/// How large a journal may grow, and in what pieces.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The size, in bytes, at which a segment file is closed and the next one begun; an eighth of the limit at most.
    pub segment_bytes: u64,
    /// How many bytes of records, 16 bytes of header each, may be kept; past it `append` answers [`Full`]. On disk it
    /// may be up to two segments more, for space comes back by whole files.
    pub limit_bytes: u64,
    /// How many bytes of synced records stay in memory for readers that keep up.
    pub tail_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, limit_bytes: 1 << 30, tail_bytes: 256 << 10 }
    }
}

/// What was found when a journal was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records that are there and not forgotten.
    pub records: u64,
    /// Bytes at the end that were never synced, cut off.
    pub torn_bytes: u64,
    /// Records that had been synced and whose checksum no longer holds.
    pub corrupt_records: u64,
}

/// The journal is at its limit: forget something, or drop the oldest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full: a record of {wanted} bytes does not fit into its limit of {limit_bytes} bytes")]
pub struct Full {
    /// The size of the record, in bytes, its header included.
    pub wanted: u64,
    /// The limit, in bytes.
    pub limit_bytes: u64,
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("journal {path}: {source}")]
pub struct JournalError {
    /// The file or folder.
    pub path: String,
    /// What the disk said.
    pub source: io::Error,
}

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
    /// [`Full`] when the record would pass the limit, or is larger than [`RECORD_BYTES_MAX`].
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

    /// Writes all that is pending, syncs it, gives back space, and says the first offset not yet durable.
    ///
    /// Blocks on the disk; others that commit meanwhile wait, and find most of their work done.
    ///
    /// # Errors
    /// What the disk says. Nothing is lost from memory; a later commit tries again.
    pub fn commit(&self) -> io::Result<Offset> {
        let mut writer = self.inner.writer.lock().expect("nothing panics while it commits");
        let result = loop {
            let Some(plan) = self.state().plan() else { break Ok(()) };
            match writer.write(&plan) {
                Ok(bytes) => self.state().done(&plan, bytes),
                Err(error) => break Err(error),
            }
        };
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
