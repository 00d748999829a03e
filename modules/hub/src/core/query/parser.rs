//! Reads a query from its tokens.

use isotherm_iothub::Refused;
use serde_json::{Number, Value};

use super::columns::{Aggregate, Column, Select};
use super::condition::{Condition, Operator, Term};
use super::function::Function;
use super::lexer::{Token, tokens, wrong};
use super::{Collection, Query};

/// How deep brackets and `NOT` may go.
const DEPTH_MAX: usize = 64;
/// How many operators there may be: a chain of them is as deep as it is long when it is evaluated.
const OPERATORS_MAX: usize = 500;
/// Words that end a field or a condition, and so are no aliases.
const KEYWORDS: [&str; 12] =
    ["SELECT", "FROM", "WHERE", "GROUP", "BY", "AS", "AND", "OR", "NOT", "IN", "NIN", "ORDER"];

pub(super) struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    operators: usize,
    /// The number of the character after the last.
    end: usize,
}

impl Parser {
    pub(super) fn new(text: &str) -> Result<Self, Refused> {
        let end = text.trim_end().chars().count();
        Ok(Self { tokens: tokens(text)?, next: 0, depth: 0, operators: 0, end })
    }

    pub(super) fn query(mut self) -> Result<Query, Refused> {
        self.expect_word("SELECT")?;
        let top = if self.take_word("TOP") { Some(self.top()?) } else { None };
        let select = self.select()?;
        self.expect_word("FROM")?;
        let from = self.collection()?;
        let condition = if self.take_word("WHERE") { Some(self.condition()?) } else { None };
        let mut group_by = Vec::new();
        if self.take_word("GROUP") {
            self.expect_word("BY")?;
            group_by.push(self.path()?);
            while self.take_sign(",") {
                group_by.push(self.path()?);
            }
        }
        self.expect_end()?;
        select.check(&group_by)?;
        Ok(Query { select, from, top, condition, group_by })
    }

    pub(super) fn condition_alone(mut self) -> Result<Condition, Refused> {
        let condition = self.condition()?;
        self.expect_end()?;
        Ok(condition)
    }

    fn top(&mut self) -> Result<usize, Refused> {
        let bracket = self.take_sign("(");
        let at = self.at();
        let Some(Token::Number(number)) = self.take() else { return Err(wrong(at, "TOP wants a number")) };
        if bracket {
            self.expect_sign(")")?;
        }
        if number < 1.0 || number.fract() != 0.0 {
            return Err(wrong(at, "TOP wants a whole number from 1 on"));
        }
        Ok(number as usize)
    }

    fn select(&mut self) -> Result<Select, Refused> {
        if self.take_sign("*") {
            return Ok(Select::Whole);
        }
        let mut columns = vec![self.column(1)?];
        while self.take_sign(",") {
            columns.push(self.column(columns.len() + 1)?);
        }
        Ok(Select::Columns(columns))
    }

    fn column(&mut self, number: usize) -> Result<Column, Refused> {
        let aggregate = match (self.peek(), self.tokens.get(self.next + 1)) {
            (Some(Token::Word(word)), Some((_, Token::Sign("(")))) => Aggregate::named(word),
            _ => None,
        };
        let (aggregate, path) = match aggregate {
            Some(aggregate) => {
                self.next += 2;
                let empty = self.take_sign("*") || self.is_sign(")");
                let path = if empty { Vec::new() } else { self.path()? };
                self.expect_sign(")")?;
                if path.is_empty() && aggregate != Aggregate::Count {
                    return Err(wrong(self.at(), "this aggregate wants a field"));
                }
                (Some(aggregate), path)
            }
            None => (None, self.path()?),
        };
        let name = if self.take_word("AS") {
            self.name()?
        } else if aggregate.is_some() {
            format!("${number}")
        } else {
            path.last().cloned().unwrap_or_default()
        };
        Ok(Column { aggregate, path, name })
    }

