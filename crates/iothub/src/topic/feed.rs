//! What clients subscribe to. A hub is no broker: five feeds, and each client sees only its own.

use crate::Identity;

/// What a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feed {
    /// Calls of direct methods; having it makes the client reachable for them.
    Methods,
    /// Patches of desired properties.
    Desired,
    /// Messages from the cloud, queued while nobody listens.
    CloudToDevice,
    /// Answers to twin requests.
    TwinResults,
    /// What routes bring to a module's inputs.
    Inputs,
}

/// What a topic filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterMeaning {
    /// One of the feeds, and the subscriber's own.
    Feed(Feed),
    /// Something below `devices/` that is not, or not only, the subscriber's own.
    Foreign,
    /// Nothing that a hub has. IoT Edge grants it and never delivers anything.
    Unknown,
}

/// Filters that one connection may hold; more are refused. There are five feeds, but some clients ask for inputs one
/// by one.
pub const SUBSCRIPTIONS_MAX: usize = 50;

impl Feed {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Methods, Self::Desired, Self::CloudToDevice, Self::TwinResults, Self::Inputs];

    /// What `filter` means when `who` subscribes to it. Recognised as IoT Edge does, in its order, but only below
    /// the subscriber's own path.
    pub fn of_filter(filter: &str, who: &Identity) -> FilterMeaning {
        if filter.starts_with("$iothub/methods/POST/") {
            return FilterMeaning::Feed(Self::Methods);
        }
        if filter.starts_with("$iothub/twin/PATCH/properties/desired/") {
            return FilterMeaning::Feed(Self::Desired);
        }
        if filter == "$iothub/twin/res/#" {
            return FilterMeaning::Feed(Self::TwinResults);
        }
        let own = filter.strip_prefix(&who.path()).and_then(|rest| rest.strip_prefix('/'));
        match own {
            Some("messages/devicebound/#") => FilterMeaning::Feed(Self::CloudToDevice),
            // A device's filter for its modules' inputs is the modules' business.
            Some(rest) if rest.starts_with("modules/") => FilterMeaning::Foreign,
            Some(rest) if who.module_id().is_some() && (rest == "#" || rest.ends_with("/#")) => {
                FilterMeaning::Feed(Self::Inputs)
            }
            Some(_) => FilterMeaning::Unknown,
            None if filter.starts_with("devices/") => FilterMeaning::Foreign,
            None => FilterMeaning::Unknown,
        }
    }

    /// The filter with which `who` subscribes to it, as the SDKs write it. (No hub has inputs for a device, nor
    /// cloud-to-device messages for a module; the filter then names a feed on which nothing comes.)
    pub fn filter(self, who: &Identity) -> String {
        match self {
            Self::Methods => "$iothub/methods/POST/#".to_owned(),
            Self::Desired => "$iothub/twin/PATCH/properties/desired/#".to_owned(),
            Self::TwinResults => "$iothub/twin/res/#".to_owned(),
            Self::CloudToDevice => format!("{}/messages/devicebound/#", who.path()),
            Self::Inputs => format!("{}/inputs/#", who.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(filter: &str, who: &str) -> FilterMeaning {
        Feed::of_filter(filter, &who.parse().unwrap())
    }

    #[test]
    fn the_filters_that_the_sdks_use_are_known() {
        for feed in Feed::ALL {
            let who = if feed == Feed::CloudToDevice { "edge" } else { "edge/filter" }.parse().unwrap();
            assert_eq!(Feed::of_filter(&feed.filter(&who), &who), FilterMeaning::Feed(feed));
        }
        let inputs = FilterMeaning::Feed(Feed::Inputs);
        assert_eq!(meaning("devices/edge/modules/filter/#", "edge/filter"), inputs);
        assert_eq!(meaning("devices/edge/modules/filter/inputs/input1/#", "edge/filter"), inputs);
    }

    #[test]
    fn what_belongs_to_others_is_told() {
        for (filter, who) in [
            ("devices/other/messages/devicebound/#", "edge"),
            ("devices/edge2/messages/devicebound/#", "edge"),
            ("devices/edge/messages/devicebound/#", "edge/filter"),
            ("devices/edge/modules/sensor/inputs/#", "edge/filter"),
            ("devices/edge/modules/filter/inputs/#", "edge"),
            ("devices/+/messages/devicebound/#", "edge"),
            ("devices/edge/modules/+/inputs/#", "edge/filter"),
            ("devices/#", "edge"),
        ] {
            assert_eq!(meaning(filter, who), FilterMeaning::Foreign, "{filter} for {who}");
        }
    }

    #[test]
    fn what_no_hub_has_is_told() {
        for filter in ["#", "+/+", "foo/bar", "$iothub/twin/res/200", "devices/edge/messages/events/#", ""] {
            assert_eq!(meaning(filter, "edge"), FilterMeaning::Unknown, "{filter}");
        }
    }
}
