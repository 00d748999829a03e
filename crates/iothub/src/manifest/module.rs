//! The modules that `$edgeAgent` is told of.

use serde_json::{Map, Value};

use super::MODULES_MAX;
use super::check::{Check, kind};
use crate::Identity;

/// The most pieces of a `createOptions` that was too long for one string of a twin.
const CREATE_OPTIONS_PIECES_MAX: usize = 100;

/// A module as `$edgeAgent` is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleSpec {
    /// The module's id; of a system module `edgeAgent` or `edgeHub`.
    pub name: String,
    /// The image, with variables filled in; `${MODULES.sensor}` and the like are kept for whoever builds images.
    pub image: String,
    /// The environment: names and values, in the order of the text.
    pub env: Vec<(String, String)>,
    /// What docker is to be told; an empty object if nothing.
    pub create_options: Value,
    /// Whether it is to run; `status` `stopped` says no.
    pub running: bool,
    /// Whether this is `edgeAgent` or `edgeHub`.
    pub system: bool,
}

impl ModuleSpec {
    fn named(name: &str, system: bool) -> Self {
        let create_options = Value::Object(Map::new());
        Self {
            name: name.to_owned(),
            image: String::new(),
            env: Vec::new(),
            create_options,
            running: true,
            system,
        }
    }
}

const STATUSES: [&str; 2] = ["running", "stopped"];
const RESTART_POLICIES: [&str; 4] = ["never", "on-failure", "on-unhealthy", "always"];
const PULL_POLICIES: [&str; 2] = ["on-create", "never"];

impl Check {
    /// Reads the desired properties of `$edgeAgent`. A module that is wrong is in the list all the same, so that
    /// its routes are not called wrong too.
    pub(super) fn modules(&mut self, path: &str, agent: &Value) -> Vec<ModuleSpec> {
        let Some(agent) = self.object(path, agent) else { return Vec::new() };
        let version = self.required(path, agent, "schemaVersion", "\"1.1\"");
        self.schema_version(path, version);
        if let Some(runtime) = self.member(path, agent, "runtime") {
            self.docker(&format!("{path}.runtime"), runtime);
            self.registry_credentials(&format!("{path}.runtime.settings"), runtime.get("settings"));
        }
        let mut modules = Vec::new();
        if let Some(system) = self.member(path, agent, "systemModules") {
            let path = format!("{path}.systemModules");
            for name in ["edgeAgent", "edgeHub"] {
                if let Some(module) = self.member(&path, system, name) {
                    modules.push(self.module(&path, name, module, true));
                }
            }
            for name in system.keys().filter(|name| !["edgeAgent", "edgeHub"].contains(&name.as_str())) {
                self.problem(
                    format!("{path}.{name}"),
                    "is no system module; those are edgeAgent and edgeHub",
                );
            }
        }
        if let Some(own) = self.member(path, agent, "modules") {
            self.own_modules(&format!("{path}.modules"), own, &mut modules);
        }
        modules
    }

    fn schema_version(&mut self, path: &str, version: Option<&str>) {
        let known = ["1.0", "1.1", "1.0.0", "1.1.0"];
        if let Some(version) = version.filter(|version| !known.contains(version)) {
            self.problem(
                format!("{path}.schemaVersion"),
                format!("wants \"1.0\" or \"1.1\", not {version:?}"),
            );
        }
    }

    fn docker(&mut self, path: &str, object: &Map<String, Value>) {
        let given = self.required(path, object, "type", "\"docker\"");
        self.one_of(path, "type", given, &["docker"]);
    }

    /// Whoever has credentials for a registry has all three; what they are is not told.
    fn registry_credentials(&mut self, path: &str, settings: Option<&Value>) {
        let credentials = settings.and_then(|settings| settings.get("registryCredentials"));
        let Some(credentials) = credentials.filter(|credentials| !credentials.is_null()) else { return };
        let path = format!("{path}.registryCredentials");
        for (name, registry) in self.object(&path, credentials).into_iter().flatten() {
            let path = format!("{path}.{name}");
            let Some(registry) = self.object(&path, registry) else { continue };
            for key in ["username", "password", "address"] {
                match registry.get(key) {
                    Some(Value::String(text)) if key != "address" || !text.is_empty() => {}
                    Some(Value::String(_)) => self.problem(
                        format!("{path}.{key}"),
                        "is empty; it wants the registry's: \"myregistry.azurecr.io\"",
                    ),
                    other => {
                        let found = other.map_or("nothing", kind);
                        self.problem(format!("{path}.{key}"), format!("wants a string, not {found}"));
                    }
                }
            }
        }
    }

