//! Routes as whoever writes a deployment meets them: what they match, and what they say when they are wrong.

use std::time::Duration;

use isotherm_iothub::{
    Message, PRIORITY_DEFAULT, ROUTE_CHARS_MAX, ROUTE_DEPTH_MAX, ROUTE_OPERANDS_MAX, ROUTES_MAX, Route,
    RouteError, Routes, Sink, Source, SystemProperty,
};
use serde_json::{Value, json};

const BODY: &str = r#"{"machine": {"temperature": 50, "low": -50.5, "on": true, "off": false, "nothing": null,
    "name": "Kiln 3", "list": [20, 30, {"deep": "x"}], "time": "2017-03-09T00:00:00.000Z"}}"#;

/// A message with all sorts of things on it, from the output `out` of the module `cam`.
fn message() -> Message {
    Message::new(BODY)
        .with_system(SystemProperty::ContentType, "Application/JSON")
        .with_system(SystemProperty::ContentEncoding, "UTF-8")
        .with_system(SystemProperty::ConnectionModuleId, "cam")
        .with_property("City", "Redmond")
        .with_property("temperature", "31.5")
        .with_property("$to", "an application property")
        .with_property("$body.machine.name", "shadow")
        .with_property("word", "hot")
}

const CAM: Source<'_> = Source::Module { module: "cam", output: Some("out") };

fn holds(condition: &str) -> bool {
    let route = Route::parse(&format!("FROM /* WHERE {condition} INTO $upstream"));
    route.unwrap_or_else(|error| panic!("{error}")).matches(&CAM, &message())
}

/// Asserts that a condition is neither true nor false.
fn is_undefined(condition: &str) {
    assert!(!holds(condition), "{condition} is true");
    assert!(!holds(&format!("NOT ({condition})")), "{condition} is false");
}

fn is_false(condition: &str) {
    assert!(holds(&format!("NOT ({condition})")), "{condition} is not false");
}

fn refused(route: &str) -> RouteError {
    Route::parse(route).err().unwrap_or_else(|| panic!("{route} compiles"))
}

/// Asserts where a condition goes wrong (characters into the condition) and a piece of what is said.
fn refused_condition(condition: &str, at: usize, says: &str) {
    const BEFORE: &str = "FROM /* WHERE ";
    let error = refused(&format!("{BEFORE}{condition} INTO $upstream"));
    assert_eq!(error.at, BEFORE.len() + at, "{error}");
    assert!(error.message.contains(says), "{error}");
}

#[test]
fn properties_are_strings_found_whatever_their_case() {
    for condition in
        ["City = 'Redmond'", "cITY = \"Redmond\"", "City <> 'redmond'", "City != 'x'", "City < 'S'"]
    {
        assert!(holds(condition), "{condition}");
    }
    is_undefined("Country = 'x'");
    is_undefined("Country != 'x'");
}

#[test]
fn system_properties_go_by_the_names_of_routes() {
    assert!(holds("$connectionModuleId = 'cam'"));
    assert!(holds("$CONNECTIONMODULEID = 'cam'"));
    assert!(holds("$contentType = 'Application/JSON'"));
    is_undefined("$connectionDeviceId = 'x'");
    is_undefined("$noSuchThing = 'x'");
    assert!(holds("NOT is_defined($connectionDeviceId)"));
}

#[test]
fn an_application_property_with_a_dollar_wins_unless_braces_say_otherwise() {
    assert!(holds("$to = 'an application property'"));
    is_undefined("{$to} = 'an application property'");
    assert!(holds("$body.machine.name = 'shadow'"));
    assert!(holds("{$body.machine.name} = 'Kiln 3'"));
}

