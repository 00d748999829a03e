//! Deployment templates and manifests: what a device runs, and the first desired properties of all of it.
//!
//! Whatever is wrong is told at once and with its JSON path: whoever writes a template should not have to mend it
//! one run at a time.

mod check;
mod layer;
mod module;
mod render;
mod variables;

use serde_json::{Map, Value};

use self::check::Check;
pub use self::module::ModuleSpec;
pub use self::render::{Images, ModuleFile, Rendered, Sources, render};
use crate::error::shortened;
use crate::route::{Route, Routes, Sink};
use crate::twin::Section;

/// The longest template that is read, in bytes; what IoT Hub would take is far shorter.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// The most modules one device may have, as in IoT Hub.
pub const MODULES_MAX: usize = 50;

const DESIRED: &str = "properties.desired";

/// A deployment, read and checked.
#[derive(Clone, Debug)]
pub struct Template {
    content: Value,
    modules: Vec<ModuleSpec>,
    routes: Routes,
}

/// How much of a path or a message is shown: names in a template may be as long as the template.
const SHOWN_CHARS_MAX: usize = 500;

/// One mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The JSON path (`modulesContent.$edgeHub.properties.desired.routes.alerts`), or `line 3, column 5` where
    /// the text is no JSON.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [path, message] = [&self.path, &self.message].map(|part| shortened(part, SHOWN_CHARS_MAX));
        write!(f, "{path}: {message}")
    }
}

impl Template {
    /// Reads a template or a finished manifest.
    ///
    /// `${VARIABLE}` becomes what `env` answers, in strings and outside of them (`"threshold": ${THRESHOLD}`);
    /// so does `$VARIABLE` in capitals if `env` knows it, as IoT Edge's tools have it. Placeholders with a dot
    /// (`${MODULES.sensor}`), which stand for images that are still to be built, are kept if `env` knows no better.
    ///
    /// # Errors
    /// All mistakes, in the order in which they are met.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let why = format!("is longer than {TEMPLATE_BYTES_MAX} bytes");
            return Err(vec![Problem { path: "the template".to_owned(), message: why }]);
        }
        let mut check = Check::default();
        let text = variables::fill_in(text, env, &mut check);
        match serde_json::from_str(&text) {
            Ok(json) => check.template(json),
            Err(error) => {
                let place = format!("line {}, column {}", error.line(), error.column());
                check.problem(place, format!("no JSON: {}", without_place(&error)));
                Err(check.problems)
            }
        }
    }

    /// The modules, `edgeAgent` and `edgeHub` not among them, in the order of the text.
    pub fn modules(&self) -> impl Iterator<Item = &ModuleSpec> {
        self.modules.iter().filter(|module| !module.system)
    }

    /// `edgeAgent` and `edgeHub`.
    pub fn system_modules(&self) -> impl Iterator<Item = &ModuleSpec> {
        self.modules.iter().filter(|module| module.system)
    }

    /// The first desired properties of a module (`$edgeAgent` and `$edgeHub` too), if the template has any.
    pub fn desired_of(&self, module: &str) -> Option<&Value> {
        self.content.get(module)?.get(DESIRED)
    }

    /// The routes of `$edgeHub`.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// `modulesContent` with its variables filled in: what is applied to a device.
    pub fn content(&self) -> &Value {
        &self.content
    }
}

/// serde_json's words end in the place, which the path says already.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

impl Check {
    fn template(mut self, mut json: Value) -> Result<Template, Vec<Problem>> {
        self.undefined_variables("", &json);
        match self.content(&mut json) {
            Some((path, content)) => self.whole(path, content),
            None => Err(self.problems),
        }
    }

    fn content(&mut self, json: &mut Value) -> Option<(&'static str, Value)> {
        let place = place_of_content(json);
        if place.is_none() {
            let why = "is missing: a deployment is {\"modulesContent\": {\"$edgeAgent\": …}}";
            self.problem("modulesContent", why);
        }
        place.map(|(path, content)| (path, content.take()))
    }

    /// A deployment that says all that a device runs.
    fn whole(mut self, path: &str, content: Value) -> Result<Template, Vec<Problem>> {
        let Some(sections) = self.object(path, &content) else { return Err(self.problems) };
        let agent = self.desired(path, sections, "$edgeAgent");
        let modules = agent.map(|(path, agent)| self.modules(&path, agent)).unwrap_or_default();
        let hub = self.desired(path, sections, "$edgeHub");
        let routes = hub.and_then(|(path, hub)| self.routes(&path, hub, &modules));
        self.sections(path, sections, &modules);
        match routes {
            Some(routes) if self.problems.is_empty() => Ok(Template { content, modules, routes }),
            _ => Err(self.problems),
        }
    }

