//! Messages that come by HTTP: from devices and modules themselves, and from whoever tries routes out.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isotherm_iothub::{Identity, Message, SystemProperty};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Door;
use super::failure::{Answer, Failure};
use crate::core::{ApiError, ErrorCode, Refusal, Right};

/// The content type of several messages in one body.
const BATCH: &str = "application/vnd.microsoft.iothub.json";
/// How application properties travel in headers.
pub(crate) const PROPERTY: &str = "iothub-app-";
/// How system properties do.
pub(crate) const SYSTEM: [(&str, SystemProperty); 8] = [
    ("iothub-messageid", SystemProperty::MessageId),
    ("iothub-correlationid", SystemProperty::CorrelationId),
    ("iothub-userid", SystemProperty::UserId),
    ("iothub-contenttype", SystemProperty::ContentType),
    ("iothub-contentencoding", SystemProperty::ContentEncoding),
    ("iothub-message-schema", SystemProperty::Schema),
    ("iothub-expiry", SystemProperty::Expiry),
    ("iothub-creation-time-utc", SystemProperty::CreationTime),
];

pub(crate) async fn from_device(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    own(&door, &door.identity(&device, None)?, &headers, body).await
}

pub(crate) async fn from_module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    own(&door, &door.identity(&device, Some(&module))?, &headers, body).await
}

async fn own(door: &Door, who: &Identity, headers: &HeaderMap, body: Bytes) -> Answer<StatusCode> {
    door.authorize_client(headers, who)?;
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == BATCH) {
        for message in batch(&body).map_err(|why| Failure::argument(&door.shared.host, why))? {
            publish(door, who, message).await?;
        }
        return Ok(StatusCode::NO_CONTENT);
    }
    publish(door, who, message(door, headers, body)?).await
}

/// `POST /isotherm/v1/messages?from=device[/module]&output=NAME&property=NAME=VALUE`: in somebody's name. Application
/// properties may come in headers too, where HTTP takes the letter case from their names.
pub(crate) async fn send(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    let mut message = message(&door, &headers, body)?;
    let mut from = None;
    for (name, value) in pairs(query.as_deref().unwrap_or("")) {
        match (name.as_str(), value.split_once('=')) {
            ("from", _) => from = Some(value),
            ("output", _) => message.system.set(SystemProperty::OutputName, &value),
            ("property", Some((name, value))) => message.properties.set(name, value),
            _ => {}
        }
    }
    let who = from.as_deref().unwrap_or("").parse::<Identity>();
    let who = who.map_err(|refused| Failure::argument(&door.shared.host, format!("from: {refused}")))?;
    if !door.shared.core().exists(&who) {
        let code =
            if who.module_id().is_some() { ErrorCode::ModuleNotFound } else { ErrorCode::DeviceNotFound };
        return Err(door.failure(ApiError::new(code, format!("{who}: no such identity"))));
    }
    publish(&door, &who, message).await
}

