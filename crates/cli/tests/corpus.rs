//! What was once written to break a decoder, read again: `.fuzz/corpus` through the same functions that the fuzzer
//! calls. A file that broke one stays there.

#[path = "../../../.fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "a library of its own, for the fuzzer")]
mod decoders;

use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.fuzz/corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the corpus can be listed").path()).collect();
    files.sort();
    files
}

#[test]
fn every_decoder_stands_what_was_found_to_trouble_one() {
    for (name, decode) in decoders::TARGETS {
        let files = files(&corpus().join(name));
        assert!(!files.is_empty(), ".fuzz/corpus/{name} holds nothing; a seed or two would be right");
        for file in files {
            let bytes = std::fs::read(&file).expect("the corpus can be read");
            eprintln!("{}", file.display()); // shown with a failure: this is the one
            decode(&bytes);
        }
    }
}

/// What troubles one decoder is cheap to show to all the others.
#[test]
fn every_decoder_stands_what_was_written_for_another() {
    for folder in files(&corpus()) {
        for file in files(&folder) {
            let bytes = std::fs::read(&file).expect("the corpus can be read");
            for (name, decode) in decoders::TARGETS {
                eprintln!("{name}: {}", file.display());
                decode(&bytes);
            }
        }
    }
}

#[test]
fn every_fuzz_target_is_listed_and_every_listed_one_exists() {
    let targets = corpus().join("../targets");
    let stem = |path: &PathBuf| path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let there: Vec<String> = files(&targets).iter().map(stem).collect();
    let listed: Vec<&str> = decoders::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(there, listed);
    for name in listed {
        let text = std::fs::read_to_string(targets.join(format!("{name}.rs"))).expect("it can be read");
        assert!(text.contains(&format!("run(\"{name}\", bytes)")), "{name}.rs runs another");
    }
}

/// The corpus stays small: a few KiB for each decoder.
#[test]
fn the_corpus_is_small() {
    for folder in files(&corpus()) {
        let bytes: u64 =
            files(&folder).iter().map(|file| file.metadata().map_or(0, |about| about.len())).sum();
        assert!(bytes <= 24 << 10, "{} holds {bytes} bytes", folder.display());
    }
}
