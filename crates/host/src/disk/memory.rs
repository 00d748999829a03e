//! A disk in memory: for tests, and for a hub that leaves nothing behind.

use super::{AlreadyLocked, Disk, File, Lock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Tree>>);

/// A file grows by this much at least: to double it, as a vector does, would waste as much as it holds.
const GROWTH_BYTES: usize = 16 << 10;

type Bytes = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
struct Tree {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Bytes>,
    locked: BTreeSet<PathBuf>,
    limit: Option<u64>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.files.keys()).finish() // names only: files hold keys
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets no file grow once all of them together hold `bytes`; `None` lifts the limit. A write past it is refused
    /// with `StorageFull`, as a full disk does.
    pub fn limit(&self, bytes: Option<u64>) {
        self.tree().limit = bytes;
    }

    /// How many bytes all files hold.
    pub fn used(&self) -> u64 {
        self.tree().used()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        locked(&self.0)
    }
}

impl Tree {
    fn used(&self) -> u64 {
        self.files.values().map(|file| locked(file).len() as u64).sum()
    }

    fn free(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.used()))
    }

    fn grow(&self, by: u64) -> io::Result<()> {
        if by <= self.free() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn folder_of(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let known =
            folder.as_os_str().is_empty() || folder == Path::new("/") || self.folders.contains(folder);
        if known { Ok(()) } else { Err(missing(path)) }
    }

    fn file(&self, path: &Path) -> io::Result<Bytes> {
        self.files.get(path).cloned().ok_or_else(|| missing(path))
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.tree().folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut tree = self.tree();
        tree.folder_of(path)?;
        if create {
            tree.files.entry(path.to_owned()).or_default();
        }
        let bytes = tree.file(path)?;
        Ok(Box::new(MemoryFile { bytes, tree: self.0.clone() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.tree().file(path)?;
        let bytes = locked(&file).clone();
        super::whole(path, bytes)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut tree = self.tree();
        tree.folder_of(path)?;
        tree.grow(bytes.len() as u64)?; // as on a real disk, the old bytes are still there meanwhile
        tree.files.insert(path.to_owned(), Arc::new(Mutex::new(bytes.to_vec())));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree().files.remove(path).map(drop).ok_or_else(|| missing(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        if !tree.folders.contains(path) {
            return Err(missing(path));
        }
        tree.folders.retain(|folder| !folder.starts_with(path));
        tree.files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let tree = self.tree();
        if !tree.folders.contains(dir) {
            return Err(missing(dir));
        }
        let inside = tree.files.keys().chain(&tree.folders).filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let sorted: BTreeSet<String> = names.collect();
        Ok(sorted.into_iter().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.tree().folders.contains(path) { Ok(()) } else { Err(missing(path)) }
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut tree = self.tree();
        tree.folder_of(path)?;
        if !tree.locked.insert(path.to_owned()) {
            return Err(AlreadyLocked::error(path, None));
        }
        Ok(Lock::held_by(Held { path: path.to_owned(), tree: self.0.clone() }))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.tree().free())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

struct Held {
    path: PathBuf,
    tree: Arc<Mutex<Tree>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        locked(&self.tree).locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    bytes: Bytes,
    tree: Arc<Mutex<Tree>>,
}

impl MemoryFile {
    /// Locks the tree first and the file second, everywhere, so that nobody waits in a circle.
    fn grown_to(&self, len: u64) -> io::Result<()> {
        let tree = locked(&self.tree);
        let have = locked(&self.bytes).len() as u64;
        if tree.limit.is_some() {
            tree.grow(len.saturating_sub(have))?;
        }
        Ok(())
    }
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = locked(&self.bytes);
        let from = bytes.len().min(place(offset)?);
        let count = into.len().min(bytes.len() - from);
        into[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, written: &[u8]) -> io::Result<()> {
        let from = place(offset)?;
        let end = from + written.len();
        self.grown_to(end as u64)?;
        let mut bytes = locked(&self.bytes);
        if bytes.len() < end {
            let more = end - bytes.len();
            if bytes.capacity() < end {
                bytes.reserve_exact(more.next_multiple_of(GROWTH_BYTES));
            }
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(written);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.bytes).len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.grown_to(len)?;
        locked(&self.bytes).resize(place(len)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file or folder", path.display()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
