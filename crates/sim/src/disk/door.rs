//! What a process sees of its machine's disk, and of the chip that the kernel shows as a file.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use isotherm_host::{Chance, Disk, File, Lock};

use super::{FileRef, Platter, locked, missing};
use crate::life::Life;
use crate::trace::Trace;

use super::pages::Pages;

/// Where the kernel shows chips.
const CHIPS: &str = "/sys/class/hwmon";

/// Who looks on: is asked for the chip's temperature, and told what is written and synced.
pub(crate) trait Watchman: Send + Sync + Debug {
    /// What the chip's file says now.
    fn chip(&self, machine: &str) -> io::Result<Vec<u8>>;
    /// Bytes were written to a file.
    fn written(&self, machine: &str, path: &Path, bytes: &[u8]);
    /// All that was written to it is safe.
    fn synced(&self, machine: &str, path: &Path);
}

/// What a process sees of its machine's disk.
#[derive(Debug, Clone)]
pub(crate) struct DiskDoor {
    pub(crate) platter: Platter,
    pub(crate) life: Arc<Life>,
    pub(crate) watchman: Arc<dyn Watchman>,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
}

impl DiskDoor {
    /// Every step is one that may be the process's last.
    fn step(&self) -> io::Result<()> {
        self.step_of(false)
    }

    fn step_of(&self, writes: bool) -> io::Result<()> {
        if !self.life.is_alive() {
            return Err(io::Error::other("the process is dead"));
        }
        let mut state = self.platter.lock();
        match &mut state.fuse {
            Some(0) => {
                state.fuse = None;
                self.trace.say(format_args!("{:?} dies in the middle of its disk's work", self.life));
                self.life.end();
                self.life.leaves_part_of_it(writes);
                Err(io::Error::other("the process is dead"))
            }
            Some(steps) => {
                *steps -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn said(&self, what: &str, path: &Path) {
        self.trace.say(format_args!("{:?} {what} {}", self.life, path.display()));
    }
}

impl Disk for DiskDoor {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.platter.lock().make_folders(path);
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        self.step()?;
        let mut state = self.platter.lock();
        state.check_folder(path)?;
        if create {
            state.files.entry(path.to_owned()).or_default();
        }
        let file = state.file(path)?;
        Ok(Box::new(OpenFile { door: self.clone(), path: path.to_owned(), file }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.step()?;
        if path.starts_with(CHIPS) {
            return self.watchman.chip(&self.life.machine);
        }
        let file = self.platter.lock().file(path)?;
        let bytes = locked(&file).bytes().to_vec();
        Ok(bytes)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        let mut state = self.platter.lock();
        state.check_folder(path)?;
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.removed.remove(path);
        state.files.insert(path.to_owned(), Arc::new(Mutex::new(Pages::kept(bytes))));
        drop(state);
        self.said("replaces", path);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let mut state = self.platter.lock();
        let file = state.files.remove(path).ok_or_else(|| missing(path))?;
        state.removed.insert(path.to_owned(), file);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let mut state = self.platter.lock();
        if !state.folders.contains(path) {
            return Err(missing(path));
        }
        state.folders.retain(|folder| !folder.starts_with(path));
        state.files.retain(|file, _| !file.starts_with(path));
        state.removed.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.step()?;
        let state = self.platter.lock();
        if !state.folders.contains(dir) {
            return Err(missing(dir));
        }
        let inside = state.files.keys().chain(&state.folders).filter(|path| path.parent() == Some(dir));
        let mut names: Vec<String> =
            inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let mut state = self.platter.lock();
        let inside = |file: &Path| file.parent() == Some(path);
        state.removed.retain(|file, _| !inside(file));
        for (_, file) in state.files.iter().filter(|(file, _)| inside(file)) {
            locked(file).name();
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.step()?;
        let mut state = self.platter.lock();
        if state.locked.contains_key(path) {
            return Err(isotherm_host::AlreadyLocked::error(path, None));
        }
        state.locked.insert(path.to_owned(), self.life.number);
        Ok(Lock::held_by(Held { platter: self.platter.clone(), path: path.to_owned(), by: self.life.number }))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(if self.platter.lock().full { 0 } else { u64::MAX })
    }

    fn is_durable(&self) -> bool {
        true
    }
}

struct Held {
    platter: Platter,
    path: PathBuf,
    by: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.platter.lock();
        if state.locked.get(&self.path) == Some(&self.by) {
            state.locked.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    door: DiskDoor,
    path: PathBuf,
    file: FileRef,
}

impl OpenFile {
    /// Writes as much as there is room for; on a full disk only what does not grow.
    fn write_some(&self, at: usize, bytes: &[u8], full: bool) -> usize {
        let mut file = locked(&self.file);
        let room = if full { file.bytes().len().saturating_sub(at) } else { usize::MAX };
        let count = bytes.len().min(room);
        if count > 0 {
            file.write(at, &bytes[..count]);
        }
        count
    }
}

impl File for OpenFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.door.step()?;
        let file = locked(&self.file);
        let from = file.bytes().len().min(place(offset)?);
        let count = into.len().min(file.bytes().len() - from);
        into[..count].copy_from_slice(&file.bytes()[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = place(offset)?;
        if let Err(dead) = self.door.step_of(true) {
            if self.door.life.left_part_of_it() && !bytes.is_empty() {
                let part = (self.door.chance.u64() % bytes.len() as u64) as usize;
                self.write_some(at, &bytes[..part], false);
            }
            return Err(dead);
        }
        let full = self.door.platter.lock().full;
        if self.write_some(at, bytes, full) < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.door.watchman.written(&self.door.life.machine, &self.path, bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.door.step()?;
        Ok(locked(&self.file).bytes().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.door.step()?;
        let mut file = locked(&self.file);
        let len = place(len)?;
        if len > file.bytes().len() && self.door.platter.lock().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.set_len(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.door.step()?;
        if self.door.platter.lock().lies && is_journal(&self.path) {
            locked(&self.file).pretend_sync();
            self.door.said("pretends to sync", &self.path);
            return Ok(());
        }
        locked(&self.file).sync();
        self.door.said("syncs", &self.path);
        self.door.watchman.synced(&self.door.life.machine, &self.path);
        Ok(())
    }
}

/// Whether it holds messages on their way: a database that is lied to cannot be helped by anybody.
fn is_journal(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("/queues/") || path.contains("/outbox/")
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
