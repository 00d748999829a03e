//! What the journal does when asked plainly, and when the disk has damaged what it held.

mod faulty;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use faulty::FaultyDisk;
use isotherm_host::MemoryDisk;
use isotherm_journal::{Journal, RECORD_BYTES_MAX, Recovery, Settings};

fn small() -> Settings {
    Settings { segment_bytes: 1000, limit_bytes: 100_000, tail_bytes: 200 }
}

fn open(disk: &FaultyDisk, settings: Settings) -> (Journal, Recovery) {
    Journal::open(Arc::new(disk.clone()), Path::new("j"), settings).unwrap()
}

/// Every payload says its own number, so that a wrong one shows.
fn payload(number: u64) -> Vec<u8> {
    let mut payload = format!("record {number} ").into_bytes();
    payload.resize(84, number as u8); // with its header, 100 bytes
    payload
}

fn fill(journal: &Journal, count: u64) {
    for _ in 0..count {
        journal.append(&payload(journal.next())).unwrap();
        journal.commit().unwrap();
    }
}

fn all(journal: &Journal) -> Vec<u64> {
    let mut found = Vec::new();
    let mut from = journal.first();
    loop {
        let records = journal.read(from, 3, 10_000).unwrap();
        let Some((last, _)) = records.last() else { return found };
        from = last + 1;
        for (offset, bytes) in records {
            assert_eq!(bytes[..], payload(offset)[..], "what is handed out is what was appended");
            found.push(offset);
        }
    }
}

fn segments(disk: &FaultyDisk) -> Vec<(PathBuf, usize)> {
    disk.files().into_iter().filter(|(path, _)| path.extension().is_some()).collect()
}

#[test]
fn what_was_committed_is_there_after_power_is_cut() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    fill(&journal, 25);
    journal.append(&payload(25)).unwrap();
    disk.crash(|| false);
    let (journal, recovery) = open(&disk, small());
    assert_eq!(recovery, Recovery { records: 25, ..Recovery::default() });
    assert_eq!(all(&journal), (0..25).collect::<Vec<_>>());
}

#[test]
fn a_flipped_bit_costs_its_own_record_and_is_told() {
    let disk = FaultyDisk::default();
    fill(&open(&disk, small()).0, 30);
    let (first, length) = segments(&disk)[0].clone();
    for at in (24..length).step_by(7) {
        disk.flip(&first, at, 3);
        let (journal, recovery) = open(&disk, small());
        let found = all(&journal);
        assert!(found.len() >= 29, "byte {at}: {found:?}");
        assert!(found.ends_with(&(9..30).collect::<Vec<_>>()), "later segments are whole");
        assert_eq!(recovery.corrupt_records, 1, "byte {at}");
        assert_eq!(recovery.records, found.len() as u64);
        assert_eq!(recovery.torn_bytes, 0);
        disk.flip(&first, at, 3);
    }
}

#[test]
fn a_zeroed_page_costs_what_was_on_it() {
    let disk = FaultyDisk::default();
    fill(&open(&disk, small()).0, 30);
    let (second, length) = segments(&disk)[1].clone();
    disk.zero(&second, length / 2 - 100, length / 2 + 100);
    let (journal, recovery) = open(&disk, small());
    let found = all(&journal);
    assert!((26..=29).contains(&found.len()), "{found:?}");
    assert_eq!(recovery.records, found.len() as u64);
    assert_eq!(recovery.corrupt_records, 30 - found.len() as u64);
    assert_eq!(journal.next(), 30);
}

#[test]
fn damage_that_comes_while_the_journal_is_open_is_passed_over_and_counted() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    fill(&journal, 30);
    disk.flip(&segments(&disk)[0].0, 200, 0);
    assert_eq!(all(&journal).len(), 29);
    assert!(journal.corrupt() >= 1);
}

#[test]
fn a_segment_whose_head_is_gone_is_still_read() {
    let disk = FaultyDisk::default();
    fill(&open(&disk, small()).0, 30);
    disk.flip(&segments(&disk)[1].0, 3, 0);
    let (journal, recovery) = open(&disk, small());
    assert_eq!(all(&journal), (0..30).collect::<Vec<_>>());
    assert_eq!(recovery.corrupt_records, 1);
}

