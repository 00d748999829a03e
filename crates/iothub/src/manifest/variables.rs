//! `${VARIABLE}` and `$VARIABLE` in the text of a template.

use serde_json::Value;

use super::check::Check;

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills in variables. What a variable holds becomes part of a string as it is: quotes in it do not end the
/// string. Outside of strings it stands for any JSON. An undefined one stays in a string, to be found by
/// [`Check::undefined_variables`]; outside it is a problem at once and `null` from then on.
pub(super) fn fill_in(text: &str, env: Env<'_>, check: &mut Check) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut filled = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '$' && !escaped {
            let variable = Variable::at(rest);
            if let Some(value) = variable.as_ref().and_then(|variable| variable.value(env)) {
                filled.push_str(&if in_string { escape(value) } else { value });
                rest = &rest[variable.map_or(1, |variable| variable.length)..];
                continue;
            }
            if let Some(variable) = variable.filter(|it| it.braces && !in_string) {
                let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
                check.problem(format!("line {line}"), undefined(variable.name));
                filled.push_str("null");
                rest = &rest[variable.length..];
                continue;
            }
        }
        in_string ^= c == '"' && !escaped;
        escaped = c == '\\' && in_string && !escaped;
        filled.push(c);
        rest = &rest[c.len_utf8()..];
    }
    filled
}

/// A text as it stands within a JSON string.
fn escape(text: String) -> String {
    let literal = Value::String(text).to_string();
    literal[1..literal.len() - 1].to_owned()
}

fn undefined(name: &str) -> String {
    format!("the variable {name} is not defined; define it in .env or in the environment")
}

struct Variable<'a> {
    name: &'a str,
    length: usize,
    braces: bool,
}

impl<'a> Variable<'a> {
    /// The variable at the start of `text`, which is a `$`.
    fn at(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix("${") {
            let name = &inner[..inner.find('}')?];
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            let is_name = !name.is_empty() && name.chars().all(fits);
            return is_name.then_some(Self { name, length: name.len() + 3, braces: true });
        }
        // Without braces only in capitals: `$edgeHub`, `$upstream` and `$body` are names of IoT Edge.
        let fits = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
        let length = text.bytes().skip(1).take_while(|b| fits(b)).count();
        let name = &text[1..=length];
        let ends = !text[1 + length..].starts_with(|c: char| c.is_ascii_alphanumeric());
        (length > 0 && ends).then_some(Self { name, length: length + 1, braces: false })
    }

    fn value(&self, env: Env<'_>) -> Option<String> {
        env(self.name)
    }

    /// `${MODULES.sensor}`: for whoever builds images.
    fn is_placeholder(&self) -> bool {
        self.name.contains('.')
    }
}

impl Check {
    /// Finds what [`fill_in`] left standing in strings.
    pub(super) fn undefined_variables(&mut self, path: &str, json: &Value) {
        match json {
            Value::String(text) => {
                for (at, _) in text.match_indices("${") {
                    if let Some(variable) = Variable::at(&text[at..]).filter(|it| !it.is_placeholder()) {
                        self.problem(path, undefined(variable.name));
                    }
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.undefined_variables(&format!("{path}[{index}]"), value);
                }
            }
            Value::Object(map) => {
                let dot = if path.is_empty() { "" } else { "." };
                for (key, value) in map {
                    self.undefined_variables(&format!("{path}{dot}{key}"), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
