//! The same promises of every disk.

use isotherm_host::{Disk, MemoryDisk, RealDisk};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of this test's own, gone at its end.
struct Scratch {
    disk: Box<dyn Disk>,
    folder: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.disk.remove_dir(&self.folder);
    }
}

fn both() -> [Scratch; 2] {
    let real: Box<dyn Disk> = Box::new(RealDisk);
    let memory: Box<dyn Disk> = Box::new(MemoryDisk::new());
    [real, memory].map(|disk| {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("isotherm-disk-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        disk.create_dir(&folder).unwrap();
        Scratch { disk, folder }
    })
}

#[test]
fn a_file_is_read_and_written_at_offsets() {
    for Scratch { disk, folder } in &both() {
        let file = disk.open(&folder.join("segment"), true).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_at(4, b"isotherm").unwrap();
        file.write_at(0, b"iso ").unwrap();
        assert_eq!(file.len().unwrap(), 12);
        let mut bytes = [0; 8];
        assert_eq!(file.read_at(8, &mut bytes).unwrap(), 4, "as much as there is");
        assert_eq!(&bytes[..4], b"herm");
        assert_eq!(file.read_at(100, &mut bytes).unwrap(), 0);
        file.set_len(2).unwrap();
        file.set_len(5).unwrap();
        file.sync().unwrap();
        assert_eq!(disk.read(&folder.join("segment")).unwrap(), b"is\0\0\0");
    }
}

#[test]
fn a_gap_that_was_never_written_reads_as_zeros() {
    for Scratch { disk, folder } in &both() {
        disk.open(&folder.join("gap"), true).unwrap().write_at(3, b"!").unwrap();
        assert_eq!(disk.read(&folder.join("gap")).unwrap(), b"\0\0\0!");
    }
}

#[test]
fn a_file_opened_again_is_the_same_file() {
    for Scratch { disk, folder } in &both() {
        let path = folder.join("twin");
        let one = disk.open(&path, true).unwrap();
        let other = disk.open(&path, false).unwrap();
        one.write_at(0, b"8").unwrap();
        let mut byte = [0];
        other.read_at(0, &mut byte).unwrap();
        assert_eq!(&byte, b"8");
    }
}

#[test]
fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
    for Scratch { disk, folder } in &both() {
        let path = folder.join("key.pem");
        disk.write_atomic(&path, b"the first, which is longer").unwrap();
        disk.write_atomic(&path, b"the second").unwrap();
        disk.sync_dir(folder).unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"the second");
        assert_eq!(disk.list(folder).unwrap(), ["key.pem"]);
    }
}

#[test]
fn what_is_not_there_is_said_to_be_missing_with_its_path() {
    for Scratch { disk, folder } in &both() {
        let nowhere = folder.join("no-such-folder").join("file");
        let missing = folder.join("missing");
        for error in [
            disk.read(&missing).unwrap_err(),
            disk.open(&missing, false).unwrap_err(),
            disk.remove(&missing).unwrap_err(),
            disk.open(&nowhere, true).unwrap_err(),
            disk.write_atomic(&nowhere, b"").unwrap_err(),
            disk.list(nowhere.parent().unwrap()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
        }
    }
}

#[test]
fn names_are_listed_in_order_and_go_with_their_files() {
    for Scratch { disk, folder } in &both() {
        disk.create_dir(&folder.join("sub/deep")).unwrap();
        disk.create_dir(&folder.join("sub/deep")).unwrap();
        for name in ["b", "a", "c"] {
            disk.open(&folder.join(name), true).unwrap();
        }
        disk.remove(&folder.join("b")).unwrap();
        assert_eq!(disk.list(folder).unwrap(), ["a", "c", "sub"]);
        disk.write_atomic(&folder.join("sub/deep/file"), b"x").unwrap();
        disk.remove_dir(&folder.join("sub")).unwrap();
        assert_eq!(disk.list(folder).unwrap(), ["a", "c"]);
    }
}

#[test]
fn a_folder_belongs_to_one_process_at_a_time() {
    for Scratch { disk, folder } in &both() {
        let path = folder.join("lock");
        let lock = disk.lock(&path).unwrap();
        let error = disk.lock(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        let said = error.to_string();
        assert!(said.starts_with(&format!("the state folder {} is in use by", folder.display())), "{said}");
        drop(lock);
        disk.lock(&path).unwrap();
    }
}

#[test]
fn there_is_room_left_and_somebody_says_how_much() {
    for Scratch { disk, folder } in &both() {
        assert!(disk.free_bytes(folder).unwrap() > 0);
    }
}

#[test]
fn the_holder_of_a_real_lock_is_named_by_its_process() {
    let [Scratch { disk, folder }, _] = &both();
    let _lock = disk.lock(&folder.join("lock")).unwrap();
    let said = disk.lock(&folder.join("lock")).unwrap_err().to_string();
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
}

#[test]
fn real_files_and_folders_are_for_their_owner_alone() {
    let [Scratch { disk, folder }, _] = &both();
    disk.create_dir(&folder.join("above/below")).unwrap();
    disk.write_atomic(&folder.join("key"), b"k").unwrap();
    disk.open(&folder.join("journal"), true).unwrap();
    let _lock = disk.lock(&folder.join("lock")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["key", "journal", "lock"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    for name in ["", "above", "above/below"] {
        assert_eq!(mode(&folder.join(name)), 0o700, "{name}");
    }
    assert!(disk.is_durable());
}

#[test]
fn a_full_disk_refuses_to_grow_and_keeps_what_it_has() {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new("/state")).unwrap();
    let file = disk.open(Path::new("/state/journal"), true).unwrap();
    file.write_at(0, b"12345678").unwrap();
    disk.limit(Some(10));
    assert_eq!(disk.free_bytes(Path::new("/state")).unwrap(), 2);
    file.write_at(0, b"87654321").unwrap();
    file.write_at(8, b"90").unwrap();
    assert_eq!(file.write_at(10, b"1").unwrap_err().kind(), ErrorKind::StorageFull);
    let replaced = disk.write_atomic(Path::new("/state/twin"), b"{}").unwrap_err();
    assert_eq!(replaced.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.used(), 10);
    disk.limit(None);
    file.write_at(10, b"1").unwrap();
    assert!(!disk.is_durable());
}

#[test]
fn a_file_that_is_no_whole_file_is_refused_before_it_fills_the_memory() {
    for Scratch { disk, folder } in &both() {
        let path = folder.join("huge");
        disk.open(&path, true).unwrap().set_len(isotherm_host::WHOLE_FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(disk.read(&path).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