#[test]
fn values_of_the_body_have_the_type_that_json_gives_them() {
    for condition in [
        "$body.machine.temperature > 49.5",
        "50 >= $BODY.machine.temperature",
        "$body.machine.temperature <> '50'",
        "$body.machine.on",
        "NOT $body.machine.off",
        "$body.machine.on = true AND $body.machine.on",
        "$body.machine.list[0] + $body.machine.list[1] = $body.machine.temperature",
        "$body.machine.list[2].deep = 'x'",
        "$body.machine.nothing = null",
        "$body.machine.nowhere = null",
        "$body.machine.temperature != null",
        "$body.machine.nowhere <> '100'",
        "$body.machine.time > '2017'",
        "is_number($body.machine.low) AND is_bool($body.machine.on) AND is_string({$body.machine.name})",
    ] {
        assert!(holds(condition), "{condition}");
    }
    is_false("$body.machine.temperature = '50'");
    is_undefined("$body.machine = 1");
    is_undefined("$body.machine.list <> 1");
    is_undefined("$body.machine.temperature < 'x'");
}

#[test]
fn the_body_is_looked_into_only_when_the_message_says_that_it_is_json_in_a_known_encoding() {
    let route = Route::parse("FROM /* WHERE $body.t = 1 INTO $upstream").unwrap();
    let matches = |content_type: &str, encoding: &str, body: Vec<u8>| {
        let message = Message::new(body)
            .with_system(SystemProperty::ContentType, content_type)
            .with_system(SystemProperty::ContentEncoding, encoding);
        route.matches(&Source::Device, &message)
    };
    let text = r#"{"t":1}"#;
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    assert!(matches("application/json", "utf-8", text.into()));
    assert!(matches("application/json", "utf-8", format!("\u{feff}{text}").into()));
    assert!(matches("application/json", "UTF-16", utf16.clone()));
    assert!(matches("application/json", "utf-32", utf32));
    assert!(!matches("text/plain", "utf-8", text.into()));
    assert!(!matches("application/json", "latin-1", text.into()));
    assert!(!matches("application/json", "utf-16", utf16[1..].into()));
    assert!(!matches("application/json", "utf-8", "{".into()));
    assert!(!route.matches(&Source::Device, &Message::new(text)));
}

#[test]
fn operators_bind_as_tightly_as_the_grammar_says() {
    for condition in [
        "2 + 3 * 4 = 14",
        "(2 + 3) * 4 = 20",
        "7 - 2 - 1 = 4",
        "7 % 4 * 2 = 6",
        "- 2 * 3 = -6",
        "1 + 1 < 3 = true",
        "true OR false AND false",
        "NOT false AND true",
        "'a' || 'b' || 'c' = 'abc'",
        "City || word = 'Redmondhot'",
        "0x1F = 31 AND 1e2 = 100 AND .5 = 1 / 2",
        "undefined ?? null ?? true",
        "(Country ?? 'x') = 'x'",
        "(City ?? 'x') = 'Redmond'",
        "($body.machine.nowhere ?? 3) = 3",
    ] {
        assert!(holds(condition), "{condition}");
    }
}

#[test]
fn what_is_undefined_stays_so_unless_the_other_side_decides() {
    let unknown = "Country = 'x'";
    is_undefined(&format!("{unknown} AND true"));
    is_undefined(&format!("true AND {unknown}"));
    is_undefined(&format!("{unknown} OR false"));
    is_undefined(&format!("false OR {unknown}"));
    is_undefined("undefined");
    is_undefined("NOT null");
    is_undefined("1 / undefined > 0");
    is_false(&format!("{unknown} AND false"));
    is_false(&format!("false AND {unknown}"));
    assert!(holds(&format!("{unknown} OR true")));
    assert!(holds(&format!("true OR {unknown}")));
}

