//! The machine's own disk.

use super::{AlreadyLocked, Disk, File, Lock, WHOLE_FILE_BYTES_MAX};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The machine's own disk. Files are 0600 and folders 0700: state holds keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| at(path, error))
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut options = private();
        let file = options.read(true).create(create).open(path).map_err(|error| at(path, error))?;
        Ok(Box::new(RealFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = fs::File::open(path).map_err(|error| at(path, error))?;
        let mut bytes = Vec::new();
        file.take(WHOLE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| at(path, error))?;
        super::whole(path, bytes)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = beside(path);
        let written = (|| {
            let mut file = private().create(true).truncate(true).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&beside, path)?;
            sync_folder(path.parent())
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&beside); // a full disk should not keep the half that fitted
            at(path, error)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|error| at(path, error))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path).map_err(|error| at(path, error))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(|error| at(dir, error))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_folder(Some(path)).map_err(|error| at(path, error))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut file = private().read(true).create(true).open(path).map_err(|error| at(path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.take(16).read_to_string(&mut text); // only to say more in the error
                return Err(AlreadyLocked::error(path, text.trim().parse().ok()));
            }
            Err(error) => return Err(at(path, error.into())),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock::held_by(file))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let space = statvfs(path).map_err(|error| at(path, error.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Where the new bytes are written before they take the file's name.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

/// The same error, saying which file.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
