//! How somebody comes into the registry, is changed, and goes.

use isotherm_iothub::{Identity, Key, Twin};
use jiff::Timestamp;
use serde_json::Value;

use super::documents::{self, Wishes};
use super::people::{Auth, AuthKind, Person, Record};
use super::registry::{SYSTEM_MODULES, match_etag};
use super::{ApiError, Core, ErrorCode, Now, Outgoing};
use crate::store::{Table, Ticket};

/// .NET's ticks at 1970: generation ids look as if they were counted from the year 1.
const TICKS_AT_1970: u64 = 621_355_968_000_000_000;

impl Core {
    /// Creates without an etag, updates with one.
    pub(super) fn put(
        &mut self,
        who: &Identity,
        document: &Value,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        let wishes = Wishes::read(who, document).map_err(|refused| ApiError::argument(&refused))?;
        let place = match (self.people.find(who), if_match) {
            (Some(_), None) => return Err(already_exists(who)),
            (None, Some(_)) => return Err(ApiError::not_found(who)),
            (None, None) => self.create(who, wishes, now)?,
            (Some(place), Some(_)) => {
                self.check_etag(who, if_match)?;
                self.update(place, wishes, now);
                place
            }
        };
        let ticket = self.keep_record(place);
        let ticket = ticket.max(self.roll_out_to(who, now));
        Ok((documents::identity(&self.people[place]), ticket))
    }

    pub(super) fn create(&mut self, who: &Identity, wishes: Wishes, now: Now) -> Result<usize, ApiError> {
        if self.people.len() >= self.options.limits.identities_max {
            let message = format!("{} identities are as many as there may be", self.people.len());
            return Err(ApiError::new(ErrorCode::TooManyDevices, message));
        }
        let mut record = self.blank_record(now.wall);
        let ours = self.is_of_the_site(who);
        if let (true, Some(told_beforehand)) = (ours, self.options.module_generation) {
            record.generation = told_beforehand;
        }
        let place = self.people.add(Person::new(who.clone(), record, Twin::new(now.wall), ours));
        self.update(place, wishes, now);
        self.link_endpoints(who);
        self.keep_twin(place);
        self.keep_record(place);
        Ok(place)
    }

    pub(super) fn blank_record(&mut self, wall: Timestamp) -> Record {
        let ticks = u64::try_from(wall.as_microsecond()).unwrap_or(0) * 10 + TICKS_AT_1970;
        self.last_generation = ticks.max(self.last_generation + 1);
        Record {
            generation: self.last_generation,
            etag: self.chance.u64() % 1_000_000_000,
            enabled: true,
            status_reason: None,
            status_updated: None,
            connection_updated: None,
            last_activity: None,
            auth: Auth { kind: AuthKind::Sas, keys: None, thumbprints: (None, None) },
            edge: false,
            managed_by: None,
            scope: None,
            parents: Vec::new(),
            model: None,
        }
    }

    /// What is wished for comes true; what nothing was said about stays.
    pub(super) fn update(&mut self, place: usize, wishes: Wishes, now: Now) {
        let drawn = (self.draw_key(), self.draw_key());
        let person = &mut self.people[place];
        let record = &mut person.record;
        record.etag += 1;
        if let Some(enabled) = wishes.enabled
            && enabled != record.enabled
        {
            record.enabled = enabled;
            record.status_updated = Some(now.wall.as_microsecond());
        }
        set(&mut record.status_reason, wishes.status_reason);
        set(&mut record.managed_by, wishes.managed_by);
        set(&mut record.scope, wishes.scope);
        set(&mut record.parents, wishes.parents);
        set(&mut record.auth.kind, wishes.kind);
        set(&mut record.auth.thumbprints, wishes.thumbprints);
        match (record.auth.kind, wishes.keys) {
            (AuthKind::Sas, Some(keys)) => record.auth.keys = Some(keys),
            (AuthKind::Sas, None) => drop(record.auth.keys.get_or_insert(drawn)),
            _ => record.auth.keys = None,
        }
        let enabled = record.enabled;
        if person.who.module_id().is_none() {
            let who = person.who.clone();
            if wishes.edge == Some(true) {
                self.make_edge(place, now);
            }
            if !enabled {
                self.end_sessions_of(&who, now);
            }
        }
    }

    /// An edge device has a scope of its own, and the two system modules.
    pub(super) fn make_edge(&mut self, place: usize, now: Now) {
        let person = &mut self.people[place];
        let device = person.who.device_id().to_owned();
        person.record.edge = true;
        let scope = format!("ms-azure-iot-edge://{device}-{}", person.record.generation);
        person.record.scope.get_or_insert(scope);
        for module in SYSTEM_MODULES {
            let who = Identity::module(&device, module)
                .expect("a device's id and a system module's name are valid");
            if self.people.find(&who).is_none() {
                let wishes = Wishes { managed_by: Some(Some("IotEdge".to_owned())), ..Wishes::default() };
                let _ = self.create(&who, wishes, now); // past the limit an edge device is one without them
            }
        }
    }

    /// 32 bytes from chance, base64.
    pub(super) fn draw_key(&self) -> String {
        let mut bytes = [0; 32];
        self.chance.bytes(&mut bytes);
        Key::from_bytes(&bytes).to_base64()
    }

    pub(super) fn check_etag(&self, who: &Identity, if_match: Option<&str>) -> Result<(), ApiError> {
        let person = self.people.get(who).ok_or_else(|| ApiError::not_found(who))?;
        match_etag(&documents::etag(person.record.etag), if_match)
    }

    pub(super) fn end_sessions_of(&mut self, device: &Identity, now: Now) {
        let modules = self.people.modules_of(device.device_id()).map(|person| person.session);
        let own = self.people.get(device).map(|person| person.session);
        let sessions: Vec<_> = modules.chain(own).flatten().collect();
        for session in sessions {
            self.end(session, Outgoing::Removed, now);
        }
    }

    /// Takes somebody out with all that is theirs.
    pub(super) fn remove(&mut self, who: &Identity, now: Now) -> Ticket {
        self.fail_calls_of(who, now);
        self.drop_mail_of(who);
        let session = self.people.get(who).and_then(|person| person.session);
        if let Some(session) = session {
            self.end(session, Outgoing::Removed, now);
        }
        let gone = self.people.remove(who);
        self.router.forget_people();
        self.queues.remove(&self.store, who);
        if gone.is_some_and(|person| person.ours) {
            self.refresh_routes();
        }
        self.store.delete(Table::Twins, who.as_str());
        self.store.delete(Table::Subscriptions, who.as_str());
        self.store.delete(Table::Registry, who.as_str())
    }
}

fn set<T>(field: &mut T, wish: Option<T>) {
    if let Some(wish) = wish {
        *field = wish;
    }
}

fn already_exists(who: &Identity) -> ApiError {
    let (code, kind) = match who.module_id() {
        None => (ErrorCode::DeviceAlreadyExists, "device"),
        Some(_) => (ErrorCode::ModuleAlreadyExistsOnDevice, "module"),
    };
    ApiError::new(code, format!("{kind} {who} exists; to update it, send If-Match"))
}
