//! The hub's mind at its door: what a dialect, the service side and a power cut see of it.

#[path = "core/access.rs"]
mod access;
#[path = "core/backlog.rs"]
mod backlog;
#[path = "core/configuration.rs"]
mod configuration;
#[path = "core/custody.rs"]
mod custody;
#[path = "core/devicebound.rs"]
mod devicebound;
#[path = "core/events.rs"]
mod events;
#[path = "core/methods.rs"]
mod methods;
#[path = "core/registry.rs"]
mod registry;
#[path = "core/rollout.rs"]
mod rollout;
#[path = "core/routing.rs"]
mod routing;
#[path = "core/sessions.rs"]
mod sessions;
#[path = "core/site.rs"]
mod site;
#[path = "core/taps.rs"]
mod taps;
#[path = "core/twins.rs"]
mod twins;
