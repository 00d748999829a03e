//! The journal beside a model of itself, while power is cut and the disk fails at any point.

mod faulty;

use std::{path::Path, sync::Arc};

use faulty::FaultyDisk;
use isotherm_journal::{Journal, Recovery, Settings};
use proptest::{collection::vec, prelude::*};

#[derive(Debug, Clone)]
enum Act {
    Append(usize),
    Commit,
    Forget(u64),
    Read(u64, usize, usize),
    Note(u8),
    DropOldest(u64),
    /// The process is killed: what it wrote stays.
    Kill,
    /// Power is cut.
    Crash(Vec<bool>),
    Fill(usize),
    FailSync,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0..200usize).prop_map(Act::Append),
        6 => Just(Act::Commit),
        3 => (0..12u64).prop_map(Act::Forget),
        4 => (0..30u64, 1..8usize, 1..600usize).prop_map(|(from, records, bytes)| Act::Read(from, records, bytes)),
        2 => any::<u8>().prop_map(Act::Note),
        1 => (1..400u64).prop_map(Act::DropOldest),
        1 => Just(Act::Kill),
        2 => vec(any::<bool>(), 1..60).prop_map(Act::Crash),
        1 => (0..300usize).prop_map(Act::Fill),
        1 => Just(Act::FailSync),
    ]
}

/// All that a journal promises, without a disk.
#[derive(Default)]
struct Model {
    /// Every payload ever appended, by offset.
    all: Vec<Vec<u8>>,
    first: u64,
    durable: u64,
    durable_first: u64,
    note: Option<Vec<u8>>,
    /// Each note with the number of records that were there when it was set.
    notes: Vec<(u64, Vec<u8>)>,
    durable_note: usize,
}

struct Bench {
    disk: FaultyDisk,
    journal: Journal,
    model: Model,
    count: u64,
}

fn settings() -> Settings {
    Settings { segment_bytes: 700, limit_bytes: 20_000, tail_bytes: 300 }
}

fn open(disk: &FaultyDisk) -> (Journal, Recovery) {
    Journal::open(Arc::new(disk.clone()), Path::new("j"), settings()).unwrap()
}

impl Bench {
    fn new() -> Self {
        let disk = FaultyDisk::default();
        Self { journal: open(&disk).0, disk, model: Model::default(), count: 0 }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Append(size) => {
                self.count += 1;
                let mut payload = self.count.to_le_bytes().to_vec();
                payload.resize(size.max(8), self.count as u8);
                if let Ok(offset) = self.journal.append(&payload) {
                    assert_eq!(offset, self.model.all.len() as u64, "offsets are dense");
                    self.model.all.push(payload);
                }
            }
            Act::Commit => self.commit(),
            Act::Forget(more) => {
                self.model.first = (self.model.first + more).min(self.model.all.len() as u64);
                self.journal.forget(self.model.first);
            }
            Act::Read(from, records, bytes) => self.read(self.model.first + from, records, bytes),
            Act::Note(value) => {
                self.model.note = Some(vec![value; 5]);
                self.model.notes.push((self.model.all.len() as u64, vec![value; 5]));
                self.journal.set_note(&[value; 5]);
            }
            Act::DropOldest(bytes) => {
                let before = self.journal.bytes();
                self.model.first += self.journal.drop_oldest(bytes);
                assert!(self.journal.bytes() <= before.saturating_sub(bytes) || self.journal.bytes() == 0);
            }
            Act::Kill => self.reopen(),
            Act::Crash(coins) => {
                let mut coins = coins.into_iter().cycle();
                self.disk.crash(|| coins.next().unwrap());
                self.reopen();
            }
            Act::Fill(bytes) => self.disk.fill_up(Some(bytes)),
            Act::FailSync => self.disk.fail_syncs(1),
        }
        assert_eq!(self.journal.first(), self.model.first);
        assert_eq!(self.journal.next(), self.model.all.len() as u64);
        assert_eq!(self.journal.note().map(|note| note.to_vec()), self.model.note);
    }

    fn commit(&mut self) {
        if let Ok(durable) = self.journal.commit() {
            assert_eq!(durable, self.model.all.len() as u64);
            assert!(!self.journal.is_dirty());
            self.model.durable_first = self.model.first;
            self.model.durable_note = self.model.notes.len();
        } else {
            self.disk.fill_up(None); // someone made room
        }
        assert!(self.journal.durable() >= self.model.durable);
        self.model.durable = self.journal.durable();
    }

    fn read(&self, from: u64, records: usize, bytes: usize) {
        let found = self.journal.read(from, records, bytes).unwrap();
        assert!(found.len() <= records);
        for (index, (offset, payload)) in found.iter().enumerate() {
            assert_eq!(*offset, from + index as u64);
            assert_eq!(payload[..], self.model.all[*offset as usize][..]);
        }
        let left = (self.model.all.len() as u64).saturating_sub(from);
        assert_eq!(found.is_empty(), left == 0, "a read brings something if there is something");
        let size: usize = found.iter().skip(1).map(|(_, payload)| payload.len()).sum();
        assert!(size <= bytes + 216);
    }

    fn reopen(&mut self) {
        self.disk.fail_syncs(0); // an opening that fails is tried again by whoever starts the process
        self.disk.fill_up(None);
        let recovery;
        (self.journal, recovery) = open(&self.disk);
        let (first, next) = (self.journal.first(), self.journal.next());
        let model = &mut self.model;
        assert_eq!(recovery.corrupt_records, 0, "a torn tail is not damage");
        assert!(first >= model.durable_first && first <= model.first, "forgetting is kept, and never ahead");
        assert!(next >= model.durable && next <= model.all.len() as u64, "what was durable is there");
        assert_eq!(recovery.records, next - first);
        let note = self.journal.note().map(|note| note.to_vec());
        let kept = model.notes.iter().enumerate().rev().find(|(_, (_, value))| Some(value) == note.as_ref());
        let at = kept.map_or(0, |(index, _)| index + 1);
        assert!(at >= model.durable_note.min(1), "a note that was durable is there");
        if model.durable_note > 0 {
            let newer =
                model.notes[model.durable_note - 1..].iter().any(|(_, value)| Some(value) == note.as_ref());
            assert!(newer, "a note never goes back");
        }
        if let Some(note) = &note {
            assert!(
                model.notes.iter().any(|(records, value)| *records <= next && value == note),
                "no note runs ahead"
            );
        }
        model.notes.truncate(at);
        model.durable_note = at;
        model.note = note;
        model.all.truncate(next as usize);
        model.first = first;
        // What an opening has found is synced before it is built upon, but a crash may still take a half-known name.
        model.durable = next;
        model.durable_first = first;
        let mut from = first;
        while from < next {
            let found = self.journal.read(from, 7, 500).unwrap();
            for (offset, payload) in &found {
                assert_eq!(*offset, from);
                assert_eq!(payload[..], model.all[from as usize][..]);
                from += 1;
            }
            assert!(!found.is_empty());
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_journal_keeps_what_it_promised(acts in vec(act(), 1..120)) {
        let mut bench = Bench::new();
        for act in acts {
            bench.act(act);
        }
        bench.act(Act::Kill);
    }
}
