//! `isotherm check`: everything that is wrong with a deployment template, each with its JSON path.

use isotherm_iothub::manifest::Template;
use serde_json::json;

use crate::args::CheckArgs;
use crate::context::{Context, read_text};
use crate::output::Failure;

/// Does the verb.
pub(crate) fn check(context: &Context, args: &CheckArgs) -> Result<(), Failure> {
    let env = context.env_with(args.env.as_deref())?;
    let text = read_text(&args.template)?;
    let name = args.template.display();
    let problems = match Template::parse(&text, &|variable| env.get(variable).map(str::to_owned)) {
        Ok(template) => {
            let (modules, routes) = (template.modules().count(), template.routes().iter().count());
            let said = json!({"event": "checked", "template": name.to_string(), "modules": modules, "routes": routes});
            return Ok(context
                .output
                .say(&said, format!("{name}: right, {modules} modules, {routes} routes"))?);
        }
        Err(problems) => problems,
    };
    for problem in &problems {
        let said = json!({"event": "problem", "path": problem.path, "message": problem.message});
        context.output.say(&said, format!("{name}: {}: {}", problem.path, problem.message))?;
    }
    Err(Failure::No(format!("{name} has {} problem(s)", problems.len())))
}