#[test]
fn every_function_does_what_its_name_says() {
    for condition in [
        "abs($body.machine.low) = 50.5",
        "ceiling(1.2) = 2 AND floor(-1.2) = -2",
        "exp(0) = 1 AND square(3) = 9 AND sqrt(9) = 3 AND power(2, 10) = 1024",
        "sign(-7) = -1 AND sign(0) = 0 AND sign(7) = 1",
        "as_number(temperature) > 31 AND as_number('1e1') = 10 AND as_number($body.machine.temperature) = 50",
        "is_bool(true) AND NOT is_bool(1)",
        "is_defined(City) AND NOT is_defined(Country) AND NOT is_defined($body.machine.nowhere)",
        "is_null(null) AND is_null($body.machine.nothing) AND is_null($body.machine.nowhere)",
        "NOT is_null(City) AND NOT is_null(Country) AND NOT is_null($body.machine.temperature)",
        "is_number(1) AND NOT is_number(temperature) AND is_string(temperature)",
        "concat('a', City, 'b') = 'aRedmondb'",
        "length('grün') = 4 AND length('') = 0 AND length('🌡') = 2",
        "LOWER(City) = 'redmond' AND Upper(City) = 'REDMOND'",
        "substring('isotherm', 3) = 'therm' AND substring('isotherm', 0, 3) = 'iso' AND substring('a', 1) = ''",
        "index_of('isotherm', 'therm') = 3 AND index_of('isotherm', 'x') = -1",
        "starts_with(City, 'Red') AND ends_with(City, 'mond') AND contains(City, 'dm')",
        "NOT starts_with(City, 'red')",
    ] {
        assert!(holds(condition), "{condition}");
    }
    for condition in [
        "as_number(word) = 1",
        "as_number('NaN') <> 1",
        "as_number('inf') > 1",
        "substring('abc', 4) = ''",
        "substring('abc', 1, 3) = ''",
        "substring('abc', 0.5) = ''",
        "length($body.machine.temperature) = 2",
        "starts_with($body.machine.temperature, '5')",
    ] {
        is_undefined(condition);
    }
}

#[test]
fn a_null_property_is_null() {
    let mut message = Message::new("");
    message.properties.put("empty", None);
    let matches = |condition: &str| {
        Route::parse(&format!("FROM /* WHERE {condition} INTO $upstream")).unwrap().matches(&CAM, &message)
    };
    assert!(matches("is_null(empty)") && matches("empty = null") && !matches("is_defined(empty)"));
}

#[test]
fn kinds_that_do_not_go_together_do_not_compile() {
    refused_condition("temperature > 10", 12, "write as_number(temperature)");
    refused_condition("10 < temperature", 3, "write as_number(temperature)");
    refused_condition("$connectionModuleId = 1", 20, "`=` wants two of a kind");
    refused_condition("City = true", 5, "`=` wants two of a kind, but here are a string and true or false");
    refused_condition("City AND true", 5, "`AND` wants true or false on both sides");
    refused_condition("1 + 'a' = 2", 2, "`+` wants a number on both sides, not a string");
    refused_condition("1 || 'a' = 'x'", 2, "`||` wants a string on both sides");
    refused_condition("NOT City = 'a'", 0, "write NOT (a = b)");
    refused_condition("-City = 1", 0, "write as_number(City)");
    refused_condition("5-3 = 2", 4, "an operator needs blanks around it");
    refused_condition("City", 0, "a condition is true or false, and this is a string");
    refused_condition("1 + 1", 0, "and this is a number");
    refused_condition("City ?? 1 = 1", 5, "`??` wants two of a kind");
}

#[test]
fn calls_are_checked_for_their_name_and_arguments() {
    refused_condition("is_defned(City)", 0, "there is no function `is_defned`; there are abs, as_number");
    refused_condition("abs(City) = 1", 0, "abs takes a number as argument 1, not a string; as_number");
    refused_condition("abs() = 1", 0, "takes 1 argument(s), not 0");
    refused_condition("concat('a') = 'a'", 0, "takes at least 2 argument(s), not 1");
    refused_condition("substring('a', 1, 2, 3) = 'a'", 0, "takes 2 or 3 argument(s), not 4");
    refused_condition("substring('a', 'b') = 'a'", 0, "takes a number as argument 2");
    refused_condition("twin_change_includes('a')", 0, "there is no function");
}

