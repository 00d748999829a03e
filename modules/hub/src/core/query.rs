//! IoT Hub's query language, the part of SQL that twins and jobs are asked in (iot-hub-devguide-query-language):
//! `SELECT` fields or aggregates, `FROM` one of three collections, `WHERE`, `GROUP BY`, `TOP`.
//!
//! What is not there is `undefined`: a comparison with it is neither true nor false, and a row is taken only when its
//! condition is true.

mod columns;
mod condition;
mod function;
mod lexer;
mod parser;

use std::borrow::Cow;

use isotherm_iothub::Refused;
use serde_json::Value;

use columns::Select;
use condition::Condition;

/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 16 << 10;

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// `devices`: the twins of devices.
    Devices,
    /// `devices.modules`: the twins of modules.
    Modules,
    /// `devices.jobs`: what became of each job on each device.
    Jobs,
}

/// Something a query looks at: fields by their path.
pub trait Row {
    /// The value at a path such as `["tags", "site"]`; `None` is `undefined`.
    fn field(&self, path: &[String]) -> Option<Cow<'_, Value>>;
    /// The whole of it, for `SELECT *`.
    fn whole(&self) -> Value;
}

/// A query, read.
#[derive(Debug, Clone)]
pub struct Query {
    select: Select,
    from: Collection,
    top: Option<usize>,
    condition: Option<Condition>,
    group_by: Vec<Vec<String>>,
}

impl Query {
    /// Reads `SELECT … FROM … [WHERE …] [GROUP BY …]`.
    ///
    /// # Errors
    /// What is wrong, at which character, and what would be right.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        limited(text)?;
        parser::Parser::new(text)?.query()
    }

    /// Reads what a deployment's `targetCondition` or a job's `queryCondition` is: a condition alone, or `*` for all.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn of_condition(text: &str, from: Collection) -> Result<Self, Refused> {
        limited(text)?;
        let condition = match text.trim() {
            "" | "*" => None,
            _ => Some(parser::Parser::new(text)?.condition_alone()?),
        };
        Ok(Self { select: Select::Whole, from, top: None, condition, group_by: Vec::new() })
    }

    /// What is asked about.
    pub fn from(&self) -> Collection {
        self.from
    }

    /// Whether whole documents come out, not single fields.
    pub fn is_whole(&self) -> bool {
        matches!(self.select, Select::Whole)
    }

    /// Whether rows are added up: then all of them have to be seen before the first comes out.
    pub fn is_grouped(&self) -> bool {
        self.select.has_aggregates() || !self.group_by.is_empty()
    }

    /// How many rows there may be at most, over all pages.
    pub fn top(&self) -> Option<usize> {
        self.top
    }

    /// Whether the condition is true for a row.
    pub fn takes(&self, row: &dyn Row) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.holds(row))
    }

    /// What comes out of one row; not for [grouped](Self::is_grouped) queries.
    pub fn project(&self, row: &dyn Row) -> Value {
        self.select.project(row)
    }

    /// What comes out of all rows together.
    pub fn group<'a>(&self, rows: impl Iterator<Item = &'a dyn Row>) -> Vec<Value> {
        columns::group(&self.select, &self.group_by, rows.filter(|row| self.takes(*row)))
    }
}

fn limited(text: &str) -> Result<(), Refused> {
    if text.len() > QUERY_BYTES_MAX {
        let why = format!("{} bytes are more than the {QUERY_BYTES_MAX} it may have", text.len());
        return Err(Refused::new("the query", why));
    }
    Ok(())
}

/// A JSON document as a row.
impl Row for Value {
    fn field(&self, path: &[String]) -> Option<Cow<'_, Value>> {
        let (first, rest) = path.split_first()?;
        let top = self.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(first))?.1;
        within(top, rest).map(Cow::Borrowed)
    }

    fn whole(&self) -> Value {
        self.clone()
    }
}

