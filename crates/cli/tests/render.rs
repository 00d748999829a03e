//! Manifests from templates: what comes out, what is refused, and that iotedgedev writes the same.
//!
//! `.ci/strangers target/strangers` installs iotedgedev; without it its tests print `skipped` and why.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Folder, ISOTHERM, root, skipped};
use serde_json::{Value, json};

/// A folder with a template and what belongs to it.
struct Site(Folder);

impl Site {
    fn new(name: &str) -> Self {
        Self(Folder::new(&format!("render-{name}")))
    }

    /// The repository's own.
    fn ours(name: &str) -> Self {
        let site = Self::new(name);
        for file in ["deployment.template.json", "modules/sensor/module.json", "modules/filter/module.json"] {
            site.write(file, &std::fs::read_to_string(root().join(file)).expect("it is in the repository"));
        }
        site
    }

    /// One that uses all that a template can.
    fn of_everything(name: &str) -> Self {
        let site = Self::new(name);
        let long: Vec<String> = (0..90).map(|i| format!("VARIABLE_{i}=\"é🌡\"\\{i}")).collect();
        let module = |image: &str, options: Value| {
            json!({
                "version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
                "env": {"WHO": {"value": "$WHO ${HOST}"}},
                "settings": {"image": image, "createOptions": options},
            })
        };
        let template = json!({
            "$schema-template": "4.0.0",
            "modulesContent": {
                "$edgeAgent": {"properties.desired": {
                    "schemaVersion": "${EDGEAGENT_SCHEMA_VERSION}",
                    "runtime": {"type": "docker", "settings": {"registryCredentials": {"ours": {
                        "username": "$CONTAINER_REGISTRY_USERNAME",
                        "password": "$CONTAINER_REGISTRY_PASSWORD",
                        "address": "${CONTAINER_REGISTRY_SERVER}",
                    }}}},
                    "systemModules": {
                        "edgeAgent": {"type": "docker", "settings": {"image": "agent:${EDGE_RUNTIME_VERSION}", "createOptions": ""}},
                        "edgeHub": {"type": "docker", "status": "running", "settings": {"image": "hub:1"}},
                    },
                    "modules": {
                        "plain": module("${MODULES.plain}", json!({})),
                        "named": module("${MODULES.plain.arm64v8}", json!("{\"HostConfig\": {\"Binds\": [\"a:b\"]}}")),
                        "debug": module("${MODULES.plain.debug}", json!({"Env": long})),
                        "dotted": module("${MODULES.dot.ted}", json!({"Float": [1.0, 1e30, 1.5e-7, -2], "None": null})),
                        "elsewhere": module("${MODULEDIR<../elsewhere>}", json!({"Empty": {}, "List": []})),
                        "elsewhereNamed": module("${MODULEDIR<../elsewhere>.amd64.debug}", json!({})),
                        "finished": module("localhost/finished:1-${DEFAULT_PLATFORM}", json!({})),
                    },
                }},
                "$edgeHub": {"properties.desired": {
                    "schemaVersion": "1.3",
                    "routes": {
                        "up": "FROM /messages/modules/plain/* WHERE $body.é > 5 INTO $upstream",
                        "over": {"route": "FROM /messages/modules/plain/outputs/* INTO BrokeredEndpoint(\"/modules/named/inputs/a\")", "priority": 1, "timeToLiveSecs": 60},
                    },
                    "storeAndForwardConfiguration": {"timeToLiveSecs": "TTL"},
                }},
                "plain": {"properties.desired": {"path": "modules: $MODULES_PATH", "number": 0.1, "text": "°C"}},
            },
        });
        let template = serde_json::to_string_pretty(&template).expect("a value can be written");
        site.write("site/deployment.template.json", &template.replace("\"TTL\"", "${TTL}"));
        let module_json = |name: &str| {
            json!({
                "$schema-version": "0.0.1", "description": "",
                "image": {
                    "repository": format!("${{CONTAINER_REGISTRY_SERVER}}/{name}"),
                    "tag": {"version": "$VERSION-RC", "platforms": {
                        "amd64": "./Dockerfile.amd64", "amd64.debug": "./Dockerfile.amd64.debug",
                        "arm64v8": "./Dockerfile.arm64v8", "arm64v8.debug": "./Dockerfile.arm64v8.debug",
                    }},
                    "buildOptions": ["--build-arg A=b"], "contextPath": "../../",
                },
                "language": "rust",
            })
            .to_string()
        };
        site.write("site/modules/plain/module.json", &module_json("Plain"));
        site.write("site/modules/dot.ted/module.json", &module_json("dotted"));
        site.write("site/modules/README.md", "no module");
        site.write("elsewhere/module.json", &module_json("elsewhere"));
        site.write(
            "site/.env",
            "# a comment\nexport HOST=registry.example\nCONTAINER_REGISTRY_SERVER=\"${HOST}:5000\"\n\
             CONTAINER_REGISTRY_USERNAME=\"\"\nCONTAINER_REGISTRY_PASSWORD='pa$$WORD #1'\nWHO=me # and nobody else\n\
             EDGE_RUNTIME_VERSION=\"1.5\"\nEDGEAGENT_SCHEMA_VERSION=1.1\nTTL=7200\nVERSION=0.2.0\n",
        );
        site
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().expect("the file is in a folder"))
            .expect("folders can be made");
        std::fs::write(path, text).expect("files can be written");
    }

    /// Changes a file as an editor's replace would.
    fn replace(&self, file: &str, what: &str, with: &str) {
        let text = std::fs::read_to_string(self.0.join(file)).expect("it was written before");
        assert!(text.contains(what), "{file} has no {what}");
        self.write(file, &text.replace(what, with));
    }

    fn isotherm(&self, folder: &str, words: &[&str]) -> Output {
        run(Path::new(ISOTHERM), &self.0.join(folder), words, &[])
    }

    /// What `words` print about a site that is wrong; the exit status is 1 and nothing was written.
    fn problems(&self, words: &[&str]) -> Vec<String> {
        let done = self.isotherm("", &[words, &["--json"]].concat());
        let text = String::from_utf8_lossy(&done.stdout);
        assert_eq!(done.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&done.stderr));
        assert!(!self.0.join("config").exists());
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
        lines.map(|line| format!("{}: {}", said(&line, "path"), said(&line, "message"))).collect()
    }

    fn read(&self, file: &str) -> Value {
        let text = std::fs::read_to_string(self.0.join(file)).expect("it was written");
        serde_json::from_str(&text).expect("it is JSON")
    }
}

