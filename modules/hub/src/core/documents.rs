//! The registry's JSON documents: read with every check, written as IoT Hub writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isotherm_iothub::time::{NEVER, dotnet};
use isotherm_iothub::{Identity, Key, Refused};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::people::{AuthKind, Person};

/// Longest reason for a status, in characters.
const STATUS_REASON_CHARS_MAX: usize = 128;

/// What a PUT wants. What it does not say stays as it is.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) enabled: Option<bool>,
    pub(super) status_reason: Option<Option<String>>,
    pub(super) kind: Option<AuthKind>,
    /// Keys, if they are given.
    pub(super) keys: Option<(String, String)>,
    pub(super) thumbprints: Option<(Option<String>, Option<String>)>,
    pub(super) edge: Option<bool>,
    pub(super) managed_by: Option<Option<String>>,
    pub(super) scope: Option<Option<String>>,
    pub(super) parents: Option<Vec<String>>,
}

impl Wishes {
    pub(super) fn read(who: &Identity, document: &Value) -> Result<Self, Refused> {
        let Some(document) = document.as_object() else {
            return Err(Refused::new("the body", "wants a JSON object"));
        };
        same_id(document, "deviceId", Some(who.device_id()))?;
        same_id(document, "moduleId", who.module_id())?;
        let mut wishes = Self {
            enabled: status(document)?,
            status_reason: optional_text(document, "statusReason")?,
            managed_by: optional_text(document, "managedBy")?,
            scope: optional_text(document, "deviceScope")?,
            parents: texts(document, "parentScopes")?,
            ..Self::default()
        };
        if let Some(Some(reason)) = &wishes.status_reason
            && reason.chars().count() > STATUS_REASON_CHARS_MAX
        {
            return Err(Refused::new("statusReason", "wants at most 128 characters"));
        }
        if let Some(capabilities) = object(document, "capabilities")? {
            wishes.edge = match capabilities.get("iotEdge") {
                None | Some(Value::Null) => None,
                Some(Value::Bool(edge)) => Some(*edge),
                Some(_) => return Err(Refused::new("capabilities.iotEdge", "wants true or false")),
            };
        }
        if let Some(authentication) = object(document, "authentication")? {
            wishes.read_authentication(authentication)?;
        }
        Ok(wishes)
    }

    fn read_authentication(&mut self, authentication: &Map<String, Value>) -> Result<(), Refused> {
        const PLACE: &str = "authentication";
        if let Some(keys) = object(authentication, "symmetricKey")? {
            let primary = filled(keys, "primaryKey", PLACE)?;
            let secondary = filled(keys, "secondaryKey", PLACE)?;
            self.keys = match (primary, secondary) {
                (None, None) => None,
                (Some(primary), Some(secondary)) => {
                    for key in [&primary, &secondary] {
                        Key::from_base64(key)?;
                    }
                    Some((primary, secondary))
                }
                _ => {
                    let why = "wants both keys, or neither to have them drawn";
                    return Err(Refused::new("authentication.symmetricKey", why));
                }
            };
        }
        if let Some(thumbprints) = object(authentication, "x509Thumbprint")? {
            let primary = filled(thumbprints, "primaryThumbprint", PLACE)?;
            let secondary = filled(thumbprints, "secondaryThumbprint", PLACE)?;
            for thumbprint in [&primary, &secondary].into_iter().flatten() {
                let hex = thumbprint.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !hex || !matches!(thumbprint.len(), 40 | 64) {
                    let why = "wants 40 (SHA-1) or 64 (SHA-256) hexadecimal digits";
                    return Err(Refused::new("authentication.x509Thumbprint", why));
                }
            }
            self.thumbprints = Some((primary, secondary));
        }
        let has_thumbprint = self.thumbprints.as_ref().is_some_and(|(primary, _)| primary.is_some());
        self.kind = match filled(authentication, "type", PLACE)?.as_deref() {
            None if has_thumbprint => Some(AuthKind::SelfSigned),
            None => Some(AuthKind::Sas),
            Some("sas") => Some(AuthKind::Sas),
            Some("selfSigned") => Some(AuthKind::SelfSigned),
            Some("certificateAuthority") => Some(AuthKind::CertificateAuthority),
            Some("none") => Some(AuthKind::None),
            Some(_) => {
                let why = "wants sas, selfSigned, certificateAuthority or none";
                return Err(Refused::new("authentication.type", why));
            }
        };
        if self.kind == Some(AuthKind::SelfSigned) && self.thumbprints.is_none() {
            return Err(Refused::new(
                "authentication.x509Thumbprint",
                "selfSigned wants at least the primary",
            ));
        }
        Ok(())
    }
}

fn same_id(document: &Map<String, Value>, name: &'static str, wanted: Option<&str>) -> Result<(), Refused> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(id)) if Some(id.as_str()) == wanted => Ok(()),
        Some(_) => Err(Refused::new(name, "is not the one in the path")),
    }
}