#[test]
fn errors_point_at_the_character() {
    refused_condition("a = 'b' AND", 12, "before INTO comes a property");
    refused_condition("a = ", 5, "before INTO comes a property");
    refused_condition("(a = 'b'", 9, "the parenthesis is not closed");
    refused_condition("a = 'b')", 7, "after the condition comes AND, OR");
    refused_condition("a = 'b' c = 'd'", 8, "after the condition comes AND, OR");
    refused_condition("= 'b'", 0, "here comes a property, a value or a function, not =");
    refused_condition("a[0] = 'b'", 1, "square brackets index lists of the body only");
    refused_condition("$body.a[x] = 'b'", 8, "an index is one whole number");
    refused_condition("$body.a[0][1] = 'b'", 8, "an index is one whole number");
    refused_condition("$body..a = 'b'", 6, "a name is missing");
    refused_condition("$body[0] = 'b'", 5, "square brackets index lists of the body only: `$body.list[0]`");
    refused_condition("{City} = 'b'", 1, "in braces comes a system property");
    refused_condition("{$to = 'b'", 5, "the brace is not closed");
    refused_condition("a = \"b\\n\"", 6, "after a backslash");
    refused_condition("length('a'", 11, "the arguments are not closed");
}

#[test]
fn the_frame_around_the_condition_is_checked_too() {
    let cases = [
        ("", 0, "a route begins with `FROM`"),
        ("FORM /messages/* INTO $upstream", 0, "a route begins with `FROM`"),
        ("SELECT a FROM /* INTO $upstream", 7, "after SELECT comes `*`"),
        ("FROM messages INTO $upstream", 5, "begins with a slash"),
        ("FROM /messages/*", 16, "or `INTO` and a sink"),
        ("FROM /messages/* INTO", 21, "after INTO comes `$upstream`"),
        ("FROM /messages/* INTO $downstream", 22, "after INTO comes `$upstream`"),
        ("FROM /messages/* INTO upstream", 22, "after INTO comes `$upstream`"),
        ("FROM /messages/* INTO $upstream now", 32, "nothing may follow the sink"),
        ("FROM /* INTO BrokeredEndpoint", 29, "here comes `(`"),
        ("FROM /* INTO BrokeredEndpoint(filter)", 30, "comes one string"),
        ("FROM /* INTO BrokeredEndpoint(\"/modules/filter\")", 30, "is no input; one is"),
        ("FROM /* INTO BrokeredEndpoint(\"/modules//inputs/a\")", 30, "is no input"),
        ("FROM /* INTO BrokeredEndpoint(\"/modules/a/inputs/b\"", 51, "here comes `)`"),
        ("FROM /* INTO /* open", 13, "this comment is not closed"),
    ];
    for (route, at, says) in cases {
        let error = refused(route);
        assert_eq!(error.at, at, "{route}: {error}");
        assert!(error.message.contains(says), "{route}: {error}");
    }
    let shown = refused("FROM /messages/* WHERE a = INTO $upstream").to_string();
    assert!(
        shown.ends_with("\n  FROM /messages/* WHERE a = INTO $upstream\n                             ^"),
        "{shown}"
    );
}

#[test]
fn words_come_in_any_case_with_comments_and_blanks_between() {
    let filter = Sink::Input { module: "filter".into(), input: "hot".into() };
    for (text, sink) in [
        ("select * from /messages/* where true into $UPSTREAM", Sink::Upstream),
        ("FROM /* INTO $upstream", Sink::Upstream),
        ("FROM / INTO $upstream", Sink::Upstream),
        ("FROM /messages INTO $upstream", Sink::Upstream),
        ("FROM / messages / *\n\tINTO\r\n$upstream", Sink::Upstream),
        ("FROM /* all of it */ /messages/* INTO $upstream", Sink::Upstream),
        ("FROM /messages/* /* all of it */ INTO $upstream", Sink::Upstream),
        (
            "/* first */ FROM /* /* 2 */ WHERE /* 3 */ true /* 4 */ INTO /* 5 */ $upstream /* 6 */",
            Sink::Upstream,
        ),
        ("FROM /* INTO BrokeredEndpoint(\"/modules/filter/inputs/hot\")", filter.clone()),
        ("FROM /* INTO brokeredendpoint ( 'any/filter/words/hot/' )", filter.clone()),
    ] {
        let route = Route::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(*route.sink(), sink, "{text}");
        assert!(route.matches(&CAM, &message()), "{text}");
    }
    assert_eq!(filter.to_string(), "BrokeredEndpoint(\"/modules/filter/inputs/hot\")");
}