fn said<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"))
}

/// Runs a program with no variables but these.
fn run(program: &Path, folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let path = ("PATH", "/usr/local/bin:/usr/bin:/bin");
    let variables = variables.iter().copied().chain([path]);
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).env_clear().envs(variables);
    command.output().expect("the program starts")
}

const MODULES: &str = "/modulesContent/$edgeAgent/properties.desired/modules";

#[test]
fn the_repositorys_own_template_becomes_a_manifest_for_each_platform() {
    for platform in ["amd64", "arm64v8", "arm32v7"] {
        let site = Site::ours(platform);
        let done = site.isotherm("", &["render", "--platform", platform, "--json"]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let said: Value = serde_json::from_slice(&done.stdout).expect("one JSON line");
        let path = format!("config/deployment.{platform}.json");
        assert_eq!(
            said,
            json!({"event": "rendered", "template": "deployment.template.json", "platform": platform,
                   "path": path, "modules": 2, "routes": 2})
        );
        let manifest = site.read(&path);
        let modules = manifest.pointer(MODULES).expect("the manifest has modules");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(modules["sensor"]["settings"]["image"], format!("isotherm/sensor:{version}-{platform}"));
        let options = said_options(&modules["filter"]["settings"]);
        assert_eq!(options, json!({"HostConfig": {"Binds": ["isotherm-filter:/state"]}}));
        assert_eq!(manifest.get("$schema-template"), None);
    }
}

fn said_options(settings: &Value) -> Value {
    serde_json::from_str(said(settings, "createOptions")).expect("createOptions is JSON in a string")
}

#[test]
fn long_create_options_are_cut_into_pieces_that_make_up_the_whole() {
    let site = Site::of_everything("pieces");
    assert!(site.isotherm("site", &["render"]).status.success());
    let manifest = site.read("site/config/deployment.amd64.json");
    let settings = manifest.pointer(&format!("{MODULES}/debug/settings")).expect("the module is there");
    let pieces: Vec<&str> = std::iter::once("createOptions".to_owned())
        .chain((1..8).map(|number| format!("createOptions{number:02}")))
        .map_while(|name| settings.get(&name)?.as_str())
        .collect();
    assert!(pieces.len() > 3 && pieces[1..].iter().rev().skip(1).all(|piece| piece.len() == 512));
    let options: Value = serde_json::from_str(&pieces.concat()).expect("together they are JSON");
    assert_eq!(options["Env"][7], "VARIABLE_7=\"é🌡\"\\7");
}

#[test]
fn only_its_owner_may_read_a_manifest_and_no_secret_is_printed() {
    let site = Site::of_everything("secret");
    let done = site.isotherm("site", &["render", "--out", "out"]);
    assert!(done.status.success());
    let file = site.0.join("site/out/deployment.amd64.json");
    let mode = std::fs::metadata(&file).expect("it was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("pa$$WORD #1"));
    site.replace(
        "site/deployment.template.json",
        "\"$CONTAINER_REGISTRY_PASSWORD\"",
        "$CONTAINER_REGISTRY_PASSWORD",
    );
    let wrong = site.isotherm("site", &["render", "--out", "out"]);
    let printed = [done.stdout, done.stderr, wrong.stdout, wrong.stderr].concat();
    assert!(!String::from_utf8_lossy(&printed).contains("pa$$"));
}

#[test]
fn check_says_what_render_would_and_writes_nothing() {
    let site = Site::ours("check");
    let done = site.isotherm("", &["check", "--platform", "arm64v8", "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).expect("one JSON line");
    assert_eq!(
        said,
        json!({"event": "checked", "template": "deployment.template.json", "platform": "arm64v8",
               "modules": 2, "routes": 2, "images": true})
    );
    assert!(!site.0.join("config").exists());
    site.replace("deployment.template.json", "modules/filter/inputs", "modules/filtre/inputs");
    assert_eq!(site.problems(&["check"]), site.problems(&["render"]));
}

#[test]
fn a_template_far_from_its_modules_can_be_checked_and_not_rendered() {
    let site = Site::ours("far");
    std::fs::remove_dir_all(site.0.join("modules")).expect("they were written");
    assert!(site.isotherm("", &["check"]).status.success());
    let problems = site.problems(&["render"]);
    assert!(problems[0].contains("modules.sensor.settings.image: \"${MODULES.sensor}\""), "{problems:?}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_path_and_what_would_be_right() {
    let site = Site::ours("mistakes");
    let template = "deployment.template.json";
    site.replace(template, "\"${MODULES.filter}\"", "${MODULES.filter}");
    assert_eq!(
        site.problems(&["render"]),
        [
            "modulesContent.$edgeAgent.properties.desired.modules.filter.settings.image: ${MODULES.filter} stands \
          outside of quotes; write \"${MODULES.filter}\""
        ]
    );
    site.replace(template, "${MODULES.filter}", "\"${MODULES.filter.riscv}\"");
    site.replace(template, "\"SamplingInterval\": \"1s\"", "\"SamplingInterval\": \"${SAMPLING_INTERVAL}\"");
    site.replace(template, "\"tmp102\"", "\"$SENSOR_CHIP\"");
    site.replace(template, "\"${MODULES.sensor}\"", "\"${MODULES.sensors}\"");
    site.replace(template, "INTO $upstream", "INTO upstream");
    site.replace(template, "inputs/temperature\\\")", "inputs\\\")");
    let problems = site.problems(&["render"]);
    let starts = [
        "modulesContent.$edgeAgent.properties.desired.modules.sensor.env.SENSOR_CHIP.value: the variable SENSOR_CHIP",
        "modulesContent.sensor.properties.desired.SamplingInterval: the variable SAMPLING_INTERVAL is not defined",
        "modulesContent.$edgeAgent.properties.desired.modules.sensor.settings.image: \"${MODULES.sensors}\"",
        "modulesContent.$edgeAgent.properties.desired.modules.filter.settings.image: \"${MODULES.filter.riscv}\"",
        "modulesContent.$edgeHub.properties.desired.routes.sensorToFilter",
        "modulesContent.$edgeHub.properties.desired.routes.alertsToUpstream",
    ];
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\nis not about\n{start}");
    }
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    assert!(problems[3].ends_with("it has amd64, arm64v8, arm32v7"), "{}", problems[3]);
}

#[test]
fn mistakes_in_a_module_json_are_told_with_the_files_name() {
    let site = Site::ours("module-json");
    let file = "modules/sensor/module.json";
    site.replace(file, "isotherm/sensor", "${REGISTRY}/sensor");
    site.replace(file, "\"0.1.0\"", "1");
    let problems = site.problems(&["render"]);
    assert_eq!(
        problems[..2],
        [
            format!(
                "{file}: image.repository: the variable REGISTRY is not defined; define it in .env or in the environment"
            ),
            format!("{file}: image.tag.version: wants a string, not a number"),
        ]
    );
    site.write(file, "{\"image\": {\"repository\": }}");
    let problems = site.problems(&["render"]);
    assert!(
        problems[0].starts_with(&format!("{file}: image.repository: no JSON at line 1, column 26")),
        "{problems:?}"
    );
}

#[test]
fn wrong_usage_and_files_that_are_not_there_have_exit_statuses_of_their_own() {
    let site = Site::ours("usage");
    assert_eq!(site.isotherm("", &["render", "--platform", "riscv"]).status.code(), Some(2));
    let done = site.isotherm("", &["render", "nothing.json"]);
    assert_eq!(done.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&done.stderr).contains("nothing.json"));
    let done = site.isotherm("", &["render", "--env", "nothing.env"]);
    assert_eq!(done.status.code(), Some(78));
    site.write(".env", "no variable\n");
    let done = site.isotherm("", &["render"]);
    assert!(String::from_utf8_lossy(&done.stderr).contains(".env line 1"), "{done:?}");
}

#[test]
fn a_layer_of_a_deployment_may_lead_to_modules_that_another_one_names() {
    let site = Site::ours("layer");
    let module = json!({"type": "docker", "status": "running", "settings": {"image": "${MODULES.sensor}", "createOptions": {}}});
    let layer = |route: &str| {
        json!({"content": {"modulesContent": {
            "$edgeAgent": {"properties.desired.modules.sensor": module},
            "$edgeHub": {"properties.desired.routes.up": route},
            "sensor": {"properties.desired.every": {"SamplingInterval": "1s"}},
        }}})
        .to_string()
    };
    let route = "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\\\"/modules/another/inputs/a\\\")";
    site.write("layer.template.json", &layer(&route.replace("\\", "")));
    let done = site.isotherm("", &["render", "layer.template.json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let manifest = site.read("config/layer.json");
    let settings =
        &manifest["content"]["modulesContent"]["$edgeAgent"]["properties.desired.modules.sensor"]["settings"];
    assert_eq!(settings, &json!({"image": "isotherm/sensor:0.1.0-amd64", "createOptions": "{}"}));
    std::fs::remove_dir_all(site.0.join("config")).expect("it was written");
    site.write("layer.template.json", &layer("FROM nowhere"));
    let problems = site.problems(&["render", "layer.template.json"]);
    assert!(
        problems[0].starts_with("content.modulesContent.$edgeHub.properties.desired.routes.up: "),
        "{problems:?}"
    );
}

/// iotedgedev and the folder of its package, or why there is none.
fn iotedgedev() -> Result<(PathBuf, PathBuf), String> {
    let folder = root().join("target/strangers/iotedgedev");
    let program = folder.join("bin/iotedgedev");
    let package = std::fs::read_dir(folder.join("lib")).ok().and_then(|mut pythons| {
        pythons.find_map(|python| {
            Some(python.ok()?.path().join("site-packages/iotedgedev")).filter(|it| it.is_dir())
        })
    });
    let missing = || "iotedgedev is not installed: .ci/strangers target/strangers".to_owned();
    let program = program.canonicalize().map_err(|_| missing())?;
    Ok((program, package.ok_or_else(missing)?))
}

/// Both programs on one site; the texts of all that they wrote are the same.
fn both_write_the_same(site: &Site, folder: &str, template: &str, platform: &str) {
    let (stranger, _) = iotedgedev().expect("whoever calls this has looked");
    let folder = site.0.join(folder);
    // It would send what it did to somebody.
    site.write("home/.iotedgedev/setting.ini", "[DEFAULT]\nfirsttime = no\ncollect_telemetry = no\n");
    let home = site.0.join("home");
    let variables = [("HOME", home.to_str().expect("the folder's name is text")), ("LC_ALL", "C.UTF-8")];
    let words = ["genconfig", "-f", template, "-P", platform];
    let theirs = run(&stranger, &folder, &words, &variables);
    let printed = [theirs.stdout, theirs.stderr].concat();
    assert!(theirs.status.success(), "{template}: {}", String::from_utf8_lossy(&printed));
    let theirs = files(&folder.join("config"));
    std::fs::remove_dir_all(folder.join("config")).expect("it was written");

    let ours = run(Path::new(ISOTHERM), &folder, &["render", template, "--platform", platform], &[]);
    assert!(ours.status.success(), "{template}: {}", String::from_utf8_lossy(&ours.stdout));
    let ours = files(&folder.join("config"));
    std::fs::remove_dir_all(folder.join("config")).expect("it was written");
    assert_eq!(theirs.len(), 1, "{template}: {theirs:?}");
    assert_eq!(ours, theirs, "{template}");
}

/// Names and texts.
fn files(folder: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder).expect("the folder was made");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.expect("the folder can be read");
        let text = std::fs::read_to_string(entry.path()).expect("the file can be read");
        (entry.file_name().to_string_lossy().into_owned(), text)
    };
    files.map(read).collect()
}

#[test]
fn iotedgedev_writes_the_same_for_our_own_template() {
    if let Err(reason) = iotedgedev() {
        return skipped!("{reason}");
    }
    let site = Site::ours("theirs-ours");
    for platform in ["amd64", "arm64v8", "arm32v7"] {
        both_write_the_same(&site, "", "deployment.template.json", platform);
    }
    site.replace("deployment.template.json", "\"$schema-template\": \"4.0.0\",", "");
    both_write_the_same(&site, "", "deployment.template.json", "arm64v8");
}

#[test]
fn iotedgedev_writes_the_same_for_a_template_that_uses_everything() {
    if let Err(reason) = iotedgedev() {
        return skipped!("{reason}");
    }
    let site = Site::of_everything("theirs-everything");
    both_write_the_same(&site, "site", "deployment.template.json", "amd64");
    site.write(
        "site/.env",
        &(std::fs::read_to_string(site.0.join("site/.env")).expect("it was written")
            + "CONTAINER_TAG=nightly\nDEFAULT_PLATFORM=arm64v8\nMODULES_PATH=\"\"\n"),
    );
    both_write_the_same(&site, "site", "deployment.template.json", "arm64v8");
    let named = site.0.join("site/other.debug.template.json");
    std::fs::copy(site.0.join("site/deployment.template.json"), named).expect("it was written");
    both_write_the_same(&site, "site", "other.debug.template.json", "amd64");
}

#[test]
fn iotedgedev_writes_the_same_for_the_template_that_it_brings_along() {
    let (_, package) = match iotedgedev() {
        Ok(found) => found,
        Err(reason) => return skipped!("{reason}"),
    };
    let read =
        |name: &str| std::fs::read_to_string(package.join("template").join(name)).expect("it brings it");
    let site = Site::new("theirs-theirs");
    let template = read("deployment.template.json").replace("%MODULE%", "tempSensor");
    site.write("deployment.template.json", &template);
    let env = read(".env.tmp");
    let env = env.replace("%EDGE_RUNTIME_VERSION%", "1.2").replace("%EDGEAGENT_SCHEMA_VERSION%", "1.1");
    site.write(".env", &env.replace("%EDGEHUB_SCHEMA_VERSION%", "1.2"));
    both_write_the_same(&site, "", "deployment.template.json", "amd64");
}
