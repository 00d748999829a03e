//! What the environment says, as a value that a test can hand in.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

/// A variable that is missing or makes no sense: ends the process with exit status 78.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct WiringError {
    /// Its name.
    pub variable: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl WiringError {
    /// Names the variable and says what is wrong with it and what would be right.
    pub fn new(variable: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { variable: variable.into(), reason: reason.into() }
    }
}

/// The variables of an environment. An empty one counts as not set. `Debug` shows names only: values hold keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env {
    variables: Arc<BTreeMap<String, String>>,
}

impl Env {
    /// The process's own. A variable that is not UTF-8 is passed over.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::of(std::env::vars_os().filter_map(text))
    }

    /// These variables and no others.
    pub fn of<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables: Arc::new(variables) }
    }

    /// Reads the text of a `.env` file: `NAME=value` lines, `export` before them, `#` comments, and quotes
    /// (single: as it stands; double: with `\n`, `\t`, `\"`, `\\`, `\$`).
    ///
    /// # Errors
    /// Names the line that is none of these.
    pub fn from_dotenv(text: &str) -> Result<Self, WiringError> {
        let variables: Result<_, WiringError> = dotenv_lines(text).collect();
        Ok(Self { variables: Arc::new(variables?) })
    }

    /// The same under `self`, which wins, with `${NAME}` and `${NAME:-default}` in values filled in as IoT Edge's
    /// tools do: from `self`, else from the lines above, else with the default or nothing.
    ///
    /// # Errors
    /// Names the line that makes no sense.
    pub fn over_dotenv(&self, text: &str) -> Result<Self, WiringError> {
        let mut all = self.clone();
        for line in dotenv_lines(text) {
            let (name, value) = line?;
            if !self.variables.contains_key(&name) {
                let value = interpolated(&value, &all);
                all.set(name, value);
            }
        }
        Ok(all)
    }

    /// The value, unless it is not set or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value as it was set, be it to nothing: IoT Edge's tools fill in an empty one.
    pub fn even_empty(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets a variable in this clone.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        Arc::make_mut(&mut self.variables).insert(name.into(), value.into());
    }

    /// This environment with those of `over` on top.
    #[must_use]
    pub fn overlaid(mut self, over: &Env) -> Self {
        let over = over.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
        Arc::make_mut(&mut self.variables).extend(over);
        self
    }

    /// The names that are set, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The value.
    ///
    /// # Errors
    /// When it is not set.
    pub fn required(&self, name: &str) -> Result<&str, WiringError> {
        self.get(name).ok_or_else(|| WiringError::new(name, "is not set, and is needed"))
    }

    /// The value as a `T`, if it is set.
    ///
    /// # Errors
    /// When it is set and is no `T`.
    pub fn parse<T>(&self, name: &str) -> Result<Option<T>, WiringError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(why) => Err(WiringError::new(name, format!("{value:?}: {why}"))),
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// The variables of a `.env` file in their order.
fn dotenv_lines(text: &str) -> impl Iterator<Item = Result<(String, String), WiringError>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let wrong = |reason| WiringError::new(format!(".env line {}", index + 1), reason);
        dotenv_line(line).map_err(wrong).transpose()
    })
}

fn interpolated(value: &str, env: &Env) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let inner = after.split_once('}');
        let Some((inner, after)) = inner.filter(|(inner, _)| inner.contains(":-") || !inner.contains(':'))
        else {
            text.push_str("${");
            rest = after;
            continue;
        };
        let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
        text.push_str(env.even_empty(name).unwrap_or(default));
        rest = after;
    }
    text + rest
}

/// One line of a `.env` file: a variable, or nothing on a blank or comment line.
fn dotenv_line(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("has no '='; write NAME=value")?;
    let name = name.trim();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    if name.is_empty() || !name.chars().all(fits) {
        return Err("has a name with more than letters, digits, '_' and '.'");
    }
    Ok(Some((name.to_owned(), dotenv_value(value.trim())?)))
}

fn dotenv_value(value: &str) -> Result<String, &'static str> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or("has a ' that is not closed")?;
        return nothing_after(after).map(|()| inner.to_owned());
    }
    if let Some(rest) = value.strip_prefix('"') {
        return double_quoted(rest);
    }
    // A comment begins at a `#` with space before it: base64 keys and colours may hold one.
    let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
    Ok(value[..end].trim_end().to_owned())
}

