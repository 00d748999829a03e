//! The way upstream: what reached `$upstream` lies in the hub's own event log, and goes on from there, to a cloud (or
//! another hub), an event hub, a queue, or a broker. A cursor for each partition says how far the other side has
//! acknowledged it; what is behind the cursor is not given up, however long the other side is away.
//!
//! Somebody whom the other side refuses is passed by, and so is what an outage left, where a route says that fresh data
//! goes first; a second reader goes through that behind the first one ([`passed`]).
//!
//! [`forward`] reads the log and hands each event to the lane of its sender; a [`lane`] is one client, with the twin,
//! the calls and the messages of one identity if the other side is a hub. All of it can be lost with the process: the
//! cursors and what was last desired are in the store, and the rest comes again.

mod common;
mod forward;
mod lane;
mod ledger;
mod options;
mod passed;
mod patch;
mod shape;
mod twin;

use std::sync::Arc;

use isotherm_host::Host;
use tokio::task::JoinSet;

pub(crate) use common::Common;
pub use options::{Upstream, UpstreamProtocol};

use crate::place::Place;
use crate::shared::Shared;

/// The name of the event endpoint, as Event Hubs clients know it: the first label of the hub's host name.
pub(crate) fn entity_path(host_name: &str) -> &str {
    host_name.split('.').next().unwrap_or(host_name)
}

/// Goes on with whatever is in the log, until the hub ends.
pub(crate) async fn start(
    tasks: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    upstream: &Upstream,
    place: &Place,
) -> anyhow::Result<()> {
    let host = Host { disk: Arc::clone(&place.inside), ..shared.host.clone() };
    let peer = options::Peer::of(upstream, &*place.outside)?;
    let mut lanes = lane::Lanes::new(Arc::clone(shared), host, peer, place.path("hub/upstream"));
    lanes.open_first().await?;
    tasks.spawn(forward::forward(Arc::clone(shared), lanes));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_event_endpoint_is_named_after_the_hub() {
        assert_eq!(super::entity_path("localhub.azure-devices.net"), "localhub");
        assert_eq!(super::entity_path("localhub"), "localhub");
    }
}
