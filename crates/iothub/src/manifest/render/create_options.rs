//! What docker is to be told, as text in pieces: a string of a twin once held 512 characters.

use serde_json::{Map, Value};

use super::python;
use crate::manifest::check::Check;

/// The length of a piece, in characters.
const PIECE_CHARS: usize = 512;
/// The most pieces that IoT Edge's tools write; edgeAgent would read a hundred.
const PIECES_MAX: usize = 8;

/// Turns `createOptions` into text and spreads it over `createOptions`, `createOptions01`, `createOptions02`, …
pub(super) fn split(check: &mut Check, path: &str, module: &mut Map<String, Value>) {
    let Some(settings) = module.get_mut("settings").and_then(Value::as_object_mut) else { return };
    let Some(options) = settings.get("createOptions") else { return };
    let text = match options {
        Value::String(text) => text.clone(),
        other => python::compact(other),
    };
    let pieces = pieces(&text);
    if pieces.len() > PIECES_MAX {
        let (long, fits) = (text.chars().count(), PIECES_MAX * PIECE_CHARS);
        let why =
            format!("is {long} characters long, and {fits} fit; mount a file instead of spelling it out");
        check.problem(format!("{path}.settings.createOptions"), why);
        return;
    }
    for (number, piece) in pieces.into_iter().enumerate() {
        let name = if number == 0 { "createOptions".to_owned() } else { format!("createOptions{number:02}") };
        settings.insert(name, Value::String(piece.to_owned()));
    }
}

/// At least one, be it empty.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.char_indices().nth(PIECE_CHARS).map_or(rest.len(), |(at, _)| at);
        pieces.push(&rest[..end]);
        rest = &rest[end..];
        if rest.is_empty() {
            return pieces;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_in_characters_and_none_is_lost() {
        for length in [0, 1, 511, 512, 513, 1024, 1025] {
            let text = "é".repeat(length);
            let pieces = pieces(&text);
            assert_eq!(pieces.len(), length.div_ceil(512).max(1));
            assert!(pieces.iter().all(|piece| piece.chars().count() <= 512));
            assert_eq!(pieces.concat(), text);
        }
    }
}
