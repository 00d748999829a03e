//! All routes of a device, from the desired properties of `$edgeHub`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Route, Scene, Sink, Source};
use crate::Refused;
use crate::message::Message;

/// The most routes one device may have; a configuration with more is refused as a whole.
pub const ROUTES_MAX: usize = 256;
/// The priority of a route that names none: after all that do.
pub const PRIORITY_DEFAULT: u32 = 2_000_000_000;
/// How long a message is kept when the configuration does not say: two hours, as edgeHub keeps it.
pub const TIME_TO_LIVE_DEFAULT: Duration = Duration::from_secs(7200);

/// A device's routes, compiled, and what goes with them.
#[derive(Clone, Debug)]
pub struct Routes {
    /// By priority, and in the order of the manifest where that is equal.
    entries: Vec<RouteEntry>,
    time_to_live: Option<Duration>,
    store_bytes_max: Option<u64>,
}

/// One route by its name.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    /// The name under `routes`.
    pub name: Arc<str>,
    /// The route itself.
    pub route: Route,
    /// 0 (first) to 9, or [`PRIORITY_DEFAULT`].
    pub priority: u32,
    /// How long a message may wait on this route; `None` is for ever.
    pub time_to_live: Option<Duration>,
}

/// Where one copy of a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The endpoint.
    pub sink: Sink,
    /// Smaller is sooner.
    pub priority: u32,
    /// How long the copy may wait; `None` is for ever.
    pub time_to_live: Option<Duration>,
    /// The name of the route that won.
    pub route: Arc<str>,
}

/// One mistake in the desired properties of `$edgeHub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteProblem {
    /// Where, from the desired properties down: `routes.alerts.priority`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Routes {
    /// Reads the desired properties of `$edgeHub`: schemas 1.0 to 1.3.
    ///
    /// # Errors
    /// The whole configuration is refused for one mistake; all of them are named.
    pub fn from_desired(desired: &Value) -> Result<Self, Refused> {
        Self::read(desired).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(|it| format!("{}: {}", it.path, it.message)).collect();
            Refused::new("desired properties of $edgeHub", all.join("; "))
        })
    }

    /// The same with every mistake and its place.
    ///
    /// # Errors
    /// All mistakes, in the order of the text.
    pub fn read(desired: &Value) -> Result<Self, Vec<RouteProblem>> {
        let mut reader = Reader { problems: Vec::new(), minor: 0 };
        let routes = reader.routes_of(desired);
        if reader.problems.is_empty() { Ok(routes) } else { Err(reader.problems) }
    }

    /// What a hub does that was told nothing: all telemetry goes upstream and is kept until it is there.
    pub fn default_upstream() -> Self {
        let route = Route::parse("FROM /messages/* INTO $upstream").expect("the default route compiles");
        let entry =
            RouteEntry { name: "upstream".into(), route, priority: PRIORITY_DEFAULT, time_to_live: None };
        Self { entries: vec![entry], time_to_live: None, store_bytes_max: None }
    }

    /// One copy for each endpoint that a route leads to; of several routes the one with the smallest priority
    /// counts, then the one written first. Empty: the message is to be dropped, and acknowledged all the same.
    pub fn targets(&self, source: &Source<'_>, message: &Message) -> Vec<Target> {
        let scene = Scene::of(message);
        let mut targets: Vec<Target> = Vec::new();
        for entry in &self.entries {
            let taken = targets.iter().any(|target| target.sink == *entry.route.sink());
            if !taken && entry.route.matches_scene(source, &scene) {
                targets.push(entry.target());
            }
        }
        targets
    }

    /// All routes: by priority, then as written.
    pub fn iter(&self) -> impl Iterator<Item = &RouteEntry> {
        self.entries.iter()
    }

    /// The route at that place in [`Routes::iter`].
    pub fn at(&self, place: usize) -> Option<&RouteEntry> {
        self.entries.get(place)
    }

    /// How long a message is kept unless its route says otherwise; `None` is for ever.
    pub fn time_to_live(&self) -> Option<Duration> {
        self.time_to_live
    }

    /// `storeLimits.maxSizeBytes`: beyond it new messages are refused.
    pub fn store_bytes_max(&self) -> Option<u64> {
        self.store_bytes_max
    }
}

impl RouteEntry {
    fn target(&self) -> Target {
        Target {
            sink: self.route.sink().clone(),
            priority: self.priority,
            time_to_live: self.time_to_live,
            route: Arc::clone(&self.name),
        }
    }
}

/// Collects mistakes and reads on.
struct Reader {
    problems: Vec<RouteProblem>,
    minor: u64,
}

