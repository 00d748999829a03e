//! Deployment templates as whoever writes them meets the check.

use isotherm_iothub::{Problem, Sink, TEMPLATE_BYTES_MAX, Template};
use serde_json::{Value, json};

fn nothing(_: &str) -> Option<String> {
    None
}

fn good() -> Value {
    json!({
        "modulesContent": {
            "$edgeAgent": {"properties.desired": {
                "schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
                "systemModules": {
                    "edgeAgent": {"type": "docker", "settings": {"image": "agent:1", "createOptions": ""}},
                    "edgeHub": {"type": "docker", "status": "running", "settings": {"image": "hub:1"}}
                },
                "modules": {
                    "sensor": {
                        "type": "docker", "status": "running", "restartPolicy": "always", "startupOrder": 1,
                        "env": {"B": {"value": "2"}, "A": {"value": null}},
                        "settings": {
                            "image": "${MODULES.sensor}",
                            "createOptions": "{\"HostConfig\": {\"Priv", "createOptions01": "ileged\": true}}"
                        }
                    },
                    "filter": {"type": "docker", "status": "stopped", "settings": {"image": "${REGISTRY}/filter:1"}}
                }
            }},
            "$edgeHub": {"properties.desired": {
                "schemaVersion": "1.1",
                "routes": {
                    "up": "FROM /messages/modules/Filter/* INTO $upstream",
                    "in": {"route": "FROM /messages/modules/sensor/* INTO BrokeredEndpoint(\"/modules/filter/inputs/a\")"}
                }
            }},
            "filter": {"properties.desired": {"TemperatureThreshold": 25}}
        }
    })
}

fn registry(name: &str) -> Option<String> {
    (name == "REGISTRY").then(|| "localhost:5000".to_owned())
}

/// The good template with one thing changed: what is told then.
fn problems_with(pointer: &str, change: impl FnOnce(&mut Value)) -> Vec<Problem> {
    let mut template = good();
    change(template.pointer_mut(pointer).expect("the pointer leads somewhere"));
    Template::parse(&template.to_string(), &registry).err().unwrap_or_default()
}

const AGENT: &str = "/modulesContent/$edgeAgent/properties.desired";
const SENSOR: &str = "/modulesContent/$edgeAgent/properties.desired/modules/sensor";
const ROUTES: &str = "/modulesContent/$edgeHub/properties.desired/routes";

/// Asserts that there is one problem, where it is (behind what `pointer` says) and a piece of what is said.
fn one_problem(pointer: &str, change: impl FnOnce(&mut Value), path: &str, says: &str) {
    let problems = problems_with(pointer, change);
    let [problem] = &problems[..] else {
        panic!("{} problems instead of one: {problems:#?}", problems.len())
    };
    assert_eq!(problem.path, format!("{}{path}", pointer[1..].replace('/', ".")), "{problem}");
    assert!(problem.message.contains(says), "{problem}");
}

#[test]
fn a_good_template_says_what_runs_where_and_with_what() {
    let template = Template::parse(&good().to_string(), &registry).unwrap();
    let modules: Vec<_> = template.modules().collect();
    assert_eq!(modules.len(), 2);
    assert_eq!((modules[0].name.as_str(), modules[0].image.as_str()), ("sensor", "${MODULES.sensor}"));
    assert_eq!(modules[0].env, [("B".to_owned(), "2".to_owned()), ("A".to_owned(), String::new())]);
    assert_eq!(modules[0].create_options, json!({"HostConfig": {"Privileged": true}}));
    assert!(modules[0].running && !modules[1].running);
    assert_eq!(modules[1].image, "localhost:5000/filter:1");
    assert_eq!(
        template.system_modules().map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["edgeAgent", "edgeHub"]
    );
    assert_eq!(template.desired_of("filter"), Some(&json!({"TemperatureThreshold": 25})));
    assert_eq!(template.desired_of("sensor"), None);
    assert_eq!(template.desired_of("$edgeHub").unwrap()["schemaVersion"], "1.1");
    let sinks: Vec<_> = template.routes().iter().map(|it| it.route.sink().clone()).collect();
    assert_eq!(sinks, [Sink::Upstream, Sink::Input { module: "filter".into(), input: "a".into() }]);
}

#[test]
fn fifty_modules_are_taken_and_one_more_is_not() {
    let with = |count: usize| {
        let module = json!({"type": "docker", "status": "running", "settings": {"image": "m:1"}});
        let modules = (0..count).map(|number| (format!("m{number}"), module.clone()));
        let mut template = good();
        *template.pointer_mut(&format!("{AGENT}/modules")).unwrap() = Value::Object(modules.collect());
        template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] = json!({});
        template["modulesContent"].as_object_mut().unwrap().shift_remove("filter");
        Template::parse(&template.to_string(), &registry)
    };
    assert_eq!(with(50).unwrap().modules().count(), 50);
    let problems = with(51).unwrap_err();
    assert!(problems[0].message.contains("51 modules, more than 50"), "{problems:#?}");
}

