//! JSON as Python's `json` writes it: iotedgedev is written in Python, and a `createOptions` that is text has to be
//! the same text, or edgeAgent takes it for a change and starts the container again.

use std::fmt::Write;

use serde_json::Value;

/// `json.dumps(value, separators=(',', ':'))`.
pub(super) fn compact(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, None);
    text
}

/// `json.dumps(value, indent=2)`.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, Some(0));
    text
}

fn write(text: &mut String, value: &Value, depth: Option<usize>) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(yes) => text.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => text.push_str(&float_text(float)),
            None => text.push_str(&number.to_string()),
        },
        Value::String(string) => quoted(text, string),
        Value::Array(list) if list.is_empty() => text.push_str("[]"),
        Value::Object(map) if map.is_empty() => text.push_str("{}"),
        Value::Array(list) => {
            let mut open = '[';
            for element in list {
                next_line(text, &mut open, depth);
                write(text, element, depth.map(|depth| depth + 1));
            }
            close(text, ']', depth);
        }
        Value::Object(map) => {
            let mut open = '{';
            for (key, member) in map {
                next_line(text, &mut open, depth);
                quoted(text, key);
                text.push_str(if depth.is_some() { ": " } else { ":" });
                write(text, member, depth.map(|depth| depth + 1));
            }
            close(text, '}', depth);
        }
    }
}

/// The bracket before the first, a comma before every other.
fn next_line(text: &mut String, before: &mut char, depth: Option<usize>) {
    text.push(std::mem::replace(before, ','));
    indent(text, depth.map(|depth| depth + 1));
}

fn close(text: &mut String, bracket: char, depth: Option<usize>) {
    indent(text, depth);
    text.push(bracket);
}

fn indent(text: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    }
}

/// Nothing but ASCII.
fn quoted(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04x}").expect("a string takes all that is written");
                }
            }
        }
    }
    text.push('"');
}

/// Rust writes the same digits, and an exponent from the same size on, but that one shorter: `1e16`, `1e-5`.
fn float_text(float: f64) -> String {
    let text = format!("{float:?}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let list =
            json!([1, -5, 18_446_744_073_709_551_615_u64, 1.0, 0.1, 1e16, 1e15, 1.5e-7, 0.0001, 1e300]);
        let wanted = "[1,-5,18446744073709551615,1.0,0.1,1e+16,1000000000000000.0,1.5e-07,0.0001,1e+300]";
        assert_eq!(compact(&list), wanted);
    }

    #[test]
    fn strings_are_ascii() {
        let text = compact(&json!("é\u{1f321}\u{7f}\u{1}\"\\/\n\t\u{8}\u{c}\r~"));
        assert_eq!(text, r#""\u00e9\ud83c\udf21\u007f\u0001\"\\/\n\t\b\f\r~""#);
    }

    #[test]
    fn lists_and_objects_are_indented_by_two() {
        let text = pretty(&json!({"a": [1, {}], "b": {}, "c": []}));
        assert_eq!(text, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {},\n  \"c\": []\n}");
        assert_eq!(compact(&json!({"a": [1, {"b": null}]})), r#"{"a":[1,{"b":null}]}"#);
    }
}
