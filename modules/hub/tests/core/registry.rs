use isotherm_hub::core::query::Query;
use isotherm_hub::core::{ErrorCode, Limits, Page, Statistics};
use isotherm_hub::store::Settings;
use serde_json::{Value, json};

use crate::site::{Site, identity};

fn etag(document: &Value) -> String {
    document["etag"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_device_has_keys_an_etag_and_a_generation() {
    let mut site = Site::new();
    let asked = json!({
        "deviceId": "dev 1".replace(' ', "-"), "status": "enabled", "capabilities": {"iotEdge": false},
        "authentication": {"symmetricKey": {"primaryKey": "", "secondaryKey": ""}, "type": "sas"},
    });
    let (device, ticket) = site.core.put_device("dev-1", &asked, None, site.now).unwrap();
    let keys = &device["authentication"]["symmetricKey"];
    assert!(keys["primaryKey"].as_str().unwrap().len() >= 40 && keys["primaryKey"] != keys["secondaryKey"]);
    assert_eq!(device["status"], "enabled");
    assert_eq!(device["connectionState"], "Disconnected");
    assert_eq!(device["connectionStateUpdatedTime"], "0001-01-01T00:00:00Z");
    assert!(device["generationId"].as_str().unwrap().parse::<u64>().is_ok());
    assert!(!site.is_durable(ticket));
    site.commit();
    assert_eq!(site.power_cut().core.device("dev-1").unwrap(), device);
}

#[test]
fn creating_twice_and_updating_nobody_are_told_apart() {
    let mut site = Site::new();
    let blank = json!({});
    let put = |site: &mut Site, if_match: Option<&str>| {
        site.core.put_device("d", &blank, if_match, site.now).map(|it| it.0)
    };
    assert_eq!(put(&mut site, Some("*")).unwrap_err().code, ErrorCode::DeviceNotFound);
    let first = put(&mut site, None).unwrap();
    assert_eq!(put(&mut site, None).unwrap_err().code, ErrorCode::DeviceAlreadyExists);
    let second = put(&mut site, Some(&etag(&first))).unwrap();
    assert_ne!(etag(&first), etag(&second));
    assert_eq!(put(&mut site, Some(&etag(&first))).unwrap_err().code, ErrorCode::PreconditionFailed);
    assert_eq!(second["authentication"], first["authentication"], "keys nobody mentions stay");
    let quoted = format!("\"{}\"", etag(&second));
    assert!(put(&mut site, Some(&quoted)).is_ok());
}

#[test]
fn an_edge_device_comes_with_its_two_modules_and_a_scope() {
    let mut site = Site::new();
    let edge = json!({"capabilities": {"iotEdge": true}});
    let (device, _) = site.core.put_device("e2", &edge, None, site.now).unwrap();
    assert_eq!(device["capabilities"]["iotEdge"], true);
    let scope = format!("ms-azure-iot-edge://e2-{}", device["generationId"].as_str().unwrap());
    assert_eq!(device["deviceScope"], scope.as_str());
    let modules = site.core.modules("e2").unwrap();
    let names: Vec<_> = modules.iter().map(|it| it["moduleId"].as_str().unwrap()).collect();
    assert_eq!(names, ["$edgeAgent", "$edgeHub"]);
    assert!(site.core.exists(&identity("edge/$edgeHub")), "the hub's own device is one");
    let refused = site.core.delete_module("e2", "$edgeHub", None, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidOperation);
}

#[test]
fn modules_are_listed_with_their_own_device_only() {
    let mut site = Site::new();
    for device in ["d", "d-1", "d0"] {
        site.device(device);
        site.core.put_module(device, "m", &json!({}), None, site.now).unwrap();
    }
    assert_eq!(site.core.modules("d").unwrap().len(), 1);
    let again = site.core.put_module("d", "m", &json!({}), None, site.now).unwrap_err();
    assert_eq!(again.code, ErrorCode::ModuleAlreadyExistsOnDevice);
    assert_eq!(site.core.module("d", "x").unwrap_err().code, ErrorCode::ModuleNotFound);
    assert_eq!(site.core.module("x", "m").unwrap_err().code, ErrorCode::DeviceNotFound);
    site.core.delete_device("d", None, site.now).unwrap();
    assert!(!site.core.exists(&identity("d/m")));
    assert!(site.core.exists(&identity("d-1/m")) && site.core.exists(&identity("d0/m")));
    site.commit();
    let site = site.power_cut();
    assert!(!site.core.exists(&identity("d/m")) && site.core.exists(&identity("d-1/m")));
}

#[test]
fn whoever_is_deleted_and_made_again_is_somebody_else() {
    let mut site = Site::new();
    site.device("d");
    let first = site.core.generation_of(&identity("d"));
    site.core.delete_device("d", None, site.now).unwrap();
    site.device("d");
    assert_ne!(site.core.generation_of(&identity("d")), first);
}

#[test]
fn a_bad_document_is_refused_with_the_place() {
    let mut site = Site::new();
    let short = json!({"symmetricKey": {"primaryKey": "AAAA", "secondaryKey": "AAAA"}});
    let single = json!({"symmetricKey": {"primaryKey": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}});
    for (document, place) in [
        (json!([]), "body"),
        (json!({"deviceId": "other"}), "deviceId"),
        (json!({"status": "maybe"}), "status"),
        (json!({"statusReason": "x".repeat(129)}), "statusReason"),
        (json!({"capabilities": {"iotEdge": "yes"}}), "capabilities.iotEdge"),
        (json!({"authentication": {"type": "magic"}}), "authentication.type"),
        (json!({"authentication": {"type": "selfSigned"}}), "x509Thumbprint"),
        (json!({"authentication": {"x509Thumbprint": {"primaryThumbprint": "zz"}}}), "x509Thumbprint"),
        (json!({"authentication": short}), "key"),
        (json!({"authentication": single}), "symmetricKey"),
    ] {
        let refused = site.core.put_device("d", &document, None, site.now).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ArgumentInvalid);
        assert!(
            refused.message.to_lowercase().contains(&place.to_lowercase()),
            "{document}: {}",
            refused.message
        );
    }
    let refused = site.core.put_device("a b", &json!({}), None, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ArgumentInvalid);
    assert!(!site.core.exists(&identity("d")));
}

#[test]
fn statistics_count_devices_and_not_modules() {
    let mut site = Site::new();
    site.device("a");
    site.core.put_device("b", &json!({"status": "disabled"}), None, site.now).unwrap();
    site.attach("a");
    site.attach("edge/$edgeHub");
    let expected = Statistics { total: 3, enabled: 2, disabled: 1, connected: 1 };
    assert_eq!(site.core.statistics(), expected);
    assert_eq!(site.core.device("a").unwrap()["connectionState"], "Connected");
    assert_eq!(site.core.devices(2).len(), 2);
}

#[test]
fn there_are_as_many_identities_as_there_may_be() {
    let limits = Limits { identities_max: 4, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.device("a");
    let refused = site.core.put_device("b", &json!({}), None, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooManyDevices);
    site.core.delete_device("a", None, site.now).unwrap();
    site.device("b");
}

#[test]
fn the_device_that_the_hub_runs_on_stays() {
    let mut site = Site::new();
    let refused = site.core.delete_device("edge", Some("*"), site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidOperation);
}

#[test]
fn a_query_answers_with_twins_page_by_page() {
    let mut site = Site::new();
    for device in ["a", "b", "c"] {
        site.device(device);
    }
    let query = |text: &str| Query::parse(text).unwrap();
    let names = |page: &Page| -> Vec<String> {
        page.rows.iter().map(|it| it["deviceId"].as_str().unwrap().to_owned()).collect()
    };
    let all = query("select  *  FROM devices");
    let first = site.core.query(&all, None, 3);
    assert_eq!(names(&first), ["a", "b", "c"]);
    site.core.delete_device("c", None, site.now).unwrap(); // the place of the next page is not lost with it
    let last = site.core.query(&all, first.next.as_deref(), 3);
    assert_eq!((names(&last), last.next), (vec!["edge".to_owned()], None));
    assert_eq!(site.core.query(&all, None, 3).next, None, "nothing comes after a page that is exactly full");

    let top = query("SELECT TOP 2 * FROM devices");
    let first = site.core.query(&top, None, 1);
    let last = site.core.query(&top, first.next.as_deref(), 1);
    assert_eq!((names(&first), names(&last), last.next), (vec!["a".to_owned()], vec!["b".to_owned()], None));
    assert_eq!(site.core.query(&query("SELECT * FROM devices.modules"), None, 9).rows.len(), 2);
    let count = query("SELECT COUNT() AS n FROM devices WHERE capabilities.iotEdge = true");
    assert_eq!(site.core.query(&count, None, 1).rows, [json!({"n": 1})]);
}

#[test]
fn a_twins_document_has_all_that_the_service_side_reads() {
    let mut site = Site::new();
    site.device("a");
    let twin = site.core.twin_document(&identity("a")).unwrap();
    for member in
        ["deviceId", "etag", "deviceEtag", "status", "connectionState", "authenticationType", "version"]
    {
        assert!(twin.get(member).is_some(), "{member}");
    }
    for section in ["desired", "reported"] {
        let section = &twin["properties"][section];
        assert!(section["$version"].is_u64() && section["$metadata"].is_object());
    }
    assert!(twin.get("tags").is_none(), "tags nobody set are not there");
}