/// `POST /isotherm/v1/inputs?to=device/module&input=NAME&property=NAME=VALUE`: straight into a module's input.
pub(crate) async fn into_input(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<StatusCode> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    let mut message = message(&door, &headers, body)?;
    let (mut to, mut input) = (String::new(), String::new());
    for (name, value) in pairs(query.as_deref().unwrap_or("")) {
        match (name.as_str(), value.split_once('=')) {
            ("to", _) => to = value,
            ("input", _) => input = value,
            ("property", Some((name, value))) => message.properties.set(name, value),
            _ => {}
        }
    }
    let who = to.parse::<Identity>();
    let who = who.map_err(|refused| Failure::argument(&door.shared.host, format!("to: {refused}")))?;
    let put = door.shared.core().put_into_input(&who, &input, message);
    door.shared.safe(put.map_err(|error| door.failure(error))?).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn publish(door: &Door, who: &Identity, message: Message) -> Answer<StatusCode> {
    let now = door.shared.now();
    let published = if door.shared.store.refusing() {
        Err(Refusal::Full)
    } else {
        door.shared.core().publish_as(who, message, now)
    };
    let receipt = published.map_err(|refusal| door.failure(refused(&refusal)))?;
    door.shared.safe(receipt).await;
    Ok(StatusCode::NO_CONTENT)
}

fn refused(refusal: &Refusal) -> ApiError {
    let code = match refusal {
        Refusal::TooLarge { .. } => ErrorCode::MessageTooLarge,
        Refusal::Foreign { .. } => ErrorCode::IotHubUnauthorizedAccess,
        Refusal::Malformed(_) => ErrorCode::ArgumentInvalid,
        Refusal::Unknown => ErrorCode::DeviceNotFound,
        Refusal::Full | Refusal::UpstreamFull(_) | Refusal::Busy | Refusal::Ended => {
            ErrorCode::ServiceUnavailable
        }
    };
    ApiError::new(code, refusal.to_string())
}

/// A message of a request's body and headers.
pub(crate) fn message(door: &Door, headers: &HeaderMap, body: Bytes) -> Answer<Message> {
    let mut message = Message::new(body);
    for (name, value) in headers {
        let name = name.as_str();
        let Ok(value) = value.to_str() else {
            if name.starts_with("iothub-") {
                let sentence = format!("{name}: a header's value is ASCII; percent-encode the rest");
                return Err(Failure::argument(&door.shared.host, sentence));
            }
            continue;
        };
        if let Some(property) = name.strip_prefix(PROPERTY) {
            message.properties.set(property, value);
        } else if let Some((_, property)) = SYSTEM.iter().find(|(header, _)| *header == name) {
            message.system.set(*property, value);
        }
    }
    Ok(message)
}

/// The messages of `[{"body":"…base64…","properties":{"iothub-app-name":"value"}}]`.
fn batch(body: &[u8]) -> Result<Vec<Message>, String> {
    let wrong = |what: &str| format!("a batch is [{{\"body\":\"base64\",\"properties\":{{}}}}]: {what}");
    let entries: Value = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
    let entries = entries.as_array().ok_or_else(|| wrong("no list"))?;
    let read = |entry: &Value| {
        let body = entry.get("body").and_then(Value::as_str).ok_or_else(|| wrong("no body"))?;
        let is_text = entry.get("base64Encoded").is_some_and(|it| it == false);
        let bytes = if is_text { Ok(body.as_bytes().to_vec()) } else { STANDARD.decode(body) };
        let mut message = Message::new(bytes.map_err(|error| wrong(&error.to_string()))?);
        for (name, value) in entry.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match SYSTEM.iter().find(|(header, _)| name.eq_ignore_ascii_case(header)) {
                Some((_, property)) => message.system.set(*property, value),
                None => message.properties.set(name.strip_prefix(PROPERTY).unwrap_or(name), value),
            }
        }
        Ok(message)
    };
    entries.iter().map(read).collect()
}

/// A query's names and values, decoded.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        (decoded(name), decoded(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_node_writes_it() {
        let body = br#"[{"body": "MQ==", "properties":{"iothub-app-first":"yes"}},{"body": "Mg=="}]"#;
        let batch = batch(body).unwrap();
        assert_eq!((&batch[0].body[..], &batch[1].body[..]), (&b"1"[..], &b"2"[..]));
        assert_eq!(batch[0].properties.iter().collect::<Vec<_>>(), [("first", Some("yes"))]);
        assert!(super::batch(b"{}").is_err() && super::batch(br#"[{"body":"?"}]"#).is_err());
    }

    #[test]
    fn a_querys_pairs_are_decoded_once_and_keep_their_order() {
        let pairs: Vec<_> = pairs("from=edge%2Ffilter&property=a%3Db%2526&&x").collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("from", "edge/filter"), ("property", "a=b%26"), ("x", "")]);
    }
}
