//! What an address means. Clients write them relative or whole, in any letter case, with ids percent-encoded or not.

use isotherm_iothub::Identity;
use percent_encoding::percent_decode_str;

/// What stands behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Where tokens are shown.
    Cbs,
    /// Where Event Hubs clients ask about the endpoint.
    Management,
    /// Telemetry and outputs from the client's side, inputs from the hub's.
    Events(Identity),
    /// Cloud-to-device messages.
    Devicebound(Identity),
    /// Direct methods.
    Methods(Identity),
    /// The twin.
    Twin(Identity),
    /// The service side sends cloud-to-device messages.
    Send,
    /// The service side hears what became of them.
    Feedback,
    /// The service side hears of uploaded files; there are none.
    FileNotifications,
    /// A partition of the event endpoint, read by a consumer group.
    Partition { group: String, partition: String },
    /// The event endpoint as old clients look for it: they are sent on, with this behind the entity's name.
    Redirect(String),
}

impl Node {
    /// Understands an address; `entity` is the name of the event endpoint.
    pub(super) fn parse(address: &str, entity: &str) -> Option<Self> {
        let decoded = path(address).map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
        let parts: Vec<String> = decoded.collect();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        match lower.as_slice() {
            ["$cbs"] => Some(Self::Cbs),
            ["$management"] => Some(Self::Management),
            [name, "$management"] if is(name, entity) => Some(Self::Management),
            ["messages", "devicebound"] => Some(Self::Send),
            ["messages", "servicebound", "feedback"] => Some(Self::Feedback),
            ["messages", "servicebound", "filenotifications"] => Some(Self::FileNotifications),
            ["messages", "events", ..] => {
                let rest = parts[2..].iter().map(|part| format!("/{part}")).collect();
                Some(Self::Redirect(rest))
            }
            ["devices", _, "modules", _, rest @ ..] => {
                Self::of(Identity::module(&parts[1], &parts[3]).ok()?, rest)
            }
            ["devices", _, rest @ ..] => Self::of(Identity::device(&parts[1]).ok()?, rest),
            [name, "consumergroups", _, "partitions", _] if is(name, entity) => {
                Some(Self::Partition { group: parts[2].clone(), partition: parts[4].clone() })
            }
            _ => None,
        }
    }

    fn of(who: Identity, rest: &[&str]) -> Option<Self> {
        match rest {
            ["messages", "events"] => Some(Self::Events(who)),
            ["messages", "devicebound"] => Some(Self::Devicebound(who)),
            ["methods", "devicebound"] => Some(Self::Methods(who)),
            ["twin"] => Some(Self::Twin(who)),
            _ => None,
        }
    }

    /// Whose it is.
    pub(super) fn who(&self) -> Option<&Identity> {
        match self {
            Self::Events(who) | Self::Devicebound(who) | Self::Methods(who) | Self::Twin(who) => Some(who),
            _ => None,
        }
    }
}

fn is(lower: &str, entity: &str) -> bool {
    entity.eq_ignore_ascii_case(lower)
}

/// The parts of an address, without scheme and authority.
fn path(address: &str) -> impl Iterator<Item = &str> {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.split('/').filter(|part| !part.is_empty())
}

/// Whom a token's resource (`host/devices/d[/modules/m]`, decoded) is about; nobody if it is about more than one.
pub(super) fn subject(resource: &str) -> Option<Identity> {
    let bare = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    let mut parts = bare.split('/').skip(1).filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(devices), Some(device), None, None, None) if is(devices, "devices") => {
            Identity::device(device).ok()
        }
        (Some(devices), Some(device), Some(modules), Some(module), None)
            if is(devices, "devices") && is(modules, "modules") =>
        {
            Identity::module(device, module).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Option<Node> {
        Node::parse(address, "localhub")
    }

    #[test]
    fn an_address_means_the_same_however_it_is_written() {
        let node = Node::Devicebound(Identity::device("d#1").unwrap());
        for address in [
            "/devices/d%231/messages/devicebound",
            "devices/d%231/messages/deviceBound",
            "amqps://hub.example:5671/devices/d%231/messages/devicebound",
            "amqps://hub.example/Devices/d%231/Messages/Devicebound/",
        ] {
            assert_eq!(parse(address), Some(node.clone()), "{address}");
        }
    }

    #[test]
    fn the_event_endpoint_is_found_by_its_name_and_old_clients_are_sent_there() {
        let node = Node::Partition { group: "$Default".into(), partition: "3".into() };
        assert_eq!(parse("amqps://h:443/localhub/ConsumerGroups/$Default/Partitions/3"), Some(node));
        assert_eq!(parse("other/ConsumerGroups/$Default/Partitions/3"), None);
        assert_eq!(parse("localhub/$management"), Some(Node::Management));
        let redirect = Node::Redirect("/$management".into());
        assert_eq!(parse("amqps://h/messages/events/$management"), Some(redirect));
    }

    #[test]
    fn what_means_nothing_is_nothing() {
        for address in ["", "/", "/devices", "/devices/d", "/devices//twin", "$cbs/x", "/devices/d/modules/m"]
        {
            assert_eq!(parse(address), None, "{address}");
        }
    }

    #[test]
    fn a_tokens_resource_names_somebody_or_everybody() {
        assert_eq!(subject("h/devices/d"), Identity::device("d").ok());
        assert_eq!(subject("h/devices/d/modules/m"), Identity::module("d", "m").ok());
        assert_eq!(subject("h"), None);
        assert_eq!(subject("sb://h/localhub/consumergroups/$Default"), None);
    }
}
