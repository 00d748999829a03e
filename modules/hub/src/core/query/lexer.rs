//! A query's words: names, texts, numbers, signs, each with its place.

use isotherm_iothub::Refused;

/// One of a query's pieces.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword, as it is written.
    Word(String),
    /// A name in `[[ ]]`, which is never a keyword.
    Name(String),
    /// A text in quotes.
    Text(String),
    /// A number.
    Number(f64),
    /// A sign, such as `(` or `>=`.
    Sign(&'static str),
}

/// The signs; of two that begin alike the longer comes first.
const SIGNS: [&str; 18] =
    ["<=", ">=", "<>", "!=", "(", ")", "[", "]", ",", ".", "*", "=", "<", ">", "+", "-", "/", "%"];

/// Takes a query apart; each token comes with the number of its first character, from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Refused> {
    let mut tokens = Vec::new();
    let (mut rest, mut at) = (text, 1);
    loop {
        let blank = rest.len() - rest.trim_start().len();
        at += rest[..blank].chars().count();
        rest = &rest[blank..];
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, taken) = token(rest, first, at)?;
        tokens.push((at, token));
        at += rest[..taken].chars().count();
        rest = &rest[taken..];
    }
}

/// The first token and how many bytes it has.
fn token(rest: &str, first: char, at: usize) -> Result<(Token, usize), Refused> {
    if first == '\'' || first == '"' {
        return quoted(rest, first, at);
    }
    if let Some(inner) = rest.strip_prefix("[[") {
        let end = inner.find("]]").ok_or_else(|| wrong(at, "`[[` without `]]`"))?;
        return Ok((Token::Name(inner[..end].to_owned()), end + 4));
    }
    if first.is_ascii_digit() {
        let end = rest.find(|it: char| !(it.is_ascii_digit() || it == '.')).unwrap_or(rest.len());
        let number = rest[..end].parse().map_err(|_| wrong(at, "is no number"))?;
        return Ok((Token::Number(number), end));
    }
    if first.is_alphabetic() || first == '_' || first == '$' {
        let end = rest.find(|it: char| !(it.is_alphanumeric() || it == '_' || it == '$'));
        let end = end.unwrap_or(rest.len());
        return Ok((Token::Word(rest[..end].to_owned()), end));
    }
    let sign = SIGNS.iter().find(|sign| rest.starts_with(*sign));
    let sign = sign.ok_or_else(|| wrong(at, format!("`{first}` means nothing here")))?;
    Ok((Token::Sign(sign), sign.len()))
}

/// A text in quotes; a quote within is doubled or comes after a backslash.
fn quoted(rest: &str, quote: char, at: usize) -> Result<(Token, usize), Refused> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((place, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        if letter == '\\' && matches!(next, Some('\\' | '\'' | '"')) || letter == quote && next == Some(quote)
        {
            text.extend(next);
            letters.next();
        } else if letter == quote {
            return Ok((Token::Text(text), place + 1));
        } else {
            text.push(letter);
        }
    }
    Err(wrong(at, "the text has no closing quote"))
}

/// A query that is wrong at some character.
pub(super) fn wrong(at: usize, why: impl std::fmt::Display) -> Refused {
    Refused::new("the query", format!("at character {at}: {why}"))
}
