//! Routes, as edgeHub has them: which message goes where.
//!
//! ```text
//! FROM /messages/modules/sensor/outputs/* WHERE as_number(temperature) > 30 INTO $upstream
//! ```
//!
//! A text is compiled once, with every name, type and position checked, and then asked for every message. The
//! grammar and its meaning follow edgeHub, except where edgeHub would silently do what nobody meant:
//! - `is_null` says whether a value is null (edgeHub's says the opposite for values of the body),
//! - `is_defined` and `??` take null for "not there", as a JSON path that leads nowhere is null,
//! - a condition that is a string or a number can never be true and is refused,
//! - `!=` and `||` end a name, and a `-` before a letter negates: neither can be part of a property's name,
//! - a text of the body that looks like a date stays a text.

mod body;
mod condition;
mod error;
mod evaluate;
mod expression;
mod function;
mod lexer;
mod parser;
mod routes;
mod source;

use std::fmt;
use std::sync::Arc;

pub use self::error::RouteError;
pub use self::routes::{
    PRIORITY_DEFAULT, ROUTES_MAX, RouteEntry, RouteProblem, Routes, TIME_TO_LIVE_DEFAULT, Target,
};
pub use self::source::Source;

use self::evaluate::Scene;
use self::expression::Expression;
use self::source::Pattern;
use crate::message::Message;

/// The most characters a route may have: what one string in a twin may hold.
pub const ROUTE_CHARS_MAX: usize = 4096;
/// How deep parentheses, calls and signs may nest in a condition.
pub const ROUTE_DEPTH_MAX: usize = 64;
/// How many operands a condition may have; bounds the work for one message and the height of the tree.
pub const ROUTE_OPERANDS_MAX: usize = 256;

/// One route: a source, a condition and a sink, compiled.
#[derive(Clone, Debug)]
pub struct Route {
    text: Arc<str>,
    pattern: Pattern,
    condition: Option<Expression>,
    sink: Sink,
}

impl Route {
    /// Compiles a route's text.
    ///
    /// # Errors
    /// The first mistake, with its place, what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let (pattern, condition, sink) = parser::parse(text)?;
        Ok(Self { text: text.into(), pattern, condition, sink })
    }

    /// Whether a message from `source` takes this route. Undefined conditions count as no.
    pub fn matches(&self, source: &Source<'_>, message: &Message) -> bool {
        self.pattern.matches(source)
            && self.condition.as_ref().is_none_or(|condition| condition.is_true(&Scene::of(message)))
    }

    /// The same for several routes and one message: what was parsed of its body is shared.
    fn matches_scene<'a>(&'a self, source: &Source<'_>, scene: &'a Scene<'a>) -> bool {
        self.pattern.matches(source) && self.condition.as_ref().is_none_or(|it| it.is_true(scene))
    }

    /// Where the message goes.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The module that the source names, in lower case, if it names one: `/messages/modules/{module}/…`.
    pub fn source_module(&self) -> Option<&str> {
        self.pattern.module()
    }

    /// Whether any message can come from this source at all; `FROM /mesages/*` compiles and never matches.
    pub fn can_match(&self) -> bool {
        self.pattern.can_match()
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sink {
    /// `$upstream`: the cloud, or whatever stands above this hub.
    Upstream,
    /// `BrokeredEndpoint("/modules/{module}/inputs/{input}")`: a module of this device.
    Input {
        /// The module's id.
        module: Arc<str>,
        /// The input's name.
        input: Arc<str>,
    },
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream => f.write_str("$upstream"),
            Self::Input { module, input } => {
                write!(f, "BrokeredEndpoint(\"/modules/{module}/inputs/{input}\")")
            }
        }
    }
}
