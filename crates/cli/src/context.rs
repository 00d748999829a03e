//! What every verb is handed: the door to the machine, where state lives, how to speak.

use std::path::{Path, PathBuf};

use isotherm_host::{DEFAULT_STATE_FOLDER, Env, Host, Stop};

use crate::args::Manners;
use crate::output::{Failure, Output};

/// Where a verb runs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) host: Host,
    pub(crate) output: Output,
    pub(crate) state: PathBuf,
}

impl Context {
    /// Reads the environment and turns the log on; the flags win over the variables.
    pub(crate) fn new(manners: &Manners) -> Result<Self, Failure> {
        let host = Host::real();
        let output = Output::new(manners, &host.env);
        let state = manners
            .state
            .clone()
            .unwrap_or_else(|| PathBuf::from(host.env.get("ISOTHERM_STATE").unwrap_or(DEFAULT_STATE_FOLDER)));
        Ok(Self { host, output, state })
    }

    /// Turns the log on, to standard error. A view that owns the terminal keeps it off.
    pub(crate) fn log(&self, default_level: &str) -> Result<(), Failure> {
        isotherm_host::log::init(&self.host.env, default_level)
            .map_err(|wrong| Failure::Configuration(wrong.to_string()))
    }

    /// Where state lives for a process with these variables; the flag wins.
    pub(crate) fn state_of(&self, env: &Env) -> PathBuf {
        if self.state != Path::new(DEFAULT_STATE_FOLDER) {
            return self.state.clone();
        }
        PathBuf::from(env.get("ISOTHERM_STATE").unwrap_or(DEFAULT_STATE_FOLDER))
    }

    /// The environment with a `.env` file under it.
    pub(crate) fn env_with(&self, file: Option<&Path>) -> Result<Env, Failure> {
        let text = match file {
            Some(path) => read_text(path)?,
            None => std::fs::read_to_string(".env").unwrap_or_default(),
        };
        let env = Env::from_dotenv(&text).map_err(|wrong| {
            let name = file.unwrap_or(Path::new(".env")).display();
            Failure::Configuration(format!("{name}: {wrong}"))
        })?;
        Ok(env.overlaid(&self.host.env))
    }

    /// Stops `stop` at Ctrl-C or SIGTERM; a second one ends the process at once.
    pub(crate) fn stop_on_signals(&self, stop: &Stop) -> Result<(), Failure> {
        Ok(isotherm_host::start::stop_on_signals(stop.clone())?)
    }
}

/// A file the user named, or a sentence with its name.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Configuration(format!("{}: {error}", path.display())))
}
