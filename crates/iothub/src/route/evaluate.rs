//! What a condition says about one message. Logic has three values: what is undefined stays undefined, unless
//! the other side decides alone (`false AND …`, `true OR …`).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;

use serde_json::Value as Json;

use super::body;
use super::expression::{Arithmetic, Comparison, Expression, Operator};
use crate::message::Message;

/// A value while a condition is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

impl<'a> Value<'a> {
    fn borrowed(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// Neither undefined nor null, which is what a JSON path that leads nowhere gives.
    pub(super) fn is_defined(&self) -> bool {
        !matches!(self, Self::Undefined | Self::Null)
    }
}

/// A message being routed; its body is parsed when first asked for and once for all routes.
pub(super) struct Scene<'a> {
    message: &'a Message,
    body: OnceCell<Option<Json>>,
}

impl<'a> Scene<'a> {
    pub(super) fn of(message: &'a Message) -> Self {
        Self { message, body: OnceCell::new() }
    }

    fn body(&self) -> Option<&Json> {
        self.body.get_or_init(|| body::parse(self.message)).as_ref()
    }

    fn property(&self, name: &str) -> Option<Value<'_>> {
        let value = self.message.properties.find_ignoring_case(name)?;
        Some(value.map_or(Value::Null, Value::borrowed))
    }
}

impl Expression {
    pub(super) fn is_true<'a>(&'a self, scene: &'a Scene<'a>) -> bool {
        self.value(scene) == Value::Bool(true)
    }

    fn value<'a>(&'a self, scene: &'a Scene<'a>) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(*value),
            Self::Text(value) => Value::borrowed(value),
            Self::Null => Value::Null,
            Self::Undefined => Value::Undefined,
            Self::Property(name) => scene.property(name).unwrap_or(Value::Undefined),
            Self::System(property) => {
                let value = property.and_then(|property| scene.message.system.get(property));
                value.map_or(Value::Undefined, Value::borrowed)
            }
            Self::Body(path) => scene.body().map_or(Value::Undefined, |body| path.find(body)),
            Self::Dollar(name, meaning) => scene.property(name).unwrap_or_else(|| meaning.value(scene)),
            Self::Not(operand) => operand.value(scene).bool().map_or(Value::Undefined, |it| Value::Bool(!it)),
            Self::Negate(operand) => match operand.value(scene) {
                Value::Number(number) => Value::Number(-number),
                _ => Value::Undefined,
            },
            Self::Binary(operator, left, right) => {
                binary(*operator, left.value(scene), || right.value(scene))
            }
            Self::Call(function, arguments) => {
                let values: Vec<Value<'a>> = arguments.iter().map(|it| it.value(scene)).collect();
                function.apply(&values)
            }
        }
    }
}

/// The right side is asked only when it is needed: the body need not be parsed for nothing.
fn binary<'a>(operator: Operator, left: Value<'a>, right: impl FnOnce() -> Value<'a>) -> Value<'a> {
    match operator {
        Operator::And => logic(false, left.bool(), || right().bool()),
        Operator::Or => logic(true, left.bool(), || right().bool()),
        Operator::Coalesce => {
            if left.is_defined() {
                left
            } else {
                right()
            }
        }
        Operator::Compare(comparison) => {
            compare(comparison, &left, &right()).map_or(Value::Undefined, Value::Bool)
        }
        Operator::Arithmetic(arithmetic) => match (left, right()) {
            (Value::Number(x), Value::Number(y)) => Value::Number(calculate(arithmetic, x, y)),
            _ => Value::Undefined,
        },
        Operator::Concat => match (left, right()) {
            (Value::Text(x), Value::Text(y)) => Value::Text(x + y),
            _ => Value::Undefined,
        },
    }
}

/// AND is decided by one `false`, OR by one `true`; otherwise both sides must be known.
fn logic(deciding: bool, left: Option<bool>, right: impl FnOnce() -> Option<bool>) -> Value<'static> {
    if left == Some(deciding) {
        return Value::Bool(deciding);
    }
    match right() {
        Some(right) if right == deciding => Value::Bool(deciding),
        Some(_) if left.is_some() => Value::Bool(!deciding),
        _ => Value::Undefined,
    }
}

/// None is undefined. Values of two kinds are unequal, and neither is the greater.
fn compare(comparison: Comparison, left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    let order = match (left, right) {
        (Value::Undefined, _) | (_, Value::Undefined) => return None,
        (Value::Number(x), Value::Number(y)) => x.partial_cmp(y),
        // Ordinal, by UTF-16 units, as edgeHub compares.
        (Value::Text(x), Value::Text(y)) => Some(x.encode_utf16().cmp(y.encode_utf16())),
        (Value::Bool(x), Value::Bool(y)) => Some(x.cmp(y)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    };
    let ordered = left.is_defined() && right.is_defined();
    match comparison {
        Comparison::Equal => Some(order == Some(Ordering::Equal)),
        Comparison::NotEqual => Some(order != Some(Ordering::Equal)),
        _ if !ordered => None,
        Comparison::Less => order.map(Ordering::is_lt),
        Comparison::LessOrEqual => order.map(Ordering::is_le),
        Comparison::Greater => order.map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order.map(Ordering::is_ge),
    }
}

fn calculate(arithmetic: Arithmetic, x: f64, y: f64) -> f64 {
    match arithmetic {
        Arithmetic::Multiply => x * y,
        Arithmetic::Divide => x / y,
        Arithmetic::Modulo => x % y,
        Arithmetic::Add => x + y,
        Arithmetic::Subtract => x - y,
    }
}
