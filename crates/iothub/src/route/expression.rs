//! A condition as a tree, every node of which has a known kind.

use super::body::Path;
use super::function::Function;
use crate::message::SystemProperty;

/// What a value is, as far as the compiler can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Number,
    Text,
    Null,
    Undefined,
    /// Known only with the message: a value of its body.
    Body,
}

impl Kind {
    /// Whether a value of this kind may stand where `wanted` is asked for.
    pub(super) fn fits(self, wanted: Self) -> bool {
        self == wanted || matches!(self, Self::Body | Self::Undefined)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::Body => "a value of the body",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Multiply,
    Divide,
    Modulo,
    Add,
    Subtract,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Arithmetic(Arithmetic),
    Concat,
    Compare(Comparison),
    And,
    Or,
    Coalesce,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    Null,
    Undefined,
    /// An application property, found whatever its case.
    Property(Box<str>),
    /// A system property; one that this hub does not keep is undefined.
    System(Option<SystemProperty>),
    Body(Path),
    /// `$name`: an application property of that very name, or else what the name means.
    Dollar(Box<str>, Box<Expression>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Call(Function, Vec<Expression>),
}

impl Expression {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Bool(_) | Self::Not(_) => Kind::Bool,
            Self::Number(_) | Self::Negate(_) => Kind::Number,
            Self::Text(_) | Self::Property(_) | Self::System(_) => Kind::Text,
            Self::Null => Kind::Null,
            Self::Undefined => Kind::Undefined,
            Self::Body(_) => Kind::Body,
            Self::Dollar(_, meaning) => meaning.kind(),
            Self::Call(function, _) => function.result(),
            Self::Binary(operator, left, right) => match operator {
                Operator::Arithmetic(_) => Kind::Number,
                Operator::Concat => Kind::Text,
                Operator::Compare(_) | Operator::And | Operator::Or => Kind::Bool,
                Operator::Coalesce => either(left.kind(), right.kind()),
            },
        }
    }

    /// The name of the property this is, if it is one: it turns up in advice.
    pub(super) fn property(&self) -> Option<&str> {
        match self {
            Self::Property(name) | Self::Dollar(name, _) => Some(name),
            _ => None,
        }
    }
}

/// The kind of `left ?? right`.
fn either(left: Kind, right: Kind) -> Kind {
    match left {
        Kind::Undefined | Kind::Null => right,
        _ if right.fits(left) && right != Kind::Body => left,
        _ => Kind::Body,
    }
}