#[test]
fn a_full_disk_loses_nothing_and_the_next_commit_goes_through() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    fill(&journal, 5);
    let before = disk.held();
    journal.append(&payload(5)).unwrap();
    disk.fill_up(Some(40));
    assert!(journal.commit().is_err());
    assert_eq!(disk.held(), before, "the half-written is cut off");
    assert_eq!(journal.durable(), 5);
    journal.append(&payload(6)).unwrap();
    assert_eq!(all(&journal), (0..7).collect::<Vec<_>>());
    disk.fill_up(None);
    assert_eq!(journal.commit().unwrap(), 7);
    disk.crash(|| false);
    assert_eq!(all(&open(&disk, small()).0), (0..7).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_gets_back_the_space_of_what_is_forgotten() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    fill(&journal, 50);
    disk.fill_up(Some(0));
    journal.forget(45);
    assert!(journal.commit().is_err(), "not even the mark fits");
    assert!(segments(&disk).len() <= 2);
    disk.fill_up(None);
    disk.crash(|| false);
    let (journal, recovery) = open(&disk, small());
    assert!(all(&journal).ends_with(&[45, 46, 47, 48, 49]));
    assert_eq!(recovery.corrupt_records, 0);
}

#[test]
fn of_a_torn_commit_neither_the_records_nor_the_note_count() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    for (record, note) in [(b"one", b"1"), (b"two", b"2")] {
        journal.append(record).unwrap();
        journal.set_note(note);
        journal.commit().unwrap();
    }
    drop(journal);
    let (path, length) = disk.held().pop().unwrap();
    disk.zero(&path, length - 4, length); // the end of the last note: its record is whole
    let (journal, recovery) = open(&disk, small());
    assert_eq!(
        (journal.next(), journal.note().as_deref()),
        (1, Some(&b"1"[..])),
        "whoever noted 1 makes two again"
    );
    assert!(recovery.torn_bytes > 0 && recovery.corrupt_records == 0, "{recovery:?}");
}

#[test]
fn at_its_limit_it_says_full_until_something_is_forgotten() {
    let disk = FaultyDisk::default();
    let settings = Settings { limit_bytes: 2000, ..small() };
    let (journal, _) = open(&disk, settings);
    let mut count = 0;
    while journal.append(&payload(count)).is_ok() {
        count += 1;
        journal.commit().unwrap();
    }
    assert!((14..=20).contains(&count), "{count} records of 100 bytes in 2000");
    let full = journal.append(&payload(count)).unwrap_err();
    assert!(full.to_string().contains("limit of 2000 bytes"), "{full}");
    let dropped = journal.drop_oldest(full.wanted);
    assert!((1..=2).contains(&dropped), "only what has to go, not {dropped}");
    assert_eq!(journal.append(&payload(count)), Ok(count));
    assert_eq!(journal.first(), dropped);
}

#[test]
fn many_times_its_limit_may_pass_through_and_the_disk_never_holds_much_more() {
    let disk = FaultyDisk::default();
    let settings = Settings { segment_bytes: 4 << 20, limit_bytes: 8000, tail_bytes: 100 };
    let (journal, _) = open(&disk, settings);
    for number in 0..1000 {
        while let Err(full) = journal.append(&payload(number)) {
            journal.drop_oldest(full.wanted);
        }
        journal.commit().unwrap();
        let held: usize = segments(&disk).iter().map(|(_, length)| length).sum();
        assert!(held <= 8000 + 2 * 1100, "{held} bytes on disk");
    }
    assert!(all(&journal).len() > 50);
}

#[test]
fn a_record_larger_than_any_is_refused() {
    let (journal, _) =
        Journal::open(Arc::new(MemoryDisk::new()), Path::new("j"), Settings::default()).unwrap();
    assert!(journal.append(&vec![0; RECORD_BYTES_MAX + 1]).is_err());
    let offset = journal.append(&vec![7; RECORD_BYTES_MAX]).unwrap();
    journal.commit().unwrap();
    assert_eq!(journal.read(offset, 1, 1).unwrap()[0].1.len(), RECORD_BYTES_MAX);
}