impl Reader {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(RouteProblem { path: path.into(), message: message.into() });
    }

    fn routes_of(&mut self, desired: &Value) -> Routes {
        let nothing = Map::new();
        let desired = desired.as_object().unwrap_or_else(|| {
            self.problem("", "wants an object with `schemaVersion` and `routes`");
            &nothing
        });
        self.schema_version(desired.get("schemaVersion"));
        let time_to_live = self.store_and_forward(desired, "timeToLiveSecs");
        let time_to_live = match time_to_live.as_ref().map(Value::as_i64) {
            None => Some(TIME_TO_LIVE_DEFAULT),
            // Negative is for ever; 0 means what it says and lets a message expire at once.
            Some(Some(seconds)) => u64::try_from(seconds).ok().map(Duration::from_secs),
            Some(None) => {
                self.problem(
                    "storeAndForwardConfiguration.timeToLiveSecs",
                    "wants a whole number of seconds",
                );
                None
            }
        };
        let store_bytes_max = self.store_limit(desired);
        let mut entries = self.entries(desired.get("routes"), time_to_live);
        entries.sort_by_key(|entry| entry.priority);
        Routes { entries, time_to_live, store_bytes_max }
    }

    fn schema_version(&mut self, version: Option<&Value>) {
        const WANTED: &str = "wants \"1.0\", \"1.1\", \"1.2\" or \"1.3\"";
        let text = version.and_then(Value::as_str).unwrap_or_default();
        let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
        match (parts.next().flatten(), parts.next().flatten(), parts.all(|rest| rest.is_some())) {
            (Some(1), Some(minor @ 0..=3), true) => self.minor = minor,
            _ => {
                let found = version.map_or("nothing".to_owned(), Value::to_string);
                self.problem("schemaVersion", format!("{WANTED}, not {found}"));
                self.minor = 3; // one mistake, not one for every route that is an object
            }
        }
    }

    fn store_and_forward(&mut self, desired: &Map<String, Value>, key: &str) -> Option<Value> {
        let store = desired.get("storeAndForwardConfiguration").filter(|it| !it.is_null())?;
        if !store.is_object() {
            self.problem("storeAndForwardConfiguration", "wants an object: {\"timeToLiveSecs\": 7200}");
        }
        store.get(key).filter(|it| !it.is_null()).cloned()
    }

    fn store_limit(&mut self, desired: &Map<String, Value>) -> Option<u64> {
        let limit = desired.get("storeAndForwardConfiguration")?.get("storeLimits")?.get("maxSizeBytes")?;
        if limit.as_u64().is_none_or(|bytes| bytes == 0) {
            let path = "storeAndForwardConfiguration.storeLimits.maxSizeBytes";
            self.problem(path, "wants a whole number of bytes above 0");
        }
        limit.as_u64()
    }

    fn entries(&mut self, routes: Option<&Value>, time_to_live: Option<Duration>) -> Vec<RouteEntry> {
        let Some(routes) = routes.filter(|it| !it.is_null()) else { return Vec::new() };
        let Some(routes) = routes.as_object() else {
            self.problem("routes", "wants an object: a name and a route for each");
            return Vec::new();
        };
        if routes.len() > ROUTES_MAX {
            self.problem("routes", format!("holds {} routes, more than {ROUTES_MAX}", routes.len()));
            return Vec::new();
        }
        let entries = routes.iter().filter(|(_, value)| !value.is_null());
        entries.filter_map(|(name, value)| self.entry(name, value, time_to_live)).collect()
    }

    fn entry(&mut self, name: &str, value: &Value, time_to_live: Option<Duration>) -> Option<RouteEntry> {
        let path = format!("routes.{name}");
        if name.is_empty() || name.contains(['.', '$', '#', ' ']) {
            self.problem(&path, "a route's name is not empty and holds no `.`, `$`, `#` or blank");
        }
        let (text, at, options) = match value {
            Value::String(text) => (Some(text.as_str()), path.clone(), None),
            Value::Object(_) if self.minor == 0 => {
                self.problem(
                    &path,
                    "a route as an object needs schemaVersion \"1.1\" or later; write it as a string",
                );
                return None;
            }
            Value::Object(object) => {
                (object.get("route").and_then(Value::as_str), format!("{path}.route"), Some(object))
            }
            _ => (None, path.clone(), None),
        };
        let priority = self.priority(&path, options);
        let own = self.own_time_to_live(&path, options);
        let Some(text) = text else {
            self.problem(at, "wants a string: \"FROM /messages/* INTO $upstream\"");
            return None;
        };
        if text.trim().is_empty() {
            return None; // as edgeHub does
        }
        let route = Route::parse(text).map_err(|error| self.problem(at, error.to_string())).ok()?;
        Some(RouteEntry { name: name.into(), route, priority, time_to_live: own.or(time_to_live) })
    }

    fn priority(&mut self, path: &str, options: Option<&Map<String, Value>>) -> u32 {
        let Some(priority) = options.and_then(|it| it.get("priority")).filter(|it| !it.is_null()) else {
            return PRIORITY_DEFAULT;
        };
        let given = priority.as_u64().and_then(|it| u32::try_from(it).ok());
        given.filter(|it| *it <= 9 || *it == PRIORITY_DEFAULT).unwrap_or_else(|| {
            self.problem(
                format!("{path}.priority"),
                format!("wants a whole number from 0 (first) to 9, not {priority}"),
            );
            PRIORITY_DEFAULT
        })
    }

    /// 0 stands for whatever holds for all routes.
    fn own_time_to_live(&mut self, path: &str, options: Option<&Map<String, Value>>) -> Option<Duration> {
        let seconds = options?.get("timeToLiveSecs").filter(|it| !it.is_null())?;
        let Some(given) = seconds.as_u64().filter(|it| u32::try_from(*it).is_ok()) else {
            let why = format!("wants a whole number of seconds, 0 or more, not {seconds}");
            self.problem(format!("{path}.timeToLiveSecs"), why);
            return None;
        };
        (given > 0).then(|| Duration::from_secs(given))
    }
}
