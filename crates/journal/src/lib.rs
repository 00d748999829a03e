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
mod journal;
mod read;
mod record;
mod recover;
mod state;
mod tail;

use std::io;

pub use journal::{Group, Journal};
pub use record::RECORD_BYTES_MAX;

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
