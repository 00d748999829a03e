//! Deployments: modules, their first desired properties, and the routes of `$edgeHub`.

use isotherm_iothub::{Identity, Refused, Routes, Section};
use serde_json::{Map, Value, json};

use super::documents::Wishes;
use super::registry::SYSTEM_MODULES;
use super::{ApiError, Core, Counter, ErrorCode, Now};
use crate::store::{Table, Ticket};

/// The desired properties of `$edgeHub` that were last found good, kept for the next start.
const GOOD: &str = "edgeHub";

impl Core {
    /// Applies a deployment's content (`{"modulesContent":{…}}`): modules it names and that are missing are created
    /// (`managedBy` `IotEdge`), the desired properties it carries replace the old, modules managed by `IotEdge` that
    /// it does not name are removed. All or nothing. Routes that do not parse leave the old ones in force and are told
    /// in `$edgeHub`'s reported `lastDesiredStatus` (400), as edgeHub does.
    ///
    /// # Errors
    /// 404001, 400004 with the JSON path.
    pub fn apply_configuration(
        &mut self,
        device_id: &str,
        content: &Value,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let who = self.known_device(device_id)?.who.clone();
        let ticket = self.apply_content(device_id, content, now)?;
        Ok(ticket.max(self.roll_out_to(&who, now))) // what is meant for many stands above what is for one
    }

    /// The same by whatever way it came.
    pub(super) fn apply_content(
        &mut self,
        device_id: &str,
        content: &Value,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        self.known_device(device_id)?;
        let content = Content::read(device_id, content).map_err(|refused| ApiError::argument(&refused))?;
        let missing = content.modules.iter().filter(|(who, _)| self.people.find(who).is_none());
        let missing: Vec<Identity> = missing.map(|(who, _)| who.clone()).collect();
        if self.people.len() + missing.len() > self.options.limits.identities_max {
            let message = "more identities than there may be";
            return Err(ApiError::new(ErrorCode::TooManyDevices, message));
        }
        self.check_desired(&content, now)?;
        for who in &missing {
            let wishes = Wishes { managed_by: Some(Some("IotEdge".to_owned())), ..Wishes::default() };
            self.create(who, wishes, now)?;
        }
        let mut ticket = self.remove_unnamed(device_id, &content, now);
        for (who, desired) in content.modules {
            if let Some(place) = self.people.find(&who) {
                ticket = ticket.max(self.replace_desired(place, &desired, now));
            }
        }
        Ok(ticket)
    }

    /// Whether the routes in force are those last desired; else what is wrong with them.
    ///
    /// # Errors
    /// The text of `lastDesiredStatus`.
    pub fn configuration_status(&self) -> Result<(), String> {
        self.configured.clone()
    }
}

/// What is put at a path within desired properties; without any names: in place of all of them.
pub(super) type Part = (Vec<String>, Value);

/// A deployment, read.
pub(super) struct Content {
    /// Each module, and the parts of its desired properties that are replaced.
    modules: Vec<(Identity, Vec<Part>)>,
}

impl Content {
    pub(super) fn read(device_id: &str, content: &Value) -> Result<Self, Refused> {
        let content = content.get("content").unwrap_or(content);
        let modules = content.get("modulesContent").or_else(|| content.get("moduleContent"));
        let Some(modules) = modules.and_then(Value::as_object) else {
            return Err(Refused::new("modulesContent", "wants an object: a section for each module"));
        };
        let mut read = Vec::new();
        for (name, sections) in modules {
            let place = format!("modulesContent.{name}");
            let who = Identity::module(device_id, name)?;
            let sections =
                sections.as_object().ok_or_else(|| Refused::new(place.clone(), "wants an object"))?;
            read.push((who, read_parts(&place, sections)?));
        }
        // The agent's list says what else runs there, whole or in layers.
        let agent = read.iter().find(|(who, _)| who.module_id() == Some("$edgeAgent"));
        let agent = agent.map(|(_, parts)| deployed(&Map::new(), parts));
        let listed = agent.as_ref().and_then(|it| it.get("modules")).and_then(Value::as_object);
        for name in listed.into_iter().flat_map(Map::keys) {
            let who = Identity::module(device_id, name)?;
            if !read.iter().any(|(known, _)| *known == who) {
                read.push((who, Vec::new()));
            }
        }
        Ok(Self { modules: read })
    }
}

/// The parts of desired properties that sections such as `properties.desired.limits` name.
pub(super) fn read_parts(place: &str, sections: &Map<String, Value>) -> Result<Vec<Part>, Refused> {
    let mut parts = Vec::new();
    for (key, value) in sections {
        let Some(path) = key.strip_prefix("properties.desired") else {
            let why = "wants keys such as `properties.desired`";
            return Err(Refused::new(format!("{place}.{key}"), why));
        };
        let path: Vec<String> = path.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        if path.is_empty() && !value.is_object() {
            return Err(Refused::new(format!("{place}.{key}"), "wants an object"));
        }
        parts.push((path, value.clone()));
    }
    parts.sort_by_key(|(path, _)| path.len()); // the whole first, then what lies within
    Ok(parts)
}

