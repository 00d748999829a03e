//! The picture in ARCHITECTURE.md against the workspace's own metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates a floor apart: what each may use.
#[derive(Debug, Default)]
struct House {
    /// Crate → floor, counted from the top.
    floors: BTreeMap<String, usize>,
    /// Arrows within a floor.
    arrows: BTreeSet<(String, String)>,
}

impl House {
    fn drawn_in(text: &str) -> Self {
        let picture = text.split("```picture").nth(1).expect("ARCHITECTURE.md has a picture");
        let picture = picture.split("```").next().expect("split gives at least one part");
        let mut house = House::default();
        let mut floor = 0;
        for line in picture.lines().map(str::trim_start) {
            if line.starts_with('├') {
                floor += 1;
            }
            let Some(row) = line.strip_prefix('│').and_then(|rest| rest.split('│').next()) else {
                continue;
            };
            house.read_row(row, floor);
        }
        house
    }

    fn read_row(&mut self, row: &str, floor: usize) {
        let words: Vec<&str> = row.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            if word.contains('▶') {
                self.arrows.insert((words[at - 1].to_owned(), words[at + 1].to_owned()));
            } else {
                self.floors.insert((*word).to_owned(), floor);
            }
        }
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        let pair = (from.to_owned(), to.to_owned());
        self.floors[from] < self.floors[to] || self.arrows.contains(&pair)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo is here, it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// `isotherm-host` lives in the picture as `host`, the command line as `cli`.
fn room(package: &str) -> &str {
    match package {
        "isotherm" => "cli",
        other => other.strip_prefix("isotherm-").unwrap_or(other),
    }
}

/// Package → the packages it names, without what only its tests name.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("there are packages");
    let names = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("a list").iter();
        dependencies
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    packages
        .iter()
        .map(|package| (package["name"].as_str().expect("a name").to_owned(), names(package)))
        .collect()
}

#[test]
fn every_arrow_in_the_code_is_allowed_by_the_picture() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let house = House::drawn_in(&text);
    for (package, uses) in dependencies() {
        let from = room(&package);
        assert!(house.floors.contains_key(from), "{from} is not in the picture");
        for to in uses.iter().filter(|to| to.starts_with("isotherm")).map(|to| room(to)) {
            assert!(house.allows(from, to), "{from} uses {to}: the picture has no such arrow");
        }
    }
}

#[test]
fn the_picture_shows_no_room_that_does_not_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let built: BTreeSet<String> = dependencies().keys().map(|package| room(package).to_owned()).collect();
    let drawn: BTreeSet<String> = House::drawn_in(&text).floors.into_keys().collect();
    assert_eq!(drawn, built);
}

#[test]
fn the_bottom_floor_has_no_runtime_of_its_own() {
    let dependencies = dependencies();
    for package in ["isotherm-proto", "isotherm-iothub", "isotherm-protocol", "isotherm-pki"] {
        let uses = &dependencies[package];
        assert!(!uses.iter().any(|name| name.starts_with("tokio")), "{package} is a value and uses tokio");
    }
}

#[test]
fn a_forbidden_arrow_would_be_seen() {
    let house = House::drawn_in("```picture\n│ a b │\n├──┤\n│ c ──▶ d │\n```");
    assert!(house.allows("a", "c") && house.allows("c", "d"));
    assert!(!house.allows("d", "c") && !house.allows("a", "b") && !house.allows("c", "a"));
}

/// The quoted words of all sources (tests apart) that look like a variable of ours.
fn variables_in_the_code() -> BTreeSet<String> {
    let ours = ["SENSOR_", "HUB_", "OUTBOX", "BROKER_", "LOG_", "ISOTHERM_", "IOTEDGE_", "X509_", "METRICS_"];
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("crates"), root().join("modules")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of ours").flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !["tests", "fuzz", "target"].contains(&name) {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                found.extend(code.split('"').map(str::to_owned));
            }
        }
    }
    let is_name = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    };
    found.retain(|word| {
        let named = ["EdgeHub", "EdgeModule", "EdgeDevice", "TransportType", "Upstream"]
            .iter()
            .any(|start| word.starts_with(start));
        (named && word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            || (is_name(word) && !word.ends_with('_') && ours.iter().any(|start| word.starts_with(start)))
    });
    found
}

#[test]
fn every_variable_that_the_code_reads_is_explained_in_the_example() {
    let example = std::fs::read_to_string(root().join(".env.example")).expect(".env.example is there");
    let lines = example.lines().map(|line| line.trim_start_matches("# "));
    let explained: BTreeSet<&str> =
        lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let read = variables_in_the_code();
    let missing: Vec<_> = read.iter().filter(|name| !explained.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "read by the code, not in .env.example: {missing:?}");
    assert!(
        read.contains("SENSOR_CHIP") && read.contains("EdgeHubConnectionString"),
        "the search finds nothing"
    );
}
