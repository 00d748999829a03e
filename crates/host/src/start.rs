//! What every module's `main` does: arguments, logs, signals, and the exit status.

use crate::Host;
use std::process::ExitCode;

/// It ran and the answer is no.
pub const EXIT_NO: u8 = 1;
/// Wrong usage.
pub const EXIT_USAGE: u8 = 2;
/// Nobody answers there.
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Wrong configuration.
pub const EXIT_CONFIGURATION: u8 = 78;

/// Nobody answers there: ends the process with exit status 69.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Runs a module as a process of its own. `name` and `version` are what `--version` prints.
pub fn main(
    _name: &'static str,
    _version: &'static str,
    _run: impl AsyncFnOnce(Host) -> anyhow::Result<()>,
) -> ExitCode {
    unimplemented!()
}

/// The exit status that an error of `run` stands for.
pub fn exit_status(_error: &anyhow::Error) -> u8 {
    unimplemented!()
}
