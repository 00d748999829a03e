//! What a hub keeps from one start to the next, and what it keeps others out of.

mod support;

use std::os::unix::fs::PermissionsExt as _;

use isotherm_host::{Host, http};
use isotherm_hub::{Hub, Options, READY_FILE, Ready};
use rumqttc::QoS;
use serde_json::{Value, json};
use support::{Folder, PATIENCE, Site, TEMPLATE, ephemeral};

fn options(folder: &Folder) -> Options {
    let template = folder.path().join("deployment.template.json");
    std::fs::write(&template, TEMPLATE).unwrap();
    Options { ephemeral: false, state: folder.path().join("state"), template: Some(template), ..ephemeral() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_keys_authority_and_queued_messages_outlive_a_restart() {
    let folder = Folder::new("restart");
    let first = Site::with(options(&folder)).await;
    let patched = json!({"properties": {"desired": {"TemperatureThreshold": 31}}});
    assert_eq!(first.rest("PATCH", "/twins/edge/modules/filter", patched).await.status, 200);
    let mut sensor = first.stranger("edge/sensor").await;
    sensor.send("devices/edge/modules/sensor/messages/events/%24.on=temperature", "kept").await;
    let (ca, ready) = (first.ca.clone(), first.ready.clone());
    first.stop().await;

    let second = Site::with(options(&folder)).await;
    assert_eq!(second.ca, ca);
    assert_eq!(second.ready.policies, ready.policies);
    assert_eq!(second.ready.generations, ready.generations);
    let twin = second.get("/twins/edge/modules/filter").await;
    assert_eq!(
        twin["properties"]["desired"]["TemperatureThreshold"], 31,
        "the template was not applied again"
    );
    let mut filter = second.stranger("edge/filter").await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    assert_eq!(&filter.publish().await.payload[..], b"kept");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_template_is_applied_and_a_wrong_one_is_named() {
    let folder = Folder::new("template");
    Site::with(options(&folder)).await.stop().await;
    let mut changed = options(&folder);
    let template = changed.template.clone().unwrap();
    std::fs::write(
        &template,
        TEMPLATE.replace("\"TemperatureThreshold\": 25", "\"TemperatureThreshold\": 26"),
    )
    .unwrap();
    let site = Site::with(changed.clone()).await;
    let twin = site.get("/twins/edge/modules/filter").await;
    assert_eq!(twin["properties"]["desired"]["TemperatureThreshold"], 26);
    site.stop().await;

    std::fs::write(&template, TEMPLATE.replace("FROM /messages", "FORM /messages")).unwrap();
    changed.template = Some(template);
    let error = Hub::start(Host::real().with_own_stop(), changed).await.unwrap_err().to_string();
    assert!(error.contains("deployment.template.json") && error.contains("routes.readings"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_hub_on_the_same_state_says_so_and_ends() {
    let folder = Folder::new("lock");
    let first = Site::with(options(&folder)).await;
    let error = Hub::start(Host::real().with_own_stop(), options(&folder)).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    first.stop().await;
    Site::with(options(&folder)).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_its_owners_alone_and_the_ready_file_is_there_while_the_hub_runs() {
    let folder = Folder::new("modes");
    let site = Site::with(options(&folder)).await;
    let state = folder.path().join("state");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for name in [READY_FILE, "workload.sock", "hub/pki/ca.key", "hub/pki/server.key"] {
        assert_eq!(mode(&state.join(name)) & 0o077, 0, "{name}");
    }
    let ready: Ready = serde_json::from_slice(&std::fs::read(state.join(READY_FILE)).unwrap()).unwrap();
    assert_eq!(&ready, site.hub.as_ref().unwrap().ready());
    site.stop().await;
    assert!(!state.join(READY_FILE).exists() && !state.join("workload.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_hub_leaves_nothing() {
    let site = Site::start().await;
    let folder = std::path::Path::new(&site.ready.ca).parent().unwrap().to_owned();
    assert!(folder.exists());
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ca.pem", "hub.json", "workload.sock"]);
    site.stop().await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ready_object_is_the_one_that_the_doors_name() {
    let folder = Folder::new("ready");
    let site = Site::with(options(&folder)).await;
    let ready = serde_json::to_value(&site.ready).unwrap();
    for key in ["hostName", "address", "ports", "ca", "policies", "eventHub", "modules", "workload"] {
        assert!(ready.get(key).is_some(), "{key}");
    }
    let sensor = ready["modules"]["sensor"].as_str().unwrap();
    let gateway = format!("GatewayHostName=localhost:{}", site.ready.ports.mqtts);
    assert!(sensor.contains("DeviceId=edge;ModuleId=sensor") && sensor.contains(&gateway), "{sensor}");
    assert!(ready["ports"]["amqps"].as_u64().is_some_and(|port| port > 0), "AMQP has a port too");
    assert!(ready["eventHub"].as_str().unwrap().ends_with("EntityPath=localhub"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_gets_its_token_signed_and_the_authority_to_trust_from_the_workload_socket() {
    let site = Site::start().await;
    let path = site.ready.workload.strip_prefix("unix://").unwrap().to_owned();
    let ask = async |method: &str, uri: String, body: String| {
        let stream = site.host.network.dial_unix(path.as_ref()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, http::request(stream, method, &uri, &[], body)).await;
        let answer = answer.expect("in time").unwrap();
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (status, bundle) = ask("GET", "/trust-bundle?api-version=2020-07-07".to_owned(), String::new()).await;
    assert_eq!((status, bundle["certificate"].as_str().unwrap()), (200, site.ca.as_str()));

    let generation =
        site.get("/devices/edge/modules/sensor").await["generationId"].as_str().unwrap().to_owned();
    let data = r#"{"keyId":"primary","algo":"HMACSHA256","data":"YWJj"}"#.to_owned();
    let uri = format!("/modules/sensor/genid/{generation}/sign?api-version=2018-06-28");
    let (status, signed) = ask("POST", uri.clone(), data.clone()).await;
    assert_eq!(
        (status, signed["digest"].as_str().unwrap()),
        (200, site.key("edge/sensor").await.sign(b"abc").as_str())
    );

    for (uri, body, wanted) in [
        (uri.replace("2018-06-28", "1999-01-01"), data.clone(), 400),
        (uri.replace("sensor", "nobody"), data.clone(), 404),
        (uri.replace(&generation, "1"), data.clone(), 403),
        (uri.clone(), r#"{"data":"!"}"#.to_owned(), 400),
        (uri.clone(), String::new(), 400),
    ] {
        let (status, no) = ask("POST", uri, body).await;
        assert_eq!(status, wanted);
        assert!(no["message"].is_string());
    }
    let uri = format!("/modules/sensor/genid/{generation}/certificate/server?api-version=2018-06-28");
    let (status, made) = ask("POST", uri, r#"{"commonName":"sensor.local"}"#.to_owned()).await;
    assert_eq!(status, 201);
    assert!(made["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(made["privateKey"]["type"], "key");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_module_has_a_workload_socket_that_answers_for_itself_alone_with_a_generation_known_beforehand()
{
    let folder = Folder::new("sockets");
    let sockets = folder.path().join("sockets");
    let site = Site::with(Options {
        workload_dir: Some(sockets.clone()),
        module_generation: Some(638_000_000_000_000_000),
        ..options(&folder)
    })
    .await;
    let path = sockets.join("sensor/workload.sock");
    assert_eq!(site.ready.workloads["sensor"], format!("unix://{}", path.display()));
    assert_eq!(site.ready.workloads.keys().collect::<Vec<_>>(), ["filter", "sensor"]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let sign = async |module: &str, generation: &str| {
        let stream = site.host.network.dial_unix(&path).await.unwrap();
        let uri = format!("/modules/{module}/genid/{generation}/sign?api-version=2022-08-03");
        let answer = http::request(stream, "POST", &uri, &[], r#"{"data":"YWJj"}"#).await.unwrap();
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (status, signed) = sign("sensor", "638000000000000000").await;
    assert_eq!(status, 200, "{signed}");
    assert_eq!(signed["digest"], site.key("edge/sensor").await.sign(b"abc").as_str());
    assert_eq!(sign("sensor", "1").await.0, 403);
    let (status, refused) = sign("filter", "638000000000000000").await;
    assert_eq!((status, &refused["message"]), (403, &json!("this socket is not for module filter")));
    assert_eq!(site.door("workload_refused_foreign_module").await, 1);
    site.stop().await;
    assert!(!path.exists(), "the socket goes with the hub");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_as_many_modules_as_a_device_may_have_has_a_workload_socket_and_one_more_is_not_made() {
    let folder = Folder::new("many");
    let site = Site::with(options(&folder)).await;
    let known = site.ready.modules.len();
    let modules: Vec<Value> = (known..51)
        .map(|number| json!({"id": "edge", "moduleId": format!("m{number}"), "importMode": "create"}))
        .collect();
    let answer = site.rest("POST", "/devices", Value::from(modules)).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["errors"].as_array().map(Vec::len), Some(1), "{said}");
    assert_eq!(said["errors"][0]["moduleId"], "m50");
    site.stop().await;
    let sockets = folder.path().join("s");
    let site = Site::with(Options { workload_dir: Some(sockets), ..options(&folder) }).await;
    assert_eq!((site.ready.modules.len(), site.ready.workloads.len()), (50, 50));
    site.stop().await;
}
