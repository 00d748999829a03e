use std::sync::{Arc, Mutex};

use isotherm_hub::core::{Answer, ApiError, Counter, ErrorCode, Limits, Outgoing, SessionId};
use isotherm_hub::store::Settings;
use isotherm_iothub::{Feed, MethodCall, MethodResult};
use serde_json::{Value, json};

use crate::site::{Site, identity, seconds};

type Heard = Arc<Mutex<Vec<Result<MethodResult, ApiError>>>>;

fn listen() -> (Answer, Heard) {
    let heard = Heard::default();
    let tell = Arc::clone(&heard);
    (Box::new(move |result| tell.lock().unwrap().push(result)), heard)
}

fn call(response: u64, connect: u64) -> MethodCall {
    let call = MethodCall::new("ping", json!({"a": 1})).unwrap();
    MethodCall { response_timeout: seconds(response), connect_timeout: seconds(connect), ..call }
}

fn invoke(site: &mut Site, target: &str, call: MethodCall) -> Heard {
    let (answer, heard) = listen();
    site.core.invoke(&identity(target), call, site.now, answer);
    heard
}

fn rid(site: &mut Site, session: SessionId) -> String {
    match site.poll(session) {
        Some(Outgoing::Method { rid, name, payload }) => {
            assert_eq!((name.as_str(), payload), ("ping", json!({"a": 1})));
            rid
        }
        other => panic!("expected a call, found {other:?}"),
    }
}

fn failed(heard: &Heard) -> ErrorCode {
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1, "told exactly once");
    heard[0].as_ref().unwrap_err().code
}

#[test]
fn a_call_is_answered_by_its_target_exactly_once() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Methods);
    let heard = invoke(&mut site, "edge/filter", call(30, 0));
    let rid = rid(&mut site, filter);
    site.core.method_response(filter, &rid, 200, json!("pong"), site.now);
    site.core.method_response(filter, &rid, 500, Value::Null, site.now);
    let expected = MethodResult { status: 200, payload: json!("pong") };
    assert_eq!(*heard.lock().unwrap(), [Ok(expected)]);
    assert_eq!(site.counted(Counter::MethodAnswersLate), 1);
    site.pass(seconds(60));
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[test]
fn request_ids_are_short_hexadecimal_numbers() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Methods);
    let ids: Vec<String> = (0..17)
        .map(|_| {
            invoke(&mut site, "edge/filter", call(30, 0));
            rid(&mut site, filter)
        })
        .collect();
    assert_eq!((ids[0].as_str(), ids[9].as_str(), ids[16].as_str()), ("1", "a", "11"));
}

#[test]
fn nobody_there_or_not_subscribed_is_not_online_at_once() {
    let mut site = Site::pipeline();
    assert_eq!(failed(&invoke(&mut site, "edge/filter", call(30, 0))), ErrorCode::DeviceNotOnline);
    site.attach("edge/filter");
    assert_eq!(failed(&invoke(&mut site, "edge/filter", call(30, 0))), ErrorCode::DeviceNotOnline);
    assert_eq!(failed(&invoke(&mut site, "edge/nobody", call(30, 0))), ErrorCode::ModuleNotFound);
    assert_eq!(failed(&invoke(&mut site, "nobody", call(30, 0))), ErrorCode::DeviceNotFound);
}

#[test]
fn a_call_waits_for_its_target_to_subscribe() {
    let mut site = Site::pipeline();
    let heard = invoke(&mut site, "edge/filter", call(30, 10));
    site.pass(seconds(9));
    let filter = site.attach("edge/filter");
    assert!(site.poll(filter).is_none());
    site.core.method_response(filter, "1", 200, Value::Null, site.now);
    assert!(heard.lock().unwrap().is_empty(), "it was not asked yet");
    site.core.subscribe(filter, Feed::Methods, 0, site.now);
    let rid = rid(&mut site, filter);
    site.pass(seconds(29));
    site.core.method_response(filter, &rid, 200, Value::Null, site.now);
    assert!(heard.lock().unwrap()[0].is_ok());
}