#[test]
fn modules_may_be_called_like_keywords() {
    let route = Route::parse("FROM /messages/modules/select/outputs/from INTO $upstream").unwrap();
    assert!(route.matches(&Source::Module { module: "select", output: Some("from") }, &message()));
    assert_eq!(route.source_module(), Some("select"));
}

#[test]
fn length_depth_and_operands_have_limits_and_one_more_is_refused() {
    let route = |condition: &str| Route::parse(&format!("FROM /* WHERE {condition} INTO $upstream"));
    let padded = |length: usize| format!("{:length$}", "FROM /* INTO $upstream");
    assert!(Route::parse(&padded(ROUTE_CHARS_MAX)).is_ok());
    assert_eq!(refused(&padded(ROUTE_CHARS_MAX + 1)).at, ROUTE_CHARS_MAX);

    let deep = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(route(&deep(ROUTE_DEPTH_MAX)).is_ok());
    assert!(route(&deep(ROUTE_DEPTH_MAX + 1)).unwrap_err().message.contains("nested more than"));
    for opening in ["NOT ", "- ", "abs(", "true AND (", "true ?? "] {
        assert!(route(&opening.repeat(350)).is_err(), "{opening}");
    }

    let wide = |operands: usize| vec!["true"; operands].join(" AND ");
    assert!(route(&wide(ROUTE_OPERANDS_MAX)).unwrap().matches(&CAM, &message()));
    assert!(route(&wide(ROUTE_OPERANDS_MAX + 1)).unwrap_err().message.contains("more than 256 operands"));
}

fn routes(desired: Value) -> Routes {
    Routes::from_desired(&desired).unwrap_or_else(|refused| panic!("{refused}"))
}

#[test]
fn a_message_gets_one_copy_for_each_endpoint_and_the_smallest_priority_wins() {
    let routes = routes(json!({
        "schemaVersion": "1.1",
        "routes": {
            "all": "FROM /messages/* INTO $upstream",
            "late": {"route": "FROM /messages/* INTO $upstream", "priority": 7},
            "alerts": {"route": "FROM /messages/modules/cam/* INTO $upstream", "priority": 2, "timeToLiveSecs": 60},
            "unmet": {"route": "FROM /messages/* WHERE City = 'x' INTO $upstream", "priority": 0},
            "filter": {"route": "FROM /* INTO BrokeredEndpoint(\"/modules/filter/inputs/a\")", "timeToLiveSecs": 0},
            "other": "FROM /* INTO BrokeredEndpoint(\"/modules/filter/inputs/b\")",
            "blank": "  ",
            "gone": null
        },
        "storeAndForwardConfiguration": {"timeToLiveSecs": 30, "storeLimits": {"maxSizeBytes": 1000}}
    }));
    let targets = routes.targets(&CAM, &message());
    let seen: Vec<_> = targets.iter().map(|it| (&*it.route, it.priority, it.time_to_live)).collect();
    let seconds = |it| Some(Duration::from_secs(it));
    let late = PRIORITY_DEFAULT;
    assert_eq!(
        seen,
        [("alerts", 2, seconds(60)), ("filter", late, seconds(30)), ("other", late, seconds(30))]
    );
    assert_eq!(routes.store_bytes_max(), Some(1000));
    assert_eq!(routes.iter().count(), 6);
    assert_eq!(routes.targets(&Source::Device, &message())[0].route.as_ref(), "late");
}

#[test]
fn the_time_to_live_is_for_ever_when_negative_and_two_hours_when_unsaid() {
    let global = |store: Value| {
        let desired = json!({"schemaVersion": "1.0", "routes": {}, "storeAndForwardConfiguration": store});
        routes(desired).time_to_live()
    };
    assert_eq!(global(json!({"timeToLiveSecs": -1})), None);
    assert_eq!(global(json!({"timeToLiveSecs": 0})), Some(Duration::ZERO));
    assert_eq!(global(json!({})), Some(Duration::from_secs(7200)));
    assert_eq!(global(Value::Null), Some(Duration::from_secs(7200)));
}