    fn collection(&mut self) -> Result<Collection, Refused> {
        let at = self.at();
        let path = self.raw_path()?.join(".").to_ascii_lowercase();
        match path.as_str() {
            "devices" => Ok(Collection::Devices),
            "devices.modules" => Ok(Collection::Modules),
            "devices.jobs" => Ok(Collection::Jobs),
            _ => Err(wrong(at, "FROM wants devices, devices.modules or devices.jobs")),
        }
    }

    fn condition(&mut self) -> Result<Condition, Refused> {
        let mut left = self.conjunction()?;
        while self.take_word("OR") {
            self.one_operator_more()?;
            left = Condition::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Condition, Refused> {
        let mut left = self.negation()?;
        while self.take_word("AND") {
            self.one_operator_more()?;
            left = Condition::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Condition, Refused> {
        if self.take_word("NOT") {
            self.deeper()?;
            let negated = Condition::Not(Box::new(self.negation()?));
            self.depth -= 1;
            return Ok(negated);
        }
        let left = self.sum()?;
        if let Some(operator) = self.take_comparison() {
            let right = self.sum()?;
            return Ok(Condition::Compare(operator, left, right));
        }
        let negated = self.take_word("NIN") || self.is_word_pair("NOT", "IN");
        if negated || self.take_word("IN") {
            let among = Condition::In(left, self.list()?);
            return Ok(if negated { Condition::Not(Box::new(among)) } else { among });
        }
        Ok(match left {
            Term::Nested(condition) => *condition,
            other => Condition::Holds(other),
        })
    }

    fn list(&mut self) -> Result<Vec<Term>, Refused> {
        let end = if self.take_sign("(") {
            ")"
        } else {
            self.expect_sign("[")?;
            "]"
        };
        let mut list = Vec::new();
        while !self.take_sign(end) {
            if !list.is_empty() {
                self.expect_sign(",")?;
            }
            list.push(self.sum()?);
        }
        Ok(list)
    }

    fn sum(&mut self) -> Result<Term, Refused> {
        let mut left = self.product()?;
        while let Some(sign) = self.take_one_of(["+", "-"]) {
            self.one_operator_more()?;
            left = Term::Arithmetic(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Term, Refused> {
        let mut left = self.term()?;
        while let Some(sign) = self.take_one_of(["*", "/", "%"]) {
            self.one_operator_more()?;
            left = Term::Arithmetic(sign, Box::new(left), Box::new(self.term()?));
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Term, Refused> {
        self.deeper()?;
        let term = self.term_here();
        self.depth -= 1;
        term
    }

    fn term_here(&mut self) -> Result<Term, Refused> {
        let at = self.at();
        match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.next += 1;
                Ok(Term::Constant(Value::from(text)))
            }
            Some(Token::Number(number)) => {
                self.next += 1;
                Ok(Term::Constant(number_value(number)))
            }
            Some(Token::Sign("-")) => {
                self.next += 1;
                let zero = Term::Constant(Value::from(0));
                Ok(Term::Arithmetic("-", Box::new(zero), Box::new(self.term()?)))
            }
            Some(Token::Sign("(")) => {
                self.next += 1;
                let inner = self.condition()?;
                self.expect_sign(")")?;
                Ok(match inner {
                    Condition::Holds(term) => term,
                    condition => Term::Nested(Box::new(condition)),
                })
            }
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "true" => self.constant(Value::Bool(true)),
                "false" => self.constant(Value::Bool(false)),
                "null" => self.constant(Value::Null),
                _ if matches!(self.tokens.get(self.next + 1), Some((_, Token::Sign("(")))) => {
                    self.call(&word, at)
                }
                _ => Ok(Term::Field(self.path()?)),
            },
            Some(Token::Name(_)) => Ok(Term::Field(self.path()?)),
            _ => Err(wrong(at, "a field, a constant, a function or `(` is wanted")),
        }
    }

    fn constant(&mut self, value: Value) -> Result<Term, Refused> {
        self.next += 1;
        Ok(Term::Constant(value))
    }

    fn call(&mut self, name: &str, at: usize) -> Result<Term, Refused> {
        let function = Function::named(name).ok_or_else(|| {
            wrong(at, format!("there is no function {name}; there are {}", Function::names()))
        })?;
        self.next += 2;
        let mut arguments = Vec::new();
        while !self.take_sign(")") {
            if !arguments.is_empty() {
                self.expect_sign(",")?;
            }
            arguments.push(self.sum()?);
        }
        if arguments.len() != function.arguments() {
            let why = format!(
                "{} wants {} arguments, not {}",
                function.name(),
                function.arguments(),
                arguments.len()
            );
            return Err(wrong(at, why));
        }
        Ok(Term::Call(function, arguments))
    }

    /// A field, without the collection that it may begin with (`devices.jobs.jobId`).
    fn path(&mut self) -> Result<Vec<String>, Refused> {
        let mut path = self.raw_path()?;
        let of_devices = path.len() > 1 && path[0].eq_ignore_ascii_case("devices");
        if of_devices {
            let collection =
                path.len() > 2 && ["jobs", "modules"].contains(&path[1].to_ascii_lowercase().as_str());
            path.drain(..if collection { 2 } else { 1 });
        }
        Ok(path)
    }

    fn raw_path(&mut self) -> Result<Vec<String>, Refused> {
        let mut path = vec![self.name()?];
        while self.take_sign(".") {
            path.push(self.name()?);
        }
        Ok(path)
    }

    fn name(&mut self) -> Result<String, Refused> {
        let at = self.at();
        let first = self.next == 0 || !matches!(self.tokens.get(self.next - 1), Some((_, Token::Sign("."))));
        match self.take() {
            Some(Token::Word(word)) if first && is_keyword(&word) => {
                Err(wrong(at, format!("`{word}` cannot stand here; a name is wanted")))
            }
            Some(Token::Word(name) | Token::Name(name)) => Ok(name),
            _ => Err(wrong(at, "a name is wanted")),
        }
    }

    fn take_comparison(&mut self) -> Option<Operator> {
        let Some(Token::Sign(sign)) = self.peek() else { return None };
        let operator = Operator::of_sign(sign)?;
        self.next += 1;
        Some(operator)
    }

    fn take_one_of<const N: usize>(&mut self, signs: [&'static str; N]) -> Option<&'static str> {
        signs.into_iter().find(|sign| self.take_sign(sign))
    }

    fn deeper(&mut self) -> Result<(), Refused> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(wrong(self.at(), format!("brackets and NOT go more than {DEPTH_MAX} deep")));
        }
        Ok(())
    }

    fn one_operator_more(&mut self) -> Result<(), Refused> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(wrong(
                self.at(),
                format!("more than {OPERATORS_MAX} operators; IN takes a long list"),
            ));
        }
        Ok(())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    /// The number of the character at which the next token begins.
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn is_sign(&self, wanted: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted)
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = self.is_sign(wanted);
        self.next += usize::from(found);
        found
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.next += usize::from(found);
        found
    }

    fn is_word_pair(&mut self, first: &str, second: &str) -> bool {
        let before = self.next;
        if self.take_word(first) && self.take_word(second) {
            return true;
        }
        self.next = before;
        false
    }

    fn expect_sign(&mut self, wanted: &str) -> Result<(), Refused> {
        let at = self.at();
        if self.take_sign(wanted) { Ok(()) } else { Err(wrong(at, format!("`{wanted}` is wanted"))) }
    }

    fn expect_word(&mut self, wanted: &str) -> Result<(), Refused> {
        let at = self.at();
        if self.take_word(wanted) { Ok(()) } else { Err(wrong(at, format!("{wanted} is wanted"))) }
    }

    fn expect_end(&mut self) -> Result<(), Refused> {
        match self.peek() {
            None => Ok(()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("ORDER") => {
                Err(wrong(self.at(), "IoT Hub knows no ORDER BY"))
            }
            Some(_) => Err(wrong(self.at(), "the query should be over here")),
        }
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// Whole numbers stay whole.
pub(super) fn number_value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9.0e15 {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
