//! From a deployment template to the manifest that is deployed: variables filled in, images named, `createOptions`
//! in the pieces that a twin holds. What comes out is what iotedgedev writes, character for character; but what is
//! wrong is refused here, where iotedgedev leaves it in for the device to find.

mod create_options;
mod file_name;
mod fill;
mod images;
mod json_path;
mod module_file;
mod python;

use serde_json::{Map, Value};

use self::fill::Variables;
pub use self::module_file::ModuleFile;
use super::check::Check;
use super::{Problem, TEMPLATE_BYTES_MAX};

/// What a template refers to, besides itself.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Whose images `${MODULES.sensor}` means: `amd64`, `arm64v8`, `arm32v7`.
    pub platform: &'a str,
    /// What a variable holds. One that is set to nothing is set, and fills in nothing.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of the `module.json` in a folder, which is named as seen from the template.
    pub module_json: &'a dyn Fn(&str) -> Option<String>,
    /// What becomes of a placeholder for an image whose `module.json` is not there.
    pub images: Images,
}

/// What becomes of a placeholder for an image whose `module.json` is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// It is a mistake.
    Named,
    /// It stays, for a template that is looked at far from its modules.
    MayStayOpen,
}

/// A manifest, ready to be deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The whole text.
    pub manifest: String,
    /// How many modules it has, `edgeAgent` and `edgeHub` not counted.
    pub modules: usize,
    /// How many routes it has.
    pub routes: usize,
    /// What `$schema-template` was; it is not in the manifest.
    schema: String,
}

impl Rendered {
    /// The file's name as iotedgedev gives it: `deployment.template.json` becomes `deployment.amd64.json`, or
    /// `deployment.json` where the template has no `$schema-template` above 0.0.1. The variable
    /// `DEPLOYMENT_CONFIG_FILE` overrides it.
    pub fn file_name(&self, template: &str, sources: &Sources<'_>) -> String {
        let platform = (self.schema.as_str() > "0.0.1").then_some(sources.platform);
        let given = (sources.variable)("DEPLOYMENT_CONFIG_FILE").filter(|name| !name.is_empty());
        given.unwrap_or_else(|| file_name::of(template, platform))
    }
}

/// Turns a template into a manifest.
///
/// # Errors
/// All mistakes: of the template with their JSON path, of a `module.json` with its name before it.
pub fn render(text: &str, sources: &Sources<'_>) -> Result<Rendered, Vec<Problem>> {
    let mut check = Check::default();
    let variables = Variables::of(sources.variable);
    let Some(mut json) = check.read("", text, &variables) else { return Err(check.problems) };
    let schema = take_schema(&mut json);
    let mut images = images::Resolver::new(sources, &variables);
    each_module(&mut json, &mut |path, module| {
        images.name(&mut check, path, module);
        create_options::split(&mut check, path, module);
    });
    images.forgotten(&mut check, "", &json);
    let manifest = python::pretty(&json);
    let checked = check.deployment(json)?;
    Ok(Rendered { manifest, modules: checked.modules, routes: checked.routes, schema })
}

impl Check {
    /// Reads JSON with variables in it. `place` comes before each path (`modules/sensor/module.json: `).
    fn read(&mut self, place: &str, text: &str, variables: &Variables<'_>) -> Option<Value> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let path = if place.is_empty() { "the template" } else { place.trim_end_matches(": ") };
            self.problem(path, format!("is longer than {TEMPLATE_BYTES_MAX} bytes"));
            return None;
        }
        let filled = fill::fill_in(text, variables);
        for wrong in &filled.wrong {
            self.problem(format!("{place}{}", json_path::at(&filled.text, wrong.at)), &wrong.message);
        }
        match serde_json::from_str(&filled.text) {
            Ok(json) => Some(json),
            Err(_) if filled.wrong.iter().any(|wrong| wrong.outside) => None, // that is what breaks it
            Err(error) => {
                let path = json_path::at(&filled.text, json_path::offset(&filled.text, &error));
                let (line, column) = (error.line(), error.column());
                let why =
                    format!("no JSON at line {line}, column {column}: {}", super::without_place(&error));
                self.problem(format!("{place}{path}"), why);
                None
            }
        }
    }
}

/// iotedgedev leaves it out of the manifest.
fn take_schema(json: &mut Value) -> String {
    let schema = json.as_object_mut().and_then(|json| json.shift_remove("$schema-template"));
    schema.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Every module of `$edgeAgent`, the system's too, with its JSON path; where the whole desired properties are
/// written as where a layered deployment names single ones.
fn each_module(json: &mut Value, visit: &mut dyn FnMut(&str, &mut Map<String, Value>)) {
    let Some((path, content)) = super::place_of_content(json) else { return };
    let Some(sections) = content.as_object_mut() else { return };
    let Some(agent) = sections.get_mut("$edgeAgent").and_then(Value::as_object_mut) else { return };
    for (key, value) in agent {
        let path = format!("{path}.$edgeAgent.{key}");
        let Some(rest) = key.strip_prefix(super::DESIRED) else { continue };
        for (kind, at_once) in [("modules", ".modules"), ("systemModules", ".systemModules")] {
            if rest.is_empty()
                && let Some(modules) = value.get_mut(kind)
            {
                each_of(&format!("{path}.{kind}"), modules, visit);
            } else if rest == at_once {
                each_of(&path, value, visit);
            } else if rest.strip_prefix(at_once).is_some_and(|rest| rest.starts_with('.'))
                && let Some(module) = value.as_object_mut()
            {
                visit(&path, module);
            }
        }
    }
}

fn each_of(path: &str, modules: &mut Value, visit: &mut dyn FnMut(&str, &mut Map<String, Value>)) {
    for (name, module) in modules.as_object_mut().into_iter().flatten() {
        if let Some(module) = module.as_object_mut() {
            visit(&format!("{path}.{name}"), module);
        }
    }
}