fn double_quoted(rest: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return nothing_after(letters.as_str()).map(|()| value),
            '\\' => match letters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(same @ ('"' | '\\' | '$')) => value.push(same),
                _ => return Err("has a \\ before something other than n, t, \", \\ or $"),
            },
            plain => value.push(plain),
        }
    }
    Err("has a \" that is not closed")
}

fn nothing_after(after: &str) -> Result<(), &'static str> {
    let after = after.trim();
    if after.is_empty() || after.starts_with('#') { Ok(()) } else { Err("goes on after the closing quote") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_variable_is_named_with_what_was_read() {
        let env = Env::of([("SENSOR_REPLAY_SPEED", "fast")]);
        let error = env.parse::<u32>("SENSOR_REPLAY_SPEED").unwrap_err();
        assert_eq!(error.to_string(), "SENSOR_REPLAY_SPEED: \"fast\": invalid digit found in string");
        assert_eq!(
            env.required("SENSOR_ID").unwrap_err().to_string(),
            "SENSOR_ID: is not set, and is needed"
        );
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let env = Env::of([("SENSOR_ID", "")]);
        assert_eq!(env.get("SENSOR_ID"), None);
        assert_eq!(env.parse::<u32>("SENSOR_ID"), Ok(None));
    }

    #[test]
    fn keys_do_not_reach_debug_output() {
        let env = Env::of([("EdgeHubConnectionString", "SharedAccessKey=c2VjcmV0")]);
        assert_eq!(format!("{env:?}"), "{\"EdgeHubConnectionString\"}");
    }

    #[test]
    fn a_dotenv_files_values_name_those_above_and_the_environment_wins() {
        let outer = Env::of([("HOST", "outer"), ("EMPTY", "")]);
        let text =
            "HOST=inner\nIMAGE=${HOST}/filter:${TAG:-1}\nTAG=2\nAGAIN='${TAG}${NONE}'\nEMPTY=x\nODD=${a:b}${";
        let env = outer.over_dotenv(text).unwrap();
        assert_eq!(env.get("IMAGE"), Some("outer/filter:1"));
        assert_eq!(env.get("AGAIN"), Some("2"));
        assert_eq!((env.get("EMPTY"), env.even_empty("EMPTY")), (None, Some("")));
        assert_eq!(env.get("ODD"), Some("${a:b}${"));
        assert_eq!(outer.over_dotenv("A=1\nB").unwrap_err().variable, ".env line 2");
    }

    #[test]
    fn a_variable_set_in_a_clone_does_not_show_in_the_other() {
        let one = Env::of([("A", "1")]);
        let mut other = one.clone();
        other.set("A", "2");
        assert_eq!((one.get("A"), other.get("A")), (Some("1"), Some("2")));
        assert_eq!(one.overlaid(&other).get("A"), Some("2"));
    }

    #[test]
    fn a_dotenv_file_may_hold_comments_quotes_and_exports() {
        let text = "# who\nexport SENSOR_ID=tmp102-a   # the one by the door\nKEY=a#b==\n\nSINGLE='a \\n # b'\r\n\
                    DOUBLE=\"a\\nb \\\"c\\\"\" # d\nEMPTY=\n";
        let env = Env::from_dotenv(text).unwrap();
        assert_eq!(env.get("SENSOR_ID"), Some("tmp102-a"));
        assert_eq!(env.get("KEY"), Some("a#b=="));
        assert_eq!(env.get("SINGLE"), Some("a \\n # b"));
        assert_eq!(env.get("DOUBLE"), Some("a\nb \"c\""));
        assert_eq!(env.get("EMPTY"), None);
        assert_eq!(env.names().count(), 5);
    }

    #[test]
    fn a_wrong_line_of_a_dotenv_file_is_named() {
        for (text, said) in [
            ("A=1\nB", ".env line 2: has no '='; write NAME=value"),
            ("A='1", ".env line 1: has a ' that is not closed"),
            ("A=\"1\" 2", ".env line 1: goes on after the closing quote"),
            ("A B=1", ".env line 1: has a name with more than letters, digits, '_' and '.'"),
        ] {
            assert_eq!(Env::from_dotenv(text).unwrap_err().to_string(), said);
        }
    }
}
