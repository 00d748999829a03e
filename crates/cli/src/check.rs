//! `isotherm check`: everything that is wrong with a deployment template, each with its JSON path.

use std::path::Path;

use isotherm_iothub::manifest::Images;
use serde_json::json;

use crate::args::CheckArgs;
use crate::context::Context;
use crate::output::Failure;
use crate::render;

/// Does the verb: all that `render` does but writing.
pub(crate) fn check(context: &Context, args: &CheckArgs) -> Result<(), Failure> {
    // A template that somebody sent has no modules beside it.
    let beside = args.template.parent().unwrap_or(Path::new("")).join("modules");
    let images = if beside.is_dir() { Images::Named } else { Images::MayStayOpen };
    let right = render::read(context, args, images)?;
    let (modules, routes) = (right.rendered.modules, right.rendered.routes);
    let name = args.template.display();
    let said = json!({
        "event": "checked", "template": name.to_string(), "platform": right.platform,
        "modules": modules, "routes": routes, "images": images == Images::Named,
    });
    let open = if images == Images::Named { "" } else { "; no modules beside it, so no images looked up" };
    Ok(context.output.say(&said, format!("{name}: right, {modules} modules, {routes} routes{open}"))?)
}
