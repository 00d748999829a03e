//! Where a hub keeps its state: a folder that is its alone, or memory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use isotherm_host::{Disk, Host, Lock, MemoryDisk};

use crate::options::Options;

/// The lock that keeps a second hub out of a state folder.
const LOCK_FILE: &str = "hub.lock";
/// Chance in the name of a temporary folder, in bytes.
const NAME_BYTES: usize = 8;

/// A hub's own place.
#[derive(Debug)]
pub(crate) struct Place {
    /// A folder that others can see: `ca.pem`, the workload socket, the ready object. Absolute.
    pub(crate) folder: PathBuf,
    /// The disk that the folder is on.
    pub(crate) outside: Arc<dyn Disk>,
    /// The disk that holds the state, under the same paths; memory when ephemeral.
    pub(crate) inside: Arc<dyn Disk>,
    ephemeral: bool,
    _lock: Option<Lock>,
}

impl Place {
    /// Takes the place, or says who has it.
    pub(crate) fn open(host: &Host, options: &Options) -> anyhow::Result<Self> {
        let outside = Arc::clone(&host.disk);
        let folder = if options.ephemeral { temporary(host) } else { options.state.clone() };
        let folder = std::path::absolute(&folder).context("the current folder cannot be found")?;
        outside
            .create_dir(&folder)
            .with_context(|| format!("the state folder {} cannot be made", folder.display()))?;
        let (inside, lock): (Arc<dyn Disk>, _) = if options.ephemeral {
            (Arc::new(MemoryDisk::default()), None)
        } else {
            (Arc::clone(&outside), Some(outside.lock(&folder.join(LOCK_FILE))?))
        };
        Ok(Self { folder, outside, inside, ephemeral: options.ephemeral, _lock: lock })
    }

    /// Puts a file into the folder for others to see. One that goes with the hub need not survive a power cut, and
    /// does not wait for the disk: a test that starts a hub waits for it.
    pub(crate) fn show(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(name);
        if self.ephemeral {
            return self.outside.open(&path, true)?.write_at(0, bytes);
        }
        self.outside.write_atomic(&path, bytes)
    }

    /// The path of something in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.ephemeral {
            let _ = self.outside.remove_dir(&self.folder); // it is temporary, whoever removes it
        }
    }
}

fn temporary(host: &Host) -> PathBuf {
    let mut bytes = [0; NAME_BYTES];
    host.chance.bytes(&mut bytes);
    let mut name = "isotherm-hub-".to_owned();
    for byte in bytes {
        let _ = write!(name, "{byte:02x}"); // writing to a string cannot fail
    }
    Path::new(host.env.get("TMPDIR").unwrap_or("/tmp")).join(name)
}
