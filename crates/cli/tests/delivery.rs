//! docs/delivery.md against the source: each test that it gives as evidence is there.

#[path = "common/mod.rs"]
mod common;

use std::path::Path;

use common::root;

#[test]
fn every_test_that_the_page_on_delivery_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/delivery.md")).expect("docs/delivery.md is there");
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|word| is_test(word)).collect();
    assert!(named.len() > 25, "{named:?}");
    let mut source = String::new();
    for folder in ["crates", "modules", "proto"] {
        gather(&root().join(folder), &mut source);
    }
    let missing: Vec<&&str> = named.iter().filter(|name| !source.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "named in docs/delivery.md and no test: {missing:?}");
}

/// Tests are sentences; nothing else on the page has so many words in it.
fn is_test(word: &str) -> bool {
    word.split('_').count() > 5
        && !word.ends_with("_total")
        && word.chars().all(|it| it == '_' || it.is_alphanumeric())
}

fn gather(folder: &Path, source: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            gather(&path, source);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            source.push_str(&std::fs::read_to_string(&path).expect("a file of ours"));
        }
    }
}
