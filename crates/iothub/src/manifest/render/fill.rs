//! `$VARIABLE` and `${VARIABLE}` in a text of JSON, as iotedgedev fills them in: on the text, before it is JSON.

use serde_json::Value;

/// What IoT Edge itself names with a `$`: no variable of that name takes its place.
const NAMES_OF_IOT_EDGE: [&str; 4] = ["edgeAgent", "edgeHub", "upstream", "schema"];

/// What iotedgedev sets where nobody else does, or sets it to nothing.
const DEFAULTS: [(&str, &str); 7] = [
    ("CONFIG_OUTPUT_DIR", "config"),
    ("DEPLOYMENT_CONFIG_TEMPLATE_FILE", "deployment.template.json"),
    ("DEPLOYMENT_CONFIG_DEBUG_TEMPLATE_FILE", "deployment.debug.template.json"),
    ("DEFAULT_PLATFORM", "amd64"),
    ("MODULES_PATH", "modules"),
    ("LOGS_PATH", "logs"),
    ("LOGS_CMD", "start /B start cmd.exe @cmd /k docker logs {0} -f"),
];

/// The variables, with iotedgedev's own among them.
pub(super) struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl<'a> Variables<'a> {
    pub(super) fn of(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self(variable)
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let default = DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, default)| *default);
        match ((self.0)(name), default) {
            (Some(value), Some(default)) if value.trim().is_empty() => Some(default.to_owned()),
            (None, default) => default.map(str::to_owned),
            (value, _) => value,
        }
    }
}

/// A text with its variables filled in.
pub(super) struct Filled {
    pub(super) text: String,
    pub(super) wrong: Vec<Wrong>,
}

/// A placeholder that cannot be filled in.
pub(super) struct Wrong {
    /// Its byte in the filled text.
    pub(super) at: usize,
    /// It stands outside of quotes, where it is no JSON.
    pub(super) outside: bool,
    pub(super) message: String,
}

/// Fills in what is defined. What is not stays within quotes; outside of them it becomes `null` or gets its quotes,
/// so that reading goes on.
pub(super) fn fill_in(text: &str, variables: &Variables<'_>) -> Filled {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut filled = Filled { text: String::with_capacity(rest.len()), wrong: Vec::new() };
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        if c == '$'
            && let Some(placeholder) = Placeholder::at(rest)
        {
            if in_string {
                filled.within_quotes(&placeholder, variables);
            } else {
                filled.outside(&placeholder, variables);
            }
            rest = &rest[placeholder.text.len()..];
            escaped = false;
            continue;
        }
        in_string ^= c == '"' && !escaped;
        escaped = c == '\\' && in_string && !escaped;
        filled.text.push(c);
        rest = &rest[c.len_utf8()..];
    }
    filled
}

impl Filled {
    fn within_quotes(&mut self, placeholder: &Placeholder<'_>, variables: &Variables<'_>) {
        match placeholder.value(variables) {
            Some(value) => self.text.push_str(&in_a_string(value)),
            None => {
                if placeholder.is_a_variable() {
                    self.wrong(false, placeholder.undefined());
                }
                self.text.push_str(placeholder.text);
            }
        }
    }

    fn outside(&mut self, placeholder: &Placeholder<'_>, variables: &Variables<'_>) {
        let value = placeholder.value(variables);
        if let Some(value) = value.as_ref().filter(|value| serde_json::from_str::<Value>(value).is_ok()) {
            self.text.push_str(value);
            return;
        }
        let text = placeholder.text;
        let (why, meanwhile) = match value {
            None if placeholder.is_a_variable() => (placeholder.undefined(), "null".to_owned()),
            None => {
                let quoted = Value::String(text.to_owned()).to_string();
                (format!("{text} stands outside of quotes; write {quoted}"), quoted)
            }
            // What it holds may be a password.
            Some(_) => {
                let why = format!("what {text} holds is no JSON value; within quotes it is text: \"{text}\"");
                (why, "null".to_owned())
            }
        };
        self.wrong(true, why);
        self.text.push_str(&meanwhile);
    }

    fn wrong(&mut self, outside: bool, message: String) {
        self.wrong.push(Wrong { at: self.text.len(), outside, message });
    }
}

