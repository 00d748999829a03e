//! The module's own copy of its twin, and what it has to tell the hub about it. No clock, no socket.

use std::collections::VecDeque;

use isotherm_iothub::{Section, merge};
use serde_json::{Map, Value, json};
use tracing::warn;

/// Patches that cannot be told as one are told one after the other; more than these are told as one all the same.
const PATCHES_MAX: usize = 16;

/// A request to the hub that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    rid: u64,
}

/// What the hub is to be asked now.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    Get { rid: u64 },
    Report { rid: u64, patch: Value },
}

/// What an answer means for the rest of the client.
#[derive(Debug, PartialEq)]
pub(crate) enum Answered {
    Fine,
    /// The hub refused what was reported, for good.
    Refused(String),
    /// The hub cannot say now: ask again later.
    Later,
    /// Nobody asked.
    Unknown,
}

/// Desired and reported as far as they are known here.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// `{"desired":{..},"reported":{..}}`, once it is known.
    twin: Option<Value>,
    /// Desired has changed since it was last told.
    news: bool,
    /// The copy on disk is older.
    unsaved: bool,
    stale: bool,
    get: Option<Asked>,
    /// Not yet reported, oldest first; each can be told in one patch.
    patches: VecDeque<Value>,
    report: Option<(Asked, Value)>,
    last_rid: u64,
}

impl Mirror {
    /// With what was known when the process last ran.
    pub(crate) fn restored(saved: Option<&[u8]>) -> Self {
        let twin = saved.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let twin = twin.filter(|twin| twin["desired"].is_object() && twin["reported"].is_object());
        Self { news: twin.is_some(), twin, ..Self::default() }
    }

    /// With settings that come from nowhere else and never change.
    pub(crate) fn fixed(desired: Value) -> Self {
        Self { twin: Some(json!({ "desired": desired, "reported": {} })), news: true, ..Self::default() }
    }

    pub(crate) fn twin(&self) -> Option<&Value> {
        self.twin.as_ref()
    }

    /// The whole desired section, if it has changed since this was last asked.
    pub(crate) fn take_news(&mut self) -> Option<Value> {
        std::mem::take(&mut self.news)
            .then(|| self.twin.as_ref().map(|twin| twin["desired"].clone()))
            .flatten()
    }

    /// What is to be written to disk, if it has changed since this was last asked.
    pub(crate) fn take_unsaved(&mut self) -> Option<Vec<u8>> {
        let twin = self.twin.as_ref().filter(|_| self.unsaved)?;
        self.unsaved = false;
        Some(twin.to_string().into_bytes())
    }

    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// A connection stands and hears of changes from now on: what happened before has to be asked for.
    pub(crate) fn connected(&mut self) {
        self.stale = true;
    }

    /// Whoever was asked will not answer any more.
    pub(crate) fn disconnected(&mut self) {
        self.stale = true;
        self.get = None;
        self.take_back();
    }

    fn take_back(&mut self) {
        if let Some((_, patch)) = self.report.take() {
            self.patches.push_front(patch);
            self.join_front();
        }
    }

    /// Tells the next two patches as one, if that can be.
    fn join_front(&mut self) {
        while self.patches.len() > 1 && fits(&self.patches[0], &self.patches[1]) {
            let later = self.patches.remove(1).expect("there are two");
            compose(&mut self.patches[0], later);
        }
    }

    /// Whether the answer to something asked is still to come.
    pub(crate) fn is_asking(&self) -> bool {
        self.get.is_some() || self.report.is_some()
    }

    pub(crate) fn has_request(&self) -> bool {
        (self.stale && self.get.is_none()) || (self.report.is_none() && !self.patches.is_empty())
    }

    /// The next thing to ask the hub.
    pub(crate) fn request(&mut self) -> Option<Request> {
        if self.stale && self.get.is_none() {
            self.stale = false;
            let rid = self.next_rid();
            self.get = Some(Asked { rid });
            return Some(Request::Get { rid });
        }
        if self.report.is_some() {
            return None;
        }
        let patch = self.patches.pop_front()?;
        let rid = self.next_rid();
        self.report = Some((Asked { rid }, patch.clone()));
        Some(Request::Report { rid, patch })
    }

    fn next_rid(&mut self) -> u64 {
        self.last_rid += 1;
        self.last_rid
    }

