//! Where messages come from, and what a route's `FROM` says about it.

/// Where one message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// Telemetry of a device.
    Device,
    /// A module's message.
    Module {
        /// The module's id.
        module: &'a str,
        /// The output it named, if any.
        output: Option<&'a str>,
    },
    /// A change of somebody's reported properties.
    TwinChange,
}

/// What `FROM` says: a prefix of the source's path, in lower case and with a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    path: Box<str>,
    /// How long the name of the module is, if it names one: most routes are decided by that alone.
    module: usize,
}

const MODULES: &str = "/messages/modules/";
const TWIN_CHANGE: &str = "/twinchangenotifications/";

impl Pattern {
    /// Takes the path as written. A `*` at the end says nothing beyond the slash before it: `out*` is `out`.
    pub(super) fn new(path: &str) -> Self {
        let path = path.trim_end_matches('*').trim_end_matches('/');
        let path = format!("{path}/").to_ascii_lowercase();
        let module = path.strip_prefix(MODULES).and_then(|rest| rest.find('/')).unwrap_or(0);
        Self { path: path.into(), module }
    }

    /// Whether the prefix is a prefix of this source's path. ASCII case is ignored; nothing is allocated.
    pub(super) fn matches(&self, source: &Source<'_>) -> bool {
        let prefix = self.path.as_bytes();
        if let (Some(named), Source::Module { module, output }) = (self.module(), *source) {
            let rest = &prefix[MODULES.len() + named.len() + 1..];
            return named.len() == module.len()
                && named.eq_ignore_ascii_case(module)
                && (rest.is_empty()
                    || output.is_some_and(|output| is_prefix(rest, ["outputs/", output, "/"])));
        }
        match *source {
            Source::Device => is_prefix(prefix, ["/messages/"]),
            Source::TwinChange => is_prefix(prefix, [TWIN_CHANGE]),
            Source::Module { module, output: None } => is_prefix(prefix, [MODULES, module, "/"]),
            Source::Module { module, output: Some(output) } => {
                is_prefix(prefix, [MODULES, module, "/outputs/", output, "/"])
            }
        }
    }

    pub(super) fn module(&self) -> Option<&str> {
        (self.module > 0).then(|| &self.path[MODULES.len()..][..self.module])
    }

    pub(super) fn can_match(&self) -> bool {
        let Some(rest) = self.path.strip_prefix(MODULES) else {
            return MODULES.starts_with(&*self.path) || TWIN_CHANGE.starts_with(&*self.path);
        };
        let mut segments = rest.trim_end_matches('/').splitn(3, '/').skip(1);
        segments.next().is_none_or(|outputs| outputs == "outputs")
    }
}

/// Whether `prefix` (lower case) begins the parts put together.
fn is_prefix<const PARTS: usize>(mut prefix: &[u8], parts: [&str; PARTS]) -> bool {
    for part in parts {
        let take = prefix.len().min(part.len());
        let (now, later) = prefix.split_at(take);
        if !now.eq_ignore_ascii_case(&part.as_bytes()[..take]) {
            return false;
        }
        prefix = later;
        if prefix.is_empty() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Source<'_> = Source::Module { module: "A", output: None };
    const A_OUT: Source<'_> = Source::Module { module: "A", output: Some("out") };
    const A_OUT1: Source<'_> = Source::Module { module: "A", output: Some("out1") };
    const AB_OUT: Source<'_> = Source::Module { module: "AB", output: Some("out") };
    const ALL: [Source<'_>; 6] = [Source::Device, A, A_OUT, A_OUT1, AB_OUT, Source::TwinChange];

    fn matched(path: &str) -> Vec<Source<'static>> {
        let pattern = Pattern::new(path);
        ALL.into_iter().filter(|source| pattern.matches(source)).collect()
    }

    #[test]
    fn every_row_of_the_table_of_sources_holds() {
        assert_eq!(matched("/*"), ALL);
        assert_eq!(matched("/"), ALL);
        assert_eq!(matched("/messages/*"), ALL[..5]);
        assert_eq!(matched("/messages"), ALL[..5]);
        assert_eq!(matched("/messages/modules/*"), ALL[1..5]);
        assert_eq!(matched("/messages/modules/A/*"), [A, A_OUT, A_OUT1]);
        assert_eq!(matched("/messages/modules/A"), [A, A_OUT, A_OUT1]);
        assert_eq!(matched("/messages/modules/A/outputs/*"), [A_OUT, A_OUT1]);
        assert_eq!(matched("/messages/modules/A/outputs/out"), [A_OUT]);
        assert_eq!(matched("/twinChangeNotifications"), [Source::TwinChange]);
    }

    #[test]
    fn there_are_no_partial_wildcards() {
        assert_eq!(matched("/messages/modules/A/outputs/out*"), [A_OUT]);
        assert_eq!(matched("/messages/mod*"), []);
    }

    #[test]
    fn case_makes_no_difference() {
        assert_eq!(matched("/MESSAGES/Modules/a/OUTPUTS/Out"), [A_OUT]);
    }

    #[test]
    fn a_source_that_no_message_has_is_known() {
        for path in [
            "/*",
            "/messages",
            "/messages/modules",
            "/messages/modules/a/outputs/b",
            "/twinChangeNotifications/*",
        ] {
            assert!(Pattern::new(path).can_match(), "{path}");
        }
        for path in ["/mesages/*", "/messages/module/a", "/messages/modules/a/output/b", "/twinChange"] {
            assert!(!Pattern::new(path).can_match(), "{path}");
        }
    }

    #[test]
    fn a_pattern_names_its_module() {
        assert_eq!(Pattern::new("/messages/modules/Sensor/outputs/*").module(), Some("sensor"));
        assert_eq!(Pattern::new("/messages/modules/*").module(), None);
        assert_eq!(Pattern::new("/messages/*").module(), None);
    }
}
