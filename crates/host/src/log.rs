//! Logs: to standard error, as text for people or JSON for machines.

use crate::{Env, WiringError};

/// Begins to log as `LOG_LEVEL` (`info`, or by crate: `warn,isotherm_hub=debug`) and `LOG_FORMAT` (`text`, `json`)
/// say; `default_level` where `LOG_LEVEL` is not set. A second call changes nothing.
pub fn init(_env: &Env, _default_level: &str) -> Result<(), WiringError> {
    unimplemented!()
}
