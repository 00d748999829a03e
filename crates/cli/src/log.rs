//! `isotherm log`: how much the hub logs, seen and changed while it runs.

use clap::Args;
use serde_json::{Value, json};

use crate::args::HubAddress;
use crate::context::Context;
use crate::output::Failure;
use crate::service::{Request, Service};

/// Where the hub takes it.
const PATH: &str = "/isotherm/v1/log";

/// `isotherm log`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Modules have it in their twins: isotherm twin patch sensor '{\"LogLevel\": \"debug\"}'\n\nExamples:\n  isotherm log\n  isotherm log debug\n  isotherm log warn,isotherm_hub=debug\n  isotherm log default              what LOG_LEVEL said when the hub was started"
)]
pub(crate) struct LogArgs {
    /// From now on: off, error, warn, info, debug or trace, also by crate; without it the level is shown.
    pub(crate) level: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubAddress,
}

/// Does the verb.
pub(crate) async fn log(context: &Context, args: LogArgs) -> Result<(), Failure> {
    context.log("warn")?;
    let service = Service::find(context, &args.hub)?;
    let answer = match &args.level {
        None => service.json(Request::get(PATH)).await?,
        Some(level) => service.json(Request::put(PATH, json!({ "level": level }))).await?,
    };
    let level = answer.get("level").and_then(Value::as_str).unwrap_or_default();
    Ok(context.output.say(&json!({"event": "log", "level": level}), level)?)
}
