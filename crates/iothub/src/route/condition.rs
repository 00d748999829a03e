//! The condition after `WHERE`: operators by precedence, every operand checked for its kind.
//!
//! From the tightest: `-` and NOT; `* / %`; `+ - ||`; `< <= > >=`; `= != <>`; AND; OR; `??`.

use super::body::Path;
use super::error::RouteError;
use super::expression::{Arithmetic, Comparison, Expression, Kind, Operator};
use super::function::Function;
use super::lexer::{self, Lexer, Token};
use super::{ROUTE_DEPTH_MAX, ROUTE_OPERANDS_MAX};
use crate::message::SystemProperty;

type Parsed = Result<Expression, RouteError>;

pub(super) struct Condition<'a> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    depth: usize,
    operands: usize,
}

impl<'a> Condition<'a> {
    /// Reads a condition where the lexer stands; gives the place behind it too.
    pub(super) fn parse(mut lexer: Lexer<'a>) -> Result<(Expression, usize), RouteError> {
        let next = lexer.next()?;
        let start = next.at;
        let mut parser = Self { lexer, next, depth: 0, operands: 0 };
        let condition = parser.operators(0)?;
        let kind = condition.kind();
        if !kind.fits(Kind::Bool) && kind != Kind::Null {
            let why = format!(
                "a condition is true or false, and this is {}; compare it with something",
                kind.name()
            );
            return Err(parser.error(start, why));
        }
        Ok((condition, parser.next.at))
    }

