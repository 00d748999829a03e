//! Queries over the twins: page by page, in the order of their names.

use std::borrow::Cow;

use isotherm_iothub::Identity;
use serde_json::Value;

use super::people::Person;
use super::query::{Collection, Query, Row, within};
use super::{Core, documents};

/// A page of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// What came out.
    pub rows: Vec<Value>,
    /// Where the next page begins; none on the last.
    pub next: Option<String>,
}

impl Core {
    /// Answers a query over devices or modules: up to `count` rows after the place that the page before said. A query
    /// that adds rows up has one page.
    pub fn query(&self, query: &Query, after: Option<&str>, count: usize) -> Page {
        let of = |person: &&Person| {
            let module = person.who.module_id().is_some();
            if query.from() == Collection::Modules { module } else { !module }
        };
        if query.is_grouped() {
            let rows = query.group(self.people.iter().filter(of).map(|person| person as &dyn Row));
            return Page { rows, next: None };
        }
        let (after, given) = place(after);
        let left = query.top().map_or(usize::MAX, |top| top.saturating_sub(given));
        let mut found = self
            .people
            .iter()
            .filter(|person| after.is_none_or(|after| person.who.as_str() > after))
            .filter(of)
            .filter(|person| query.takes(*person))
            .take(left)
            .peekable();
        let mut page = Page::default();
        while page.rows.len() < count
            && let Some(person) = found.next()
        {
            page.rows.push(query.project(person));
            if page.rows.len() == count && found.peek().is_some() {
                page.next = Some(format!("{}:{}", given + count, person.who));
            }
        }
        page
    }

    /// The identities that a condition is true of, in order.
    pub fn identities_where(&self, query: &Query) -> Vec<Identity> {
        let modules = query.from() == Collection::Modules;
        let all = self.people.iter().filter(|person| person.who.module_id().is_some() == modules);
        all.filter(|person| query.takes(*person)).map(|person| person.who.clone()).collect()
    }
}

/// How many rows came before, and the last of them. A place that is none begins at the beginning.
fn place(text: Option<&str>) -> (Option<&str>, usize) {
    let read = text.and_then(|text| {
        let (given, name) = text.split_once(':')?;
        Some((name, given.parse().ok()?))
    });
    read.map_or((None, 0), |(name, given)| (Some(name), given))
}

/// The fields of a twin's document, each made only when it is asked for.
impl Row for Person {
    fn field(&self, path: &[String]) -> Option<Cow<'_, Value>> {
        let (first, rest) = path.split_first()?;
        if first == "tags" {
            let Some((name, rest)) = rest.split_first() else {
                return Some(Cow::Owned(Value::Object(self.twin.tags.clone())));
            };
            return within(self.twin.tags.get(name)?, rest).map(Cow::Borrowed);
        }
        if first == "properties"
            && let [half, name, rest @ ..] = rest
            && !name.starts_with('$')
        {
            let section = match half.as_str() {
                "desired" => &self.twin.desired,
                "reported" => &self.twin.reported,
                _ => return None,
            };
            return within(section.value().get(name)?, rest).map(Cow::Borrowed);
        }
        if first.eq_ignore_ascii_case("deviceId") && rest.is_empty() {
            return Some(Cow::Owned(self.who.device_id().into()));
        }
        if first.eq_ignore_ascii_case("moduleId") && rest.is_empty() {
            return self.who.module_id().map(|module| Cow::Owned(module.into()));
        }
        let document = self.whole();
        document.field(path).map(|value| Cow::Owned(value.into_owned()))
    }

    fn whole(&self) -> Value {
        documents::twin(self)
    }
}
