//! The service side beyond the registry, and devices that speak HTTPS only.

mod support;

use isotherm_host::Host;
use isotherm_host::http::Response;
use isotherm_hub::{Options, Quotas};
use rumqttc::QoS;
use serde_json::{Value, json};
use support::{Folder, PATIENCE, Site, ephemeral};

fn body(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

impl Site {
    /// What a device says over HTTPS, with its own token.
    async fn as_device(&self, who: &str, method: &str, path: &str, body: &str) -> Response {
        let token = self.token(who).await;
        self.anonymous(method, path, &[("authorization", &token)], body.to_owned()).await
    }

    async fn until(&self, path: &str, what: impl Fn(&Value) -> bool) -> Value {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if what(&answer) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < end, "{path} stays {answer}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_fetches_its_messages_by_https_and_settles_them_by_their_lock_token() {
    let site = Site::start().await;
    site.device("d").await;
    let inbox = "/devices/d/messages/deviceBound";
    assert_eq!(site.as_device("d", "GET", inbox, "").await.status, 204);
    let to = "/isotherm/v1/devices/d/messages/devicebound";
    let headers = [("iothub-messageid", "m1"), ("iothub-ack", "full"), ("iothub-app-colour", "blue")];
    assert_eq!(site.rest_with("POST", to, &headers, "one").await.status, 204);

    let first = site.as_device("d", "GET", inbox, "").await;
    assert_eq!((first.status, &first.body[..]), (200, &b"one"[..]));
    assert_eq!(first.header("iothub-messageid"), Some("m1"));
    assert_eq!(first.header("iothub-app-colour"), Some("blue"));
    assert_eq!(first.header("iothub-deliverycount"), Some("1"));
    let etag = first.header("etag").expect("a lock token").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}: Node takes the quotes off unseen");
    assert_eq!(site.as_device("d", "GET", inbox, "").await.status, 204, "it is locked");

    let token = etag.trim_matches('"');
    let abandon = format!("{inbox}/{token}/abandon");
    assert_eq!(site.as_device("d", "POST", &abandon, "").await.status, 204);
    let second = site.as_device("d", "GET", "/devices/d/messages/devicebound", "").await;
    assert_eq!(second.header("iothub-deliverycount"), Some("2"));
    let stale = site.as_device("d", "DELETE", &format!("{inbox}/{token}"), "").await;
    assert_eq!((stale.status, stale.header("iothub-errorcode")), (412, Some("DeviceMessageLockLost")));
    let token = second.header("etag").unwrap().trim_matches('"').to_owned();
    let reject = format!("{inbox}/{token}?api-version=2020-03-13&reject");
    assert_eq!(site.as_device("d", "DELETE", &reject, "").await.status, 204);

    let feedback = site.rest_with("GET", "/messages/serviceBound/feedback", &[], "").await;
    assert_eq!(feedback.status, 200);
    assert_eq!(body(&feedback)[0]["originalMessageId"], "m1");
    assert_eq!(body(&feedback)[0]["statusCode"], "Rejected");
    let token = feedback.header("etag").unwrap().trim_matches('"').to_owned();
    let settle = format!("/messages/serviceBound/feedback/{token}");
    assert_eq!(site.rest_with("DELETE", &settle, &[], "").await.status, 204);
    assert_eq!(site.rest_with("GET", "/messages/serviceBound/feedback", &[], "").await.status, 204);

    site.device("other").await;
    assert_eq!(site.as_device("other", "GET", inbox, "").await.status, 401, "another's messages");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_and_configurations_say_no_in_a_form_of_their_own() {
    let site = Site::start().await;
    let missing = site.rest_with("GET", "/devices/edge/modules/nobody", &[], "").await;
    assert_eq!(missing.status, 404);
    assert_eq!(body(&missing)["errorCode"], 404_010);
    assert!(body(&missing)["trackingId"].as_str().unwrap().contains("-G:0-TimeStamp:"));
    let configuration = json!({"id": "c", "targetCondition": "tags.a =", "priority": 1});
    let wrong = site.rest("PUT", "/configurations/c", configuration).await;
    assert_eq!((wrong.status, body(&wrong)["errorCode"].as_u64()), (400, Some(400_004)));
    assert!(body(&wrong)["message"].as_str().unwrap().contains("character"));
    let twin = site.rest_with("GET", "/twins/nobody", &[], "").await;
    assert!(body(&twin)["Message"].as_str().unwrap().starts_with("ErrorCode:DeviceNotFound;"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_and_jobs_survive_the_hub() {
    let folder = Folder::new("service");
    let options = Options { state: folder.path().to_owned(), ephemeral: false, ..ephemeral() };
    let site = Site::on(Host::real(), options.clone()).await;
    site.device("d").await;
    let made = site.rest("PUT", "/configurations/c", json!({"targetCondition": "*", "priority": 3})).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    let job = |at: Value| json!({"type": "scheduleUpdateTwin", "updateTwin": {"tags": {"done": 1}}, "queryCondition": "deviceId = 'd'", "startTime": at});
    let late = site.rest("PUT", "/jobs/v2/late", job("2099-01-01T00:00:00Z".into())).await;
    assert_eq!(late.status, 200, "{:?}", late.body);
    let soon = site.host.wall().checked_add(jiff::SignedDuration::from_millis(1_500)).unwrap();
    assert_eq!(site.rest("PUT", "/jobs/v2/soon", job(soon.to_string().into())).await.status, 200);
    assert_eq!(site.rest("PUT", "/jobs/v2/soon", job(Value::Null)).await.status, 409);
    site.stop().await;

    let site = Site::on(Host::real(), options).await;
    assert_eq!(site.get("/configurations/c").await["priority"], 3);
    let done = site.until("/jobs/v2/soon", |job| job["status"] == "completed").await;
    assert_eq!(done["deviceJobStatistics"]["succeededCount"], 1);
    assert_eq!(site.get("/twins/d").await["tags"]["done"], 1);
    assert_eq!(site.get("/jobs/v2/late").await["status"], "scheduled");
    let cancelled = site.rest_with("POST", "/jobs/v2/late/cancel", &[], "").await;
    assert_eq!(body(&cancelled)["status"], "cancelled");
    let again = site.rest_with("POST", "/jobs/v2/late/cancel", &[], "").await;
    assert_eq!(again.status, 400);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_answered_page_by_page_and_with_its_kind() {
    let site = Site::start().await;
    for device in ["a", "b", "c"] {
        site.device(device).await;
    }
    let ask = async |sql: &str, headers: &[(&str, &str)]| {
        let asked = json!({ "query": sql }).to_string();
        site.rest_with("POST", "/devices/query?api-version=2021-04-12", headers, asked).await
    };
    let first = ask("SELECT * FROM devices", &[("x-ms-max-item-count", "3")]).await;
    assert_eq!(first.header("x-ms-item-type"), Some("Twin"));
    let next = first.header("x-ms-continuation").expect("more").to_owned();
    let last =
        ask("SELECT * FROM devices", &[("x-ms-max-item-count", "3"), ("x-ms-continuation", &next)]).await;
    assert_eq!(body(&last)[0]["deviceId"], "edge");
    assert_eq!(last.header("x-ms-continuation"), None);
    let raw = ask("SELECT deviceId FROM devices WHERE deviceId = 'b'", &[]).await;
    assert_eq!((raw.header("x-ms-item-type"), body(&raw)), (Some("Raw"), json!([{"deviceId": "b"}])));
    let wrong = ask("SELECT * FROM nowhere", &[]).await;
    assert_eq!((wrong.status, wrong.header("iothub-errorcode")), (400, Some("ArgumentInvalid")));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_into_an_input_passes_every_route() {
    let site = Site::start().await;
    let mut filter = site.stranger("edge/filter").await;
    filter.subscribe("devices/edge/modules/filter/inputs/#", QoS::AtLeastOnce).await;
    let put = "/isotherm/v1/inputs?to=edge/filter&input=unrouted&property=k%3Dv";
    assert_eq!(site.rest_with("POST", put, &[], "hello").await.status, 204);
    let message = filter.publish().await;
    assert!(message.topic.starts_with("devices/edge/modules/filter/inputs/unrouted/"), "{}", message.topic);
    assert!(message.topic.contains("k=v"), "{}", message.topic);
    for (wrong, status) in [
        ("to=edge/nobody&input=in", 404),
        ("to=edge&input=in", 400),
        ("to=edge/filter&input=a%2Fb", 400),
        ("to=edge/filter", 400),
    ] {
        let answer = site.rest_with("POST", &format!("/isotherm/v1/inputs?{wrong}"), &[], "x").await;
        assert_eq!(answer.status, status, "{wrong}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_turn_away_what_is_more_than_twelve_a_second_of_a_kind() {
    let site = Site::with(Options { quotas: Quotas::S1, ..ephemeral() }).await;
    let calls = (0..40).map(|_| site.rest_with("GET", "/twins/edge", &[], ""));
    let answers = futures_util::future::join_all(calls).await;
    let refused: Vec<&Response> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty() && refused.len() <= 28, "{}", refused.len());
    assert_eq!(refused[0].header("iothub-errorcode"), Some("ThrottlingException"));
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    assert!(body(refused[0])["Message"].as_str().unwrap().starts_with("ErrorCode:ThrottlingException;"));
    assert_eq!(site.rest_with("GET", "/devices/edge", &[], "").await.status, 200, "another kind has its own");
    site.stop().await;
}
