//! JSON that changes how somebody works: twins, routes, the modules' desired properties.

use isotherm_iothub::twin::{DEPTH_MAX, SECTION_BYTES_MAX};
use isotherm_iothub::{Routes, Section, Twin};
use jiff::Timestamp;
use serde_json::Value;

use super::{readable, text};

/// Patches, a line each, for a desired and a reported section: a refused one changes nothing, a taken one is inside
/// all limits, and the patch that a replacement announces leads to it.
pub(crate) fn twins(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let now = Timestamp::UNIX_EPOCH;
    let mut sections = [Section::desired(now), Section::reported(now)];
    let mut twin = Twin::new(now);
    for patch in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        for section in &mut sections {
            let before = section.clone();
            match section.patch(&patch, now) {
                Ok(changed) => assert_eq!(section.version(), before.version() + u64::from(changed)),
                Err(refused) => {
                    readable(refused);
                    assert_eq!(section.service_view(), before.service_view());
                }
            }
            within(section);
            let mut replaced = before.clone();
            if let Ok(patch) = replaced.replace(&patch, now) {
                within(&replaced);
                let mut follower = before.client_view();
                isotherm_iothub::merge(&mut follower, &patch);
                follower["$version"] = replaced.version().into();
                assert_eq!(follower, replaced.client_view(), "the announced patch leads elsewhere: {patch}");
            }
        }
        let tags = twin.tags.clone();
        if twin.patch_tags(&patch).is_err() {
            assert_eq!(twin.tags, tags);
        }
    }
    let written = serde_json::to_value(&twin).expect("a twin can be kept");
    let again: Twin = serde_json::from_value(written.clone()).expect("a kept twin can be recalled");
    assert_eq!(serde_json::to_value(&again).expect("a twin can be kept"), written);
}

fn within(section: &Section) {
    let value = Value::Object(section.value().clone());
    assert!(isotherm_iothub::twin::size(&value) <= SECTION_BYTES_MAX);
    assert!(depth(&value) <= DEPTH_MAX + 1, "a depth of {}", depth(&value));
}

/// The section itself is a level of its own.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.values().map(|value| 1 + depth(value)).max().unwrap_or(0),
        Value::Array(items) => items.iter().map(|value| 1 + depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The desired properties of `$edgeHub`.
pub(crate) fn route_sets(bytes: &[u8]) {
    let Some(desired) = text(bytes).and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
    match Routes::read(&desired) {
        Ok(routes) => {
            let source = isotherm_iothub::Source::Module { module: "sensor", output: Some("temperature") };
            let targets = routes.targets(&source, &isotherm_iothub::Message::default());
            let sinks: Vec<_> = targets.iter().map(|target| &target.sink).collect();
            assert!(
                sinks.iter().enumerate().all(|(at, sink)| !sinks[..at].contains(sink)),
                "one copy per endpoint"
            );
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
    if let Err(refused) = Routes::from_desired(&desired) {
        assert!(!refused.to_string().is_empty());
    }
}

/// The desired properties of the sensor and of the filter: each is taken or refused with a reason, and what is in
/// force is what was reported and would be remembered.
pub(crate) fn module_settings(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let mut sensor = isotherm_sensor::settings::Settings::default();
    let mut filter = isotherm_filter::Settings::default();
    for desired in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let reported = sensor.apply(&desired, true);
        assert_eq!(isotherm_sensor::settings::Settings::remembered(&reported), sensor, "{reported}");
        let reported = filter.apply(&desired);
        assert_eq!(isotherm_filter::Settings::remembered(&reported), filter, "{reported}");
        isotherm_sensor::settings::Settings::unknown(&desired).for_each(drop);
    }
}
