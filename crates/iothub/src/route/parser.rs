//! `[SELECT *] FROM source [WHERE condition] INTO sink`.

use super::condition::Condition;
use super::error::RouteError;
use super::expression::Expression;
use super::lexer::{Kind, Lexer, Token, name_length};
use super::source::Pattern;
use super::{ROUTE_CHARS_MAX, Sink};

pub(super) fn parse(text: &str) -> Result<(Pattern, Option<Expression>, Sink), RouteError> {
    let mut lexer = Lexer::new(text);
    if let Some((end, _)) = text.char_indices().nth(ROUTE_CHARS_MAX) {
        let why = format!("the route is longer than {ROUTE_CHARS_MAX} characters; split it into several");
        return Err(lexer.error(end, why));
    }
    select(&mut lexer)?;
    let pattern = source(&mut lexer)?;
    let condition = if try_keyword(&mut lexer, "WHERE")? {
        let (condition, after) = Condition::parse(lexer.clone())?;
        lexer.at = after;
        Some(condition)
    } else {
        None
    };
    if !try_keyword(&mut lexer, "INTO")? {
        return Err(lexer.error(lexer.at, after_source(condition.is_some())));
    }
    let sink = sink(&mut lexer)?;
    let after = lexer.next()?;
    if after.kind != Kind::End {
        return Err(lexer.error(after.at, "nothing may follow the sink"));
    }
    Ok((pattern, condition, sink))
}

fn after_source(with_condition: bool) -> &'static str {
    if with_condition {
        "after the condition comes AND, OR or another operator, or `INTO` and a sink"
    } else {
        "after the source comes `WHERE` and a condition, or `INTO` and a sink"
    }
}

fn select(lexer: &mut Lexer<'_>) -> Result<(), RouteError> {
    if try_keyword(lexer, "SELECT")? {
        let star = lexer.next()?;
        if star.kind != Kind::Symbol("*") {
            return Err(lexer.error(star.at, "after SELECT comes `*`: a route passes on whole messages"));
        }
    }
    if try_keyword(lexer, "FROM")? {
        return Ok(());
    }
    Err(lexer.error(lexer.at, "a route begins with `FROM` and a source: `FROM /messages/* INTO $upstream`"))
}

/// Steps over `keyword`, in whatever case, if it stands here.
fn try_keyword(lexer: &mut Lexer<'_>, keyword: &str) -> Result<bool, RouteError> {
    lexer.skip()?;
    let length = name_length(lexer.rest(), false);
    let found = lexer.rest()[..length].eq_ignore_ascii_case(keyword);
    lexer.at += if found { length } else { 0 };
    Ok(found)
}

/// `/item/item`, an item being `*` or a name. Blanks may stand between the pieces.
fn source(lexer: &mut Lexer<'_>) -> Result<Pattern, RouteError> {
    skip_before_source(lexer);
    let mut path = String::new();
    loop {
        let blanks = lexer.skip_blanks();
        // What looks like the start of a comment is the wildcard in `/*` and `/messages/*`.
        let comment = blanks && !path.is_empty() && lexer.rest().starts_with("/*");
        if comment || !lexer.rest().starts_with('/') {
            break;
        }
        lexer.at += 1;
        lexer.skip_blanks();
        path.push('/');
        let item = &lexer.rest()[..name_length(lexer.rest(), false)];
        if item.is_empty() || is_next_keyword(item) {
            break; // `FROM / INTO` and `FROM /messages/ WHERE`
        }
        path.push_str(item);
        lexer.at += item.len();
    }
    if path.is_empty() {
        return Err(
            lexer.error(lexer.at, "after FROM comes a source, which begins with a slash: `/messages/*`")
        );
    }
    Ok(Pattern::new(&path))
}

fn is_next_keyword(item: &str) -> bool {
    item.eq_ignore_ascii_case("INTO") || item.eq_ignore_ascii_case("WHERE")
}

/// A comment between FROM and the source; told from `FROM /*` by the slash that follows it.
fn skip_before_source(lexer: &mut Lexer<'_>) {
    loop {
        lexer.skip_blanks();
        let Some(length) = lexer.rest().strip_prefix("/*").and_then(|rest| rest.find("*/")) else { return };
        let after = &lexer.rest()[length + 4..];
        if !after.trim_start().starts_with('/') {
            return;
        }
        lexer.at += length + 4;
    }
}

/// `$upstream` or `BrokeredEndpoint("/modules/{module}/inputs/{input}")`.
fn sink(lexer: &mut Lexer<'_>) -> Result<Sink, RouteError> {
    const WANTED: &str =
        "after INTO comes `$upstream` or `BrokeredEndpoint(\"/modules/{module}/inputs/{input}\")`";
    let first = lexer.next()?;
    match first.kind {
        Kind::Dollar(name) if name.eq_ignore_ascii_case("$upstream") => return Ok(Sink::Upstream),
        Kind::Name(name) if name.eq_ignore_ascii_case("BrokeredEndpoint") => {}
        _ => return Err(lexer.error(first.at, WANTED)),
    }
    expect(lexer, "(")?;
    let path = lexer.next()?;
    let Token { kind: Kind::Text(text), at, .. } = path else {
        return Err(
            lexer.error(path.at, "in the parentheses comes one string: \"/modules/filter/inputs/input1\"")
        );
    };
    let sink = input(&text).ok_or_else(|| {
        lexer.error(at, format!("\"{text}\" is no input; one is \"/modules/{{module}}/inputs/{{input}}\""))
    })?;
    expect(lexer, ")")?;
    Ok(sink)
}

fn expect(lexer: &mut Lexer<'_>, symbol: &'static str) -> Result<(), RouteError> {
    let token = lexer.next()?;
    if token.kind == Kind::Symbol(symbol) {
        return Ok(());
    }
    Err(lexer.error(token.at, format!("here comes `{symbol}`")))
}

/// Four segments, with or without a slash at either end; the first and the third may be any words, as in edgeHub.
fn input(path: &str) -> Option<Sink> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments: Vec<&str> = path.split('/').collect();
    match segments[..] {
        [_, module, _, input] if !module.is_empty() && !input.is_empty() => {
            Some(Sink::Input { module: module.into(), input: input.into() })
        }
        _ => None,
    }
}