#[test]
fn forgotten_segments_are_unlinked_and_few_files_are_open() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    fill(&journal, 200);
    assert!(segments(&disk).len() > 20);
    assert_eq!(all(&journal).len(), 200);
    journal.forget(200);
    journal.commit().unwrap();
    assert!(segments(&disk).len() <= 2);
    assert!(disk.most_open() <= 3, "a writer's, a reader's, and one that is being closed");
    assert_eq!(journal.bytes(), 0);
}

#[test]
fn a_note_outlives_the_records_it_was_set_beside() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    journal.append(&payload(0)).unwrap();
    journal.set_note(b"row 1");
    fill(&journal, 100);
    journal.forget(journal.next());
    journal.commit().unwrap();
    disk.crash(|| false);
    let (journal, _) = open(&disk, small());
    assert_eq!(journal.note().as_deref(), Some(&b"row 1"[..]));
    assert_eq!(journal.next(), 101, "no offset is used twice");
}

#[test]
fn those_who_commit_at_once_share_a_sync() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, Settings::default());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let offset = journal.append(b"x").unwrap();
                    assert!(journal.commit().unwrap() > offset);
                }
            });
        }
    });
    assert_eq!(journal.durable(), 1600);
    assert!(disk.syncs() <= 1601);
    for _ in 0..1000 {
        journal.append(b"y").unwrap();
    }
    let before = disk.syncs();
    journal.commit().unwrap();
    assert_eq!(disk.syncs(), before + 1, "a thousand records, one sync");
}

#[test]
fn whoever_waits_for_a_commit_waits_for_one_sync_whatever_happens_meanwhile() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, Settings::default());
    let other = journal.clone();
    disk.meanwhile(move || {
        other.forget(other.durable());
        other.append(b"later").unwrap();
    });
    for round in 1..=10 {
        let offset = journal.append(b"x").unwrap();
        assert!(journal.commit().unwrap() > offset);
        assert_eq!(disk.syncs(), round);
        assert!(journal.is_dirty(), "what came meanwhile is for the next one");
    }
}

#[test]
fn sixty_byte_messages_with_a_sync_each_cost_less_than_twice_their_size() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, Settings::default());
    for _ in 0..2000 {
        journal.append(&[1; 60]).unwrap();
        journal.commit().unwrap();
        journal.forget(journal.next());
    }
    assert!(disk.written() < 2 * 60 * 2000, "{} bytes", disk.written());
    assert!(disk.zeros() <= disk.written() + (256 << 10), "{} zeros", disk.zeros());
}

#[test]
fn few_of_many_small_commits_make_the_file_longer() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, Settings::default());
    let mut lengths = vec![0];
    for _ in 0..5000 {
        journal.append(&[1; 60]).unwrap();
        journal.commit().unwrap();
        let (_, length) = disk.files().pop().unwrap();
        assert!(length >= *lengths.last().unwrap());
        lengths.push(length);
    }
    lengths.dedup();
    assert!(lengths.len() < 12, "{lengths:?}");
    assert!(segments(&disk).len() == 1 && *lengths.last().unwrap() <= 4 << 20);
}

#[test]
fn the_zeros_behind_what_was_written_are_the_end_and_those_of_a_record_belong_to_it() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, Settings::default());
    for _ in 0..3 {
        journal.append(&[0; 20_000]).unwrap();
        journal.commit().unwrap();
    }
    drop(journal);
    let (path, length) = disk.files().pop().unwrap();
    assert!(length > 100_000, "it is filled ahead");
    for (next, records) in [(3, 3), (4, 4)] {
        let (journal, recovery) = open(&disk, Settings::default());
        assert_eq!(recovery, Recovery { records, ..Recovery::default() });
        let read = journal.read(0, 10, usize::MAX).unwrap();
        assert_eq!(read.len() as u64, records);
        assert!(read.iter().all(|(_, payload)| payload[..] == [0; 20_000]));
        assert_eq!(journal.append(&[0; 20_000]), Ok(next));
        journal.commit().unwrap();
    }
    let (_, held) = disk.held().pop().unwrap();
    disk.flip(&path, held + 20_000 + 3000, 0); // behind the last commit: nobody's
    let (_, recovery) = open(&disk, Settings::default());
    assert_eq!((recovery.records, recovery.corrupt_records), (5, 0));
}

