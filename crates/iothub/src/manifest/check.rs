//! What every check needs: a list of problems, and the questions that are asked of any JSON.

use serde_json::{Map, Value};

use super::Problem;

/// The most problems that are told; more would only be more of the same.
const PROBLEMS_MAX: usize = 100;

/// Collects problems while a template is read to its end.
#[derive(Default)]
pub(super) struct Check {
    pub(super) problems: Vec<Problem>,
}

impl Check {
    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { path: path.into(), message: message.into() });
        }
    }

    pub(super) fn object<'a>(&mut self, path: &str, value: &'a Value) -> Option<&'a Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.problem(path, format!("wants an object, not {}", kind(value)));
        }
        object
    }

    /// A member that must be there and be an object.
    pub(super) fn member<'a>(
        &mut self,
        path: &str,
        object: &'a Map<String, Value>,
        key: &str,
    ) -> Option<&'a Map<String, Value>> {
        let path = format!("{path}.{key}");
        match object.get(key) {
            Some(value) => self.object(&path, value),
            None => {
                self.problem(path, "is missing; it is an object");
                None
            }
        }
    }

    /// A string that may be missing.
    pub(super) fn optional<'a>(
        &mut self,
        path: &str,
        object: &'a Map<String, Value>,
        key: &str,
    ) -> Option<&'a str> {
        let value = object.get(key).filter(|value| !value.is_null())?;
        if !value.is_string() {
            self.problem(format!("{path}.{key}"), format!("wants a string, not {}", kind(value)));
        }
        value.as_str()
    }

    /// A string that must be there.
    pub(super) fn required<'a>(
        &mut self,
        path: &str,
        object: &'a Map<String, Value>,
        key: &str,
        wanted: &str,
    ) -> Option<&'a str> {
        match object.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            Some(Value::String(_)) => {
                self.problem(format!("{path}.{key}"), format!("is empty; it wants {wanted}"));
                None
            }
            Some(other) => {
                self.problem(format!("{path}.{key}"), format!("wants {wanted}, not {}", kind(other)));
                None
            }
            None => {
                self.problem(format!("{path}.{key}"), format!("is missing; it wants {wanted}"));
                None
            }
        }
    }

    /// A string, if given, that is one of a few.
    pub(super) fn one_of(&mut self, path: &str, key: &str, given: Option<&str>, allowed: &[&str]) {
        if let Some(given) = given.filter(|given| !allowed.contains(given)) {
            let why = format!("wants one of {}, not {given:?}", allowed.join(", "));
            self.problem(format!("{path}.{key}"), why);
        }
    }
}

/// A value's type, with an article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
