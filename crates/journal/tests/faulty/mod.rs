//! A disk that forgets what was not synced, in the ways disks do: sector by sector, in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use isotherm_host::{Disk, File, Lock};

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 64; // smaller than real ones, to tear more often

#[derive(Debug, Default, Clone)]
struct Content {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// Whether the folder was synced since the file was made.
    named: bool,
}

/// Something that happens while the disk syncs.
#[derive(Default)]
struct Meanwhile(Option<Box<dyn FnMut() + Send>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<PathBuf, Content>,
    /// Removed, but not yet so on disk.
    removed: BTreeMap<PathBuf, Content>,
    /// How many bytes may still be written before the disk is full.
    room: Option<usize>,
    failing_syncs: usize,
    open: usize,
    most_open: usize,
    syncs: usize,
    written: usize,
    zeros: usize,
    meanwhile: Meanwhile,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
}

#[expect(dead_code, reason = "each test file uses its own part")]
impl FaultyDisk {
    /// Power is cut: of what was not synced, each sector is there or not as `chance` says.
    pub(crate) fn crash(&self, mut chance: impl FnMut() -> bool) {
        let mut inner = self.0.lock().unwrap();
        let removed = std::mem::take(&mut inner.removed);
        for (path, content) in removed {
            if chance() {
                inner.files.entry(path).or_insert(content);
            }
        }
        let gone: BTreeSet<PathBuf> = inner
            .files
            .iter()
            .filter(|(_, content)| !content.named && chance())
            .map(|(path, _)| path.clone())
            .collect();
        inner.files.retain(|path, _| !gone.contains(path));
        for content in inner.files.values_mut() {
            let longest = content.now.len().max(content.synced.len());
            let length = if chance() { content.now.len() } else { content.synced.len().min(longest) };
            let mut after = vec![0; length];
            for start in (0..length).step_by(SECTOR) {
                let from = if chance() { &content.now } else { &content.synced };
                let end = (start + SECTOR).min(length).min(from.len());
                if start < end {
                    after[start..end].copy_from_slice(&from[start..end]);
                }
            }
            *content = Content { synced: after.clone(), now: after, named: true };
        }
        inner.room = None;
        inner.failing_syncs = 0;
    }

    /// After `bytes` more the disk is full; `None`: it has room again.
    pub(crate) fn fill_up(&self, bytes: Option<usize>) {
        self.0.lock().unwrap().room = bytes;
    }

    /// Has this happen while each sync is under way.
    pub(crate) fn meanwhile(&self, happens: impl FnMut() + Send + 'static) {
        self.0.lock().unwrap().meanwhile = Meanwhile(Some(Box::new(happens)));
    }

    pub(crate) fn fail_syncs(&self, count: usize) {
        self.0.lock().unwrap().failing_syncs = count;
    }

    pub(crate) fn flip(&self, path: &Path, at: usize, bit: u8) {
        let mut inner = self.0.lock().unwrap();
        let content = inner.files.get_mut(path).unwrap();
        content.now[at] ^= 1 << bit;
        content.synced = content.now.clone();
    }

    pub(crate) fn zero(&self, path: &Path, from: usize, to: usize) {
        let mut inner = self.0.lock().unwrap();
        let content = inner.files.get_mut(path).unwrap();
        content.now[from..to].fill(0);
        content.synced = content.now.clone();
    }

    pub(crate) fn files(&self) -> Vec<(PathBuf, usize)> {
        self.0.lock().unwrap().files.iter().map(|(path, content)| (path.clone(), content.now.len())).collect()
    }

    /// Each file's length without the zeros at its end.
    pub(crate) fn held(&self) -> Vec<(PathBuf, usize)> {
        let held = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let inner = self.0.lock().unwrap();
        inner.files.iter().map(|(path, content)| (path.clone(), held(&content.now))).collect()
    }

    pub(crate) fn most_open(&self) -> usize {
        self.0.lock().unwrap().most_open
    }

    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    /// Bytes written, but for those that were only zeros.
    pub(crate) fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }

    /// Bytes written that were only zeros.
    pub(crate) fn zeros(&self) -> usize {
        self.0.lock().unwrap().zeros
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Disk for FaultyDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut inner = self.0.lock().unwrap();
        if !inner.files.contains_key(path) {
            if !create {
                return Err(missing(path));
            }
            inner.files.insert(path.to_owned(), Content::default());
        }
        inner.open += 1;
        inner.most_open = inner.most_open.max(inner.open);
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let content = inner.files.remove(path).ok_or_else(|| missing(path))?;
        inner.removed.insert(path.to_owned(), content);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.0.lock().unwrap();
        let here = inner.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.removed.clear();
        inner.files.values_mut().for_each(|content| content.named = true);
        Ok(())
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        unreachable!("the journal does not")
    }

    fn write_atomic(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        unreachable!("the journal does not")
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("the journal does not")
    }

    fn lock(&self, _: &Path) -> io::Result<Lock> {
        unreachable!("the journal does not")
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let inner = self.disk.0.lock().unwrap();
        let Some(content) = inner.files.get(&self.path).or_else(|| inner.removed.get(&self.path)) else {
            return Ok(0);
        };
        let from = (offset as usize).min(content.now.len());
        let count = into.len().min(content.now.len() - from);
        into[..count].copy_from_slice(&content.now[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        let fits = inner.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        inner.room = inner.room.map(|room| room - fits);
        if bytes.iter().any(|byte| *byte != 0) {
            inner.written += fits;
        } else {
            inner.zeros += fits;
        }
        let content = inner.files.get_mut(&self.path).ok_or_else(|| missing(&self.path))?;
        let end = offset as usize + fits;
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset as usize..end].copy_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.0.lock().unwrap();
        Ok(inner.files.get(&self.path).map_or(0, |content| content.now.len() as u64))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        let content = inner.files.get_mut(&self.path).ok_or_else(|| missing(&self.path))?;
        content.now.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let happens = std::mem::take(&mut self.disk.0.lock().unwrap().meanwhile);
        if let Meanwhile(Some(mut happens)) = happens {
            happens();
            self.disk.0.lock().unwrap().meanwhile = Meanwhile(Some(happens));
        }
        let mut inner = self.disk.0.lock().unwrap();
        if inner.failing_syncs > 0 {
            inner.failing_syncs -= 1;
            return Err(io::Error::other("the disk did not sync"));
        }
        inner.syncs += 1;
        let content = inner.files.get_mut(&self.path).ok_or_else(|| missing(&self.path))?;
        content.synced = content.now.clone();
        Ok(())
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        self.disk.0.lock().unwrap().open -= 1;
    }
}
