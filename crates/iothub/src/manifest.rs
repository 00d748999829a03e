//! Deployment templates and manifests: what a device runs, and the first desired properties of all of it.

use serde_json::Value;

use crate::route::Routes;

/// A deployment, read and checked.
#[derive(Clone, Debug)]
pub struct Template {
    modules: Vec<ModuleSpec>,
    desired: Vec<(String, Value)>,
    routes: Routes,
}

/// A module as `$edgeAgent` is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleSpec {
    /// The module's id.
    pub name: String,
    /// The image, with variables filled in; `${MODULES.sensor}` and the like are kept for whoever builds images.
    pub image: String,
    /// The environment: names and values, in the order of the text.
    pub env: Vec<(String, String)>,
    /// What docker is to be told; an empty object if nothing.
    pub create_options: Value,
    /// `running` or `stopped`.
    pub status: String,
    /// Whether this is `edgeAgent` or `edgeHub`.
    pub system: bool,
}

/// One mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The JSON path: `modulesContent.$edgeHub.properties.desired.routes.alerts`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Template {
    /// Reads a template; `env` resolves `${VARIABLE}`.
    ///
    /// # Errors
    /// All mistakes.
    pub fn parse(_text: &str, _env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        unimplemented!()
    }

    /// The modules, `edgeAgent` and `edgeHub` not among them, in the order of the text.
    pub fn modules(&self) -> impl Iterator<Item = &ModuleSpec> {
        self.modules.iter().filter(|module| !module.system)
    }

    /// `edgeAgent` and `edgeHub`.
    pub fn system_modules(&self) -> impl Iterator<Item = &ModuleSpec> {
        self.modules.iter().filter(|module| module.system)
    }

    /// The first desired properties of a module, if the template has any.
    pub fn desired_of(&self, module: &str) -> Option<&Value> {
        self.desired.iter().find(|(name, _)| name == module).map(|(_, desired)| desired)
    }

    /// The routes of `$edgeHub`.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }
}