    /// Operands joined by operators that bind more tightly than `floor`.
    fn operators(&mut self, floor: u8) -> Parsed {
        let mut left = self.operand()?;
        while let Some((operator, strength)) = self.operator().filter(|(_, strength)| *strength > floor) {
            let token = self.take()?;
            let right = self.nested(token.at, |it| it.operators(strength))?;
            if let Some(why) = mismatch(operator, self.text(&token), &left, &right) {
                return Err(self.error(token.at, why));
            }
            left = Expression::Binary(operator, left.into(), right.into());
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(Operator, u8)> {
        let arithmetic = |it, strength| (Operator::Arithmetic(it), strength);
        let compare = |it, strength| (Operator::Compare(it), strength);
        Some(match self.next.kind {
            lexer::Kind::Symbol("*") => arithmetic(Arithmetic::Multiply, 7),
            lexer::Kind::Symbol("/") => arithmetic(Arithmetic::Divide, 7),
            lexer::Kind::Symbol("%") => arithmetic(Arithmetic::Modulo, 7),
            lexer::Kind::Symbol("+") => arithmetic(Arithmetic::Add, 6),
            lexer::Kind::Symbol("-") => arithmetic(Arithmetic::Subtract, 6),
            lexer::Kind::Symbol("||") => (Operator::Concat, 6),
            lexer::Kind::Symbol("<") => compare(Comparison::Less, 5),
            lexer::Kind::Symbol("<=") => compare(Comparison::LessOrEqual, 5),
            lexer::Kind::Symbol(">") => compare(Comparison::Greater, 5),
            lexer::Kind::Symbol(">=") => compare(Comparison::GreaterOrEqual, 5),
            lexer::Kind::Symbol("=") => compare(Comparison::Equal, 4),
            lexer::Kind::Symbol("!=" | "<>") => compare(Comparison::NotEqual, 4),
            lexer::Kind::Name(name) if name.eq_ignore_ascii_case("AND") => (Operator::And, 3),
            lexer::Kind::Name(name) if name.eq_ignore_ascii_case("OR") => (Operator::Or, 2),
            lexer::Kind::Symbol("??") => (Operator::Coalesce, 1),
            _ => return None,
        })
    }

    fn operand(&mut self) -> Parsed {
        let token = self.take()?;
        self.operands += 1;
        if self.operands > ROUTE_OPERANDS_MAX {
            let why = format!("more than {ROUTE_OPERANDS_MAX} operands; split the route into several");
            return Err(self.error(token.at, why));
        }
        match token.kind {
            lexer::Kind::Number(number) => Ok(Expression::Number(number)),
            lexer::Kind::Text(text) => Ok(Expression::Text(text.into())),
            lexer::Kind::Symbol("(") => self.nested(token.at, Self::parentheses),
            lexer::Kind::Symbol("-") => self.nested(token.at, |it| it.negated(token.at)),
            lexer::Kind::Symbol("{") => self.braces(),
            lexer::Kind::Dollar(name) => self.dollar(name, token.at),
            lexer::Kind::Name(name) => self.name(name, token.at),
            lexer::Kind::Symbol(_) | lexer::Kind::End => {
                let what = if token.at == token.end { "the end" } else { self.text(&token) };
                let why = format!("here comes a property, a value or a function, not {what}");
                Err(self.error(token.at, why))
            }
        }
    }

    fn name(&mut self, name: &str, at: usize) -> Parsed {
        if name.eq_ignore_ascii_case("NOT") {
            return self.nested(at, |it| it.inverted(at));
        }
        if self.next.kind == lexer::Kind::Symbol("(") {
            return self.nested(at, |it| it.call(name, at));
        }
        Ok(match name {
            "true" => Expression::Bool(true),
            "false" => Expression::Bool(false),
            "null" => Expression::Null,
            "undefined" => Expression::Undefined,
            _ if ["AND", "OR", "INTO"].iter().any(|keyword| name.eq_ignore_ascii_case(keyword)) => {
                return Err(self.error(at, format!("before {name} comes a property, a value or a function")));
            }
            _ => Expression::Property(name.into()),
        })
    }

    fn parentheses(&mut self) -> Parsed {
        let inner = self.operators(0)?;
        self.expect(")", "the parenthesis is not closed: here comes an operator or `)`")?;
        Ok(inner)
    }

    fn negated(&mut self, at: usize) -> Parsed {
        let operand = self.operand()?;
        let kind = operand.kind();
        if !kind.fits(Kind::Number) {
            return Err(
                self.error(at, format!("`-` wants a number, not {}{}", kind.name(), advice(&operand)))
            );
        }
        Ok(Expression::Negate(operand.into()))
    }

    fn inverted(&mut self, at: usize) -> Parsed {
        let operand = self.operand()?;
        let kind = operand.kind();
        if !kind.fits(Kind::Bool) && kind != Kind::Null {
            let why =
                format!("NOT wants true or false, not {}; it binds tightest: write NOT (a = b)", kind.name());
            return Err(self.error(at, why));
        }
        Ok(Expression::Not(operand.into()))
    }

    /// `{$name}`: a system property or the body, even if an application property has that name.
    fn braces(&mut self) -> Parsed {
        let token = self.take()?;
        let lexer::Kind::Dollar(name) = token.kind else {
            return Err(self.error(token.at, "in braces comes a system property: `{$contentType}`"));
        };
        let meaning = self.meaning(name, token.at)?;
        self.expect("}", "the brace is not closed: here comes `}`")?;
        Ok(meaning)
    }

    fn dollar(&mut self, name: &str, at: usize) -> Parsed {
        let meaning = self.meaning(name, at)?;
        // No property can have square brackets in its name, so such a path needs no second look.
        Ok(if name.contains('[') { meaning } else { Expression::Dollar(name.into(), meaning.into()) })
    }

    fn meaning(&self, name: &str, at: usize) -> Parsed {
        const BODY: &str = "$body.";
        if name.get(..BODY.len()).is_some_and(|start| start.eq_ignore_ascii_case(BODY)) {
            let path = Path::parse(&name[BODY.len()..]);
            return path
                .map(Expression::Body)
                .map_err(|(within, why)| self.error(at + BODY.len() + within, why));
        }
        if let Some(bracket) = name.find(['[', ']']) {
            return Err(
                self.error(at + bracket, "square brackets index lists of the body only: `$body.list[0]`")
            );
        }
        Ok(Expression::System(SystemProperty::from_route_name(&name[1..])))
    }

    fn call(&mut self, name: &str, at: usize) -> Parsed {
        let function = Function::named(name).ok_or_else(|| {
            self.error(at, format!("there is no function `{name}`; there are {}", Function::names()))
        })?;
        self.take()?;
        let mut arguments = Vec::new();
        if self.next.kind != lexer::Kind::Symbol(")") {
            arguments.push(self.operators(0)?);
            while self.next.kind == lexer::Kind::Symbol(",") {
                self.take()?;
                arguments.push(self.operators(0)?);
            }
        }
        self.expect(")", "the arguments are not closed: here comes an operator, `,` or `)`")?;
        let kinds: Vec<Kind> = arguments.iter().map(Expression::kind).collect();
        function.check(&kinds).map_err(|why| self.error(at, format!("{name} {why}")))?;
        Ok(Expression::Call(function, arguments))
    }

    /// Goes one level deeper, as far as that is allowed: the parser's stack is as deep as the text.
    fn nested(&mut self, at: usize, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth == ROUTE_DEPTH_MAX {
            return Err(self.error(at, format!("nested more than {ROUTE_DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let expression = inner(self)?;
        self.depth -= 1;
        Ok(expression)
    }

    fn take(&mut self) -> Result<Token<'a>, RouteError> {
        let following = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, following))
    }

    fn expect(&mut self, symbol: &'static str, otherwise: &str) -> Result<(), RouteError> {
        if self.next.kind != lexer::Kind::Symbol(symbol) {
            return Err(self.error(self.next.at, otherwise));
        }
        self.take().map(drop)
    }

    fn text(&self, token: &Token<'_>) -> &'a str {
        &self.lexer.text[token.at..token.end]
    }

    fn error(&self, at: usize, message: impl Into<String>) -> RouteError {
        self.lexer.error(at, message)
    }
}

/// What is wrong with the two sides of an operator, if anything.
fn mismatch(operator: Operator, sign: &str, left: &Expression, right: &Expression) -> Option<String> {
    let (a, b) = (left.kind(), right.kind());
    let wanted = match operator {
        Operator::Arithmetic(_) => Kind::Number,
        Operator::Concat => Kind::Text,
        Operator::And | Operator::Or => Kind::Bool,
        Operator::Compare(_) | Operator::Coalesce => {
            let same = a.fits(b) || b.fits(a) || a == Kind::Null || b == Kind::Null;
            let advice = if b == Kind::Number { advice(left) } else { advice(right) };
            return (!same).then(|| {
                format!("`{sign}` wants two of a kind, but here are {} and {}{advice}", a.name(), b.name())
            });
        }
    };
    let logic_with_null = |kind| wanted == Kind::Bool && kind == Kind::Null;
    let wrong =
        [left, right].into_iter().find(|side| !side.kind().fits(wanted) && !logic_with_null(side.kind()))?;
    let advice = if wanted == Kind::Number { advice(wrong) } else { String::new() };
    Some(format!("`{sign}` wants {} on both sides, not {}{advice}", wanted.name(), wrong.kind().name()))
}

/// What to write instead of a property where a number is wanted.
fn advice(side: &Expression) -> String {
    let Some(name) = side.property() else { return String::new() };
    let joined = name.char_indices().any(|(at, c)| at > 0 && "+-*%".contains(c));
    let spaces = if joined { "; an operator needs blanks around it to be one" } else { "" };
    format!("; a property is always a string: write as_number({name}){spaces}")
}
