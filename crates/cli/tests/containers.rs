//! What can be seen of the images without an engine. `.ci/containers` builds and runs them.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{root, skipped};
use serde_json::Value;

/// IoT Edge's word for a platform, and docker's.
const PLATFORMS: [(&str, &str); 3] =
    [("amd64", "linux/amd64"), ("arm64v8", "linux/arm64"), ("arm32v7", "linux/arm/v7")];
const MODULES: [&str; 3] = ["sensor", "filter", "hub"];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_recipes_differ_in_the_name_of_their_platform_alone() {
    let lines = |platform, docker| format!("ARG PLATFORM={platform}\nARG DOCKER_PLATFORM={docker}\n");
    let common = |(platform, docker)| {
        let recipe = read(&format!("docker/module.{platform}.Dockerfile"));
        let lines = lines(platform, docker);
        assert!(recipe.contains(&lines), "the recipe for {platform} has no {lines}");
        recipe.replace(&lines, "")
    };
    let [amd64, arm64v8, arm32v7] = PLATFORMS.map(common);
    assert_eq!(arm64v8, amd64);
    assert_eq!(arm32v7, amd64);
}

#[test]
fn every_module_json_names_the_recipes_this_version_and_itself() {
    for module in MODULES {
        let json: Value =
            serde_json::from_str(&read(&format!("modules/{module}/module.json"))).expect("JSON");
        let image = &json["image"];
        assert_eq!(image["tag"]["version"], env!("CARGO_PKG_VERSION"), "{module}");
        assert_eq!(image["buildOptions"][0], format!("--build-arg MODULE={module}"));
        for (platform, _) in PLATFORMS {
            let recipe = format!("../../docker/module.{platform}.Dockerfile");
            assert_eq!(image["tag"]["platforms"][platform], recipe, "{module}");
        }
        let compose = read("docker/compose.yaml");
        let repository = image["repository"].as_str().expect("a text");
        let line =
            format!("image: {repository}:{}-${{ISOTHERM_PLATFORM:-amd64}}\n", env!("CARGO_PKG_VERSION"));
        assert!(compose.contains(&line), "docker/compose.yaml has no {line}");
    }
}

#[test]
fn what_an_image_is_built_from_is_a_list_without_secrets() {
    let list = read(".dockerignore");
    let mut lines = list.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "all that is not named stays outside");
    let let_in: Vec<&str> = lines.filter_map(|line| line.strip_prefix('!')).collect();
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("a workspace");
    let members: Vec<String> = serde_json::from_str(members).expect("TOML's list of strings is JSON's");
    let folders = members.iter().map(|member| member.trim_end_matches("/*"));
    let ours = ["Cargo.toml", "Cargo.lock", "docker/toolchain", "docker/binaries", "docker/sbom"];
    let needed: Vec<&str> = ours.into_iter().chain(folders).collect();
    assert_eq!(let_in, needed);
    assert!(list.lines().any(|line| line == "**/.env*"));
}

/// What CycloneDX's own library says of the bill that it is given: nothing if it is right.
fn judged(python: &Path, bill: &[u8]) -> String {
    let mut judge = Command::new(python)
        .arg(root().join("crates/cli/tests/strangers/sbom.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    judge.stdin.take().expect("it is piped").write_all(bill).expect("it reads");
    let done = judge.wait_with_output().expect("it ends");
    assert!(done.status.success(), "the judge itself failed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn every_bill_of_materials_is_what_its_specification_asks_for() {
    let python = root().join("target/strangers/cyclonedx/bin/python");
    if !python.exists() {
        return skipped!("cyclonedx-python-lib is not installed: .ci/strangers target/strangers");
    }
    let targets = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"];
    for module in MODULES {
        for target in targets {
            let made = Command::new("sh").args(["docker/sbom", module, target]).current_dir(root()).output();
            let made = made.expect("sh is here");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            assert_eq!(judged(&python, &made.stdout), "", "{module} for {target}");
            let bill: Value = serde_json::from_slice(&made.stdout).expect("JSON");
            assert_eq!(bill["specVersion"], "1.5");
            let parts = bill["components"].as_array().expect("a list");
            let has = |name: &str| parts.iter().any(|part| part["name"] == name);
            assert!(has("ring") && has("isotherm-host") && !has("clap"), "{module} for {target}");
        }
    }
    // The judge can say no.
    assert_ne!(judged(&python, br#"{"bomFormat":"CycloneDX","specVersion":"1.5","version":"one"}"#), "");
}
