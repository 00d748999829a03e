//! `$body.a.b[0].c`: a value of a message's JSON body.

use serde_json::Value as Json;

use super::evaluate::Value;
use crate::message::{Message, SystemProperty};

/// A path into a body: names, each with an index or without.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
struct Step {
    name: Box<str>,
    index: Option<usize>,
}

impl Path {
    /// Reads what follows `$body.`. A mistake comes with its byte within `path`.
    pub(super) fn parse(path: &str) -> Result<Self, (usize, String)> {
        let mut at = 0;
        let mut steps = Vec::new();
        for text in path.split('.') {
            let step = Step::parse(text).map_err(|(within, why)| (at + within, why))?;
            steps.push(step);
            at += text.len() + 1;
        }
        Ok(Self(steps))
    }

    /// What the path leads to. Nowhere is null; an object or a list as a whole is undefined.
    pub(super) fn find<'a>(&self, body: &'a Json) -> Value<'a> {
        let found = self.0.iter().try_fold(body, |json, step| {
            let json = json.get(&*step.name)?;
            step.index.map_or(Some(json), |index| json.get(index))
        });
        match found {
            None | Some(Json::Null) => Value::Null,
            Some(Json::Bool(value)) => Value::Bool(*value),
            Some(Json::Number(number)) => number.as_f64().map_or(Value::Undefined, Value::Number),
            Some(Json::String(text)) => Value::Text(text.into()),
            Some(Json::Array(_) | Json::Object(_)) => Value::Undefined,
        }
    }
}

impl Step {
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let (name, index) = match text.find('[') {
            None => (text, None),
            Some(open) => (&text[..open], Some(open + 1)),
        };
        if name.is_empty() {
            return Err((0, "a name is missing in this path; it goes `$body.name.list[0].name`".to_owned()));
        }
        if let Some(close) = name.find(']') {
            return Err((close, "this `]` has no `[` before it".to_owned()));
        }
        let Some(start) = index else { return Ok(Self { name: name.into(), index: None }) };
        let digits = text[start..].strip_suffix(']').filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
        let index = digits.and_then(|digits| digits.parse().ok());
        let wrong = || (start, "an index is one whole number in square brackets: `[0]`".to_owned());
        Ok(Self { name: name.into(), index: Some(index.ok_or_else(wrong)?) })
    }
}

/// The body as JSON, if the message says that it is: content type `application/json`, and an encoding.
pub(super) fn parse(message: &Message) -> Option<Json> {
    let content_type = message.system.get(SystemProperty::ContentType)?;
    let encoding = message.system.get(SystemProperty::ContentEncoding)?;
    if !content_type.eq_ignore_ascii_case("application/json") {
        return None;
    }
    match encoding.to_ascii_lowercase().as_str() {
        "utf-8" => serde_json::from_slice(without_mark(&message.body, &[0xEF, 0xBB, 0xBF])).ok(),
        "utf-16" => serde_json::from_str(&utf16(without_mark(&message.body, &[0xFF, 0xFE]))?).ok(),
        "utf-32" => serde_json::from_str(&utf32(without_mark(&message.body, &[0xFF, 0xFE, 0, 0]))?).ok(),
        _ => None,
    }
}

fn without_mark<'a>(body: &'a [u8], mark: &[u8]) -> &'a [u8] {
    body.strip_prefix(mark).unwrap_or(body)
}

/// Little-endian, as .NET's `utf-16` is.
fn utf16(body: &[u8]) -> Option<String> {
    let (units, rest) = body.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
}

/// Little-endian, as .NET's `utf-32` is.
fn utf32(body: &[u8]) -> Option<String> {
    let (units, rest) = body.as_chunks::<4>();
    let chars = units.iter().map(|unit| char::from_u32(u32::from_le_bytes(*unit)));
    rest.is_empty().then(|| chars.collect()).flatten()
}
