//! Files that somebody hands over: CSV, `.env`, deployment templates, and a journal after a crash.

use std::path::Path;
use std::sync::Arc;

use isotherm_host::{Disk, Env, MemoryDisk};
use isotherm_iothub::{Images, ModuleFile, Problem, Sources, Template, render};
use isotherm_journal::{Journal, Settings};
use isotherm_sensor::replay::{Replay, Row, Unit};

use super::{readable, text};

/// A CSV for the emulated chip: a row is a number or a hole, and the number is finite.
pub(crate) fn replays(bytes: &[u8]) {
    for unit in [Unit::Celsius, Unit::Fahrenheit] {
        match Replay::parse(bytes, unit) {
            Ok(replay) => {
                for index in 0..replay.len() {
                    if let Some(Row::Celsius(degrees)) = replay.row(index) {
                        assert!(degrees.is_finite());
                    }
                }
                assert!(replay.row(replay.len()).is_none());
            }
            Err(error) => readable(error),
        }
    }
}

/// A `.env` file, also with variables filled in.
pub(crate) fn dotenv(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match Env::from_dotenv(text) {
        Ok(env) => {
            for name in env.names() {
                assert!(env.even_empty(name).is_some_and(|value| value.len() <= text.len()));
            }
        }
        Err(error) => readable(error),
    }
    if let Err(error) = Env::of([("HOME", "/root")]).over_dotenv(text) {
        readable(error);
    }
}

/// A deployment template, and a `module.json`.
pub(crate) fn templates(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let variable = |name: &str| (name.len() == 1).then(|| format!("value of {name}"));
    match Template::parse(text, &variable) {
        Ok(template) => {
            for module in template.modules() {
                let _ = template.desired_of(&module.name);
            }
            template.routes().iter().for_each(drop);
        }
        Err(problems) => all_readable(&problems),
    }
    let sources = Sources {
        platform: "amd64",
        variable: &variable,
        module_json: &|_| None,
        images: Images::MayStayOpen,
    };
    match render(text, &sources) {
        Ok(rendered) => drop(serde_json::from_str::<serde_json::Value>(&rendered.manifest).expect("JSON")),
        Err(problems) => all_readable(&problems),
    }
    if let Err(problems) = ModuleFile::parse("module.json", text, &variable) {
        all_readable(&problems);
    }
}

fn all_readable(problems: &[Problem]) {
    assert!(!problems.is_empty(), "refused without a reason");
    problems.iter().for_each(readable);
}

/// A journal whose last files are anything at all: it opens, hands out what is whole, and goes on.
pub(crate) fn journals(bytes: &[u8]) {
    let disk = MemoryDisk::new();
    let dir = Path::new("journal");
    disk.create_dir(dir).expect("memory has room");
    // The first byte says how the rest is cut into two files.
    let (cut, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let (older, newer) = bytes.split_at(bytes.len() * usize::from(*cut) / 255);
    for (id, content) in [(0, older), (1, newer)] {
        let file = disk.open(&dir.join(format!("{id:016x}.log")), true).expect("memory has room");
        file.write_at(0, content).expect("memory has room");
    }
    let open = || Journal::open(Arc::new(disk.clone()), dir, Settings::default()).expect("it opens");
    let (journal, _) = open();
    let (first, next) = (journal.first(), journal.next());
    assert!(first <= next);
    let mut before = Vec::new();
    let mut from = first;
    while let Ok(read) = journal.read(from, 64, 1 << 20)
        && let Some((last, _)) = read.last()
    {
        assert!(*last >= from);
        from = *last + 1;
        before.extend(read);
    }
    assert!(before.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let offset = journal.append(b"after the crash").expect("there is room");
    assert_eq!(offset, next);
    journal.commit().expect("memory has room");
    drop(journal);
    let (journal, recovery) = open();
    assert_eq!(recovery.torn_bytes, 0, "what was repaired is whole");
    let last = journal.read(offset, 1, 1 << 20).expect("memory can be read");
    assert_eq!(&last.first().expect("it was committed").1[..], b"after the crash");
    let mut after = Vec::new();
    let mut from = journal.first();
    while let Ok(read) = journal.read(from, 64, 1 << 20)
        && let Some((last, _)) = read.last()
    {
        from = *last + 1;
        after.extend(read);
    }
    after.pop();
    assert_eq!(before, after, "what was read once is read again");
}
