//! `module.json`: how a module's image is called and built.

use serde_json::{Map, Value};

use super::fill::Variables;
use crate::manifest::Problem;
use crate::manifest::check::{Check, kind};

/// A module's `module.json`, its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// What the module is for.
    pub description: String,
    /// The image's name with its registry, without a tag; in small letters, as registries want it.
    pub repository: String,
    /// The first part of the tag; `0.0.0` where the file says nothing.
    pub version: String,
    /// Each platform and its Dockerfile, seen from the module's folder.
    pub platforms: Vec<(String, String)>,
    /// What `docker build` is told besides.
    pub build_options: Vec<String>,
    /// What `docker build` is given, seen from the module's folder.
    pub context_path: String,
}

impl ModuleFile {
    /// Reads the text of a `module.json`; `place` names the file where something is wrong with it.
    ///
    /// # Errors
    /// All mistakes, with the file's name before their JSON path.
    pub fn parse(
        place: &str,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        let mut check = Check::default();
        match Self::read(&mut check, place, text, &Variables::of(variable)) {
            Some(file) if check.problems.is_empty() => Ok(file),
            _ => Err(check.problems),
        }
    }

    pub(super) fn read(
        check: &mut Check,
        place: &str,
        text: &str,
        variables: &Variables<'_>,
    ) -> Option<Self> {
        let json = check.read(&format!("{place}: "), text, variables)?;
        let file = check.object(&format!("{place}: the top level"), &json)?;
        let place = format!("{place}: image");
        let image = match file.get("image") {
            Some(image) => check.object(&place, image)?,
            None => {
                check.problem(place, "is missing; it is an object with `repository` and `tag`");
                return None;
            }
        };
        let tag = check.member(&place, image, "tag")?;
        let tag_place = format!("{place}.tag");
        let repository = check.required(&place, image, "repository", "an image's name without a tag")?;
        let version = check.optional(&tag_place, tag, "version");
        let platforms = check.member(&tag_place, tag, "platforms")?;
        Some(Self {
            description: file.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
            repository: repository.to_lowercase(),
            version: version.unwrap_or("0.0.0").to_owned(),
            platforms: check.dockerfiles(&format!("{tag_place}.platforms"), platforms),
            build_options: check.strings(&format!("{place}.buildOptions"), image.get("buildOptions")),
            context_path: check.optional(&place, image, "contextPath").unwrap_or(".").to_owned(),
        })
    }

    /// The image of a platform: `localhost:5000/filter:0.1.0-amd64`; none where the module is not built for it.
    pub fn image(&self, platform: &str, container_tag: Option<&str>) -> Option<String> {
        self.platforms.iter().find(|(known, _)| known == platform)?;
        let container_tag = container_tag.map_or(String::new(), |tag| format!("-{tag}"));
        Some(format!("{}:{}{container_tag}-{platform}", self.repository, self.version))
    }
}

impl Check {
    fn dockerfiles(&mut self, path: &str, platforms: &Map<String, Value>) -> Vec<(String, String)> {
        let mut dockerfiles = Vec::new();
        for platform in platforms.keys() {
            let dockerfile = self.required(path, platforms, platform, "a Dockerfile").unwrap_or_default();
            dockerfiles.push((platform.clone(), dockerfile.to_owned()));
        }
        dockerfiles
    }

    fn strings(&mut self, path: &str, list: Option<&Value>) -> Vec<String> {
        let Some(list) = list.filter(|list| !list.is_null()) else { return Vec::new() };
        let Some(list) = list.as_array() else {
            self.problem(path, format!("wants a list of strings, not {}", kind(list)));
            return Vec::new();
        };
        let mut strings = Vec::new();
        for (index, element) in list.iter().enumerate() {
            match element.as_str() {
                Some(string) => strings.push(string.to_owned()),
                None => {
                    self.problem(format!("{path}[{index}]"), format!("wants a string, not {}", kind(element)))
                }
            }
        }
        strings
    }
}
