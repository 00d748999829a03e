//! The service side: registry, methods, queries, and who may ask.

mod support;

use isotherm_iothub::{Identity, Token};
use rumqttc::QoS;
use serde_json::{Value, json};
use support::{HUB, PATIENCE, Site};

fn body(answer: &isotherm_host::http::Response) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_made_read_changed_and_deleted_as_the_sdks_do_it() {
    let site = Site::start().await;
    let create = json!({"deviceId": "dev 1", "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}});
    let made = site.rest("PUT", "/devices/dev%201?api-version=2021-04-12", create.clone()).await;
    assert_eq!(made.status, 400, "a space is not allowed in an id: {:?}", made.body);
    let create = json!({"deviceId": "dev1", "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}});
    let made = site.rest("PUT", "/devices/dev1?api-version=2021-04-12", create.clone()).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    assert!(made.header("content-type").unwrap().contains("application/json"));
    let made = body(&made);
    assert!(made["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap().len() > 20);

    let again = site.rest("PUT", "/devices/dev1", create.clone()).await;
    assert_eq!(again.status, 409);
    assert_eq!(again.header("iothub-errorcode"), Some("DeviceAlreadyExists"));
    assert!(body(&again)["Message"].as_str().unwrap().starts_with("ErrorCode:DeviceAlreadyExists;"));
    assert!(body(&again)["ExceptionMessage"].as_str().unwrap().starts_with("Tracking ID:"));

    let changed = json!({"deviceId": "dev1", "status": "disabled", "authentication": made["authentication"]});
    let stale =
        site.rest_with("PUT", "/devices/dev1", &[("if-match", "\"bm90aXQ=\"")], changed.to_string()).await;
    assert_eq!(stale.status, 412);
    let updated = site.rest_with("PUT", "/devices/dev1", &[("if-match", "*")], changed.to_string()).await;
    assert_eq!(updated.status, 200, "{:?}", updated.body);
    assert_eq!(site.get("/devices/dev1").await["status"], "disabled");
    assert_eq!(site.get("/devices/?top=10").await.as_array().unwrap().len(), 2);
    assert_eq!(
        site.get("/statistics/devices").await,
        json!({"totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1})
    );

    let deleted = site.rest_with("DELETE", "/devices/dev1", &[("if-match", "*")], "").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    let gone = site.rest_with("GET", "/devices/dev1", &[], "").await;
    assert_eq!((gone.status, gone.header("iothub-errorcode")), (404, Some("DeviceNotFound")));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_are_listed_made_and_deleted() {
    let site = Site::start().await;
    let names = |list: Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|module| module["moduleId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(site.get("/devices/edge/modules").await),
        ["$edgeAgent", "$edgeHub", "filter", "sensor"]
    );
    let made =
        site.rest("PUT", "/devices/edge/modules/m1", json!({"deviceId": "edge", "moduleId": "m1"})).await;
    assert!(made.status == 200 || made.status == 201, "{:?}", made.body);
    let deleted = site.rest_with("DELETE", "/devices/edge/modules/m1", &[("if-match", "*")], "").await;
    assert_eq!(deleted.status, 204);
    let gone = site.rest_with("GET", "/devices/edge/modules/m1", &[], "").await;
    assert_eq!((gone.status, gone.header("iothub-errorcode")), (404, Some("ModuleNotFound")));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_is_called_answered_and_given_up() {
    let site = Site::start().await;
    let path = "/twins/edge/modules/filter/methods";
    let call = json!({"methodName": "ping", "payload": {"a": 1}, "responseTimeoutInSeconds": 5});
    let offline = site.rest("POST", path, call.clone()).await;
    assert_eq!((offline.status, offline.header("iothub-errorcode")), (404, Some("DeviceNotOnline")));
    let inner: Value = serde_json::from_str(body(&offline)["Message"].as_str().unwrap()).unwrap();
    assert_eq!(inner["errorCode"], 404_103);

    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("$iothub/methods/POST/#", QoS::AtMostOnce).await;
    let respond = async {
        let called = filter.publish().await;
        assert_eq!(serde_json::from_slice::<Value>(&called.payload).unwrap(), json!({"a": 1}));
        let rid = called.topic.strip_prefix("$iothub/methods/POST/ping/?$rid=").expect("the method's topic");
        filter.send(&format!("$iothub/methods/res/207/?$rid={rid}"), r#"{"ok":true}"#).await;
    };
    let (answer, ()) = tokio::join!(site.rest("POST", path, call), respond);
    assert_eq!((answer.status, body(&answer)), (200, json!({"status": 207, "payload": {"ok": true}})));

    for (wrong, status) in
        [(json!({"payload": 1}), 400), (json!({"methodName": "ping", "responseTimeoutInSeconds": 1}), 400)]
    {
        assert_eq!(site.rest("POST", path, wrong).await.status, status);
    }
    let nobody = site.rest("POST", "/twins/edge/modules/nobody/methods", json!({"methodName": "ping"})).await;
    assert_eq!((nobody.status, nobody.header("iothub-errorcode")), (404, Some("ModuleNotFound")));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_calls_its_neighbour_with_its_own_token_and_nobody_elses() {
    let site = Site::start().await;
    site.device("leaf").await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("$iothub/methods/POST/#", QoS::AtMostOnce).await;
    let token = site.token("edge/sensor").await;
    let path = "/twins/edge/modules/filter/methods"; // no api-version: Node sends none
    let call = json!({"methodName": "ping", "payload": null}).to_string();
    let headers = [("authorization", token.as_str()), ("x-ms-edge-moduleId", "edge/sensor")];
    let respond = async {
        let called = filter.publish().await;
        let rid = called.topic.rsplit('=').next().unwrap();
        filter.send(&format!("$iothub/methods/res/200/?$rid={rid}"), "").await;
    };
    let (answer, ()) = tokio::join!(site.anonymous("POST", path, &headers, call.clone()), respond);
    assert_eq!((answer.status, body(&answer)), (200, json!({"status": 200, "payload": null})));

    for (caller, status) in [("edge/filter", 401), ("leaf/sensor", 401), ("sensor", 400)] {
        let headers = [("authorization", token.as_str()), ("x-ms-edge-moduleId", caller)];
        let answer = site.anonymous("POST", path, &headers, call.clone()).await;
        assert_eq!(answer.status, status, "{caller}");
        assert!(body(&answer)["message"].is_string());
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_policy_may_do_what_it_grants_and_nothing_else() {
    let site = Site::start().await;
    let policies = site.ready.policies.clone();
    let allowed = |policy: &str, what: &str| match policy {
        "iothubowner" => true,
        "service" => what == "twins",
        "registryRead" => what == "read",
        "registryReadWrite" => what != "twins",
        _ => false,
    };
    for (policy, string) in &policies {
        let key = string.parse::<isotherm_iothub::ConnectionString>().unwrap().key.unwrap();
        let token = Token::mint(&key, HUB, site.in_an_hour(), Some(policy));
        for (what, method, path, text) in [
            ("read", "GET", "/devices/edge", ""),
            ("twins", "GET", "/twins/edge/modules/filter", ""),
            ("write", "PUT", "/devices/written", r#"{"deviceId":"written"}"#),
        ] {
            let answer = site.anonymous(method, path, &[("authorization", &token)], text).await;
            let wanted = if allowed(policy, what) { [200, 409] } else { [401, 401] };
            assert!(wanted.contains(&answer.status), "{policy} {what}: {}", answer.status);
        }
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_nothing_or_something_stale_is_refused() {
    let site = Site::start().await;
    let none = site.anonymous("GET", "/devices", &[], "").await;
    assert_eq!((none.status, none.header("iothub-errorcode")), (401, Some("IotHubUnauthorizedAccess")));
    let owner: isotherm_iothub::ConnectionString = site.ready.policies["iothubowner"].parse().unwrap();
    let key = owner.key.unwrap();
    let stale = Token::mint(&key, HUB, site.host.wall().as_second() - 3_600, Some("iothubowner"));
    let elsewhere = Token::mint(&key, "elsewhere.net", site.in_an_hour(), Some("iothubowner"));
    let one_device =
        Token::mint(&key, &format!("{HUB}/devices/leaf"), site.in_an_hour(), Some("iothubowner"));
    for token in [stale, elsewhere, one_device] {
        let answer = site.anonymous("GET", "/devices/edge", &[("authorization", &token)], "").await;
        assert_eq!(answer.status, 401);
    }
    // A device may administer its own modules, and nobody else's.
    let own = Token::mint(
        &site.key("edge").await,
        &Identity::device("edge").unwrap().resource(HUB),
        site.in_an_hour(),
        None,
    );
    let modules = site.anonymous("GET", "/devices/edge/modules", &[("authorization", &own)], "").await;
    assert_eq!(modules.status, 200, "{:?}", modules.body);
    assert_eq!(site.anonymous("GET", "/devices/edge", &[("authorization", &own)], "").await.status, 401);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_come_in_pages_and_the_last_has_no_continuation() {
    let site = Site::start().await;
    for name in ["a", "b"] {
        site.device(name).await;
    }
    let query = json!({"query": "SELECT * FROM devices"}).to_string();
    let first =
        site.rest_with("POST", "/devices/query", &[("x-ms-max-item-count", "2")], query.clone()).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    assert_eq!(body(&first).as_array().unwrap().len(), 2);
    let more = first.header("x-ms-continuation").expect("there is more").to_owned();
    let headers = [("x-ms-max-item-count", "2"), ("x-ms-continuation", more.as_str())];
    let last = site.rest_with("POST", "/devices/query", &headers, query).await;
    assert_eq!(body(&last).as_array().unwrap().len(), 1);
    assert_eq!(last.header("x-ms-continuation"), None);
    assert_eq!(site.rest("POST", "/devices/query", json!({"query": "DROP TABLE"})).await.status, 400);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_or_no_json_is_refused_and_so_is_an_unknown_path() {
    let site = Site::start().await;
    for bytes in [(1 << 20) + 1, 4 << 20] {
        assert_eq!(site.rest_with("PUT", "/devices/x", &[], vec![b' '; bytes]).await.status, 413);
    }
    assert_eq!(site.rest_with("PUT", "/devices/x", &[], vec![b' '; 1 << 20]).await.status, 400, "no JSON");
    assert_eq!(site.rest_with("PUT", "/devices/x", &[], "{").await.status, 400);
    assert_eq!(site.rest_with("GET", "/nothing/here", &[], "").await.status, 404);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_connections_twins_and_methods_and_nothing_of_other_modules() {
    let site = Site::start().await;
    let watching = site.watch("kinds=connections,twins,messages&module=filter", 4);
    let acting = async {
        tokio::time::timeout(PATIENCE, async {
            // Watching has begun when the status shows its connection; there is nothing else to go by.
            while site.get("/isotherm/v1/status").await["connections"].as_u64().unwrap() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the watch begins");
        let mut sensor = site.stranger("edge/sensor").await;
        let mut filter = site.stranger("edge/filter").await;
        filter.send("$iothub/twin/PATCH/properties/reported/?$rid=1", r#"{"a":1}"#).await;
        site.rest("PATCH", "/twins/edge/modules/filter", json!({"properties": {"desired": {"b": 2}}})).await;
        sensor.send("devices/edge/modules/sensor/messages/events/%24.on=temperature", "x").await;
    };
    let (lines, ()) = tokio::join!(watching, acting);
    assert_eq!((&lines[0]["event"], &lines[0]["identity"]), (&json!("connection"), &json!("edge/filter")));
    assert_eq!(lines[0]["status"], "Connected");
    assert_eq!((&lines[1]["event"], &lines[1]["reported"]["a"]), (&json!("twin"), &json!(1)));
    assert_eq!((&lines[2]["event"], &lines[2]["desired"]["b"]), (&json!("twin"), &json!(2)));
    assert_eq!((&lines[3]["event"], &lines[3]["from"]), (&json!("message"), &json!("edge/sensor")));
    site.stop().await;
}
