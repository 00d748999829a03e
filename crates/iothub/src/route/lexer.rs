//! A route's text as tokens, each with its place.

use super::error::RouteError;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A keyword, a function or an application property, as written.
    Name(&'a str),
    /// A name that begins with `$`, which is kept.
    Dollar(&'a str),
    /// A string, its escapes resolved.
    Text(String),
    /// A number, decimal or hexadecimal.
    Number(f64),
    /// A bracket or an operator.
    Symbol(&'static str),
    /// Nothing follows.
    End,
}

/// A token and the bytes it covers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) at: usize,
    pub(super) end: usize,
}

/// Longer ones first, so that `<=` is not `<` and `=`.
const SYMBOLS: [&str; 19] =
    ["!=", "<>", "<=", ">=", "||", "??", "(", ")", "{", "}", ",", "+", "-", "*", "/", "%", "=", "<", ">"];

/// What ends a name, besides blanks; square brackets are allowed in names that begin with `$`.
const NOT_IN_NAMES: &str = "()<>@,;:\\\"/?={}";

/// A place in a route's text.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> RouteError {
        RouteError::new(self.text, at, message)
    }

    /// Skips blanks; says whether there were any.
    pub(super) fn skip_blanks(&mut self) -> bool {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.at += blanks;
        blanks > 0
    }

    /// Skips blanks and `/* comments */`.
    pub(super) fn skip(&mut self) -> Result<(), RouteError> {
        loop {
            self.skip_blanks();
            if !self.rest().starts_with("/*") {
                return Ok(());
            }
            let Some(length) = self.rest().find("*/") else {
                return Err(self.error(self.at, "this comment is not closed; write `*/` after it"));
            };
            self.at += length + 2;
        }
    }

    /// The next token of a condition or a sink.
    pub(super) fn next(&mut self) -> Result<Token<'a>, RouteError> {
        self.skip()?;
        let at = self.at;
        let kind = self.kind()?;
        Ok(Token { kind, at, end: self.at })
    }

    fn kind(&mut self) -> Result<Kind<'a>, RouteError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Kind::End) };
        if first == '"' || first == '\'' {
            return self.string(first).map(Kind::Text);
        }
        let name = name_length(rest, first == '$');
        if let Some((number, length)) = number(rest).filter(|&(_, length)| length >= name) {
            self.at += length;
            return Ok(Kind::Number(number));
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| self.is_symbol(symbol, name)) {
            self.at += symbol.len();
            return Ok(Kind::Symbol(symbol));
        }
        if name == 0 || (first == '$' && name == 1) {
            return Err(self.error(self.at, unexpected(first)));
        }
        self.at += name;
        let word = &rest[..name];
        Ok(if first == '$' { Kind::Dollar(word) } else { Kind::Name(word) })
    }

    /// `+`, `-`, `*` and `%` may be part of a name, so they are operators only where they stand alone; only a
    /// `-` at the very start is a sign whatever follows.
    fn is_symbol(&self, symbol: &str, name: usize) -> bool {
        let in_names = matches!(symbol, "+" | "*" | "%");
        self.rest().starts_with(symbol) && (!in_names || name <= 1)
    }

    fn string(&mut self, quote: char) -> Result<String, RouteError> {
        let start = self.at;
        let mut value = String::new();
        self.at += 1;
        while let Some(c) = self.rest().chars().next() {
            match c {
                '\\' => value.push(self.escape()?),
                _ => self.at += c.len_utf8(),
            }
            match c {
                '\\' => {}
                _ if c == quote => return Ok(value),
                _ => value.push(c),
            }
        }
        Err(self.error(start, format!("this string is not closed; write {quote} after it")))
    }

    fn escape(&mut self) -> Result<char, RouteError> {
        let wrong = || self.error(self.at, "after a backslash comes one of \" ' \\ or uXXXX");
        let rest = &self.rest()[1..];
        let c = rest.chars().next().ok_or_else(wrong)?;
        if matches!(c, '"' | '\'' | '\\') {
            self.at += 2;
            return Ok(c);
        }
        let first = hex4(rest).ok_or_else(wrong)?;
        if let Some(c) = char::from_u32(first) {
            self.at += 6;
            return Ok(c);
        }
        // The first half of a character beyond U+FFFF: the other half follows as an escape of its own.
        let second = rest[5..].strip_prefix('\\').and_then(hex4).ok_or_else(wrong)?;
        let pair = char::decode_utf16([first as u16, second as u16]).next();
        let c = pair.and_then(Result::ok).ok_or_else(wrong)?;
        self.at += 12;
        Ok(c)
    }
}