/// The value at a path within another.
pub(super) fn within<'a>(mut value: &'a Value, path: &[String]) -> Option<&'a Value> {
    for name in path {
        value = value.as_object()?.get(name)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Vec<Value> {
        vec![
            json!({"deviceId": "a", "tags": {"site": "north", "floor": 1, "odd name": 1}, "status": "enabled",
                   "properties": {"reported": {"temp": 20.5, "ok": true, "nothing": null}}}),
            json!({"deviceId": "b", "tags": {"site": "south", "floor": 2}, "status": "enabled",
                   "properties": {"reported": {"temp": 30, "ok": false, "name": "O'Hara"}}}),
            json!({"deviceId": "c", "tags": {"site": "north"}, "status": "disabled", "properties": {"reported": {}}}),
        ]
    }

    fn ids(condition: &str) -> String {
        let query = Query::parse(&format!("SELECT * FROM devices WHERE {condition}"))
            .unwrap_or_else(|refused| panic!("{condition}: {refused}"));
        rows().iter().filter(|row| query.takes(*row)).map(|row| row["deviceId"].as_str().unwrap()).collect()
    }

    #[test]
    fn conditions_take_what_they_say() {
        for (condition, taken) in [
            ("deviceId = 'a'", "a"),
            ("DeviceId = \"a\"", "a"),
            ("tags.site = 'north' AND status = 'enabled'", "a"),
            ("tags.site = 'north' and not status = 'enabled'", "c"),
            ("tags.site = 'south' OR deviceId IN ['a', 'x']", "ab"),
            ("deviceId NIN ['a', 'x']", "bc"),
            ("deviceId NOT IN ['a', 'x']", "bc"),
            ("tags.floor > 1", "b"),
            ("tags.floor >= 1 AND tags.floor <= 1.0", "a"),
            ("tags.floor <> 1", "b"),
            ("tags.floor != 1", "b"),
            ("NOT (tags.floor = 1)", "b"),
            ("1 < tags.floor", "b"),
            ("is_defined(tags.floor)", "ab"),
            ("NOT IS_DEFINED(tags.floor)", "c"),
            ("is_null(properties.reported.nothing)", "a"),
            ("properties.reported.nothing = null", "a"),
            ("is_string(properties.reported.name)", "b"),
            ("is_number(properties.reported.temp)", "ab"),
            ("is_bool(properties.reported.ok) AND properties.reported.ok", "a"),
            ("is_object(tags)", "abc"),
            ("startswith(tags.site, 'no')", "ac"),
            ("STARTS_WITH(tags.site, 'so')", "b"),
            ("endswith(tags.site, 'th')", "abc"),
            ("contains(tags.site, 'out')", "b"),
            ("properties.reported.name = 'O''Hara'", "b"),
            (r"properties.reported.name = 'O\'Hara'", "b"),
            ("tags.[[odd name]] = 1", "a"),
            ("upper(tags.site) = 'SOUTH'", "b"),
            ("length(tags.site) = 5", "abc"),
            ("properties.reported.temp * 2 > 50", "b"),
            ("properties.reported.temp - 20 < 1", "a"),
            ("tags.site = 1", ""),
            ("tags.site > 'o'", "b"),
            ("devices.deviceId = 'a'", "a"),
        ] {
            assert_eq!(ids(condition), taken, "{condition}");
        }
    }

    #[test]
    fn fields_and_aggregates_come_out_under_their_names() {
        let data = rows();
        let query = Query::parse("SELECT deviceId, properties.reported.temp AS t FROM devices").unwrap();
        let out: Vec<Value> = data.iter().map(|row| query.project(row)).collect();
        assert_eq!(out[0], json!({"deviceId": "a", "t": 20.5}));
        assert_eq!(out[2], json!({"deviceId": "c"}));

        let query = Query::parse(
            "SELECT tags.site AS site, COUNT() AS n, AVG(properties.reported.temp) AS mean, \
             MAX(tags.floor) AS top FROM devices GROUP BY tags.site",
        )
        .unwrap();
        let all = || data.iter().map(|row| row as &dyn Row);
        assert_eq!(
            query.group(all()),
            [
                json!({"site": "north", "n": 2, "mean": 20.5, "top": 1}),
                json!({"site": "south", "n": 1, "mean": 30, "top": 2}),
            ]
        );
        let query =
            Query::parse("select count() as n, sum(tags.floor) as s from devices where tags.floor > 7");
        assert_eq!(query.unwrap().group(all()), [json!({"n": 0})]);
        assert_eq!(Query::parse("SELECT TOP 2 * FROM devices").unwrap().top(), Some(2));
        assert_eq!(Query::parse("SELECT TOP(2) * FROM devices").unwrap().top(), Some(2));
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_place() {
        for (text, said) in [
            ("", "SELECT"),
            ("DELETE FROM devices", "SELECT"),
            ("SELECT * FROM users", "devices.modules"),
            ("SELECT * FROM devices WHERE", "character 27"),
            ("SELECT * FROM devices WHERE deviceId = 'a", "quote"),
            ("SELECT * FROM devices WHERE deviceId ~ 'a'", "~"),
            ("SELECT * FROM devices WHERE frobnicate(a) = 1", "frobnicate"),
            ("SELECT * FROM devices WHERE is_defined()", "is_defined"),
            ("SELECT * FROM devices ORDER BY deviceId", "ORDER"),
            ("SELECT * FROM devices WHERE a = 1 b", "character 35"),
            ("SELECT deviceId, COUNT() AS n FROM devices", "GROUP BY"),
        ] {
            let refused = Query::parse(text).unwrap_err().to_string();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        assert!(Query::parse(&"(".repeat(10_000)).is_err());
        let deep = format!("SELECT * FROM devices WHERE {}1 = 1", "NOT ".repeat(3_000));
        assert!(Query::parse(&deep).unwrap_err().to_string().contains("deep"));
        assert!(Query::parse(&" ".repeat(QUERY_BYTES_MAX + 1)).is_err());
        let long = |operators| format!("SELECT * FROM devices WHERE 1{} > 2", "+1".repeat(operators));
        assert!(Query::parse(&long(501)).unwrap_err().to_string().contains("500 operators"));
        assert!(Query::parse(&long(500)).unwrap().takes(&json!({})), "as long as it may be, and evaluated");
    }
}
