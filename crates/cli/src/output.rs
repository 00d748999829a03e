//! The manners of every verb: results on standard output, exit status by kind of trouble.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use isotherm_host::Env;
use serde_json::Value;

use crate::args::{Color, Manners};

/// Standard output, the way the flags want it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    /// A person sits in front of it.
    pub(crate) terminal: bool,
    pub(crate) color: bool,
}

impl Output {
    pub(crate) fn new(manners: &Manners, env: &Env) -> Self {
        let terminal = io::stdout().is_terminal();
        let color = match manners.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && env.get("NO_COLOR").is_none_or(str::is_empty),
        };
        Self { json: manners.json, terminal: terminal && !manners.json, color }
    }

    /// One result: the object with `--json`, the sentence without. Fails when nobody reads any more.
    pub(crate) fn say(&self, object: &Value, sentence: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{object}")?
        } else {
            writeln!(out, "{sentence}")?
        }
        out.flush()
    }
}

/// Why a verb ends with another status than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ran and the answer is no.
    No(String),
    /// Wrong usage that the flags alone cannot see.
    Usage(String),
    /// Nobody answers there.
    Nobody(String),
    /// Wrong configuration: what, and what would be right.
    Configuration(String),
}

impl Failure {
    /// What is wrong, and what would be right.
    pub(crate) fn sentence(&self) -> &str {
        let (Failure::No(what) | Failure::Usage(what) | Failure::Nobody(what) | Failure::Configuration(what)) =
            self;
        what
    }

    /// Says it on standard error and turns it into an exit status; 69 and 78 are those of sysexits.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.sentence().is_empty() {
            eprintln!("isotherm: {}", self.sentence());
        }
        ExitCode::from(match self {
            Failure::No(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Nobody(_) => 69,
            Failure::Configuration(_) => 78,
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::No(error.to_string())
    }
}

impl From<isotherm_host::WiringError> for Failure {
    fn from(error: isotherm_host::WiringError) -> Self {
        Failure::Configuration(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let sentence = isotherm_host::start::sentence(&error);
        match isotherm_host::start::exit_status(&error) {
            isotherm_host::start::EXIT_CONFIGURATION => Failure::Configuration(sentence),
            isotherm_host::start::EXIT_UNAVAILABLE => Failure::Nobody(sentence),
            _ => Failure::No(sentence),
        }
    }
}