fn hex4(escape: &str) -> Option<u32> {
    let digits = escape.strip_prefix('u')?.get(..4)?;
    let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// The bytes of the name at the start of `rest`, 0 if there is none.
pub(super) fn name_length(rest: &str, brackets: bool) -> usize {
    let ends = |(at, c): (usize, char)| {
        let after = &rest[at..];
        let ends = c.is_ascii_whitespace()
            || NOT_IN_NAMES.contains(c)
            || (matches!(c, '[' | ']') && !brackets)
            || after.starts_with("!=")
            || after.starts_with("||");
        ends.then_some(at)
    };
    rest.char_indices().find_map(ends).unwrap_or(rest.len())
}

/// The number at the start of `rest` and its bytes. A sign is an operator of its own.
fn number(rest: &str) -> Option<(f64, usize)> {
    let bytes = rest.as_bytes();
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let digits = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
        let value = u64::from_str_radix(hex.get(..digits)?, 16).ok()?;
        #[expect(clippy::cast_precision_loss, reason = "numbers of a route are doubles, as edgeHub's are")]
        return Some((value as f64, digits + 2));
    }
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if end > 0 && matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = if end + 1 + sign <= bytes.len() { digits(end + 1 + sign) } else { 0 };
        end += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    Some((rest[..end].parse().ok()?, end))
}

fn unexpected(c: char) -> String {
    match c {
        '$' => "after `$` comes a name: `$contentType`, `$body.temperature`".to_owned(),
        '?' => "a single `?` means nothing here; `??` is the operator".to_owned(),
        '[' | ']' => "square brackets index lists of the body only: `$body.list[0]`".to_owned(),
        _ => format!("`{}` means nothing here", c.escape_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind<'_>> {
        let mut lexer = Lexer::new(text);
        let tokens = std::iter::from_fn(|| Some(lexer.next().unwrap().kind));
        tokens.take_while(|kind| *kind != Kind::End).collect()
    }

    fn refused(text: &str) -> RouteError {
        let mut lexer = Lexer::new(text);
        loop {
            match lexer.next() {
                Ok(Token { kind: Kind::End, .. }) => panic!("{text} was taken"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    #[test]
    fn a_dash_within_a_name_belongs_to_it_and_alone_it_is_an_operator() {
        assert_eq!(kinds("a-b"), [Kind::Name("a-b")]);
        assert_eq!(kinds("a - b"), [Kind::Name("a"), Kind::Symbol("-"), Kind::Name("b")]);
        assert_eq!(kinds("-b"), [Kind::Symbol("-"), Kind::Name("b")]);
        assert_eq!(kinds("a*b+c%d.e"), [Kind::Name("a*b+c%d.e")]);
        assert_eq!(
            kinds("2 * 3 % 4"),
            [2.0, 3.0, 4.0]
                .map(Kind::Number)
                .into_iter()
                .enumerate()
                .flat_map(|(i, n)| if i == 0 { vec![n] } else { vec![Kind::Symbol(["", "*", "%"][i]), n] })
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn operators_need_no_blanks_where_no_name_can_hold_them() {
        assert_eq!(kinds("a!=b"), [Kind::Name("a"), Kind::Symbol("!="), Kind::Name("b")]);
        assert_eq!(kinds("a||b"), [Kind::Name("a"), Kind::Symbol("||"), Kind::Name("b")]);
        assert_eq!(kinds("a<>1"), [Kind::Name("a"), Kind::Symbol("<>"), Kind::Number(1.0)]);
        assert_eq!(kinds("a??b"), [Kind::Name("a"), Kind::Symbol("??"), Kind::Name("b")]);
    }

    #[test]
    fn numbers_come_as_integers_reals_exponents_and_hex() {
        let numbers =
            [("10", 10.0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("2.5E-1", 0.25), ("0x1F", 31.0)];
        for (text, number) in numbers {
            assert_eq!(kinds(text), [Kind::Number(number)], "{text}");
        }
        assert_eq!(kinds("10m"), [Kind::Name("10m")]);
        assert_eq!(kinds("1e+"), [Kind::Name("1e+")]);
        assert_eq!(kinds("1e"), [Kind::Name("1e")]);
    }

    #[test]
    fn strings_have_both_quotes_and_four_escapes() {
        assert_eq!(kinds(r#"'it\'s' "\"\\""#), [Kind::Text("it's".into()), Kind::Text("\"\\".into())]);
        assert_eq!(kinds(r"'\u00fc\uD83C\uDF21'"), [Kind::Text("ü🌡".into())]);
    }

    #[test]
    fn mistakes_in_strings_and_comments_are_pointed_at() {
        assert_eq!(refused("a = 'b").at, 4);
        assert_eq!(refused(r"a = 'b\n'").at, 6);
        assert_eq!(refused(r"'\u12'").at, 1);
        assert_eq!(refused(r"'\uD83C!'").at, 1);
        assert_eq!(refused("a /* b").at, 2);
        assert_eq!(refused("a @ b").at, 2);
        assert_eq!(refused("a = $ b").at, 4);
        assert_eq!(refused("'\\").at, 1);
    }

    #[test]
    fn names_with_a_dollar_may_hold_square_brackets() {
        assert_eq!(kinds("$body.a[0].b=1")[0], Kind::Dollar("$body.a[0].b"));
        assert_eq!(kinds("{$to}"), [Kind::Symbol("{"), Kind::Dollar("$to"), Kind::Symbol("}")]);
    }
}
