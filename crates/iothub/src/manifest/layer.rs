//! Layered deployments: single modules and routes that are laid over what another deployment says, each named by a
//! key with dots in it (`properties.desired.modules.sensor`).

use serde_json::{Map, Value};

use super::check::Check;
use super::{DESIRED, Problem};
use crate::route::Routes;
use crate::twin::Section;

/// What there is in a deployment that was found right.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    pub(super) modules: usize,
    pub(super) routes: usize,
}

impl Check {
    /// Checks a deployment or a layer of one; its variables are filled in.
    pub(super) fn deployment(mut self, mut json: Value) -> Result<Checked, Vec<Problem>> {
        let Some((path, content)) = self.content(&mut json) else { return Err(self.problems) };
        match content.as_object().filter(|sections| path.starts_with("content.") && is_layer(sections)) {
            Some(sections) => self.layer(path, sections),
            None => {
                let template = self.whole(path, content)?;
                let (modules, routes) = (template.modules().count(), template.routes().iter().count());
                Ok(Checked { modules, routes })
            }
        }
    }

    /// The modules and routes that a layer does not name are another deployment's: its routes may well lead there.
    fn layer(mut self, path: &str, sections: &Map<String, Value>) -> Result<Checked, Vec<Problem>> {
        let mut checked = Checked::default();
        for (name, section) in sections {
            let path = format!("{path}.{name}");
            let Some(section) = self.object(&path, section) else { continue };
            for (key, value) in section {
                let path = format!("{path}.{key}");
                let below = key.strip_prefix(DESIRED).and_then(|rest| rest.strip_prefix('.'));
                match (name.as_str(), below.map(|below| below.split_once('.').unwrap_or((below, "")))) {
                    ("$edgeAgent", Some(("modules", module))) if !module.is_empty() => {
                        self.module_of_layer(&path, module, value);
                        checked.modules += 1;
                    }
                    ("$edgeHub", Some(("routes", route))) if !route.is_empty() => {
                        self.route_of_layer(&path, route, value);
                        checked.routes += 1;
                    }
                    ("$edgeAgent" | "$edgeHub", _) if below.is_none() => {
                        let (what, one) =
                            if name == "$edgeHub" { ("routes", "upstream") } else { ("modules", "sensor") };
                        self.problem(&path, format!("a layer names single {what}: {DESIRED}.{what}.{one}"));
                    }
                    (_, None) if key != DESIRED => {
                        self.problem(&path, format!("has no meaning here; write {DESIRED}"))
                    }
                    (_, None) => {
                        if let Err(refused) = Section::check(value) {
                            self.problem(&path, refused.to_string());
                        }
                    }
                    (_, Some(_)) => {}
                }
            }
        }
        if self.problems.is_empty() { Ok(checked) } else { Err(self.problems) }
    }

    fn module_of_layer(&mut self, path: &str, name: &str, module: &Value) {
        if let Some(module) = self.object(path, module) {
            let above = path.strip_suffix(name).and_then(|path| path.strip_suffix('.')).unwrap_or(path);
            self.module(above, name, module, false);
        }
    }

    fn route_of_layer(&mut self, path: &str, name: &str, route: &Value) {
        let desired = serde_json::json!({"schemaVersion": "1.1", "routes": {name: route}});
        for problem in Routes::read(&desired).err().unwrap_or_default() {
            let inner = problem.path.strip_prefix(&format!("routes.{name}")).unwrap_or_default().to_owned();
            self.problem(format!("{path}{inner}"), problem.message);
        }
    }
}

/// A deployment that lays nothing over another says what the system's modules are.
fn is_layer(sections: &Map<String, Value>) -> bool {
    let whole = |name| sections.get(name).is_some_and(|section| section.get(DESIRED).is_some());
    !whole("$edgeAgent") && !whole("$edgeHub")
}
