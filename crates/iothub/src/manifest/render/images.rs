//! `${MODULES.sensor}` and `${MODULEDIR<../sensor>}`: images that are called as a `module.json` says.

use serde_json::{Map, Value};

use super::fill::Variables;
use super::{Images, ModuleFile, Sources};
use crate::manifest::check::Check;

/// Finds the images that placeholders stand for.
pub(super) struct Resolver<'a> {
    sources: &'a Sources<'a>,
    variables: &'a Variables<'a>,
    modules_path: String,
    container_tag: Option<String>,
}

/// A placeholder's parts: the folder, what it is called in the template, and what follows it.
struct Wanted<'a> {
    folder: String,
    text: String,
    /// A platform, or `debug`.
    suffix: Option<&'a str>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(sources: &'a Sources<'a>, variables: &'a Variables<'a>) -> Self {
        let modules_path = variables.get("MODULES_PATH").unwrap_or_default().trim().to_owned();
        let container_tag = variables.get("CONTAINER_TAG").map(|tag| tag.trim().to_owned());
        let container_tag = container_tag.filter(|tag| !tag.is_empty());
        Self { sources, variables, modules_path, container_tag }
    }

    /// Puts the image's name where its placeholder is.
    pub(super) fn name(&mut self, check: &mut Check, path: &str, module: &mut Map<String, Value>) {
        let Some(settings) = module.get_mut("settings").and_then(Value::as_object_mut) else { return };
        let Some(Value::String(image)) = settings.get_mut("image") else { return };
        if is_placeholder(image)
            && let Some(named) = self.resolve(check, &format!("{path}.settings.image"), image)
        {
            *image = named;
        }
    }

    fn resolve(&self, check: &mut Check, path: &str, placeholder: &str) -> Option<String> {
        let Some(wanted) = self.wanted(placeholder) else {
            if !self.may_stay(placeholder) {
                let why = format!(
                    "{placeholder:?}: the placeholder of an image stands alone and names a folder of {}/ that has \
                     a module.json: \"${{MODULES.name}}\", or \"${{MODULEDIR<path>}}\" from the template",
                    self.modules_path
                );
                check.problem(path, why);
            }
            return None;
        };
        let place = format!("{}/module.json", wanted.folder);
        let before = check.problems.len();
        let file = ModuleFile::read(check, &place, &wanted.text, self.variables)?;
        if check.problems.len() > before {
            return None;
        }
        let image = self.image(&file, wanted.suffix);
        if image.is_none() {
            let platform = wanted.suffix.unwrap_or(self.sources.platform);
            let known: Vec<&str> = file.platforms.iter().map(|(platform, _)| platform.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let why = format!("{placeholder:?}: {place} has no platform {platform:?}; it has {known}");
            check.problem(path, why);
        }
        image
    }

    fn image(&self, file: &ModuleFile, suffix: Option<&str>) -> Option<String> {
        let tag = self.container_tag.as_deref();
        match suffix {
            None => file.image(self.sources.platform, tag),
            Some("debug") => file.image(&format!("{}.debug", self.sources.platform), tag),
            Some(platform) => file.image(platform, tag),
        }
    }

    fn wanted<'p>(&self, placeholder: &'p str) -> Option<Wanted<'p>> {
        let inner = placeholder.strip_prefix("${")?.strip_suffix('}')?;
        if let Some(inner) = inner.strip_prefix("MODULEDIR<") {
            let (folder, suffix) = inner.rsplit_once('>')?;
            let suffix = if suffix.is_empty() { None } else { Some(suffix.strip_prefix('.')?) };
            return self.found(folder.to_owned(), suffix);
        }
        let inner = inner.strip_prefix("MODULES.").filter(|inner| !inner.contains('/'))?;
        // A folder's name and a platform may both hold a dot: the longest name that is a folder counts.
        let ends = std::iter::once(inner.len()).chain(inner.rmatch_indices('.').map(|(at, _)| at));
        ends.filter(|end| *end > 0 && inner[..*end] != *"." && inner[..*end] != *"..").find_map(|end| {
            self.found(format!("{}/{}", self.modules_path, &inner[..end]), inner.get(end + 1..))
        })
    }

    fn found<'p>(&self, folder: String, suffix: Option<&'p str>) -> Option<Wanted<'p>> {
        let text = (self.sources.module_json)(&folder)?;
        Some(Wanted { folder, text, suffix })
    }

    fn may_stay(&self, placeholder: &str) -> bool {
        let alone = placeholder.starts_with("${") && placeholder.find('}') == Some(placeholder.len() - 1);
        alone && self.sources.images == Images::MayStayOpen
    }

    /// Finds placeholders of images where nobody fills them in.
    pub(super) fn forgotten(&self, check: &mut Check, path: &str, json: &Value) {
        match json {
            Value::String(text) if is_placeholder(text) && !path.ends_with(".settings.image") => {
                check
                    .problem(path, format!("{text:?}: placeholders of images are known in `settings.image`"));
            }
            Value::Array(list) => {
                for (index, element) in list.iter().enumerate() {
                    self.forgotten(check, &format!("{path}[{index}]"), element);
                }
            }
            Value::Object(map) => {
                let dot = if path.is_empty() { "" } else { "." };
                for (key, member) in map {
                    self.forgotten(check, &format!("{path}{dot}{key}"), member);
                }
            }
            _ => {}
        }
    }
}

fn is_placeholder(text: &str) -> bool {
    text.contains("${MODULES.") || text.contains("${MODULEDIR<")
}
