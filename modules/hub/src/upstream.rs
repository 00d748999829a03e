//! Where `$upstream` leads. For now that is the hub's own event log, which the core writes and `watch` reads; the
//! way to the cloud starts here, reading the same log from a cursor of its own.

/// The name of the event endpoint, as Event Hubs clients know it: the first label of the hub's host name.
pub(crate) fn entity_path(host_name: &str) -> &str {
    host_name.split('.').next().unwrap_or(host_name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_event_endpoint_is_named_after_the_hub() {
        assert_eq!(super::entity_path("localhub.azure-devices.net"), "localhub");
        assert_eq!(super::entity_path("localhub"), "localhub");
    }
}
