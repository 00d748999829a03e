use std::sync::atomic::Ordering;

use isotherm_hub::core::{Change, Limits, Subject, What};
use isotherm_hub::store::Settings;
use serde_json::json;

use crate::site::{Site, counting, identity};

#[test]
fn a_watcher_sees_messages_and_where_they_go() {
    let mut site = Site::pipeline();
    let (wake, woken) = counting();
    let tap = site.core.tap(&[Subject::Messages], wake);
    let sensor = site.attach("edge/sensor");
    let filter = site.attach("edge/filter");
    site.publish(sensor, "1");
    site.publish(filter, "2");
    assert_eq!(woken.load(Ordering::Relaxed), 2);
    let glimpse = tap.take();
    let shown: Vec<_> = (glimpse.seen.iter())
        .map(|seen| match &seen.what {
            What::Message { output, to, .. } => (seen.who.to_string(), output.clone(), to.join(",")),
            other => panic!("asked for messages only: {other:?}"),
        })
        .collect();
    let out = Some("out".to_owned());
    assert_eq!(shown[0], ("edge/sensor".into(), out.clone(), "edge/filter/temperature".into()));
    assert_eq!(shown[1], ("edge/filter".into(), out, "".into()));
    assert!(tap.take().seen.is_empty());
}

#[test]
fn a_slow_watcher_loses_the_oldest_and_is_told_how_many() {
    let limits = Limits { tap_max: 3, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.device("d");
    let tap = site.core.tap(&[Subject::Messages], counting().0);
    let session = site.attach("d");
    for number in 0..10 {
        site.publish(session, &number.to_string());
    }
    let glimpse = tap.take();
    assert_eq!((glimpse.seen.len(), glimpse.lost), (3, 7));
    assert_eq!(tap.take().lost, 0);
}

#[test]
fn a_watcher_that_left_is_forgotten() {
    let mut site = Site::pipeline();
    let (wake, woken) = counting();
    let tap = site.core.tap(&[Subject::Connections], wake);
    let session = site.attach("edge/sensor");
    drop(tap);
    site.core.detach(session, true, None, site.now);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

#[test]
fn twins_methods_and_connections_can_be_watched() {
    let mut site = Site::pipeline();
    let subjects = [Subject::Twins, Subject::Methods, Subject::Connections];
    let tap = site.core.tap(&subjects, counting().0);
    let who = identity("edge/filter");
    let session = site.attach("edge/filter");
    site.core.reported(&who, &json!({"a": 1}), site.now).unwrap();
    let change = Change::Patch { tags: None, desired: Some(json!({"b": 2})) };
    site.core.desired(&who, change, None, site.now).unwrap();
    let call = isotherm_iothub::MethodCall::new("ping", json!(null)).unwrap();
    site.core.invoke(&who, call, site.now, Box::new(|_| {}));
    site.core.detach(session, true, None, site.now);
    let seen = tap.take().seen;
    let kinds: Vec<&str> = (seen.iter())
        .map(|seen| match &seen.what {
            What::Connected { protocol } => protocol,
            What::Reported { .. } => "reported",
            What::Desired { .. } => "desired",
            What::Called { name, .. } => name,
            What::Answered { status: 404, .. } => "404",
            What::Disconnected { reason } => reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["mqtt", "reported", "desired", "ping", "404", "closed"]);
}
