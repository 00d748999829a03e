//! Rendering, asked what chance can write.

use isotherm_iothub::manifest::{Images, Sources, render};
use proptest::prelude::*;
use serde_json::{Value, json};

fn sources() -> Sources<'static> {
    let variable = &|name: &str| match name {
        "A" => Some("a\"\\".to_owned()),
        "N" => Some("1".to_owned()),
        _ => None,
    };
    let module_json = &|folder: &str| {
        let known = ["modules/a", "modules/a.b", "../c"].contains(&folder);
        known.then(|| {
            let tag =
                json!({"version": "1", "platforms": {"amd64": "D", "arm64v8": "D", "amd64.debug": "D"}});
            json!({"image": {"repository": format!("R/{folder}"), "tag": tag}}).to_string()
        })
    };
    Sources { platform: "amd64", variable, module_json, images: Images::Named }
}

fn template(module: Value) -> Value {
    json!({
        "modulesContent": {
            "$edgeAgent": {"properties.desired": {
                "schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {}},
                "systemModules": {
                    "edgeAgent": {"type": "docker", "settings": {"image": "agent:1"}},
                    "edgeHub": {"type": "docker", "status": "running", "settings": {"image": "hub:1"}},
                },
                "modules": {"m": module},
            }},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.0", "routes": {}}},
        }
    })
}

fn module(image: &str, options: Value) -> Value {
    json!({"type": "docker", "status": "running", "settings": {"image": image, "createOptions": options}})
}

fn settings(manifest: &str) -> Value {
    let manifest: Value = serde_json::from_str(manifest).expect("a manifest is JSON");
    manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["m"]["settings"].clone()
}

#[test]
fn a_placeholder_names_a_folder_and_a_platform() {
    for (placeholder, image) in [
        ("${MODULES.a}", "r/modules/a:1-amd64"),
        ("${MODULES.a.arm64v8}", "r/modules/a:1-arm64v8"),
        ("${MODULES.a.debug}", "r/modules/a:1-amd64.debug"),
        ("${MODULES.a.amd64.debug}", "r/modules/a:1-amd64.debug"),
        ("${MODULES.a.b}", "r/modules/a.b:1-amd64"),
        ("${MODULEDIR<../c>}", "r/../c:1-amd64"),
        ("${MODULEDIR<../c>.arm64v8}", "r/../c:1-arm64v8"),
    ] {
        let rendered = render(&template(module(placeholder, json!({}))).to_string(), &sources())
            .unwrap_or_else(|problems| panic!("{placeholder}: {problems:#?}"));
        assert_eq!(settings(&rendered.manifest)["image"], image, "{placeholder}");
    }
    for placeholder in ["${MODULES.c}", "${MODULES.../c}", "${MODULES.a}:2", "${MODULES.}", "${MODULEDIR<c>}"]
    {
        let problems = render(&template(module(placeholder, json!({}))).to_string(), &sources()).unwrap_err();
        assert!(problems[0].path.ends_with("modules.m.settings.image"), "{problems:?}");
        assert!(problems[0].message.contains(placeholder), "{problems:?}");
    }
}

#[test]
fn credentials_of_a_registry_come_in_threes() {
    let mut template = template(module("a:1", json!({})));
    let settings = "/modulesContent/$edgeAgent/properties.desired/runtime/settings";
    *template.pointer_mut(settings).unwrap() = json!({"registryCredentials": {
        "right": {"username": "", "password": "", "address": "localhost:5000"},
        "wrong": {"username": 1, "address": ""},
    }});
    let problems = render(&template.to_string(), &sources()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let path = "modulesContent.$edgeAgent.properties.desired.runtime.settings.registryCredentials.wrong";
    assert_eq!(told[0], format!("{path}.username: wants a string, not a number"));
    assert_eq!(told[1], format!("{path}.password: wants a string, not nothing"));
    assert!(told[2].starts_with(&format!("{path}.address: is empty")) && told.len() == 3, "{told:#?}");
}

#[test]
fn create_options_that_are_too_long_are_refused() {
    let text = template(module("a:1", json!({"Env": ["x".repeat(4096)]}))).to_string();
    let problems = render(&text, &sources()).unwrap_err();
    assert!(problems[0].to_string().contains("createOptions: is 4108 characters long, and 4096 fit"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has none other", |float| float.is_finite()).prop_map(Value::from),
        "[^$]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[^$]{1,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn create_options_are_the_same_when_their_pieces_are_put_together(
        options in prop::collection::btree_map("[a-zA-Z]{1,9}", any_json(), 0..12),
    ) {
        let options = Value::Object(options.into_iter().collect());
        let text = template(module("a:1", options.clone())).to_string();
        if let Ok(rendered) = render(&text, &sources()) {
            let settings = settings(&rendered.manifest);
            let mut whole = settings["createOptions"].as_str().expect("it is text").to_owned();
            for number in 1..8 {
                whole += settings[format!("createOptions{number:02}")].as_str().unwrap_or_default();
            }
            prop_assert!(whole.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Value>(&whole).expect("it is JSON"), options);
        }
    }

    #[test]
    fn no_text_at_all_is_too_much(text in r#"[${}"\\:,\[\] aANé1.<>/-]{0,80}"#, at in any::<prop::sample::Index>()) {
        let _ = render(&text, &sources());
        let mut whole = template(module("${MODULES.a}", json!({}))).to_string();
        let at = at.index(whole.len()); // all of it is ASCII
        whole.insert_str(at, &text);
        for problem in render(&whole, &sources()).err().unwrap_or_default() {
            prop_assert!(!problem.path.is_empty() && !problem.message.is_empty());
        }
    }
}
