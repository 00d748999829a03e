//! Everything that reads what a stranger wrote, each with the sentences that must stay true of it whatever was
//! written. `.ci/fuzz` looks for bytes that make one of them false; `cargo test` replays what was found before.

mod amqp;
mod envelopes;
mod files;
mod mqtt;
mod settings;
mod words;

/// A decoder by its name: the fuzz target's, and the corpus folder's.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("amqp_messages", amqp::messages),
    ("amqp_server", amqp::server),
    ("amqp_values", amqp::values),
    ("bodies", envelopes::bodies),
    ("certificates", envelopes::certificates),
    ("connection_strings", words::connection_strings),
    ("dotenv", files::dotenv),
    ("filters", words::filters),
    ("journals", files::journals),
    ("messages", envelopes::messages),
    ("methods", envelopes::methods),
    ("module_settings", settings::module_settings),
    ("mqtt_client", mqtt::client),
    ("mqtt_decode", mqtt::decoder),
    ("mqtt_server", mqtt::server),
    ("replays", files::replays),
    ("route_sets", settings::route_sets),
    ("routes", words::routes),
    ("templates", files::templates),
    ("tokens", words::tokens),
    ("topics_down", words::topics_down),
    ("topics_up", words::topics_up),
    ("twins", settings::twins),
    ("user_names", words::user_names),
];

/// Runs one of them.
///
/// # Panics
/// When there is none of that name, and when a sentence is false: that is a finding.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(bytes);
}

/// The bytes as text, if they are.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A refusal is one line that a person can read.
fn readable(refusal: impl std::fmt::Display) {
    let said = refusal.to_string();
    assert!(!said.is_empty() && said.len() < 4096, "a refusal of {} bytes", said.len());
}
