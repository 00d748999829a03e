//! Where in JSON a place of its text is; the text may be broken behind it.

/// The JSON path of what stands at a byte of the text: `modulesContent.filter.list[2]`.
pub(super) fn at(text: &str, offset: usize) -> String {
    let path: String = steps(text, offset.min(text.len())).iter().map(Step::to_string).collect();
    let path = path.trim_start_matches('.');
    if path.is_empty() { "the top level".to_owned() } else { path.to_owned() }
}

/// The byte at which serde_json stopped.
pub(super) fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1)
}

enum Step {
    /// Within an object: the key that was read last.
    Member { key: String, wants_key: bool },
    /// Within a list.
    Element(usize),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Member { wants_key: true, .. } => Ok(()),
            Step::Member { key, .. } => write!(f, ".{key}"),
            Step::Element(index) => write!(f, "[{index}]"),
        }
    }
}

fn steps(text: &str, offset: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < offset {
        match text.as_bytes()[at] {
            b'{' => steps.push(Step::Member { key: String::new(), wants_key: true }),
            b'[' => steps.push(Step::Element(0)),
            b'}' | b']' => drop(steps.pop()),
            b',' => match steps.last_mut() {
                Some(Step::Member { wants_key, .. }) => *wants_key = true,
                Some(Step::Element(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = end_of_string(text, at);
                if let Some(Step::Member { key, wants_key }) = steps.last_mut()
                    && *wants_key
                    && end <= offset
                {
                    *key = serde_json::from_str(&text[at..end]).unwrap_or_default();
                    *wants_key = false;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    steps
}

/// Behind the closing quote of the string that opens at `start`.
fn end_of_string(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_the_keys_and_numbers_that_lead_to_it() {
        let text = r#"{"a, {": {"b\"": [1, {"c": 2}, HERE, "x"]}, "d": THERE, "e": ["#;
        assert_eq!(at(text, text.find("HERE").unwrap()), r#"a, {.b"[2]"#);
        assert_eq!(at(text, text.find("THERE").unwrap()), "d");
        assert_eq!(at(text, text.len()), "e[0]");
        assert_eq!(at(text, 10_000), "e[0]");
        assert_eq!(at(text, 2), "the top level");
    }

    #[test]
    fn what_breaks_json_is_found_by_its_path() {
        let text = "{\n \"a\": {\n  \"b\": nothing\n}}";
        let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
        assert_eq!(at(text, offset(text, &error)), "a.b");
    }
}
