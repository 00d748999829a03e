//! Many devices at once: each entry stands or falls for itself.

use isotherm_iothub::Identity;
use serde_json::{Map, Value, json};

use super::{ApiError, Change, Core, ErrorCode, Now};
use crate::store::Ticket;

/// Most entries of one request, as IoT Hub has it.
const ENTRIES_MAX: usize = 100;

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Update { checked: bool },
    CreateOrUpdate,
    Delete { checked: bool },
    UpdateTwin { checked: bool },
}

impl Mode {
    /// By its name, in any letter case; the SDKs differ.
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "create" => Self::Create,
            "update" => Self::Update { checked: false },
            "updateifmatchetag" => Self::Update { checked: true },
            "createorupdate" => Self::CreateOrUpdate,
            "delete" => Self::Delete { checked: false },
            "deleteifmatchetag" => Self::Delete { checked: true },
            "updatetwin" => Self::UpdateTwin { checked: false },
            "updatetwinifmatchetag" => Self::UpdateTwin { checked: true },
            _ => return None,
        })
    }
}

impl Core {
    /// Does what each entry of a bulk request says, in order, and says what failed:
    /// `{"isSuccessful":…,"errors":[…],"warnings":[]}`. Answer once durable.
    ///
    /// # Errors
    /// 400004 if it is no list, or too long; nothing is done then.
    pub fn bulk(&mut self, entries: &Value, now: Now) -> Result<(Value, Ticket), ApiError> {
        let Some(entries) = entries.as_array().filter(|entries| entries.len() <= ENTRIES_MAX) else {
            let message = format!("a list of at most {ENTRIES_MAX} devices is wanted");
            return Err(ApiError::new(ErrorCode::ArgumentInvalid, message));
        };
        let (mut errors, mut last) = (Vec::new(), Ticket::DURABLE);
        for entry in entries {
            match self.one_of_bulk(entry, now) {
                Ok(ticket) => last = last.max(ticket),
                Err(error) => errors.push(json!({
                    "deviceId": entry.get("id"),
                    "moduleId": entry.get("moduleId"),
                    "errorCode": error.code.name(),
                    "errorStatus": error.message,
                    "operation": entry.get("importMode"),
                })),
            }
        }
        Ok((json!({"isSuccessful": errors.is_empty(), "errors": errors, "warnings": []}), last))
    }

    fn one_of_bulk(&mut self, entry: &Value, now: Now) -> Result<Ticket, ApiError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        let wrong = |message: &str| ApiError::new(ErrorCode::ArgumentInvalid, message);
        let device = text("id").or(text("deviceId")).ok_or_else(|| wrong("id is missing"))?;
        let who = Identity::of(device, text("moduleId")).map_err(|refused| ApiError::argument(&refused))?;
        let mode = Mode::named(text("importMode").unwrap_or("createOrUpdate"));
        let mode = mode
            .ok_or_else(|| wrong("importMode wants create, update, delete, updateTwin or a kin of these"))?;
        let etag = |checked: bool, names: [&str; 2]| {
            let given = names.iter().find_map(|name| text(name));
            if checked { given.unwrap_or("none").to_owned() } else { "*".to_owned() }
        };
        match mode {
            Mode::Delete { checked } => {
                let etag = etag(checked, ["eTag", "etag"]);
                match who.module_id() {
                    Some(module) => self.delete_module(device, module, Some(&etag), now),
                    None => self.delete_device(device, Some(&etag), now),
                }
            }
            Mode::UpdateTwin { checked } => {
                let etag = etag(checked, ["twinETag", "twinEtag"]);
                self.twin_of_bulk(&who, entry, Some(&etag), now)
            }
            Mode::Create => self.put_of_bulk(&who, entry, None, now),
            Mode::Update { checked } => {
                let etag = etag(checked, ["eTag", "etag"]);
                self.put_of_bulk(&who, entry, Some(&etag), now)
            }
            Mode::CreateOrUpdate => {
                let known = self.exists(&who).then_some("*");
                self.put_of_bulk(&who, entry, known, now)
            }
        }
    }

    fn put_of_bulk(
        &mut self,
        who: &Identity,
        entry: &Value,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let mut document = entry.as_object().cloned().unwrap_or_default();
        document.insert("deviceId".to_owned(), who.device_id().into());
        let document = Value::Object(document);
        let (_, ticket) = match who.module_id() {
            Some(module) => self.put_module(who.device_id(), module, &document, if_match, now)?,
            None => self.put_device(who.device_id(), &document, if_match, now)?,
        };
        Ok(ticket.max(self.twin_of_bulk(who, entry, None, now)?))
    }

    /// An entry may bring tags and desired properties.
    fn twin_of_bulk(
        &mut self,
        who: &Identity,
        entry: &Value,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let filled = |value: Option<&Value>| {
            value.filter(|it| it.as_object().is_some_and(|it| !Map::is_empty(it))).cloned()
        };
        let (tags, desired) = (filled(entry.get("tags")), filled(entry.pointer("/properties/desired")));
        if tags.is_none() && desired.is_none() {
            return Ok(Ticket::DURABLE);
        }
        self.desired(who, Change::Patch { tags, desired }, if_match, now).map(|(_, ticket)| ticket)
    }
}
