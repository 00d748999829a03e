//! The deployment template: what modules there are, where their messages go, and what their twins say at first.

use std::sync::Arc;

use anyhow::Context as _;
use isotherm_host::WiringError;
use isotherm_iothub::Template;
use serde_json::json;

use crate::options::Options;
use crate::place::Place;
use crate::shared::Shared;

/// The deployment that was applied last.
const APPLIED_FILE: &str = "hub/deployment.json";

/// Applies the deployment template, unless it is the one that was applied last: what twins were told since stays.
pub(crate) async fn apply(shared: &Arc<Shared>, options: &Options, place: &Place) -> anyhow::Result<()> {
    let Some(file) = &options.template else { return Ok(()) };
    let wrong = |why: String| WiringError::new(file.display().to_string(), why);
    let unread = |error: std::io::Error| {
        let help = "--template and HUB_TEMPLATE name a deployment template; a container needs it as a volume";
        WiringError::new("the template", format!("{error}; {help}"))
    };
    let text = place.outside.read(file).map_err(unread)?;
    let text = String::from_utf8(text).map_err(|_| wrong("is no UTF-8 text".to_owned()))?;
    let env = |name: &str| shared.host.env.get(name).map(str::to_owned);
    let template = Template::parse(&text, &env)
        .map_err(|problems| wrong(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let content = json!({"modulesContent": template.content()});
    let text = serde_json::to_vec(&content)?;
    let kept = place.path(APPLIED_FILE);
    if place.inside.read(&kept).is_ok_and(|applied| applied == text) {
        return Ok(());
    }
    let now = shared.now();
    let applied = shared.core().apply_configuration(&options.device_id, &content, now);
    shared.durable(applied.map_err(|error| wrong(error.to_string()))?).await;
    place.inside.write_atomic(&kept, &text).context("the applied template cannot be kept")?;
    tracing::info!(template = %file.display(), "the deployment is applied");
    Ok(())
}
