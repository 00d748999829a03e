//! Everybody there is, each under a number, so that what happens with every message needs no name looked up.

use std::collections::BTreeMap;
use std::ops::{Bound, Index, IndexMut};

use isotherm_iothub::{Identity, Twin};
use serde::{Deserialize, Serialize};

use super::events::partition_of;
use super::mail::Mail;
use super::seats::Feeds;
use super::{Core, SessionId};
use crate::store::{Table, Ticket};

/// How somebody proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AuthKind {
    #[serde(rename = "sas")]
    Sas,
    #[serde(rename = "selfSigned")]
    SelfSigned,
    #[serde(rename = "certificateAuthority")]
    CertificateAuthority,
    #[serde(rename = "none")]
    None,
}

/// Keys and thumbprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Auth {
    pub(super) kind: AuthKind,
    /// Primary and secondary key, base64.
    pub(super) keys: Option<(String, String)>,
    /// Primary and secondary thumbprint, hexadecimal.
    pub(super) thumbprints: (Option<String>, Option<String>),
}

/// What the registry keeps about somebody. Times are microseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) generation: u64,
    pub(super) etag: u64,
    pub(super) enabled: bool,
    pub(super) status_reason: Option<String>,
    pub(super) status_updated: Option<i64>,
    pub(super) connection_updated: Option<i64>,
    pub(super) last_activity: Option<i64>,
    pub(super) auth: Auth,
    pub(super) edge: bool,
    pub(super) managed_by: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) parents: Vec<String>,
    /// The digital-twin model that the client last said it has.
    #[serde(default)]
    pub(super) model: Option<String>,
}

/// A device or module.
pub(super) struct Person {
    pub(super) who: Identity,
    pub(super) record: Record,
    pub(super) twin: Twin,
    pub(super) session: Option<SessionId>,
    /// Subscriptions that outlive the session.
    pub(super) kept: Option<Feeds>,
    /// A module's inputs.
    pub(super) endpoints: Vec<usize>,
    /// Which input is served next.
    pub(super) turn: usize,
    /// A device's cloud-to-device messages.
    pub(super) mail: Mail,
    /// Calls that wait for it to come.
    pub(super) callers: Vec<u64>,
    /// Calls to it that have not ended.
    pub(super) calls: usize,
    /// Its device's partition of the upstream log.
    pub(super) partition: u8,
    /// Whether it is a module of this edge device.
    pub(super) ours: bool,
    /// The configurations that target it, and whether each is in force.
    pub(super) configurations: BTreeMap<String, bool>,
}

impl Person {
    pub(super) fn new(who: Identity, record: Record, twin: Twin, ours: bool) -> Self {
        let partition = partition_of(who.device_id());
        Self {
            who,
            record,
            twin,
            session: None,
            kept: None,
            endpoints: Vec::new(),
            turn: 0,
            mail: Mail::default(),
            callers: Vec::new(),
            calls: 0,
            partition,
            ours,
            configurations: BTreeMap::new(),
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct People {
    places: Vec<Option<Person>>,
    names: BTreeMap<Identity, usize>,
    /// Places of those who are gone.
    free: Vec<usize>,
}

impl People {
    pub(super) fn find(&self, who: &Identity) -> Option<usize> {
        self.names.get(who).copied()
    }

    pub(super) fn get(&self, who: &Identity) -> Option<&Person> {
        self.find(who).map(|place| &self[place])
    }

    pub(super) fn at(&self, place: usize) -> Option<&Person> {
        self.places.get(place)?.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn add(&mut self, person: Person) -> usize {
        let who = person.who.clone();
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(person));
        } else {
            self.places[place] = Some(person);
        }
        self.names.insert(who, place);
        place
    }

    pub(super) fn remove(&mut self, who: &Identity) -> Option<Person> {
        let place = self.names.remove(who)?;
        self.free.push(place);
        self.places[place].take()
    }

    /// Everybody by name: a device comes before its modules, though not at once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Person> {
        self.names.values().map(|&place| &self[place])
    }

    /// Where they are.
    pub(super) fn places(&self) -> Vec<usize> {
        self.names.values().copied().collect()
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &Person> {
        self.iter().filter(|person| person.who.module_id().is_none())
    }

    pub(super) fn modules_of(&self, device_id: &str) -> impl Iterator<Item = &Person> {
        let (from, until) = (format!("{device_id}/"), format!("{device_id}0")); // `0` follows `/` in ASCII
        let range = (Bound::Included(from.as_str()), Bound::Excluded(until.as_str()));
        let places: Vec<usize> = self.names.range::<str, _>(range).map(|(_, &place)| place).collect();
        places.into_iter().map(|place| &self[place])
    }
}

impl Index<usize> for People {
    type Output = Person;

    fn index(&self, place: usize) -> &Person {
        self.places[place].as_ref().expect("whoever holds a place looks it up as long as its person is there")
    }
}

impl IndexMut<usize> for People {
    fn index_mut(&mut self, place: usize) -> &mut Person {
        self.places[place].as_mut().expect("whoever holds a place looks it up as long as its person is there")
    }
}

impl Core {
    pub(super) fn keep_record(&self, place: usize) -> Ticket {
        let person = &self.people[place];
        let record = serde_json::to_vec(&person.record).expect("a record is JSON");
        self.store.put(Table::Registry, person.who.as_str(), record)
    }

    pub(super) fn keep_twin(&self, place: usize) -> Ticket {
        let person = &self.people[place];
        let twin = serde_json::to_vec(&person.twin).expect("a twin is JSON");
        self.store.put(Table::Twins, person.who.as_str(), twin)
    }
}