/// iotedgedev puts a value in as it is, with whatever it escapes; one that would break the string is escaped here.
fn in_a_string(value: String) -> String {
    if serde_json::from_str::<String>(&format!("\"{value}\"")).is_ok() {
        return value;
    }
    let literal = Value::String(value).to_string();
    literal[1..literal.len() - 1].to_owned()
}

struct Placeholder<'a> {
    /// With its `$` and braces.
    text: &'a str,
    name: &'a str,
    braces: bool,
}

impl<'a> Placeholder<'a> {
    /// At the start of a text that begins with a `$`: letters, digits and `_`, or anything within braces.
    fn at(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix("${") {
            let name = &inner[..inner.find('}')?];
            return Some(Self { text: &text[..name.len() + 3], name, braces: true });
        }
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = text.bytes().skip(1).take_while(fits).count();
        (length > 0).then(|| Self { text: &text[..=length], name: &text[1..=length], braces: false })
    }

    fn value(&self, variables: &Variables<'_>) -> Option<String> {
        if NAMES_OF_IOT_EDGE.contains(&self.name) { None } else { variables.get(self.name) }
    }

    /// Whether somebody meant a variable: `${MODULES.sensor}` is none, nor is the `$body` of a route or `$5`.
    fn is_a_variable(&self) -> bool {
        let first = self.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if self.braces {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            first && self.name.chars().all(fits) && !self.name.starts_with("MODULES.")
        } else {
            let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            first && self.name.len() > 1 && self.name.chars().all(fits)
        }
    }

    fn undefined(&self) -> String {
        format!("the variable {} is not defined; define it in .env or in the environment", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> (String, Vec<String>) {
        let env = |name: &str| {
            let value = match name {
                "HOST" => "localhost:5000",
                "NUMBER" => "30",
                "QUOTE" => "a\"b",
                "ESCAPED" => "a\\\"b",
                "EMPTY" | "MODULES_PATH" => "",
                "lower" => "x",
                "DOLLARS" => "$$NO ${NO}",
                "edgeHub" => "broken",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let filled = fill_in(text, &Variables::of(&env));
        let wrong = filled.wrong.iter().map(|it| format!("{} {}", it.at, it.message)).collect();
        (filled.text, wrong)
    }

    #[test]
    fn both_ways_of_writing_a_variable_are_filled_in_as_python_does() {
        let text = r#"{"a": "$HOST/${HOST}-$lower ${EMPTY}.", "n": ${NUMBER}}"#;
        let wanted = r#"{"a": "localhost:5000/localhost:5000-x .", "n": 30}"#;
        assert_eq!(filled(text), (wanted.to_owned(), vec![]));
        assert_eq!(filled(r#""$HOSTS ${MODULES_PATH}""#).0, r#""$HOSTS modules""#);
    }

    #[test]
    fn what_a_variable_holds_is_not_looked_at_again_and_breaks_no_string() {
        assert_eq!(filled(r#""$DOLLARS""#), (r#""$$NO ${NO}""#.to_owned(), vec![]));
        assert_eq!(filled(r#""$QUOTE""#).0, r#""a\"b""#);
        assert_eq!(filled(r#""$ESCAPED""#).0, r#""a\"b""#);
    }

    #[test]
    fn the_names_of_iot_edge_stay_whatever_the_environment_says() {
        let text = r#"{"$edgeHub": "INTO $upstream WHERE $body.x = $5", "i": "${MODULES.a.amd64} ${MODULEDIR<../a>}"}"#;
        assert_eq!(filled(text), (text.to_owned(), vec![]));
    }

    #[test]
    fn an_undefined_variable_is_told_with_its_place() {
        let (text, wrong) = filled(r#"{"p": "$PASSWORD", "n": ${TTL}}"#);
        assert_eq!(text, r#"{"p": "$PASSWORD", "n": null}"#);
        let why = "is not defined; define it in .env or in the environment";
        assert_eq!(wrong, [format!("7 the variable PASSWORD {why}"), format!("24 the variable TTL {why}")]);
    }

    #[test]
    fn a_placeholder_outside_of_quotes_is_told_what_is_missing_and_not_what_it_holds() {
        let wrong = filled("[${MODULES.sensor}, ${HOST}]").1;
        assert_eq!(wrong[0], "1 ${MODULES.sensor} stands outside of quotes; write \"${MODULES.sensor}\"");
        assert_eq!(wrong[1], "22 what ${HOST} holds is no JSON value; within quotes it is text: \"${HOST}\"");
    }
}