#[test]
fn a_target_that_does_not_come_in_time_is_not_online() {
    let mut site = Site::pipeline();
    let heard = invoke(&mut site, "edge/filter", call(30, 10));
    site.pass(seconds(9));
    assert!(heard.lock().unwrap().is_empty());
    site.pass(seconds(1));
    assert_eq!(failed(&heard), ErrorCode::DeviceNotOnline);
    let filter = site.attach_to("edge/filter", Feed::Methods);
    assert!(site.poll(filter).is_none(), "it is not called any more");
}

#[test]
fn a_target_that_does_not_answer_in_time_is_a_gateway_timeout_and_its_late_answer_is_nobodys() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Methods);
    let heard = invoke(&mut site, "edge/filter", call(30, 0));
    let rid = rid(&mut site, filter);
    site.pass(seconds(29));
    assert!(heard.lock().unwrap().is_empty());
    site.pass(seconds(1));
    assert_eq!(failed(&heard), ErrorCode::GatewayTimeout);
    site.core.method_response(filter, &rid, 200, Value::Null, site.now);
    assert_eq!(heard.lock().unwrap().len(), 1);
    assert_eq!(site.counted(Counter::MethodAnswersLate), 1);
}

#[test]
fn nobody_answers_for_somebody_else() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Methods);
    let sensor = site.attach_to("edge/sensor", Feed::Methods);
    let heard = invoke(&mut site, "edge/filter", call(30, 0));
    let rid = rid(&mut site, filter);
    site.core.method_response(sensor, &rid, 200, json!("mine"), site.now);
    site.core.method_response(filter, "not a number", 200, json!("x"), site.now);
    assert!(heard.lock().unwrap().is_empty());
    site.core.method_response(filter, &rid, 201, Value::Null, site.now);
    assert_eq!(heard.lock().unwrap()[0].as_ref().unwrap().status, 201);
}

#[test]
fn a_client_that_reconnects_may_still_answer() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Methods);
    let heard = invoke(&mut site, "edge/filter", call(30, 0));
    let rid = rid(&mut site, filter);
    site.core.detach(filter, false, None, site.now);
    let again = site.attach_to("edge/filter", Feed::Methods);
    site.core.method_response(again, &rid, 200, Value::Null, site.now);
    assert!(heard.lock().unwrap()[0].is_ok());
}

#[test]
fn a_call_that_was_never_read_fails_when_its_target_goes() {
    let mut site = Site::pipeline();
    let filter = site.attach_to("edge/filter", Feed::Methods);
    let heard = invoke(&mut site, "edge/filter", call(30, 0));
    site.core.detach(filter, false, None, site.now);
    assert_eq!(failed(&heard), ErrorCode::DeviceNotOnline);
}

#[test]
fn a_deleted_target_answers_no_more() {
    let mut site = Site::new();
    site.device("d");
    let session = site.attach_to("d", Feed::Methods);
    let heard = invoke(&mut site, "d", call(30, 0));
    rid(&mut site, session);
    site.core.delete_device("d", None, site.now).unwrap();
    assert_eq!(failed(&heard), ErrorCode::DeviceNotFound);
}

#[test]
fn as_many_calls_wait_for_one_target_as_may() {
    let limits = Limits { calls_max: 2, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.device("d");
    let first = invoke(&mut site, "d", call(30, 10));
    invoke(&mut site, "d", call(30, 10));
    assert_eq!(failed(&invoke(&mut site, "d", call(30, 10))), ErrorCode::ThrottlingException);
    site.pass(seconds(10));
    assert_eq!(failed(&first), ErrorCode::DeviceNotOnline);
    let third = invoke(&mut site, "d", call(30, 10));
    assert!(third.lock().unwrap().is_empty(), "there is room again");
}

#[test]
fn the_next_time_out_is_known_and_who_waits_for_it_is_told_when_it_moves() {
    let mut site = Site::pipeline();
    let (wake, woken) = crate::site::counting();
    site.core.on_timer(wake);
    site.attach_to("edge/filter", Feed::Methods);
    invoke(&mut site, "edge/filter", call(5, 0));
    assert_eq!(site.core.poll_timeout(), Some(site.now.instant + seconds(5)));
    assert_eq!(woken.load(std::sync::atomic::Ordering::Relaxed), 1);
    invoke(&mut site, "edge/filter", call(20, 0));
    assert_eq!(woken.load(std::sync::atomic::Ordering::Relaxed), 1, "later ones need no telling");
}
