//! docs/limits.md against the source: every limit it names is there with that value, and so is the test that goes
//! to it.

use std::path::{Path, PathBuf};

/// A line of one of the page's tables.
struct Row {
    name: String,
    value: String,
    file: String,
    test: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(root().join("docs/limits.md")).expect("docs/limits.md is there");
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what |"));
    let rows = lines.filter(|line| !line.starts_with("| ---"));
    rows.map(|line| {
        let cells: Vec<&str> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
        let [_what, limit, file, _happens, test] = cells[..] else { panic!("five cells are right: {line}") };
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let (name, value) =
            limit.split_once(" = ").unwrap_or_else(|| panic!("`NAME` = `VALUE` is right: {limit}"));
        Row { name: plain(name), value: plain(value), file: plain(file), test: plain(test) }
    })
    .collect()
}

/// Whether a text says `const NAME: Type = VALUE;`, or `name: VALUE,` as a `Default` does.
fn says(text: &str, name: &str, value: &str) -> bool {
    let constant = |line: &str| {
        let (left, right) = line.split_once(" = ")?;
        let named = left.contains(&format!("const {name}: "));
        Some(named && right.split(';').next() == Some(value))
    };
    let field = format!(" {name}: {value},");
    text.lines().any(|line| line.contains(&field) || constant(line) == Some(true))
}

#[test]
fn every_limit_that_the_page_names_is_in_the_source_with_that_value() {
    let rows = rows();
    assert!(rows.len() > 50, "the page has {} rows", rows.len());
    for Row { name, value, file, .. } in rows {
        let text =
            std::fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(says(&text, &name, &value), "{file} does not say that {name} is {value}");
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let mut source = String::new();
    for folder in ["crates", "modules", "proto"] {
        gather(&root().join(folder), &mut source);
    }
    for Row { name, test, .. } in rows() {
        assert!(source.contains(&format!("fn {test}(")), "{name}: there is no test {test}");
    }
}

fn gather(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the source can be listed") {
        let path = entry.expect("the source can be listed").path();
        if path.is_dir() {
            gather(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("the source can be read"));
        }
    }
}

#[test]
fn a_limit_of_another_value_would_be_seen() {
    assert!(says("pub(crate) const A_MAX: usize = 4 << 20; // why", "A_MAX", "4 << 20"));
    assert!(says("    a_max: 64,", "a_max", "64"));
    assert!(!says("const A_MAX: usize = 5 << 20;", "A_MAX", "4 << 20"));
    assert!(!says("    a_max: 640,", "a_max", "64"));
}
