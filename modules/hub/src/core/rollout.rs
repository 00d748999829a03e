//! Configurations reach those they are meant for: when one comes, changes or goes, when a device or module comes, and
//! when a twin changes that a target condition may look at.
//!
//! A device takes every configuration that targets it, one over the other, the higher priority last. An edge device
//! takes one deployment, that with the highest priority (the newest of equals), with the layered ones above it on top.
//! What nothing targets any more keeps what it has, as in IoT Hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use isotherm_iothub::{Identity, Refused};
use serde_json::{Map, Value, json};

use super::configuration::{Content, read_parts};
use super::deployments::Deployment;
use super::people::Person;
use super::query::Collection;
use super::{Core, Counter, Now};
use crate::store::Ticket;

/// What a layered deployment may say: parts, nothing whole.
const WHOLE: &str = "properties.desired";

/// What a configuration brings, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `deviceContent`: desired properties of devices.
    Device,
    /// `moduleContent`: desired properties of modules.
    Module,
    /// `modulesContent`: an edge device's modules.
    Edge,
    /// The same, in parts that go on top of another one.
    Layer,
}

/// The checks that a configuration's content must pass before it is taken, whomever it targets.
pub(super) fn check_content(content: &Value) -> Result<(), Refused> {
    let sections = |name: &'static str| match content.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(sections)) => Ok(Some(sections)),
        Some(_) => Err(Refused::new(format!("content.{name}"), "wants an object")),
    };
    for name in ["deviceContent", "moduleContent"] {
        if let Some(sections) = sections(name)? {
            read_parts(&format!("content.{name}"), sections)?;
        }
    }
    if sections("modulesContent")?.is_some() {
        Content::read("any", &json!({"modulesContent": content["modulesContent"]}))?;
    }
    Ok(())
}

impl Deployment {
    fn kind(&self) -> Option<Kind> {
        let content = self.content()?;
        let has = |name| content.get(name).is_some_and(Value::is_object); // some SDKs write null for what is not there
        if has("deviceContent") {
            return Some(Kind::Device);
        }
        if has("moduleContent") {
            return Some(Kind::Module);
        }
        let agent = content.get("modulesContent")?.as_object()?.get("$edgeAgent").and_then(Value::as_object);
        let whole = agent.is_some_and(|agent| agent.contains_key(WHOLE));
        Some(if whole { Kind::Edge } else { Kind::Layer })
    }

    /// Whether it is for an edge device's modules, all of them together.
    fn is_of_edge(&self) -> bool {
        matches!(self.kind(), Some(Kind::Edge | Kind::Layer))
    }

    fn sections(&self, name: &str) -> Option<&Map<String, Value>> {
        self.content()?.get(name)?.as_object()
    }

    /// Whether it is meant for somebody.
    fn targets(&self, person: &Person) -> bool {
        let fits = match self.kind() {
            Some(Kind::Device) => person.who.module_id().is_none(),
            Some(Kind::Module) => person.who.module_id().is_some(),
            Some(Kind::Edge | Kind::Layer) => person.who.module_id().is_none() && person.record.edge,
            None => false,
        };
        let of = if person.who.module_id().is_some() { Collection::Modules } else { Collection::Devices };
        fits && self.target().is_some_and(|query| query.from() == of && query.takes(person))
    }
}

impl Core {
    /// Sees to everybody; whatever can be put into force is.
    pub(super) fn roll_out(&mut self, now: Now) -> Ticket {
        let everybody = self.identities();
        everybody.iter().map(|who| self.roll_out_to(who, now)).max().unwrap_or(Ticket::DURABLE)
    }

