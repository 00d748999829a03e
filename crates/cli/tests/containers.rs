//! What can be seen of the images without an engine. `.ci/containers` builds and runs them.

use std::path::Path;

use serde_json::Value;

const RECIPES: [(&str, &str); 3] = [
    ("amd64", "module.Dockerfile"),
    ("arm64v8", "module.arm64v8.Dockerfile"),
    ("arm32v7", "module.arm32v7.Dockerfile"),
];
const MODULES: [&str; 3] = ["sensor", "filter", "hub"];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_recipes_differ_in_the_name_of_their_platform_alone() {
    let plain = read("docker/module.Dockerfile");
    for (platform, file) in RECIPES {
        let recipe = read(&format!("docker/{file}"));
        let line = format!("ARG PLATFORM={platform}\n");
        assert!(recipe.contains(&line), "{file} has no {line}");
        assert_eq!(recipe.replace(&line, "ARG PLATFORM=amd64\n"), plain, "{file}");
    }
}

#[test]
fn every_module_json_names_the_recipes_this_version_and_itself() {
    for module in MODULES {
        let json: Value =
            serde_json::from_str(&read(&format!("modules/{module}/module.json"))).expect("JSON");
        let image = &json["image"];
        assert_eq!(image["tag"]["version"], env!("CARGO_PKG_VERSION"), "{module}");
        assert_eq!(image["buildOptions"][0], format!("--build-arg MODULE={module}"));
        for (platform, file) in RECIPES {
            assert_eq!(image["tag"]["platforms"][platform], format!("../../docker/{file}"), "{module}");
        }
        let compose = read("docker/compose.yaml");
        let repository = image["repository"].as_str().expect("a text");
        let line = format!("image: {repository}:{}-amd64\n", env!("CARGO_PKG_VERSION"));
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
    let needed: Vec<&str> = ["Cargo.toml", "Cargo.lock", "docker/sbom"].into_iter().chain(folders).collect();
    assert_eq!(let_in, needed);
    assert!(list.lines().any(|line| line == "**/.env*"));
}
