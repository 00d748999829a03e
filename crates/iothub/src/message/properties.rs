//! Application properties: names and values that senders choose, in their order.

use std::fmt;

use bytes::Bytes;

use crate::packed;

/// The application properties of a message, in the order they were written. A value may be null, which is not the
/// same as empty. Few, so they lie one behind the other and are searched in turn.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Bytes);

impl Properties {
    /// The value under exactly this name; `None` if there is no such property or its value is null.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).flatten()
    }

    /// The same, but tells a missing property (`None`) from a null one (`Some(None)`).
    pub fn find(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Like [`Properties::find`], letter case aside, as routes compare names. Of two, the first counts.
    pub fn find_ignoring_case(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Sets or replaces, in its old place.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        self.put(name, Some(value.as_ref()));
    }

    /// Sets or replaces with a value or with null, in its old place.
    pub fn put(&mut self, name: &str, value: Option<&str>) {
        if self.find(name).is_none() {
            let mut packed = Vec::from(std::mem::take(&mut self.0));
            append(&mut packed, name, value);
            self.0 = packed.into();
        } else {
            self.rewrite(name, Some(value));
        }
    }

    /// Removes it; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let there = self.find(name).is_some();
        if there {
            self.rewrite(name, None);
        }
        there
    }

    /// All of them, in order; a null value is `None`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        each(&self.0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the list anew with another value under `name`, or without it.
    fn rewrite(&mut self, name: &str, value: Option<Option<&str>>) {
        let mut packed = Vec::with_capacity(self.0.len() + 16);
        for (found, old) in self.iter() {
            match value {
                _ if found != name => append(&mut packed, found, old),
                Some(value) => append(&mut packed, found, value),
                None => {}
            }
        }
        self.0 = packed.into();
    }

    pub(super) fn packed(&self) -> &[u8] {
        &self.0
    }

    /// Takes a packed list that was made here.
    pub(super) fn trusted(packed: Bytes) -> Self {
        Self(packed)
    }

    /// Bytes of all names and values.
    pub(super) fn size(&self) -> usize {
        let (mut rest, mut size) = (&self.0[..], 0);
        while let Some((name, after)) = packed::take_length(rest)
            && let Some((value, after)) = packed::take_length(&after[name..])
        {
            let value = value.saturating_sub(1);
            size += name + value;
            rest = &after[value..];
        }
        size
    }

    /// Takes a packed list from outside, if it is one to its last byte.
    pub(super) fn of_packed(packed: Bytes) -> Option<Self> {
        let mut rest = &packed[..];
        while !rest.is_empty() {
            (_, _, rest) = split_first(rest)?;
        }
        Some(Self(packed))
    }
}

/// Collects properties for a parser: one growing list, packed once.
pub(crate) struct PropertiesBuilder {
    packed: Vec<u8>,
    bytes: usize,
    count: usize,
}

impl PropertiesBuilder {
    /// `bytes` is what it may come to: taken at once with the first property, and only then.
    pub(crate) fn with_bytes(bytes: usize) -> Self {
        Self { packed: Vec::new(), bytes, count: 0 }
    }

    /// Adds one unless its name is there already: of two, the first counts.
    pub(crate) fn add(&mut self, name: &str, value: Option<&str>) {
        if !each(&self.packed).any(|(found, _)| found == name) {
            if self.count == 0 {
                self.packed.reserve_exact(self.bytes);
            }
            append(&mut self.packed, name, value);
            self.count += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn build(self) -> Properties {
        Properties(self.packed.into())
    }
}

/// The name, then the value's length plus one and the value; null is a plain zero.
fn append(packed: &mut Vec<u8>, name: &str, value: Option<&str>) {
    packed::put_text(packed, name);
    packed::put_length(packed, value.map_or(0, |value| value.len() + 1));
    packed.extend_from_slice(value.unwrap_or_default().as_bytes());
}

fn split_first(packed: &[u8]) -> Option<(&str, Option<&str>, &[u8])> {
    let (name, rest) = packed::take_text(packed)?;
    let (length, rest) = packed::take_length(rest)?;
    let Some(length) = length.checked_sub(1) else { return Some((name, None, rest)) };
    let (value, rest) = packed::take_str(rest, length)?;
    Some((name, Some(value), rest))
}

fn each(mut packed: &[u8]) -> impl Iterator<Item = (&str, Option<&str>)> {
    std::iter::from_fn(move || {
        let (name, value, rest) = split_first(packed)?;
        packed = rest;
        Some((name, value))
    })
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Properties {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut properties = PropertiesBuilder::with_bytes(0);
        pairs.into_iter().for_each(|(name, value)| properties.add(name, Some(value)));
        properties.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_property_keeps_its_place() {
        let mut properties: Properties = [("a", "1"), ("b", "2"), ("c", "3")].into_iter().collect();
        properties.set("b", "zwei");
        properties.put("c", None);
        let all: Vec<_> = properties.iter().collect();
        assert_eq!(all, [("a", Some("1")), ("b", Some("zwei")), ("c", None)]);
        assert!(properties.remove("a") && !properties.remove("a"));
        assert_eq!(properties.len(), 2);
    }

    #[test]
    fn null_is_neither_missing_nor_empty() {
        let mut properties = Properties::default();
        properties.put("null", None);
        properties.set("empty", "");
        assert_eq!(properties.find("null"), Some(None));
        assert_eq!(properties.find("empty"), Some(Some("")));
        assert_eq!(properties.find("missing"), None);
        assert_eq!((properties.get("null"), properties.get("empty")), (None, Some("")));
    }

    #[test]
    fn names_are_told_apart_by_case_unless_one_asks_otherwise() {
        let properties: Properties = [("MessageType", "Alert")].into_iter().collect();
        assert_eq!(properties.get("messagetype"), None);
        assert_eq!(properties.find_ignoring_case("messagetype"), Some(Some("Alert")));
    }

    #[test]
    fn of_two_equal_names_the_first_counts() {
        let properties: Properties = [("a", "1"), ("a", "2")].into_iter().collect();
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("a", Some("1"))]);
    }
}