#[test]
fn a_hub_that_was_told_nothing_sends_all_telemetry_upstream() {
    let routes = Routes::default_upstream();
    assert_eq!(routes.targets(&CAM, &message()).len(), 1);
    assert_eq!(routes.targets(&Source::Device, &message())[0].sink, Sink::Upstream);
    assert!(routes.targets(&Source::TwinChange, &message()).is_empty());
}

#[test]
fn every_schema_from_1_0_to_1_3_is_known_and_no_other() {
    for version in ["1.0", "1.1", "1.1.0", "1.2", "1.3"] {
        assert!(Routes::from_desired(&json!({"schemaVersion": version})).is_ok(), "{version}");
    }
    for version in
        [json!("1"), json!("1.4"), json!("2.0"), json!(1.1), json!("1.x"), json!("1.1.x"), Value::Null]
    {
        let refused = Routes::from_desired(&json!({"schemaVersion": version})).unwrap_err();
        assert!(refused.to_string().contains("wants \"1.0\", \"1.1\", \"1.2\" or \"1.3\""), "{refused}");
    }
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let problems = Routes::read(&json!({
        "schemaVersion": "1.1",
        "routes": {
            "a.b": "FROM /* INTO $upstream",
            "high": {"route": "FROM /* INTO $upstream", "priority": 10},
            "half": {"route": "FROM /* INTO $upstream", "timeToLiveSecs": 0.5},
            "none": {"priority": 1},
            "list": [],
            "bad": {"route": "FROM /* INTO"}
        },
        "storeAndForwardConfiguration": {"timeToLiveSecs": "1h", "storeLimits": {"maxSizeBytes": 0}}
    }))
    .unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "storeAndForwardConfiguration.timeToLiveSecs",
            "storeAndForwardConfiguration.storeLimits.maxSizeBytes",
            "routes.a.b",
            "routes.high.priority",
            "routes.half.timeToLiveSecs",
            "routes.none.route",
            "routes.list",
            "routes.bad.route",
        ]
    );
    assert!(problems[7].message.ends_with("FROM /* INTO\n              ^"), "{}", problems[7].message);
}

#[test]
fn a_route_as_an_object_needs_schema_1_1() {
    let object = json!({"r": {"route": "FROM /* INTO $upstream"}});
    let refused = Routes::from_desired(&json!({"schemaVersion": "1.0", "routes": object})).unwrap_err();
    assert!(refused.to_string().contains("needs schemaVersion \"1.1\""), "{refused}");
    assert!(Routes::from_desired(&json!("x")).is_err());
    assert!(Routes::from_desired(&json!({"schemaVersion": "1.0", "routes": []})).is_err());
}

#[test]
fn there_is_a_limit_on_routes() {
    let many = |count: usize| -> Value {
        let routes: serde_json::Map<String, Value> =
            (0..count).map(|i| (format!("r{i}"), json!("FROM /* INTO $upstream"))).collect();
        json!({"schemaVersion": "1.0", "routes": routes})
    };
    assert!(Routes::from_desired(&many(ROUTES_MAX)).is_ok());
    assert!(Routes::from_desired(&many(ROUTES_MAX + 1)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(
        text in "(FROM |WHERE |INTO |/\\*|\\*/|/messages|\\$body\\.a|\\$|'|\"|\\\\|\\(|\\)|[a-zü.0-9=<>!|?{},\\[\\]+-]| ){0,40}"
    ) {
        if let Err(error) = Route::parse(&text) {
            assert!(error.at <= text.chars().count());
            let _ = error.to_string();
        }
    }

    #[test]
    fn whatever_compiles_can_be_asked(
        condition in "((City|word|\\$body\\.machine\\.(temperature|name|nowhere|list\\[1\\])|1|'ü🌡'|null|undefined|true)( (=|<|\\+|\\|\\||AND|OR|\\?\\?) )){0,4}(substring\\(City, 1, 2\\)|index_of\\(word, 'o'\\)|length\\(City\\)|as_number\\(word\\)|City|1|true) (=|<>|>) (1|'o'|true|null)"
    ) {
        if let Ok(route) = Route::parse(&format!("FROM /* WHERE {condition} INTO $upstream")) {
            route.matches(&CAM, &message());
        }
    }
}
