//! A disk that rots, and one that lies: what the database holds afterwards is what was once committed, or it says that it
//! is damaged. Nothing else is ever read.

use std::sync::Mutex;

use isotherm_host::{Chance, File, Lock, MemoryDisk};

use super::*;

const FOLDER: &str = "/s";
const COMMITS: u64 = 12;

/// What all tables hold, as the hub reads them at its start.
type Held = Vec<Vec<(String, Vec<u8>)>>;

fn disk_with(bytes: &[u8]) -> Arc<dyn Disk> {
    let disk = MemoryDisk::new();
    disk.create_dir(Path::new(FOLDER)).unwrap();
    disk.write_atomic(&Path::new(FOLDER).join(FILE), bytes).unwrap();
    Arc::new(disk)
}

fn read_all(keeper: &mut Keeper) -> io::Result<Held> {
    [Table::Registry, Table::Twins, Table::Upstream].map(|table| keeper.load(table)).into_iter().collect()
}

/// What a hub finds at its start, and whether it was told that something is missing. A database that is damaged in its
/// own books may panic, and so end the process: that is loud, too.
fn start_on(bytes: &[u8]) -> Result<(Held, bool), String> {
    let disk = disk_with(bytes);
    let start = std::panic::AssertUnwindSafe(|| {
        let mut keeper =
            Keeper::open(&disk, Path::new(FOLDER), 1 << 20).map_err(|error| error.to_string())?;
        let held = read_all(&mut keeper).map_err(|error| error.to_string())?;
        Ok((held, keeper.stepped_back))
    });
    std::panic::catch_unwind(start).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

/// What a site writes: many identities, twins that change, a cursor that moves; and what is held after each commit.
fn work(disk: &Arc<dyn Disk>, mut after_commit: impl FnMut()) -> Vec<Held> {
    let mut keeper = Keeper::open(disk, Path::new(FOLDER), 1 << 20).unwrap();
    let mut states = vec![read_all(&mut keeper).unwrap()];
    for commit in 0..COMMITS {
        let mut changes = Changes::new();
        for who in 0..40 {
            let record = format!("{{\"key\":\"{}\"}}", "k".repeat(44));
            changes.insert((Table::Registry, format!("edge/m{commit}-{who}")), Some(record.into_bytes()));
            let twin = format!("{{\"$version\":{commit},\"TemperatureThreshold\":{who}}}");
            changes.insert((Table::Twins, format!("edge/m{who}")), Some(twin.into_bytes()));
        }
        changes.insert((Table::Upstream, "cursor/0".to_owned()), Some(commit.to_le_bytes().to_vec()));
        changes.insert((Table::Registry, format!("edge/m{commit}-0")), None);
        keeper.write(&changes).unwrap();
        states.push(read_all(&mut keeper).unwrap());
        after_commit();
    }
    states
}

#[test]
fn a_flipped_bit_of_the_database_is_told_or_harmless_and_never_read_as_something_else() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    disk.create_dir(Path::new(FOLDER)).unwrap();
    let states = work(&disk, || ());
    let bytes = disk.read(&Path::new(FOLDER).join(FILE)).unwrap();
    let (chance, mut told, mut harmless) = (Chance::seeded(1), 0, 0);
    for _ in 0..500 {
        let (at, bit) = ((chance.u64() % bytes.len() as u64) as usize, chance.u64() % 8);
        let mut rotten = bytes.clone();
        rotten[at] ^= 1 << bit;
        match start_on(&rotten) {
            Err(_) => told += 1,
            Ok((held, false)) => {
                assert_eq!(Some(&held), states.last(), "byte {at}, bit {bit}");
                harmless += 1;
            }
            Ok((held, true)) => {
                assert!(states.contains(&held), "byte {at}, bit {bit}: told, and yet nothing that ever was");
                told += 1;
            }
        }
    }
    assert!(told > 20 && harmless > 20, "{told} were told and {harmless} met nothing: both are there");
}