#[test]
fn the_template_of_this_repository_is_right_and_needs_no_variables() {
    let text = include_str!("../../../deployment.template.json");
    let template = Template::parse(text, &nothing).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let names: Vec<_> = template.modules().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["sensor", "filter"]);
    assert_eq!(template.desired_of("filter"), Some(&json!({"TemperatureThreshold": 25})));
    assert_eq!(template.routes().iter().count(), 2);
}

#[test]
fn the_older_name_and_a_layered_deployments_place_are_known() {
    let content = good()["modulesContent"].take();
    for json in [json!({"moduleContent": content}), json!({"content": {"modulesContent": content}})] {
        assert_eq!(Template::parse(&json.to_string(), &registry).unwrap().modules().count(), 2);
    }
}

#[test]
fn variables_are_filled_in_within_strings_and_outside() {
    let env = |name: &str| {
        let value = match name {
            "REGISTRY" => "a \"quoted\\registry\"",
            "THRESHOLD" => "30.5",
            "CAPITALS" => "in capitals",
            "MODULES.sensor" => "built:1",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let mut template = good();
    template["modulesContent"]["filter"] = json!({"properties.desired": {
        "registry": "${REGISTRY}", "plain": "$CAPITALS $CAPITAL $capitals $5 $", "threshold": "THRESHOLD"
    }});
    template["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]["filter"]["settings"]["image"] =
        json!("f");
    let text = template.to_string().replace("\"THRESHOLD\"", "${THRESHOLD}");
    let template = Template::parse(&text, &env).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let wanted = json!({
        "registry": "a \"quoted\\registry\"", "plain": "in capitals $CAPITAL $capitals $5 $", "threshold": 30.5
    });
    assert_eq!(template.desired_of("filter"), Some(&wanted));
    assert_eq!(template.modules().next().unwrap().image, "built:1");
}

#[test]
fn undefined_variables_are_told_with_their_place() {
    let problems = Template::parse(&good().to_string(), &nothing).unwrap_err();
    let path = "modulesContent.$edgeAgent.properties.desired.modules.filter.settings.image";
    let message = "the variable REGISTRY is not defined; define it in .env or in the environment";
    assert_eq!(problems, [Problem { path: path.to_owned(), message: message.to_owned() }]);

    let problems = Template::parse("{\n\"modulesContent\": ${CONTENT}}", &nothing).unwrap_err();
    assert_eq!(problems[0].path, "line 2");
    assert!(problems[0].message.contains("CONTENT is not defined"));
}

#[test]
fn text_that_is_no_json_is_told_with_line_and_column() {
    let problems = Template::parse("{\n  \"a\": }", &nothing).unwrap_err();
    assert_eq!(problems[0].to_string(), "line 2, column 8: no JSON: expected value");
    assert_eq!(Template::parse("[]", &nothing).unwrap_err()[0].path, "modulesContent");
    let long = " ".repeat(TEMPLATE_BYTES_MAX + 1);
    assert!(Template::parse(&long, &nothing).unwrap_err()[0].message.contains("longer than"));
    let deep = "[".repeat(10_000);
    assert!(Template::parse(&deep, &nothing).is_err());
}

#[test]
fn a_bad_route_is_named_and_the_character_pointed_at() {
    one_problem(
        ROUTES,
        |it| it["up"] = json!("FROM /* INTO upstream"),
        ".up",
        "\n  FROM /* INTO upstream\n               ^",
    );
    one_problem(ROUTES, |it| it["in"]["route"] = json!("FROM"), ".in.route", "after FROM comes a source");
    one_problem(ROUTES, |it| it["in"]["priority"] = json!(11), ".in.priority", "from 0 (first) to 9, not 11");
}

#[test]
fn a_route_from_or_into_a_module_that_is_not_there_is_told() {
    let from = "FROM /messages/modules/sensr/* INTO $upstream";
    one_problem(ROUTES, |it| it["up"] = json!(from), ".up", "not there: \"sensr\"; there are sensor, filter");
    let into = "FROM /* INTO BrokeredEndpoint('/modules/Filter/inputs/a')";
    one_problem(
        ROUTES,
        |it| it["in"]["route"] = json!(into),
        ".in.route",
        "not there: \"Filter\"; there are",
    );
    let never = "FROM /mesages/* INTO $upstream";
    one_problem(ROUTES, |it| it["up"] = json!(never), ".up", "no message ever comes from");
}

#[test]
fn a_missing_or_wrong_field_is_told_with_what_it_wants() {
    let remove =
        |key: &'static str| move |it: &mut Value| drop(it.as_object_mut().unwrap().shift_remove(key));
    one_problem(SENSOR, remove("type"), ".type", "is missing; it wants \"docker\"");
    one_problem(SENSOR, remove("status"), ".status", "is missing; it wants \"running\" or \"stopped\"");
    one_problem(SENSOR, remove("settings"), ".settings", "is missing; it is an object");
    one_problem(SENSOR, |it| it["type"] = json!("podman"), ".type", "wants one of docker, not \"podman\"");
    one_problem(SENSOR, |it| it["status"] = json!(true), ".status", "not true or false");
    one_problem(
        SENSOR,
        |it| it["restartPolicy"] = json!("often"),
        ".restartPolicy",
        "wants one of never, on-failure",
    );
    one_problem(SENSOR, |it| it["startupOrder"] = json!(-1), ".startupOrder", "a whole number, 0 or more");
    one_problem(SENSOR, |it| it["settings"]["image"] = json!(""), ".settings.image", "is empty");
    one_problem(SENSOR, |it| it["settings"]["image"] = json!("a b"), ".settings.image", "holds a blank");
    one_problem(SENSOR, |it| it["env"]["N"] = json!({"value": 5}), ".env.N.value", "put it in quotes");
    one_problem(SENSOR, |it| it["env"]["N"] = json!("x"), ".env.N", "wants an object");
    one_problem(
        SENSOR,
        |it| it["env"]["IOTEDGE_DEVICEID"] = json!({"value": "x"}),
        ".env.IOTEDGE_DEVICEID",
        "itself",
    );
    let options = |options: Value| {
        move |it: &mut Value| it["settings"] = json!({"image": "a", "createOptions": options})
    };
    one_problem(SENSOR, options(json!("{")), ".settings.createOptions", "is no JSON");
    one_problem(SENSOR, options(json!("5")), ".settings.createOptions", "holds a number");
    one_problem(SENSOR, options(json!([])), ".settings.createOptions", "not a list");
    one_problem(AGENT, remove("schemaVersion"), ".schemaVersion", "is missing");
    one_problem(AGENT, |it| it["schemaVersion"] = json!("2.0"), ".schemaVersion", "wants \"1.0\" or \"1.1\"");
    one_problem(AGENT, remove("runtime"), ".runtime", "is missing");
    one_problem(
        AGENT,
        |it| it["systemModules"]["other"] = json!({}),
        ".systemModules.other",
        "no system module",
    );
    one_problem(
        AGENT,
        |it| it["modules"]["$x"] = it["modules"]["sensor"].clone(),
        ".modules.$x",
        "begin with a `$`",
    );
    one_problem("/modulesContent", remove("$edgeHub"), ".$edgeHub", "is missing");
}

#[test]
fn sections_belong_to_modules_and_hold_desired_properties() {
    let content = "/modulesContent";
    let section = json!({"properties.desired": {}});
    one_problem(
        content,
        |it| it["fliter"] = section.clone(),
        ".fliter",
        "is no module of $edgeAgent; there are",
    );
    one_problem(content, |it| it["$edgeFoo"] = section.clone(), ".$edgeFoo", "only $edgeAgent and $edgeHub");
    one_problem(content, |it| it["filter"] = json!({}), ".filter.properties.desired", "is missing");
    one_problem(content, |it| it["filter"] = json!(1), ".filter", "wants an object, not a number");
    let layered = json!({"properties.desired": {}, "properties.desired.a": 1});
    one_problem(content, |it| it["filter"] = layered, ".filter.properties.desired.a", "layered deployment");
}

#[test]
fn desired_properties_that_no_twin_can_hold_are_refused() {
    let deep = (0..12).fold(json!(1), |inner, _| json!({"a": inner}));
    let problems = problems_with("/modulesContent/filter", |it| *it = json!({"properties.desired": deep}));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].path, "modulesContent.filter.properties.desired");
}

#[test]
fn all_problems_are_told_at_once() {
    let problems = problems_with("/modulesContent", |it| {
        it["$edgeAgent"]["properties.desired"]["modules"]["sensor"]["type"] = json!(1);
        it["$edgeHub"]["properties.desired"]["routes"]["up"] = json!("FROM /messages");
        it["$edgeHub"]["properties.desired"]["routes"]["in"] = json!(5);
        it["filter"] = json!([]);
    });
    let paths: Vec<_> = problems.iter().map(|it| it.path.rsplit('.').next().unwrap()).collect();
    assert_eq!(paths, ["type", "up", "in", "filter"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_check_panic(
        text in "(\\{|\\}|\\[|\\]|\"|:|,|\\$|\\$\\{|A|A\\}|MODULES\\.x\\}|\\\\|ü|1|\"modulesContent\":|\"\\$edgeHub\":|\"properties\\.desired\":| ){0,40}"
    ) {
        let env = |name: &str| (name == "A").then(|| "\"ü\\".to_owned());
        for problem in Template::parse(&text, &env).err().unwrap_or_default() {
            assert!(!problem.message.is_empty());
        }
    }

    #[test]
    fn a_template_with_something_else_anywhere_in_it_never_makes_the_check_panic(
        place in 0..200usize, other in 0..5usize
    ) {
        let mut template = good();
        let others = [Value::Null, json!(true), json!(-1), json!("x"), json!([{}])];
        let mut left = place;
        replace(&mut template, &mut left, &others[other]);
        let _ = Template::parse(&template.to_string(), &registry);
    }
}

/// Puts `other` in place of the value that is `left` values further on.
fn replace(value: &mut Value, left: &mut usize, other: &Value) {
    if *left == 0 {
        *value = other.clone();
    }
    *left = left.wrapping_sub(1);
    if let Value::Object(map) = value {
        map.values_mut().for_each(|inner| replace(inner, left, other));
    }
}