    /// Adds to what is to be reported; a patch that no hub would take is refused at once.
    pub(crate) fn report(&mut self, patch: Value) -> Result<(), String> {
        if !patch.is_object() {
            return Err("reported properties are a JSON object".to_owned());
        }
        Section::check(&patch).map_err(|refused| refused.to_string())?;
        let many = self.patches.len() >= PATCHES_MAX;
        match self.patches.back_mut() {
            Some(last) if many || fits(last, &patch) => compose(last, patch),
            _ => self.patches.push_back(patch),
        }
        Ok(())
    }

    /// What is still to be reported, for a plain broker that takes no reports.
    pub(crate) fn forget_reports(&mut self) {
        self.patches.clear();
    }

    /// An answer took too long: ask again, with a new number.
    pub(crate) fn give_up_waiting(&mut self) {
        self.stale |= self.get.take().is_some();
        self.take_back();
    }

    pub(crate) fn answered(&mut self, status: u16, rid: &str, body: &[u8]) -> Answered {
        let rid = u64::from_str_radix(rid, 16).ok();
        if rid.is_some() && self.get.map(|asked| asked.rid) == rid {
            return self.got(status, body);
        }
        match self.report.take_if(|(asked, _)| Some(asked.rid) == rid) {
            Some((_, patch)) => self.reported(status, patch, body),
            None => Answered::Unknown,
        }
    }

    fn got(&mut self, status: u16, body: &[u8]) -> Answered {
        if status != 200 {
            self.give_up_waiting();
            return Answered::Later;
        }
        self.get = None;
        match serde_json::from_slice::<Value>(body) {
            Ok(twin) if twin["desired"].is_object() && twin["reported"].is_object() => {
                self.news |= self.twin.as_ref().is_none_or(|known| known["desired"] != twin["desired"]);
                self.unsaved |= self.twin.as_ref() != Some(&twin);
                self.twin = Some(twin);
                Answered::Fine
            }
            _ => {
                warn!("the hub's answer is no twin: {} bytes that are not desired and reported", body.len());
                self.stale = true;
                Answered::Later
            }
        }
    }

    fn reported(&mut self, status: u16, patch: Value, body: &[u8]) -> Answered {
        match status {
            200..=299 => {
                if let Some(twin) = &mut self.twin {
                    merge(&mut twin["reported"], &patch);
                    self.unsaved = true;
                }
                Answered::Fine
            }
            400..=499 if status != 429 => Answered::Refused(format!(
                "{status} {}",
                String::from_utf8_lossy(&body[..body.len().min(500)])
            )),
            _ => {
                self.patches.push_front(patch);
                self.join_front();
                Answered::Later
            }
        }
    }

    /// A patch of desired properties. Only the one that follows the last known version can be merged; after any
    /// other the whole twin has to be asked for.
    pub(crate) fn desired(&mut self, version: u64, patch: &Value) {
        let known = self.twin.as_ref().and_then(|twin| twin["desired"]["$version"].as_u64());
        match (known, &mut self.twin) {
            (Some(known), Some(twin)) if version == known + 1 && patch.is_object() => {
                merge(&mut twin["desired"], patch);
                twin["desired"]["$version"] = version.into();
                self.news = true;
                self.unsaved = true;
            }
            (Some(known), _) if version == known => {} // told twice
            _ => self.stale = true,
        }
    }
}

/// Whether `later` after `earlier` can be told in one patch: not where an object follows what was removed or was none,
/// for merged it would bring back what the object had before.
fn fits(earlier: &Value, later: &Value) -> bool {
    let (Some(earlier), Some(later)) = (earlier.as_object(), later.as_object()) else { return true };
    later.iter().filter(|(_, value)| value.is_object()).all(|(name, value)| match earlier.get(name) {
        None => true,
        Some(before) => before.is_object() && fits(before, value),
    })
}

/// Makes one patch of two. Unlike a merge it keeps the nulls, which remove.
fn compose(earlier: &mut Value, later: Value) {
    match (earlier, later) {
        (Value::Object(earlier), Value::Object(later)) => {
            for (name, value) in later {
                compose(earlier.entry(name).or_insert_with(|| empty_like(&value)), value);
            }
        }
        (earlier, later) => *earlier = later,
    }
}

fn empty_like(value: &Value) -> Value {
    if value.is_object() { Value::Object(Map::new()) } else { Value::Null }
}

#[cfg(test)]
mod tests {
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
}
