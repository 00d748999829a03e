//! The manifest's file name.

/// `deployment.template.json` for `amd64`: `deployment.amd64.json`.
pub(super) fn of(template: &str, platform: Option<&str>) -> String {
    let stem = template.strip_suffix(".template.json").or_else(|| template.strip_suffix(".json"));
    let dot = if platform.is_some() { "." } else { "" };
    format!("{}{dot}{}.json", stem.unwrap_or("deployment"), platform.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_platform_takes_the_place_of_the_word_template() {
        assert_eq!(of("deployment.template.json", Some("arm64v8")), "deployment.arm64v8.json");
        assert_eq!(of("deployment.debug.template.json", Some("amd64")), "deployment.debug.amd64.json");
        assert_eq!(of("site.json", None), "site.json");
        assert_eq!(of("site", Some("amd64")), "deployment.amd64.json");
    }
}
