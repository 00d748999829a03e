//! The functions of conditions: their names, what they take and what they do.

use std::borrow::Cow;

use super::evaluate::Value;
use super::expression::Kind;

/// A function of the route language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    AsNumber,
    Ceiling,
    Concat,
    Contains,
    EndsWith,
    Exp,
    Floor,
    IndexOf,
    IsBool,
    IsDefined,
    IsNull,
    IsNumber,
    IsString,
    Length,
    Lower,
    Power,
    Sign,
    Sqrt,
    Square,
    StartsWith,
    Substring,
    Upper,
}

use Function as F;

const NAMES: [(&str, Function); 23] = [
    ("abs", F::Abs),
    ("as_number", F::AsNumber),
    ("ceiling", F::Ceiling),
    ("concat", F::Concat),
    ("contains", F::Contains),
    ("ends_with", F::EndsWith),
    ("exp", F::Exp),
    ("floor", F::Floor),
    ("index_of", F::IndexOf),
    ("is_bool", F::IsBool),
    ("is_defined", F::IsDefined),
    ("is_null", F::IsNull),
    ("is_number", F::IsNumber),
    ("is_string", F::IsString),
    ("length", F::Length),
    ("lower", F::Lower),
    ("power", F::Power),
    ("sign", F::Sign),
    ("sqrt", F::Sqrt),
    ("square", F::Square),
    ("starts_with", F::StartsWith),
    ("substring", F::Substring),
    ("upper", F::Upper),
];

impl Function {
    /// Function names may be written in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, function)| function)
    }

    /// All names, for advice.
    pub(super) fn names() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }

    /// Checks the arguments' number and kinds; otherwise says what it takes.
    pub(super) fn check(self, given: &[Kind]) -> Result<(), String> {
        let (least, most, wanted) = self.takes();
        if given.len() < least || given.len() > most {
            let takes = match most {
                usize::MAX => format!("at least {least}"),
                _ if least == most => least.to_string(),
                _ => format!("{least} or {most}"),
            };
            return Err(format!("takes {takes} argument(s), not {}", given.len()));
        }
        for (index, kind) in given.iter().enumerate() {
            let wanted = wanted.get(index).or(wanted.last()).copied();
            let as_number_of_number = self == F::AsNumber && *kind == Kind::Number;
            if let Some(wanted) = wanted.filter(|wanted| !kind.fits(*wanted) && !as_number_of_number) {
                let hint = if wanted == Kind::Number { "; as_number(…) makes one of a string" } else { "" };
                return Err(format!(
                    "takes {} as argument {}, not {}{hint}",
                    wanted.name(),
                    index + 1,
                    kind.name()
                ));
            }
        }
        Ok(())
    }

    /// The least and the most arguments, and their kinds (none: any kind; the last one goes on).
    fn takes(self) -> (usize, usize, &'static [Kind]) {
        use Kind::{Number, Text};
        match self {
            F::Abs | F::Ceiling | F::Exp | F::Floor | F::Sign | F::Sqrt | F::Square => (1, 1, &[Number]),
            F::Power => (2, 2, &[Number]),
            F::AsNumber | F::Length | F::Lower | F::Upper => (1, 1, &[Text]),
            F::IsBool | F::IsDefined | F::IsNull | F::IsNumber | F::IsString => (1, 1, &[]),
            F::Concat => (2, usize::MAX, &[Text]),
            F::Contains | F::EndsWith | F::IndexOf | F::StartsWith => (2, 2, &[Text]),
            F::Substring => (2, 3, &[Text, Number]),
        }
    }

    pub(super) fn result(self) -> Kind {
        match self {
            F::Concat | F::Lower | F::Substring | F::Upper => Kind::Text,
            F::Contains | F::EndsWith | F::StartsWith => Kind::Bool,
            F::IsBool | F::IsDefined | F::IsNull | F::IsNumber | F::IsString => Kind::Bool,
            _ => Kind::Number,
        }
    }

    /// Applies it. An argument that is not of the kind asked for makes the result undefined.
    pub(super) fn apply<'a>(self, arguments: &[Value<'a>]) -> Value<'a> {
        self.about(arguments)
            .or_else(|| self.of_numbers(arguments))
            .or_else(|| self.of_texts(arguments))
            .unwrap_or(Value::Undefined)
    }

    /// The questions, which every value answers.
    fn about(self, arguments: &[Value<'_>]) -> Option<Value<'static>> {
        let value = arguments.first()?;
        let answer = match self {
            F::IsBool => matches!(value, Value::Bool(_)),
            F::IsDefined => value.is_defined(),
            F::IsNull => matches!(value, Value::Null),
            F::IsNumber => matches!(value, Value::Number(_)),
            F::IsString => matches!(value, Value::Text(_)),
            _ => return None,
        };
        Some(Value::Bool(answer))
    }

    fn of_numbers(self, arguments: &[Value<'_>]) -> Option<Value<'static>> {
        let &Value::Number(x) = arguments.first()? else { return None };
        Some(Value::Number(match (self, arguments.get(1)) {
            (F::Abs, _) => x.abs(),
            (F::AsNumber, _) => x,
            (F::Ceiling, _) => x.ceil(),
            (F::Exp, _) => x.exp(),
            (F::Floor, _) => x.floor(),
            (F::Sign, _) if x == 0.0 => 0.0,
            (F::Sign, _) => x.signum(),
            (F::Sqrt, _) => x.sqrt(),
            (F::Square, _) => x * x,
            (F::Power, Some(&Value::Number(y))) => x.powf(y),
            _ => return None,
        }))
    }

    fn of_texts<'a>(self, arguments: &[Value<'a>]) -> Option<Value<'a>> {
        let Value::Text(text) = arguments.first()? else { return None };
        if self == F::Concat {
            let texts: Option<Vec<&str>> = arguments.iter().map(Value::text).collect();
            return Some(Value::Text(texts?.concat().into()));
        }
        let other = || arguments.get(1).and_then(Value::text);
        Some(match self {
            F::AsNumber => Value::Number(as_number(text)?),
            F::Length => count(text),
            F::Lower => Value::Text(text.to_lowercase().into()),
            F::Upper => Value::Text(text.to_uppercase().into()),
            F::StartsWith => Value::Bool(text.starts_with(other()?)),
            F::EndsWith => Value::Bool(text.ends_with(other()?)),
            F::Contains => Value::Bool(text.contains(other()?)),
            F::IndexOf => text.find(other()?).map_or(Value::Number(-1.0), |at| count(&text[..at])),
            F::Substring => Value::Text(substring(text, &arguments[1..])?),
            _ => return None,
        })
    }
}

/// Lengths and places count UTF-16 units, as edgeHub's do.
#[expect(clippy::cast_precision_loss, reason = "no message holds 2^52 characters")]
fn count(text: &str) -> Value<'static> {
    Value::Number(text.encode_utf16().count() as f64)
}

/// A decimal number; none of the words that mean infinity or not-a-number.
fn as_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let decimal = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    decimal.then(|| text.parse().ok()).flatten()
}

/// `substring(text, start[, length])`, counted from 0; none if that is out of range or no whole number.
fn substring(text: &str, range: &[Value<'_>]) -> Option<Cow<'static, str>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let start = whole(range.first()?)?;
    let end = match range.get(1) {
        Some(length) => start.checked_add(whole(length)?)?,
        None => units.len(),
    };
    Some(String::from_utf16_lossy(units.get(start..end)?).into())
}

fn whole(value: &Value<'_>) -> Option<usize> {
    let &Value::Number(number) = value else { return None };
    let whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
    whole.then_some(number as usize)
}