fn status(document: &Map<String, Value>) -> Result<Option<bool>, Refused> {
    match filled(document, "status", "")?.map(|it| it.to_ascii_lowercase()).as_deref() {
        None => Ok(None),
        Some("enabled") => Ok(Some(true)),
        Some("disabled") => Ok(Some(false)),
        Some(_) => Err(Refused::new("status", "wants enabled or disabled")),
    }
}

fn object<'a>(
    of: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a Map<String, Value>>, Refused> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refused::new(name, "wants an object")),
    }
}

/// A text that is there and not empty: empty and null both mean "draw one" or "none".
fn filled(of: &Map<String, Value>, name: &'static str, place: &str) -> Result<Option<String>, Refused> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => {
            Err(Refused::new(format!("{place}.{name}").trim_start_matches('.').to_owned(), "wants a text"))
        }
    }
}

fn optional_text(of: &Map<String, Value>, name: &'static str) -> Result<Option<Option<String>>, Refused> {
    match of.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) => Ok(Some(Some(text.clone()).filter(|text| !text.is_empty()))),
        Some(_) => Err(Refused::new(name, "wants a text")),
    }
}

fn texts(of: &Map<String, Value>, name: &'static str) -> Result<Option<Vec<String>>, Refused> {
    let refused = || Refused::new(name, "wants a list of texts");
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(texts)) => {
            let all = texts.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(refused));
            all.collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(refused()),
    }
}

/// A time as IoT Hub writes it, and for none the year 1.
pub(super) fn time(microseconds: Option<i64>) -> String {
    let at = microseconds.and_then(|at| Timestamp::from_microsecond(at).ok());
    at.map_or_else(|| NEVER.to_owned(), dotnet)
}

pub(super) fn etag(number: u64) -> String {
    STANDARD.encode(number.to_string())
}

fn connection_state(person: &Person) -> &'static str {
    if person.session.is_some() { "Connected" } else { "Disconnected" }
}

fn status_word(person: &Person) -> &'static str {
    if person.record.enabled { "enabled" } else { "disabled" }
}

fn thumbprints(person: &Person) -> Value {
    let (primary, secondary) = &person.record.auth.thumbprints;
    json!({"primaryThumbprint": primary, "secondaryThumbprint": secondary})
}

fn authentication(person: &Person) -> Value {
    let auth = &person.record.auth;
    let (primary, secondary) = auth.keys.clone().unzip();
    json!({
        "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
        "x509Thumbprint": thumbprints(person),
        "type": auth.kind,
    })
}

/// A device's or a module's document.
pub(super) fn identity(person: &Person) -> Value {
    let record = &person.record;
    let mut document = json!({
        "deviceId": person.who.device_id(),
        "generationId": record.generation.to_string(),
        "etag": etag(record.etag),
        "connectionState": connection_state(person),
        "connectionStateUpdatedTime": time(record.connection_updated),
        "lastActivityTime": time(record.last_activity),
        "cloudToDeviceMessageCount": person.mail.len(),
        "authentication": authentication(person),
    });
    let more = match person.who.module_id() {
        Some(module) => json!({"moduleId": module, "managedBy": record.managed_by}),
        None => json!({
            "status": status_word(person),
            "statusReason": record.status_reason,
            "statusUpdatedTime": time(record.status_updated),
            "capabilities": {"iotEdge": record.edge},
            "deviceScope": record.scope,
            "parentScopes": record.parents,
        }),
    };
    extend(&mut document, more);
    document
}

/// The twin's document as the service side sees it.
pub(super) fn twin(person: &Person) -> Value {
    let record = &person.record;
    let mut document = json!({"deviceId": person.who.device_id()});
    if let Some(module) = person.who.module_id() {
        extend(&mut document, json!({"moduleId": module}));
    }
    extend(
        &mut document,
        json!({
            "etag": person.twin.etag(),
            "deviceEtag": etag(record.etag),
            "status": status_word(person),
            "statusUpdateTime": time(record.status_updated),
            "connectionState": connection_state(person),
            "lastActivityTime": time(record.last_activity),
            "cloudToDeviceMessageCount": person.mail.len(),
            "authenticationType": record.auth.kind,
            "x509Thumbprint": thumbprints(person),
            "modelId": record.model.as_deref().unwrap_or(""),
            "version": person.twin.version,
        }),
    );
    if !person.twin.tags.is_empty() {
        extend(&mut document, json!({"tags": person.twin.tags}));
    }
    extend(&mut document, json!({"properties": person.twin.service_view()}));
    if !person.configurations.is_empty() {
        let status = |applied: bool| json!({"status": if applied { "Applied" } else { "Targeted" }});
        let all = person.configurations.iter().map(|(id, applied)| (id.clone(), status(*applied)));
        extend(&mut document, json!({"configurations": all.collect::<Map<String, Value>>()}));
    }
    if person.who.module_id().is_none() {
        extend(&mut document, json!({"capabilities": {"iotEdge": record.edge}}));
        if let Some(scope) = &record.scope {
            extend(&mut document, json!({"deviceScope": scope, "parentScopes": record.parents}));
        }
    }
    document
}

fn extend(document: &mut Value, more: Value) {
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
}
