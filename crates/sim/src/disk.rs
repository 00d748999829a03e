//! Disks that keep what was synced and, at a power cut, as much of the rest as chance leaves.

mod door;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isotherm_host::Chance;

pub(crate) use door::{DiskDoor, Watchman};
use pages::Pages;

/// A record and its neighbours are within so many bytes.
const AROUND: usize = 1 << 10;
/// The last commit is within so many bytes.
const AROUND_END: usize = 16 << 10;

/// One file; whoever has it open holds it, named or not.
type FileRef = Arc<Mutex<Pages>>;

/// A machine's disk. Clones are the same disk; it outlives the processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, FileRef>,
    /// Removed, and not yet so on disk.
    removed: BTreeMap<PathBuf, FileRef>,
    /// By which life.
    locked: BTreeMap<PathBuf, u64>,
    full: bool,
    /// It says that queues and outboxes are synced, and they are not.
    lies: bool,
    /// Milliseconds that a sync takes: at least, and up to so many more.
    slowness: Option<(u64, u64)>,
    /// The process dies in the middle of this many steps from now.
    fuse: Option<u32>,
}

impl Platter {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing grows any more, or it does again.
    pub(crate) fn fill(&self, full: bool) {
        self.lock().full = full;
    }

    pub(crate) fn lie(&self, lies: bool) {
        self.lock().lies = lies;
    }

    /// Whether something would be lost now that was said to be safe.
    pub(crate) fn has_lied(&self) -> bool {
        self.lock().files.values().any(|file| locked(file).has_lied())
    }

    /// Flips a bit in one of the journals whose path has `part` in it, and shows what stands around it: the record
    /// it was in and, near the end, all of the last commit.
    pub(crate) fn rot(&self, part: &str, chance: &Chance) -> Option<Vec<u8>> {
        let state = self.lock();
        let inside = |path: &Path| {
            let path = path.to_string_lossy();
            path.contains(part) && path.ends_with(".log")
        };
        let files: Vec<&FileRef> =
            state.files.iter().filter(|(path, _)| inside(path)).map(|(_, file)| file).collect();
        let mut file = locked(files.get((chance.u64() % (files.len().max(1) as u64)) as usize)?);
        let length = file.bytes().len();
        let at = (chance.u64() % (length.max(1) as u64)) as usize;
        let end = if at + AROUND_END >= length { length } else { at + AROUND };
        let around = file.bytes()[at.saturating_sub(AROUND_END)..end.min(length)].to_vec();
        file.flip(at, (chance.u64() % 8) as u32);
        Some(around)
    }

    pub(crate) fn slow_down(&self, slowness: Option<(u64, u64)>) {
        self.lock().slowness = slowness;
    }

    pub(crate) fn slowness(&self) -> Option<(u64, u64)> {
        self.lock().slowness
    }

    /// Has the process die in the middle of the disk's work.
    pub(crate) fn light_fuse(&self, steps: Option<u32>) {
        self.lock().fuse = steps;
    }

    /// Puts a file there before anything begins.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        state.make_folders(path.parent().unwrap_or(Path::new("/")));
        state.files.insert(path.to_owned(), Arc::new(Mutex::new(Pages::kept(bytes))));
    }

    /// A file's bytes as anybody who runs there would read them.
    pub(crate) fn get(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().files.get(path).map(|file| locked(file).bytes().to_vec())
    }

    /// Bytes of all files whose path has `part` in it.
    pub(crate) fn bytes_in(&self, part: &str) -> u64 {
        let state = self.lock();
        let inside = state.files.iter().filter(|(path, _)| path.to_string_lossy().contains(part));
        inside.map(|(_, file)| locked(file).bytes().len() as u64).sum()
    }

    /// Power is cut: what was not synced is there or not, in part or whole, as chance has it.
    pub(crate) fn cut_power(&self, chance: &Chance) {
        let mut state = self.lock();
        let state = &mut *state;
        for (path, file) in std::mem::take(&mut state.removed) {
            if chance.u64().is_multiple_of(2) {
                state.files.entry(path).or_insert(file);
            }
        }
        state.files.retain(|_, file| locked(file).is_named() || chance.u64().is_multiple_of(2));
        for file in state.files.values_mut() {
            let after = locked(file).after_power_cut(chance);
            *file = Arc::new(Mutex::new(after)); // whoever still has the old one open changes nothing here
        }
    }

    /// What a dead process held is free again, and its fuse is out.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.locked.clear();
        state.fuse = None;
    }
}

impl State {
    fn make_folders(&mut self, path: &Path) {
        self.folders.extend(path.ancestors().map(Path::to_owned));
    }

    fn file(&self, path: &Path) -> io::Result<FileRef> {
        self.files.get(path).cloned().ok_or_else(|| missing(path))
    }

    fn check_folder(&self, path: &Path) -> io::Result<()> {
        let known = path.parent().is_some_and(|folder| self.folders.contains(folder));
        if known { Ok(()) } else { Err(missing(path)) }
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file or folder", path.display()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
