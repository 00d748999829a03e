//! Logs: to standard error, as text for people or JSON for machines. How much is logged can be changed while the
//! process runs, by its twin: [`Dial`].

use crate::{Env, WiringError};
use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, OnceLock, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// What may be written as a level.
const LEVELS: &str = "off, error, warn, info, debug or trace, or by crate: warn,isotherm_hub=debug";

/// The log of this process, once it has begun.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: reload::Handle<Targets, Registry>,
    /// What the environment says.
    base: Targets,
    /// What was said since, by whom: a dial's crate, or nobody for the whole process.
    said: Mutex<BTreeMap<Option<&'static str>, Targets>>,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Begins to log as `LOG_LEVEL` (`info`, or by crate: `warn,isotherm_hub=debug`) and `LOG_FORMAT` (`text`, `json`)
/// say; `default_level` where `LOG_LEVEL` is not set. A second call changes nothing.
///
/// # Errors
/// When one of the two makes no sense.
pub fn init(env: &Env, default_level: &str) -> Result<(), WiringError> {
    let base = levels(env, default_level)?;
    let (levels, filter) = reload::Layer::new(base.clone());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format(env)? {
        Format::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(stderr)),
        Format::Text => {
            let colour = stderr().is_terminal() && env.get("NO_COLOR").is_none();
            Box::new(fmt::layer().with_ansi(colour).with_writer(stderr))
        }
    };
    if tracing_subscriber::registry().with(lines.with_filter(levels)).try_init().is_ok() {
        let _ = LOG.set(Log { filter, base, said: Mutex::default() }); // only ever set by the one that began
    } // else somebody logs already: fine
    Ok(())
}

/// Turns the log up and down while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dial {
    /// Nothing: a simulation's process, or one whose view owns the terminal.
    #[default]
    Loose,
    /// The whole process.
    Process,
    /// One crate's part, where several modules are in one process.
    Crate(&'static str),
}

impl Dial {
    /// Logs as `level` says from now on; `None` is what `LOG_LEVEL` said at the start.
    ///
    /// # Errors
    /// When it is no level, with what would be right.
    pub fn turn(self, level: Option<&str>) -> Result<(), String> {
        let wanted = level.map(parse).transpose()?;
        let whom = match self {
            Dial::Loose => return Ok(()),
            Dial::Process => None,
            Dial::Crate(name) => Some(name),
        };
        if let Some(log) = LOG.get() {
            let mut said = log.said.lock().unwrap_or_else(PoisonError::into_inner);
            match wanted {
                Some(wanted) => said.insert(whom, wanted),
                None => said.remove(&whom),
            };
            let _ = log.filter.reload(together(&log.base, &said)); // fails only when the log is gone
        }
        Ok(())
    }

    /// What is in force, as [`Dial::turn`] takes it.
    #[must_use]
    pub fn level(self) -> String {
        let (Some(log), Dial::Process | Dial::Crate(_)) = (LOG.get(), self) else { return "off".to_owned() };
        let said = log.said.lock().unwrap_or_else(PoisonError::into_inner);
        let own = match self {
            Dial::Crate(name) => said.get(&Some(name)),
            Dial::Process | Dial::Loose => None,
        };
        own.or_else(|| said.get(&None)).unwrap_or(&log.base).to_string()
    }
}

/// Checks that something is a level, or levels by crate.
///
/// # Errors
/// When it is not, with what would be right.
pub fn parse(level: &str) -> Result<Targets, String> {
    let wrong = || format!("{level:?} is no level; write {LEVELS}");
    let lower = level.to_ascii_lowercase();
    // A word by itself would be taken for a crate's name.
    let is_level = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if !lower.split(',').all(is_level) {
        return Err(wrong());
    }
    lower.parse().map_err(|_| wrong())
}

/// The levels that come of what the environment said and what was said since.
fn together(base: &Targets, said: &BTreeMap<Option<&'static str>, Targets>) -> Targets {
    let whole = said.get(&None).unwrap_or(base).clone();
    said.iter().filter_map(|(whom, levels)| Some(((*whom)?, levels))).fold(whole, |all, (whom, levels)| {
        let of_all = levels.default_level().unwrap_or(LevelFilter::OFF);
        all.with_target(whom, of_all)
    })
}

fn levels(env: &Env, default_level: &str) -> Result<Targets, WiringError> {
    let asked = env.get("LOG_LEVEL").unwrap_or(default_level);
    parse(asked).map_err(|why| WiringError::new("LOG_LEVEL", why))
}

fn format(env: &Env) -> Result<Format, WiringError> {
    match env.get("LOG_FORMAT") {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => {
            Err(WiringError::new("LOG_FORMAT", format!("{other:?} is no format; write text or json")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_level_may_be_set_for_one_crate() {
        let levels = levels(&Env::of([("LOG_LEVEL", "WARN,isotherm_hub=debug")]), "info").unwrap();
        assert!(levels.would_enable("isotherm_hub::core", &Level::DEBUG));
        assert!(!levels.would_enable("isotherm_client", &Level::INFO));
    }

    #[test]
    fn what_is_said_of_one_crate_leaves_the_others_and_what_is_said_of_all_replaces_the_environment() {
        let base = parse("warn").unwrap();
        let of_filter =
            together(&base, &BTreeMap::from([(Some("isotherm_filter"), parse("debug").unwrap())]));
        assert!(of_filter.would_enable("isotherm_filter::rule", &Level::DEBUG));
        assert!(!of_filter.would_enable("isotherm_hub", &Level::INFO));
        let of_all = together(&base, &BTreeMap::from([(None, parse("debug").unwrap())]));
        assert!(of_all.would_enable("isotherm_hub", &Level::DEBUG));
        assert!(!together(&base, &BTreeMap::new()).would_enable("isotherm_hub", &Level::INFO));
    }

    #[test]
    fn a_level_or_format_that_is_none_is_named_with_what_would_be_right() {
        let error = levels(&Env::of([("LOG_LEVEL", "loud=very")]), "info").unwrap_err();
        assert!(
            error.to_string().starts_with("LOG_LEVEL: \"loud=very\" is no level; write off, error"),
            "{error}"
        );
        assert!(levels(&Env::of([("LOG_LEVEL", "loud")]), "info").is_err(), "no crate of that name is meant");
        let error = format(&Env::of([("LOG_FORMAT", "xml")])).unwrap_err();
        assert_eq!(error.to_string(), "LOG_FORMAT: \"xml\" is no format; write text or json");
    }
}
