//! `isotherm run NAME`: one module in this process, the very function that its own binary runs.

use crate::args::{Module, RunArgs};
use crate::context::Context;
use crate::output::Failure;

/// Runs until it is told to stop.
pub(crate) async fn run(context: &Context, args: &RunArgs) -> Result<(), Failure> {
    context.log("info")?;
    let mut env = context.env_with(args.env.as_deref())?;
    env.set("ISOTHERM_STATE", context.state.display().to_string());
    let host = context.host.clone().with_env(env);
    context.stop_on_signals(&host.stop)?;
    isotherm_host::metrics::serve(&host).await?;
    match args.module {
        Module::Sensor => isotherm_sensor::run(host).await?,
        Module::Filter => isotherm_filter::run(host).await?,
        Module::Hub => isotherm_hub::run(host).await?,
    }
    Ok(())
}
