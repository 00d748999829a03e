//! The pieces that topics are made of: fixed words in any letter case, identities, and the query after `?`.

use crate::Refused;
use crate::cut::cut;
use crate::error::excerpt;
use crate::topic::RID_BYTES_MAX;

/// What follows a fixed beginning, its letter case aside.
pub(super) fn after<'a>(topic: &'a str, beginning: &str) -> Option<&'a str> {
    let head = topic.get(..beginning.len())?;
    head.eq_ignore_ascii_case(beginning).then(|| &topic[beginning.len()..])
}

/// A path and the query after its `?`, without the slash between them.
pub(super) fn split_query(topic: &str) -> (&str, &str) {
    let (path, query) = topic.split_once('?').unwrap_or((topic, ""));
    (path.strip_suffix('/').unwrap_or(path), query)
}

/// The value of `$rid`, `$version` and the like in a query, not decoded. Of two, the first counts.
pub(super) fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        let found = found.strip_prefix("%24").or_else(|| found.strip_prefix('$'))?;
        (found == name).then_some(value)
    })
}

/// The request id of a query: none, or one that is not empty and not too long.
pub(super) fn rid(topic: &str, query: &str) -> Result<Option<String>, Refused> {
    match query_value(query, "rid") {
        None => Ok(None),
        Some(rid) if rid.is_empty() || rid.len() > RID_BYTES_MAX => {
            let why = format!("has a $rid of {} bytes; 1 to {RID_BYTES_MAX} are right", rid.len());
            Err(Refused::new(quoted(topic), why))
        }
        Some(rid) => Ok(Some(rid.to_owned())),
    }
}

/// A path of somebody: `devices/{device}[/modules/{module}]`, then what follows.
pub(super) struct Owned<'a> {
    pub(super) device: &'a str,
    pub(super) module: Option<&'a str>,
    pub(super) rest: &'a str,
}

pub(super) fn owned(topic: &str) -> Option<Owned<'_>> {
    let (device, rest) = cut(after(topic, "devices/")?, b'/')?;
    match after(rest, "modules/") {
        None => Some(Owned { device, module: None, rest }),
        Some(rest) => {
            let (module, rest) = cut(rest, b'/')?;
            Some(Owned { device, module: Some(module), rest })
        }
    }
}

/// The bag after a fixed word: `events`, `events/` and `events/{bag}` all have one.
pub(super) fn bag_after<'a>(rest: &'a str, word: &str) -> Option<&'a str> {
    let bag = after(rest, word)?;
    if bag.is_empty() { Some(bag) } else { bag.strip_prefix('/') }
}

/// A topic as errors repeat it.
pub(super) fn quoted(topic: &str) -> String {
    format!("topic \"{}\"", excerpt(topic))
}
