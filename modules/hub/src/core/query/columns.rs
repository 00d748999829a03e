//! What comes out: whole documents, fields, or rows added up.

use isotherm_iothub::Refused;
use serde_json::{Map, Value};

use super::Row;
use super::condition::order;
use super::parser::number_value;

/// Groups in one answer; what belongs to further ones is left out. (Each is a row of the answer.)
const GROUPS_MAX: usize = 10_000;

/// The list after `SELECT`.
#[derive(Debug, Clone)]
pub(super) enum Select {
    Whole,
    Columns(Vec<Column>),
}

/// A field, or an aggregate of one, under a name.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) aggregate: Option<Aggregate>,
    pub(super) path: Vec<String>,
    pub(super) name: String,
}

/// How the values of several rows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Count,
    Sum,
    Average,
    Smallest,
    Largest,
}

impl Aggregate {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "COUNT" => Self::Count,
            "SUM" => Self::Sum,
            "AVG" => Self::Average,
            "MIN" => Self::Smallest,
            "MAX" => Self::Largest,
            _ => return None,
        })
    }
}

impl Select {
    pub(super) fn has_aggregates(&self) -> bool {
        matches!(self, Self::Columns(columns) if columns.iter().any(|column| column.aggregate.is_some()))
    }

    /// Beside an aggregate, only what is grouped by has one value.
    pub(super) fn check(&self, group_by: &[Vec<String>]) -> Result<(), Refused> {
        let Self::Columns(columns) = self else {
            let wrong = Refused::new("the query", "`SELECT *` cannot be grouped; name the fields");
            return if group_by.is_empty() { Ok(()) } else { Err(wrong) };
        };
        if !self.has_aggregates() && group_by.is_empty() {
            return Ok(());
        }
        let plain = columns.iter().filter(|column| column.aggregate.is_none());
        for column in plain {
            if !group_by.contains(&column.path) {
                let why = format!("{} must be in GROUP BY, or in an aggregate", column.path.join("."));
                return Err(Refused::new("the query", why));
            }
        }
        Ok(())
    }

    pub(super) fn project(&self, row: &dyn Row) -> Value {
        let Self::Columns(columns) = self else { return row.whole() };
        let fields = columns.iter().filter_map(|column| {
            let value = row.field(&column.path)?;
            Some((column.name.clone(), value.into_owned()))
        });
        Value::Object(fields.collect())
    }
}

/// Rows that agree on what they are grouped by.
struct Group {
    of: Vec<Option<Value>>,
    sums: Vec<Sum>,
}

/// What has been seen of one column.
#[derive(Clone, Default)]
struct Sum {
    rows: usize,
    numbers: usize,
    total: f64,
    smallest: Option<Value>,
    largest: Option<Value>,
}

impl Sum {
    fn add(&mut self, value: Option<Value>) {
        let Some(value) = value else { return };
        self.rows += 1;
        if let Some(number) = value.as_f64() {
            self.numbers += 1;
            self.total += number;
        }
        if self.smallest.as_ref().is_none_or(|known| order(&value, known).is_some_and(|it| it.is_lt())) {
            self.smallest = Some(value.clone());
        }
        if self.largest.as_ref().is_none_or(|known| order(&value, known).is_some_and(|it| it.is_gt())) {
            self.largest = Some(value);
        }
    }

    fn end(&self, aggregate: Aggregate) -> Option<Value> {
        match aggregate {
            Aggregate::Count => Some(self.rows.into()),
            Aggregate::Sum => (self.numbers > 0).then(|| number_value(self.total)),
            Aggregate::Average => (self.numbers > 0).then(|| number_value(self.total / self.numbers as f64)),
            Aggregate::Smallest => self.smallest.clone(),
            Aggregate::Largest => self.largest.clone(),
        }
    }
}

/// Adds rows up, a group each in the order in which they first appear.
pub(super) fn group<'a>(
    select: &Select,
    group_by: &[Vec<String>],
    rows: impl Iterator<Item = &'a dyn Row>,
) -> Vec<Value> {
    let Select::Columns(columns) = select else { return Vec::new() };
    let mut groups: Vec<Group> = Vec::new();
    let mut places: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    if group_by.is_empty() {
        groups.push(Group { of: Vec::new(), sums: vec![Sum::default(); columns.len()] });
        places.insert("[]".to_owned(), 0);
    }
    for row in rows {
        let of: Vec<Option<Value>> =
            group_by.iter().map(|path| row.field(path).map(|value| value.into_owned())).collect();
        // `undefined` and `null` are two: only one of them is in a list of its own.
        let key =
            Value::from(of.iter().map(|it| Value::from_iter(it.clone())).collect::<Vec<_>>()).to_string();
        let place = match places.get(&key) {
            Some(&place) => place,
            None if groups.len() >= GROUPS_MAX => continue,
            None => {
                groups.push(Group { of, sums: vec![Sum::default(); columns.len()] });
                places.insert(key, groups.len() - 1);
                groups.len() - 1
            }
        };
        for (column, sum) in columns.iter().zip(&mut groups[place].sums) {
            let counted = column.path.is_empty().then_some(Value::Null);
            sum.add(counted.or_else(|| row.field(&column.path).map(|value| value.into_owned())));
        }
    }
    groups.iter().map(|group| finished(columns, group_by, group)).collect()
}

fn finished(columns: &[Column], group_by: &[Vec<String>], group: &Group) -> Value {
    let mut out = Map::new();
    for (column, sum) in columns.iter().zip(&group.sums) {
        let value = match column.aggregate {
            Some(aggregate) => sum.end(aggregate),
            None => {
                let place = group_by.iter().position(|path| *path == column.path);
                place.and_then(|place| group.of.get(place)?.clone())
            }
        };
        if let Some(value) = value {
            out.insert(column.name.clone(), value);
        }
    }
    Value::Object(out)
}