/// What was done to the file, in order.
#[derive(Debug, Clone)]
enum Done {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// A disk in memory that notes what is done to its files.
#[derive(Debug, Clone)]
struct Noted {
    disk: MemoryDisk,
    tape: Arc<Mutex<Vec<Done>>>,
}

#[derive(Debug)]
struct NotedFile(Box<dyn File>, Arc<Mutex<Vec<Done>>>);

impl Disk for Noted {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        Ok(Box::new(NotedFile(self.disk.open(path, create)?, Arc::clone(&self.tape))))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_atomic(path, bytes)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.disk.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
    fn is_durable(&self) -> bool {
        self.disk.is_durable()
    }
}

impl File for NotedFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, into)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.lock().unwrap().push(Done::Write(offset, bytes.to_vec()));
        self.0.write_at(offset, bytes)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.lock().unwrap().push(Done::Length(len));
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()?;
        self.1.lock().unwrap().push(Done::Sync);
        Ok(())
    }
}

/// The file as it is if only these things were done.
fn image<'a>(done: impl Iterator<Item = &'a Done>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for done in done {
        match done {
            Done::Sync => {}
            Done::Length(length) => bytes.resize(*length as usize, 0),
            Done::Write(at, written) => {
                let end = *at as usize + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at as usize..end].copy_from_slice(written);
            }
        }
    }
    bytes
}

#[test]
fn a_disk_that_lied_costs_the_database_its_last_changes_or_is_told_and_leaves_no_mixture() {
    let disk = Noted { disk: MemoryDisk::new(), tape: Arc::default() };
    disk.create_dir(Path::new(FOLDER)).unwrap();
    let door: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut commits = Vec::new();
    let states = work(&door, || commits.push(disk.tape.lock().unwrap().len()));
    let tape = disk.tape.lock().unwrap().clone();
    let (chance, mut whole, mut damaged) = (Chance::seeded(2), 0, 0);
    for _ in 0..150 {
        // Power is cut somewhere behind the third commit; of all that came after some commit before that, any part is
        // lost, though the disk had said that it was safe.
        let cut = commits[2] + (chance.u64() % (tape.len() - commits[2]) as u64) as usize;
        let truth = commits[(chance.u64() % 3) as usize];
        let kept = tape[..cut].iter().enumerate().filter(|(place, done)| {
            *place < truth || matches!(done, Done::Length(_)) || chance.u64().is_multiple_of(2)
        });
        let bytes = image(kept.map(|(_, done)| done));
        match start_on(&bytes) {
            Ok((held, _)) => {
                assert!(states.contains(&held), "a mixture of commits, or what was never there");
                whole += 1;
            }
            Err(_) => damaged += 1,
        }
    }
    assert!(whole > 2 && damaged > 2, "{whole} opened and {damaged} were told: both are there");
}

#[test]
fn a_disk_that_tells_the_truth_keeps_every_commit_through_a_power_cut() {
    let disk = Noted { disk: MemoryDisk::new(), tape: Arc::default() };
    disk.create_dir(Path::new(FOLDER)).unwrap();
    let door: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut commits = vec![0];
    let states = work(&door, || commits.push(disk.tape.lock().unwrap().len()));
    let tape = disk.tape.lock().unwrap().clone();
    let chance = Chance::seeded(3);
    for _ in 0..150 {
        let cut = commits[1] + (chance.u64() % (tape.len() - commits[1]) as u64) as usize;
        let last = commits.iter().rposition(|end| *end <= cut).unwrap();
        let synced = tape[..cut].iter().rposition(|done| matches!(done, Done::Sync)).unwrap();
        let kept = tape[..cut].iter().enumerate().filter(|(place, done)| {
            *place < synced || matches!(done, Done::Length(_)) || chance.u64().is_multiple_of(2)
        });
        let bytes = image(kept.map(|(_, done)| done));
        let (held, _) = start_on(&bytes).expect("it opens");
        // What was being written when the power was cut may be there whole, or not at all.
        assert!(held == states[last] || states.get(last + 1) == Some(&held), "commit {last} is not there");
    }
}