    /// The desired properties of a section that must be there.
    fn desired<'a>(
        &mut self,
        path: &str,
        sections: &'a Map<String, Value>,
        name: &str,
    ) -> Option<(String, &'a Value)> {
        let path = format!("{path}.{name}");
        let Some(section) = sections.get(name) else {
            self.problem(path, format!("is missing: {{\"{DESIRED}\": {{…}}}}"));
            return None;
        };
        self.desired_in(&path, section)
    }

    fn desired_in<'a>(&mut self, path: &str, section: &'a Value) -> Option<(String, &'a Value)> {
        let section = self.object(path, section)?;
        for key in section.keys().filter(|key| *key != DESIRED) {
            let why = match key.strip_prefix(DESIRED) {
                Some(_) => format!("belongs to a layered deployment; write the whole `{DESIRED}`"),
                None => format!("has no meaning here; write `{DESIRED}`"),
            };
            self.problem(format!("{path}.{key}"), why);
        }
        let Some(desired) = section.get(DESIRED) else {
            self.problem(format!("{path}.{DESIRED}"), "is missing");
            return None;
        };
        let path = format!("{path}.{DESIRED}");
        self.object(&path, desired)?;
        Some((path, desired))
    }

    fn routes(&mut self, path: &str, desired: &Value, modules: &[ModuleSpec]) -> Option<Routes> {
        let routes = match Routes::read(desired) {
            Ok(routes) => routes,
            Err(problems) => {
                for problem in problems {
                    let dot = if problem.path.is_empty() { "" } else { "." };
                    self.problem(format!("{path}{dot}{}", problem.path), problem.message);
                }
                return None;
            }
        };
        for entry in routes.iter() {
            let as_object = desired["routes"][&*entry.name].is_object();
            let end = if as_object { ".route" } else { "" };
            self.ends_of_route(&format!("{path}.routes.{}{end}", entry.name), &entry.route, modules);
        }
        Some(routes)
    }

    /// A route that compiles may still come from nowhere or lead to nobody.
    fn ends_of_route(&mut self, path: &str, route: &Route, modules: &[ModuleSpec]) {
        if !route.can_match() {
            self.problem(path, format!("no message ever comes from the source of {:?}", route.text()));
        }
        let source = route.source_module();
        if let Some(source) =
            source.filter(|source| !names(modules, |name| name.eq_ignore_ascii_case(source)))
        {
            self.problem(path, format!("comes from a module that is not there: {source:?}{}", list(modules)));
        }
        if let Sink::Input { module, .. } = route.sink()
            && !names(modules, |name| name == &**module)
        {
            self.problem(path, format!("leads to a module that is not there: {module:?}{}", list(modules)));
        }
    }

    /// The modules' own desired properties, and that each section has its module.
    fn sections(&mut self, path: &str, sections: &Map<String, Value>, modules: &[ModuleSpec]) {
        for (name, section) in sections.iter().filter(|(name, _)| !name.starts_with('$')) {
            let path = format!("{path}.{name}");
            if !names(modules, |module| module == name) {
                self.problem(&path, format!("is no module of $edgeAgent{}", list(modules)));
            }
            if let Some((path, desired)) = self.desired_in(&path, section)
                && let Err(refused) = Section::check(desired)
            {
                self.problem(path, refused.to_string());
            }
        }
        for name in sections.keys().filter(|name| name.starts_with('$')) {
            if !["$edgeAgent", "$edgeHub"].contains(&name.as_str()) {
                self.problem(
                    format!("{path}.{name}"),
                    "is no module: only $edgeAgent and $edgeHub begin with a `$`",
                );
            }
        }
    }
}

fn names(modules: &[ModuleSpec], is: impl Fn(&str) -> bool) -> bool {
    modules.iter().any(|module| !module.system && is(&module.name))
}

fn list(modules: &[ModuleSpec]) -> String {
    let names: Vec<&str> = modules.iter().filter(|it| !it.system).map(|it| it.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

/// Where the modules' sections are: today's name, an older tool's, or an automatic deployment's.
fn place_of_content(json: &mut Value) -> Option<(&'static str, &mut Value)> {
    let (path, pointer) = [
        ("modulesContent", "/modulesContent"),
        ("moduleContent", "/moduleContent"),
        ("content.modulesContent", "/content/modulesContent"),
    ]
    .into_iter()
    .find(|(_, pointer)| json.pointer(pointer).is_some())?;
    Some((path, json.pointer_mut(pointer)?))
}
