//! Values of desired properties, taken and shown. A reason says what was wrong and what would be right.

use std::{fmt::Display, ops::RangeInclusive};

use isotherm_client::setting::excerpt;
use isotherm_proto::Celsius;
use serde_json::{Value, json};

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| value.as_str() == Some(word));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        format!(
            "{} is not one of {}",
            excerpt(value),
            list(choices.iter().map(|(word, _)| format!("{word:?}")))
        )
    })
}

/// The word for `meaning`.
pub(super) fn show_choice<T: Copy + PartialEq>(meaning: T, choices: &[(&str, T)]) -> Value {
    let found = choices.iter().find(|(_, each)| *each == meaning);
    json!(found.expect("every meaning has a word").0)
}

/// One of a few numbers.
pub(super) fn one_of<T: Copy>(value: &Value, choices: &[(f64, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(number, _)| value.as_f64() == Some(*number));
    found
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| format!("{} is not one of {}", excerpt(value), list(choices.iter().map(|(n, _)| n))))
}

/// The number for `meaning`, as an integer where it is one.
pub(super) fn show_one_of<T: Copy + PartialEq>(meaning: T, choices: &[(f64, T)]) -> Value {
    let number = choices.iter().find(|(_, each)| *each == meaning).expect("every meaning has a number").0;
    if number.fract() == 0.0 { json!(number as u64) } else { json!(number) }
}

/// A temperature that the chip could measure.
pub(super) fn celsius(value: &Value) -> Result<f32, String> {
    let degrees = value.as_f64().ok_or_else(|| format!("{} is not a number of °C", excerpt(value)))? as f32;
    let range = Celsius::SENSIBLE;
    if !range.contains(&degrees) {
        return Err(format!(
            "{degrees} is outside what the chip can read, {} to {} °C",
            range.start(),
            range.end()
        ));
    }
    Ok(degrees)
}

/// A whole number.
pub(super) fn count(value: &Value, range: RangeInclusive<usize>) -> Result<usize, String> {
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
    count.filter(|count| range.contains(count)).ok_or_else(|| {
        format!("{} is not a whole number from {} to {}", excerpt(value), range.start(), range.end())
    })
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