    fn own_modules(&mut self, path: &str, own: &Map<String, Value>, modules: &mut Vec<ModuleSpec>) {
        if own.len() > MODULES_MAX {
            self.problem(path, format!("holds {} modules, more than {MODULES_MAX}", own.len()));
            return;
        }
        for (name, module) in own {
            let path_of_module = format!("{path}.{name}");
            if name.starts_with('$') {
                self.problem(&path_of_module, "a module's name does not begin with a `$`");
            } else if let Err(refused) = Identity::module("device", name) {
                self.problem(&path_of_module, refused.to_string());
            }
            match self.object(&path_of_module, module) {
                Some(module) => modules.push(self.module(path, name, module, false)),
                None => modules.push(ModuleSpec::named(name, false)),
            }
        }
    }

    pub(super) fn module(
        &mut self,
        path: &str,
        name: &str,
        module: &Map<String, Value>,
        system: bool,
    ) -> ModuleSpec {
        let path = format!("{path}.{name}");
        self.docker(&path, module);
        let status = if system {
            self.optional(&path, module, "status")
        } else {
            self.required(&path, module, "status", "\"running\" or \"stopped\"")
        };
        self.one_of(&path, "status", status, &STATUSES);
        let restart = self.optional(&path, module, "restartPolicy");
        self.one_of(&path, "restartPolicy", restart, &RESTART_POLICIES);
        let pull = self.optional(&path, module, "imagePullPolicy");
        self.one_of(&path, "imagePullPolicy", pull, &PULL_POLICIES);
        self.optional(&path, module, "version");
        self.startup_order(&path, module);
        let mut spec = ModuleSpec { running: status != Some("stopped"), ..ModuleSpec::named(name, system) };
        spec.env = self.env(&path, module);
        if let Some(settings) = self.member(&path, module, "settings") {
            let path = format!("{path}.settings");
            spec.create_options = self.create_options(&path, settings);
            spec.image = self.image(&path, settings);
        }
        spec
    }

    fn image(&mut self, path: &str, settings: &Map<String, Value>) -> String {
        let image =
            self.required(path, settings, "image", "an image: \"registry/name:tag\"").unwrap_or_default();
        if image.contains(char::is_whitespace) {
            let why = format!("{image:?} holds a blank; an image is \"registry/name:tag\"");
            self.problem(format!("{path}.image"), why);
        }
        image.to_owned()
    }

    fn startup_order(&mut self, path: &str, module: &Map<String, Value>) {
        let order = module.get("startupOrder").filter(|order| !order.is_null());
        let wrong = |order: &&Value| order.as_u64().is_none_or(|order| u32::try_from(order).is_err());
        if let Some(order) = order.filter(wrong) {
            self.problem(
                format!("{path}.startupOrder"),
                format!("wants a whole number, 0 or more, not {order}"),
            );
        }
    }

    fn env(&mut self, path: &str, module: &Map<String, Value>) -> Vec<(String, String)> {
        let Some(env) = module.get("env").filter(|env| !env.is_null()) else { return Vec::new() };
        let path = format!("{path}.env");
        let Some(env) = self.object(&path, env) else { return Vec::new() };
        let mut variables = Vec::new();
        for (name, variable) in env {
            let path = format!("{path}.{name}");
            if name.is_empty() || name.contains(['=', '\0']) {
                self.problem(&path, "a variable's name is not empty and holds no `=`");
            }
            if name.starts_with("IOTEDGE_") {
                self.problem(&path, "is set by IoT Edge itself, which refuses a module that sets it again");
            }
            match variable.get("value") {
                Some(Value::String(value)) => variables.push((name.clone(), value.clone())),
                Some(Value::Null) => variables.push((name.clone(), String::new())),
                Some(other) => {
                    let why = format!("wants a string, not {}; put it in quotes", kind(other));
                    self.problem(format!("{path}.value"), why);
                }
                None => self.problem(path, "wants an object: {\"value\": \"…\"}"),
            }
        }
        variables
    }

    /// `createOptions` as an object, or as a string of JSON, which may go on in `createOptions01`, `createOptions02`.
    fn create_options(&mut self, path: &str, settings: &Map<String, Value>) -> Value {
        let nothing = || Value::Object(Map::new());
        let path = format!("{path}.createOptions");
        let Some(first) = settings.get("createOptions").filter(|it| !it.is_null()) else { return nothing() };
        if first.is_object() {
            return first.clone();
        }
        let Some(first) = first.as_str() else {
            self.problem(path, format!("wants an object, or a string that holds one, not {}", kind(first)));
            return nothing();
        };
        let mut text = first.to_owned();
        for number in 1..CREATE_OPTIONS_PIECES_MAX {
            let Some(piece) = settings.get(&format!("createOptions{number:02}")).and_then(Value::as_str)
            else {
                break;
            };
            text.push_str(piece);
        }
        if text.trim().is_empty() || text.trim() == "null" {
            return nothing();
        }
        match serde_json::from_str::<Value>(&text) {
            Ok(options) if options.is_object() => options,
            Ok(other) => {
                self.problem(path, format!("the string holds {}, and is to hold an object", kind(&other)));
                nothing()
            }
            Err(error) => {
                self.problem(path, format!("the string is no JSON: {error}"));
                nothing()
            }
        }
    }
}