    /// Sees to one. Cheap while there are no configurations.
    pub(super) fn roll_out_to(&mut self, who: &Identity, now: Now) -> Ticket {
        let Some(person) = self.people.get(who) else { return Ticket::DURABLE };
        if self.deployments.is_empty() && person.configurations.is_empty() {
            return Ticket::DURABLE;
        }
        let mut meant: Vec<Arc<Deployment>> =
            self.deployments.values().filter(|deployment| deployment.targets(person)).cloned().collect();
        meant.sort_by_cached_key(|deployment| deployment.rank());
        let (edge, own): (Vec<_>, Vec<_>) = meant.into_iter().partition(|it| it.is_of_edge());
        let ticket = self.put_into_force(who, &own, now);
        if who.module_id().is_none() && self.people.get(who).is_some_and(|person| person.record.edge) {
            return ticket.max(self.deploy(who, &edge, now));
        }
        ticket
    }

    /// Desired properties of a device or a module, lowest priority first.
    fn put_into_force(&mut self, who: &Identity, configurations: &[Arc<Deployment>], now: Now) -> Ticket {
        let Some(place) = self.people.find(who) else { return Ticket::DURABLE };
        let name = if who.module_id().is_some() { "moduleContent" } else { "deviceContent" };
        let sections = configurations.iter().filter_map(|configuration| configuration.sections(name));
        let parts =
            sections.filter_map(|sections| read_parts(name, sections).ok()).flatten().collect::<Vec<_>>();
        let all_fit = parts.is_empty() || self.would_take(place, &parts, now);
        let ticket = if parts.is_empty() || !all_fit {
            Ticket::DURABLE
        } else {
            self.replace_desired(place, &parts, now)
        };
        if !all_fit {
            self.counters.count(Counter::ConfigurationsRefused);
        }
        let state = configurations.iter().map(|it| (it.id().to_owned(), all_fit)).collect();
        self.note_state(place, state, false);
        ticket
    }

    /// An edge device's modules: the highest that is whole, and the layers above it.
    fn deploy(&mut self, who: &Identity, deployments: &[Arc<Deployment>], now: Now) -> Ticket {
        let base = deployments.iter().rposition(|deployment| deployment.kind() == Some(Kind::Edge));
        let applied = base.map_or(&[][..], |base| &deployments[base..]);
        let mut content = Map::new();
        for sections in applied.iter().filter_map(|deployment| deployment.sections("modulesContent")) {
            for (module, section) in sections {
                let into = content.entry(module.clone()).or_insert_with(|| json!({}));
                if let (Some(into), Some(section)) = (into.as_object_mut(), section.as_object()) {
                    into.extend(section.clone());
                }
            }
        }
        let done = if applied.is_empty() {
            Ok(Ticket::DURABLE)
        } else {
            self.apply_content(who.device_id(), &json!({"modulesContent": content}), now)
        };
        if done.is_err() {
            self.counters.count(Counter::ConfigurationsRefused);
        }
        let in_force = |deployment: &Deployment| {
            done.is_ok() && applied.iter().any(|applied| applied.id() == deployment.id())
        };
        let state = deployments.iter().map(|it| (it.id().to_owned(), in_force(it))).collect();
        let agent = Identity::module(who.device_id(), "$edgeAgent").ok().and_then(|it| self.people.find(&it));
        if let Some(agent) = agent {
            self.note_state(agent, state, true);
        }
        done.unwrap_or(Ticket::DURABLE)
    }

    /// What is in force on somebody. An edge's agent has two lists in one: the edge's deployments, and what is meant
    /// for the agent as for any module; each is seen to by itself.
    fn note_state(&mut self, place: usize, mut state: BTreeMap<String, bool>, of_edge: bool) {
        for (id, in_force) in std::mem::take(&mut self.people[place].configurations) {
            if self.deployments.get(&id).is_some_and(|it| it.is_of_edge() != of_edge) {
                state.insert(id, in_force);
            }
        }
        self.people[place].configurations = state;
    }

    /// How many a configuration targets, and on how many it is in force.
    pub(super) fn reached(&self, deployment: &Deployment) -> (usize, usize) {
        let targeted = self.people.iter().filter(|person| deployment.targets(person)).count();
        let applied = self.people.iter().filter(|it| it.configurations.get(deployment.id()) == Some(&true));
        (targeted, applied.count())
    }
}
