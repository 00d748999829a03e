//! A disk whose syncs can be held, or fail for want of room.

#![allow(unreachable_pub, missing_docs, reason = "for tests only")]

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use isotherm_host::{Disk, File, Lock, RealDisk};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Full,
}

/// The real disk behind a gate. Clones share the gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new((Mutex::new(State::Open), Condvar::new())))
    }

    /// Syncs go through again.
    pub fn open(&self) {
        self.set(State::Open);
    }

    /// Syncs wait.
    pub fn close(&self) {
        self.set(State::Closed);
    }

    /// Writes and syncs fail: no room.
    pub fn fill(&self) {
        self.set(State::Full);
    }

    fn set(&self, state: State) {
        *self.0.0.lock().unwrap() = state;
        self.0.1.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let state = self.0.0.lock().unwrap();
        let state = self.0.1.wait_while(state, |state| *state == State::Closed).unwrap();
        self.room(*state)
    }

    fn room(&self, state: State) -> io::Result<()> {
        if state == State::Full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Gate {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        Ok(Box::new(GatedFile(RealDisk.open(path, create)?, self.clone())))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.pass()?;
        RealDisk.write_atomic(path, bytes)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        RealDisk.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Lock> {
        RealDisk.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
    fn is_durable(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct GatedFile(Box<dyn File>, Gate);

impl File for GatedFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, into)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.room(*self.1.0.0.lock().unwrap())?;
        self.0.write_at(offset, bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.room(*self.1.0.0.lock().unwrap())?;
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.pass()?;
        self.0.sync()
    }
}