#[test]
fn a_disk_with_room_for_the_record_and_none_for_zeros_takes_the_record() {
    let disk = FaultyDisk::default();
    let (journal, _) = open(&disk, small());
    journal.append(&payload(0)).unwrap();
    disk.fill_up(Some(200));
    assert_eq!(journal.commit().unwrap(), 1);
    disk.fill_up(None);
    drop(journal);
    let (journal, _) = open(&disk, small());
    fill(&journal, 3);
    assert_eq!(all(&journal), (0..4).collect::<Vec<_>>());
}

#[test]
fn a_part_missing_at_the_end_of_a_segment_that_is_not_the_last_is_counted() {
    let disk = FaultyDisk::default();
    fill(&open(&disk, small()).0, 30);
    let (path, length) = disk.held()[1].clone();
    disk.zero(&path, length - 50, length);
    let (journal, recovery) = open(&disk, small());
    assert_eq!(all(&journal).len(), 29);
    assert_eq!((recovery.records, recovery.corrupt_records), (29, 1));
}

#[test]
fn a_long_journal_is_read_from_anywhere_and_by_several_in_turn() {
    let disk = Arc::new(MemoryDisk::new());
    let open = || Journal::open(disk.clone(), Path::new("j"), Settings::default()).unwrap();
    let (journal, _) = open();
    for number in 0..100_000_u64 {
        journal.append(&payload(number)).unwrap();
    }
    journal.commit().unwrap();
    let (journal, recovery) = open();
    assert_eq!(recovery.records, 100_000);
    let mut readers = [0_u64, 31_000, 66_666, 99_000];
    for _ in 0..20 {
        for from in &mut readers {
            for (offset, bytes) in journal.read(*from, 50, usize::MAX).unwrap() {
                assert_eq!(offset, *from);
                assert_eq!(bytes[..], payload(offset)[..]);
                *from += 1;
            }
        }
    }
    assert_eq!(readers, [1000, 32_000, 67_666, 100_000]);
}

#[test]
fn files_that_are_not_segments_are_left_alone() {
    let disk = FaultyDisk::default();
    use isotherm_host::Disk as _;
    disk.open(Path::new("j/lock"), true).unwrap();
    disk.open(Path::new("j/notes.log"), true).unwrap();
    let (journal, recovery) = open(&disk, small());
    assert_eq!(recovery, Recovery::default());
    fill(&journal, 1);
    assert_eq!(disk.files().len(), 3);
}

#[test]
fn a_note_and_the_records_of_its_group_share_one_commit_however_many_they_are() {
    let disk = MemoryDisk::new();
    let settings = Settings { segment_bytes: 64 << 10, ..Settings::default() };
    let open = || Journal::open(Arc::new(disk.clone()), Path::new("j"), settings.clone()).unwrap();
    let (journal, _) = open();
    journal.group(|group| {
        for number in 0..10_000 {
            group.append_with(84, |into| into.extend_from_slice(&payload(number))).unwrap();
        }
        group.set_note(b"10000");
        assert_eq!((group.held(), group.next()), (10_000, 10_000));
    });
    disk.limit(Some(600_000)); // room for a good half of them
    journal.commit().unwrap_err();
    assert_eq!(journal.durable(), 0, "a record without its note would be made again under the same number");
    let (half, _) = open();
    assert_eq!((half.next(), half.note()), (0, None));
    drop(half);
    disk.limit(None);
    journal.commit().unwrap();
    let (journal, recovery) = open();
    assert_eq!(recovery.records, 10_000);
    assert_eq!(journal.note().as_deref(), Some(&b"10000"[..]));
}
