//! The disk: files that can be told to be safe.

mod memory;
mod real;

pub use memory::MemoryDisk;
pub use real::RealDisk;

use std::any::Any;
use std::fmt::{self, Debug};
use std::io;
use std::path::{Path, PathBuf};

/// The largest file that [`Disk::read`] takes in whole; past it the answer is an error.
pub const WHOLE_FILE_BYTES_MAX: u64 = 64 << 20;

/// Where files are. Calls block: wrap what syncs in [`Host::blocking`](crate::Host::blocking).
pub trait Disk: Send + Sync + Debug {
    /// Makes a folder and those above it, 0700. One that is there already is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a file to read and write; `create` makes it, 0600, where there is none.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>>;
    /// Reads a whole file, at most [`WHOLE_FILE_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Replaces a file, 0600: after a crash it holds the old bytes or the new ones, never a mixture.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes new and removed names in a folder safe.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes a folder for this process alone, by a lock file at `path`.
    ///
    /// # Errors
    /// [`AlreadyLocked`] inside a `ResourceBusy` error when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
    /// How much more fits where `path` is.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Whether what is synced outlives the process.
    fn is_durable(&self) -> bool;
}

/// An open file, read and written at offsets.
pub trait File: Send + Sync + Debug {
    /// Reads from `offset` on; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts it, or grows it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes its bytes and length safe (`fdatasync`).
    fn sync(&self) -> io::Result<()>;

    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Holds a folder for this process until it is dropped.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>);

impl Lock {
    /// A lock that is held as long as `guard` lives: for disks of other makes.
    pub fn held_by(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Somebody else holds the folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state folder {} is in use by {}; end it, or use another folder (ISOTHERM_STATE)", folder.display(), holder(*process))]
pub struct AlreadyLocked {
    /// Which one.
    pub folder: PathBuf,
    /// The process that holds it, if it left its number.
    pub process: Option<u32>,
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

impl AlreadyLocked {
    /// As the error of [`Disk::lock`] on the lock file at `path`.
    pub fn error(path: &Path, process: Option<u32>) -> io::Error {
        let folder = path.parent().unwrap_or(path).to_owned();
        io::Error::new(io::ErrorKind::ResourceBusy, Self { folder, process })
    }
}

/// The bytes, unless there are more than a whole file may have.
fn whole(path: &Path, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if bytes.len() as u64 <= WHOLE_FILE_BYTES_MAX {
        return Ok(bytes);
    }
    let reason = format!("{}: larger than {WHOLE_FILE_BYTES_MAX} bytes", path.display());
    Err(io::Error::new(io::ErrorKind::FileTooLarge, reason))
}
