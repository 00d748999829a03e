//! Logs: to standard error, as text for people or JSON for machines.

use crate::{Env, WiringError};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

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
    let levels = levels(env, default_level)?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format(env)? {
        Format::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(stderr)),
        Format::Text => {
            let colour = stderr().is_terminal() && env.get("NO_COLOR").is_none();
            Box::new(fmt::layer().with_ansi(colour).with_writer(stderr))
        }
    };
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init(); // somebody logs already: fine
    Ok(())
}

fn levels(env: &Env, default_level: &str) -> Result<Targets, WiringError> {
    let asked = env.get("LOG_LEVEL").unwrap_or(default_level);
    asked.to_ascii_lowercase().parse().map_err(|_| {
        let right = "off, error, warn, info, debug or trace, or by crate: warn,isotherm_hub=debug";
        WiringError::new("LOG_LEVEL", format!("{asked:?} is no level; write {right}"))
    })
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
    fn a_level_or_format_that_is_none_is_named_with_what_would_be_right() {
        let error = levels(&Env::of([("LOG_LEVEL", "loud=very")]), "info").unwrap_err();
        assert!(
            error.to_string().starts_with("LOG_LEVEL: \"loud=very\" is no level; write off, error"),
            "{error}"
        );
        let error = format(&Env::of([("LOG_FORMAT", "xml")])).unwrap_err();
        assert_eq!(error.to_string(), "LOG_FORMAT: \"xml\" is no format; write text or json");
    }
}
