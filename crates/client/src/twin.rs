//! The module's own copy of its twin, and what it has to tell the hub about it. No clock, no socket.

mod patch;

use std::collections::VecDeque;

use isotherm_iothub::{Section, merge};
use serde_json::{Value, json};
use tracing::warn;

use patch::{compose, fits};

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
    /// The version of the last patch that came since that was asked.
    heard: Option<u64>,
    /// Not yet reported, oldest first; each can be told in one patch.
    patches: VecDeque<Value>,
    report: Option<(Asked, Value)>,
    last_rid: u64,
    /// That the hub does not say what the twin is has been told.
    told: bool,
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
            self.heard = None;
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
        if self.get.take().is_some() {
            self.stale = true;
            if self.twin.is_none() && !std::mem::replace(&mut self.told, true) {
                warn!(
                    "the hub does not say what the twin is; a module that never knew it takes no inputs until then"
                );
            }
        }
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
            // A patch has overtaken the answer, which is from before it: nobody would tell that patch again.
            Ok(twin) if self.is_overtaken(&twin) => {
                self.stale = true;
                Answered::Fine
            }
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

    /// Whether a patch that came meanwhile is newer than this answer. One without a version is taken as it is: it
    /// says nothing of its age, and would say nothing the next time either.
    fn is_overtaken(&self, twin: &Value) -> bool {
        let answered = twin["desired"]["$version"].as_u64();
        answered.zip(self.heard).is_some_and(|(answered, heard)| answered < heard)
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
        if self.get.is_some() {
            self.heard = Some(version);
        }
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

#[cfg(test)]
mod tests;
