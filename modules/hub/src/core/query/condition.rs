//! What is true of a row, false, or neither because something is not there.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::Row;
use super::function::Function;
use super::parser::number_value;

/// A condition.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Operator, Term, Term),
    In(Term, Vec<Term>),
    /// A field or function that is true itself.
    Holds(Term),
}

/// Something with a value.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Constant(Value),
    Field(Vec<String>),
    Call(Function, Vec<Term>),
    Arithmetic(&'static str, Box<Term>, Box<Term>),
    Nested(Box<Condition>),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Whether it is true of a row.
    pub(super) fn holds(&self, row: &dyn Row) -> bool {
        self.truth(row) == Some(true)
    }

    /// True, false, or neither.
    fn truth(&self, row: &dyn Row) -> Option<bool> {
        match self {
            Self::And(left, right) => match (left.truth(row), right.truth(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.truth(row), right.truth(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.truth(row).map(|truth| !truth),
            Self::Compare(operator, left, right) => {
                operator.decide(left.value(row)?.as_ref(), right.value(row)?.as_ref())
            }
            Self::In(term, list) => {
                let value = term.value(row)?;
                Some(list.iter().any(|it| it.value(row).is_some_and(|it| equal(&value, &it))))
            }
            Self::Holds(term) => term.value(row)?.as_bool(),
        }
    }
}

impl Term {
    /// The value; `None` is undefined.
    pub(super) fn value<'a>(&'a self, row: &'a dyn Row) -> Option<Cow<'a, Value>> {
        match self {
            Self::Constant(value) => Some(Cow::Borrowed(value)),
            Self::Field(path) => row.field(path),
            Self::Call(function, arguments) => {
                let arguments: Vec<_> = arguments.iter().map(|it| it.value(row)).collect();
                function.call(&arguments).map(Cow::Owned)
            }
            Self::Arithmetic(sign, left, right) => {
                let (left, right) = (left.value(row)?.as_f64()?, right.value(row)?.as_f64()?);
                let result = match *sign {
                    "+" => left + right,
                    "-" => left - right,
                    "*" => left * right,
                    "/" => left / right,
                    _ => left % right,
                };
                result.is_finite().then(|| Cow::Owned(number_value(result)))
            }
            Self::Nested(condition) => condition.truth(row).map(|truth| Cow::Owned(Value::Bool(truth))),
        }
    }
}

impl Operator {
    pub(super) fn of_sign(sign: &str) -> Option<Self> {
        Some(match sign {
            "=" => Self::Equal,
            "!=" | "<>" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn decide(self, left: &Value, right: &Value) -> Option<bool> {
        match self {
            Self::Equal => return Some(equal(left, right)),
            Self::NotEqual => return Some(!equal(left, right)),
            _ => {}
        }
        let order = order(left, right)?;
        Some(match self {
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        })
    }
}

/// Numbers are equal by value: 1 is 1.0.
fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// Only what is of the same kind has an order.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}
