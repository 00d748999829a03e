use super::*;

fn known(version: u64) -> Mirror {
    let mut mirror = Mirror::default();
    mirror.connected();
    let Some(Request::Get { rid }) = mirror.request() else { panic!("asks first") };
    let body = json!({"desired": {"a": 1, "$version": version}, "reported": {"$version": 1}}).to_string();
    assert_eq!(mirror.answered(200, &format!("{rid:x}"), body.as_bytes()), Answered::Fine);
    assert_eq!(mirror.take_news(), Some(json!({"a": 1, "$version": version})));
    mirror
}

#[test]
fn a_patch_that_follows_is_merged_and_told_whole() {
    let mut mirror = known(7);
    mirror.desired(8, &json!({"b": 2, "$version": 8}));
    assert_eq!(mirror.take_news(), Some(json!({"a": 1, "$version": 8, "b": 2})));
    assert_eq!(mirror.take_news(), None);
    assert!(!mirror.has_request());
}

#[test]
fn a_gap_in_versions_asks_for_the_whole() {
    let mut mirror = known(7);
    mirror.desired(9, &json!({"b": 2, "$version": 9}));
    assert_eq!(mirror.take_news(), None);
    assert!(matches!(mirror.request(), Some(Request::Get { .. })));
}

#[test]
fn a_patch_that_overtakes_the_answer_from_before_it_is_not_forgotten() {
    let mut mirror = known(7);
    mirror.connected();
    let Some(Request::Get { rid }) = mirror.request() else { panic!("asks again") };
    mirror.desired(8, &json!({"a": 2, "$version": 8}));
    let older = json!({"desired": {"a": 1, "$version": 7}, "reported": {}}).to_string();
    mirror.answered(200, &format!("{rid:x}"), older.as_bytes());
    assert_eq!(mirror.take_news(), Some(json!({"a": 2, "$version": 8})));
    let Some(Request::Get { rid }) = mirror.request() else { panic!("asks once more") };
    // A hub that was set up anew counts from the beginning, and is believed.
    let anew = json!({"desired": {"a": 3, "$version": 1}, "reported": {}}).to_string();
    mirror.answered(200, &format!("{rid:x}"), anew.as_bytes());
    assert_eq!(mirror.take_news(), Some(json!({"a": 3, "$version": 1})));
    assert!(!mirror.has_request());
}

#[test]
fn a_twin_without_a_version_is_taken_and_not_asked_for_again_and_again() {
    let mut mirror = Mirror::default();
    mirror.connected();
    let Some(Request::Get { rid }) = mirror.request() else { panic!("asks first") };
    mirror.desired(8, &json!({"a": 2, "$version": 8}));
    assert!(matches!(
        mirror.answered(200, &format!("{rid:x}"), br#"{"desired":{"a":2},"reported":{}}"#),
        Answered::Fine
    ));
    assert_eq!(mirror.take_news(), Some(json!({"a": 2})));
    // The patch itself could not be merged into nothing, so the whole is asked for once; then it is quiet.
    let Some(Request::Get { rid }) = mirror.request() else { panic!("asks once more") };
    mirror.answered(200, &format!("{rid:x}"), br#"{"desired":{"a":2},"reported":{}}"#);
    assert!(!mirror.has_request());
}

#[test]
fn the_same_twin_again_is_no_news() {
    let mut mirror = known(7);
    mirror.disconnected();
    mirror.connected();
    let Some(Request::Get { rid }) = mirror.request() else { panic!("asks again") };
    let body = json!({"desired": {"a": 1, "$version": 7}, "reported": {}}).to_string();
    mirror.answered(200, &format!("{rid:x}"), body.as_bytes());
    assert_eq!(mirror.take_news(), None);
}

#[test]
fn what_is_reported_meanwhile_is_told_as_one_with_its_nulls() {
    let mut mirror = known(1);
    mirror.report(json!({"a": {"x": 1}, "b": 1})).unwrap();
    mirror.report(json!({"a": {"y": 2}, "b": null})).unwrap();
    let Some(Request::Report { patch, .. }) = mirror.request() else { panic!("reports") };
    assert_eq!(patch, json!({"a": {"x": 1, "y": 2}, "b": null}));
}

#[test]
fn an_object_after_its_removal_is_told_apart() {
    let mut mirror = known(1);
    mirror.report(json!({"a": null})).unwrap();
    mirror.report(json!({"a": {"y": 2}})).unwrap();
    let Some(Request::Report { patch, rid }) = mirror.request() else { panic!("reports") };
    assert_eq!(patch, json!({"a": null}));
    assert_eq!(mirror.request(), None, "one at a time");
    mirror.answered(204, &format!("{rid:x}"), b"");
    assert!(
        matches!(mirror.request(), Some(Request::Report { patch, .. }) if patch == json!({"a": {"y": 2}}))
    );
}

#[test]
fn a_report_without_an_answer_is_told_again_before_newer_ones() {
    let mut mirror = known(1);
    mirror.report(json!({"a": 1, "b": 1})).unwrap();
    mirror.request();
    mirror.report(json!({"a": 2})).unwrap();
    mirror.disconnected();
    mirror.connected();
    assert!(matches!(mirror.request(), Some(Request::Get { .. })));
    let Some(Request::Report { patch, .. }) = mirror.request() else { panic!("reports again") };
    assert_eq!(patch, json!({"a": 2, "b": 1}));
}

#[test]
fn a_refused_report_is_dropped_and_a_throttled_one_kept() {
    let mut mirror = known(1);
    mirror.report(json!({"a": 1})).unwrap();
    let Some(Request::Report { rid, .. }) = mirror.request() else { panic!("reports") };
    assert_eq!(mirror.answered(429, &format!("{rid:x}"), b""), Answered::Later);
    let Some(Request::Report { rid, .. }) = mirror.request() else { panic!("reports again") };
    assert!(matches!(mirror.answered(400, &format!("{rid:x}"), b"no"), Answered::Refused(_)));
    assert!(!mirror.has_request());
    assert_eq!(mirror.answered(204, "ffff", b""), Answered::Unknown);
}

#[test]
fn what_no_hub_takes_is_refused_at_once() {
    let mut mirror = known(1);
    assert!(mirror.report(json!([1])).is_err());
    assert!(mirror.report(json!({"a.b": 1})).is_err());
    assert!(!mirror.has_request());
}

#[test]
fn a_saved_twin_is_news_at_the_next_start_and_nonsense_is_not() {
    let mut mirror = known(7);
    let saved = mirror.take_unsaved().unwrap();
    assert_eq!(Mirror::restored(Some(&saved)).take_news(), Some(json!({"a": 1, "$version": 7})));
    assert_eq!(Mirror::restored(Some(b"{")).take_news(), None);
    assert_eq!(Mirror::restored(None).take_news(), None);
}

#[test]
fn so_many_patches_that_cannot_be_one_are_told_apart_and_more_than_that_as_one() {
    let mut mirror = known(1);
    // Each makes an object of what the one before removed, so that no two of them are one patch.
    for number in 0..PATCHES_MAX {
        mirror.report(apart(number)).expect("it fits a twin");
    }
    assert_eq!(mirror.patches.len(), PATCHES_MAX);
    mirror.report(apart(PATCHES_MAX)).expect("it fits a twin");
    assert_eq!(mirror.patches.len(), PATCHES_MAX);
}

/// A patch that cannot be told in one with the patch of the number before.
fn apart(number: usize) -> Value {
    json!({format!("x{number}"): {"b": 1}, format!("x{}", number + 1): null})
}