/// The desired properties after a deployment.
fn deployed(present: &Map<String, Value>, parts: &[Part]) -> Value {
    let mut whole = Value::Object(present.clone());
    for (path, value) in parts {
        let mut at = &mut whole;
        for name in path {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[name.as_str()];
        }
        *at = value.clone();
    }
    whole
}

impl Core {
    /// Before anything is changed: would all of it be taken?
    fn check_desired(&self, content: &Content, now: Now) -> Result<(), ApiError> {
        for (who, parts) in &content.modules {
            let mut section = match self.people.get(who) {
                Some(person) => person.twin.desired.clone(),
                None => Section::desired(now.wall),
            };
            let whole = deployed(section.value(), parts);
            section.replace(&whole, now.wall).map_err(|refused| {
                let place = format!("modulesContent.{}", who.module_id().unwrap_or_default());
                ApiError::new(ErrorCode::ArgumentInvalid, format!("{place}: {refused}"))
            })?;
        }
        Ok(())
    }

    /// Whether a twin would take these parts.
    pub(super) fn would_take(&self, place: usize, parts: &[Part], now: Now) -> bool {
        let mut section = self.people[place].twin.desired.clone();
        let whole = deployed(section.value(), parts);
        section.replace(&whole, now.wall).is_ok()
    }

    pub(super) fn replace_desired(&mut self, place: usize, parts: &[Part], now: Now) -> Ticket {
        let twin = &mut self.people[place].twin;
        let whole = deployed(twin.desired.value(), parts);
        if Value::Object(twin.desired.value().clone()) == whole {
            return Ticket::DURABLE;
        }
        let Ok(patch) = twin.desired.replace(&whole, now.wall) else { return Ticket::DURABLE };
        twin.version += 1;
        let ticket = self.keep_twin(place);
        self.announce_desired(place, patch, ticket, now);
        ticket
    }

    /// Modules that an earlier deployment made and this one does not name are gone.
    fn remove_unnamed(&mut self, device_id: &str, content: &Content, now: Now) -> Ticket {
        let named = |who: &Identity| content.modules.iter().any(|(known, _)| known == who);
        let gone: Vec<Identity> = (self.people.modules_of(device_id))
            .filter(|person| person.record.managed_by.as_deref() == Some("IotEdge"))
            .filter(|person| !SYSTEM_MODULES.contains(&person.who.module_id().unwrap_or_default()))
            .filter(|person| !named(&person.who))
            .map(|person| person.who.clone())
            .collect();
        gone.iter().map(|who| self.remove(who, now)).max().unwrap_or(Ticket::DURABLE)
    }

    fn hub_module(&self) -> Option<usize> {
        self.people.find(&Identity::module(&self.options.device_id, "$edgeHub").ok()?)
    }

    /// At the start: the routes that were last found good.
    pub(super) fn recall_configuration(&mut self, now: Now) -> Result<(), crate::store::StoreError> {
        let kept = self.store.load(Table::Meta)?.into_iter().find(|(key, _)| key == GOOD);
        let good = kept.and_then(|(_, text)| serde_json::from_slice::<Value>(&text).ok());
        let routes = good.and_then(|desired| Routes::from_desired(&desired).ok());
        self.set_routes(routes.unwrap_or_else(Routes::default_upstream))?;
        let desired = self.hub_module().map(|place| self.people[place].twin.desired.value().clone());
        if desired.is_some_and(|desired| !desired.is_empty()) {
            self.configure(now);
        }
        Ok(())
    }

    /// The desired properties of `$edgeHub` changed: all of them are put into force, or none.
    pub(super) fn configure(&mut self, now: Now) {
        let Some(place) = self.hub_module() else { return };
        let section = &self.people[place].twin.desired;
        let (desired, version) = (Value::Object(section.value().clone()), section.version());
        let empty = section.value().is_empty();
        let routes = if empty { Ok(Routes::default_upstream()) } else { Routes::from_desired(&desired) };
        let done = routes
            .map_err(|refused| format!("Error while parsing desired properties - {refused}"))
            .and_then(|routes| self.set_routes(routes).map_err(|error| error.to_string()));
        match &done {
            Ok(()) => drop(self.store.put(Table::Meta, GOOD, desired.to_string().into_bytes())),
            Err(_) => self.counters.count(Counter::ConfigurationsRefused),
        }
        self.configured = done;
        self.report_configuration(place, version, now);
    }

    fn report_configuration(&mut self, place: usize, version: u64, now: Now) {
        let (code, description) = match &self.configured {
            Ok(()) => (200, ""),
            Err(reason) => (400, reason.as_str()),
        };
        let report = json!({
            "schemaVersion": "1.0",
            "version": {"version": env!("CARGO_PKG_VERSION"), "build": "", "commit": ""},
            "lastDesiredVersion": version,
            "lastDesiredStatus": {"code": code, "description": shortened(description)},
        });
        let twin = &mut self.people[place].twin;
        if twin.reported.patch(&report, now.wall).is_ok_and(|changed| changed) {
            twin.version += 1;
            self.keep_twin(place);
        }
    }
}

/// What fits into a twin's string.
fn shortened(text: &str) -> &str {
    const BYTES_MAX: usize = 4_000;
    let end = (0..=BYTES_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
