//! Twins: what is desired, what is reported, and who hears of a change. On disk before anyone does.

use isotherm_iothub::{Feed, Identity, Message, Refused, SystemProperty, Twin};
use jiff::Timestamp;
use serde_json::Value;

use super::events::EventSource;
use super::registry::match_etag;
use super::{ApiError, Core, Counter, Now, Outgoing, Refusal, What, documents};
use crate::store::Ticket;

/// A change of a twin by the service side.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Merge: `null` deletes, arrays replace. `None` leaves a section as it is.
    Patch {
        /// Into the tags.
        tags: Option<Value>,
        /// Into the desired properties.
        desired: Option<Value>,
    },
    /// Replace whole sections. `None` leaves a section as it is.
    Replace {
        /// The tags.
        tags: Option<Value>,
        /// The desired properties.
        desired: Option<Value>,
    },
}

impl Core {
    /// The twin as its own client sees it: `{"desired":{…},"reported":{…}}`, each with `$version`.
    /// `None` if there is nobody of that name.
    pub fn twin_get(&self, who: &Identity) -> Option<Value> {
        self.counters.count(Counter::TwinsRead);
        self.people.get(who).map(|person| person.twin.client_view())
    }

    /// The twin as the service side sees it, `$metadata` and all.
    ///
    /// # Errors
    /// 404001 or 404010.
    pub fn twin_document(&self, who: &Identity) -> Result<Value, ApiError> {
        self.people.get(who).map(documents::twin).ok_or_else(|| ApiError::not_found(who))
    }

    /// Merges a patch of the client into its reported properties and says the new version. Answer 204 once durable.
    ///
    /// # Errors
    /// What is wrong with the patch; nothing has changed then.
    pub fn reported(&mut self, who: &Identity, patch: &Value, now: Now) -> Result<(u64, Ticket), Refused> {
        let place =
            self.people.find(who).ok_or_else(|| Refused::new("the twin", "belongs to nobody any more"))?;
        let person = &mut self.people[place];
        let changed = person.twin.reported.patch(patch, now.wall);
        let changed = changed.inspect_err(|_| self.counters.count(Counter::TwinsReportedRefused))?;
        person.twin.version += u64::from(changed);
        person.record.last_activity = Some(now.wall.as_microsecond());
        let version = person.twin.reported.version();
        self.counters.count(Counter::TwinsReported);
        let ticket = self.keep_twin(place);
        self.show(who, now, || What::Reported { version, patch: patch.clone() });
        let notified = self.notify_twin_change(place, patch, now).max(ticket);
        Ok((version, notified.max(self.roll_out_to(who, now))))
    }

    /// Changes desired properties or tags; says the whole twin as the service side sees it. Answer once durable.
    /// The client hears of it when it is on disk. `if_match` is an etag, quoted or not, or `*`.
    ///
    /// # Errors
    /// 404001, 404010, 412001, 400004 with the place in the document.
    pub fn desired(
        &mut self,
        who: &Identity,
        change: Change,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        let changed = self.change_twin(who, change, if_match, now);
        let counted = if changed.is_ok() { Counter::TwinsDesired } else { Counter::TwinsDesiredRefused };
        self.counters.count(counted);
        changed
    }
}

impl Core {
    fn change_twin(
        &mut self,
        who: &Identity,
        change: Change,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        let place = self.people.find(who).ok_or_else(|| ApiError::not_found(who))?;
        match_etag(&self.people[place].twin.etag(), if_match)?;
        // On a copy: tags and desired properties change together or not at all.
        let mut twin = self.people[place].twin.clone();
        let patch = apply(&mut twin, change, now.wall).map_err(|refused| ApiError::argument(&refused))?;
        self.people[place].twin = twin;
        let ticket = self.keep_twin(place);
        if let Some(patch) = patch {
            self.announce_desired(place, patch, ticket, now);
        }
        let ticket = ticket.max(self.roll_out_to(who, now));
        Ok((documents::twin(&self.people[place]), ticket))
    }

    /// Tells the client, once it is on disk, and the hub itself if it is the hub's own twin.
    pub(super) fn announce_desired(&mut self, place: usize, mut patch: Value, ticket: Ticket, now: Now) {
        let person = &self.people[place];
        let (who, session, version) = (person.who.clone(), person.session, person.twin.desired.version());
        let is_hub = person.ours && who.module_id() == Some("$edgeHub");
        self.show(&who, now, || What::Desired { version, patch: patch.clone() });
        if let Some(patch) = patch.as_object_mut() {
            patch.insert("$version".to_owned(), version.into());
        }
        if let Some(session) = session
            && self.subscribed(session, Feed::Desired).is_some()
        {
            self.post(session, ticket, Outgoing::Desired { version, patch }, now);
        }
        if is_hub {
            self.configure(now);
        }
    }

    /// Reported properties that changed are a message too, for `FROM /twinChangeNotifications`.
    fn notify_twin_change(&mut self, place: usize, patch: &Value, now: Now) -> Ticket {
        let who = self.people[place].who.clone();
        let mut message = Message::new(patch.to_string());
        let system = &mut message.system;
        system.set(SystemProperty::MessageType, "twinChangeNotification");
        system.set(SystemProperty::ContentType, "application/json");
        system.set(SystemProperty::ContentEncoding, "utf-8");
        system.set(SystemProperty::ConnectionDeviceId, &self.options.device_id);
        system.set(SystemProperty::ConnectionModuleId, "$edgeHub");
        system.set(SystemProperty::ReportedSenderDeviceId, who.device_id());
        if let Some(module) = who.module_id() {
            system.set(SystemProperty::ReportedSenderModuleId, module);
        }
        if !self.is_wanted(place, EventSource::TwinChange, &message) {
            return Ticket::DURABLE; // hardly anybody routes them: no reason to count each as dropped
        }
        match self.route(place, EventSource::TwinChange, message, now) {
            Ok(receipt) => self.store.hurry(receipt), // the twin is on its way to disk, and waits for nobody
            Err(refusal) => {
                if matches!(refusal, Refusal::UpstreamFull(_)) {
                    self.full(); // nobody waits with it
                }
                Ticket::DURABLE
            }
        }
    }
}

/// Changes the twin; says the desired properties' patch, if they changed.
fn apply(twin: &mut Twin, change: Change, wall: Timestamp) -> Result<Option<Value>, Refused> {
    let (tags_changed, patch) = match change {
        Change::Patch { tags, desired } => {
            let tags_changed = tags.map(|tags| twin.patch_tags(&tags)).transpose()?.unwrap_or(false);
            let patch = match desired {
                Some(patch) => twin.desired.patch(&patch, wall)?.then_some(patch),
                None => None,
            };
            (tags_changed, patch)
        }
        Change::Replace { tags, desired } => {
            let tags_changed = tags.is_some();
            tags.map(|tags| twin.replace_tags(&tags)).transpose()?;
            (tags_changed, desired.map(|whole| twin.desired.replace(&whole, wall)).transpose()?)
        }
    };
    if tags_changed || patch.is_some() {
        twin.version += 1;
    }
    Ok(patch)
}
