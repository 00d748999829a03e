//! Who is to be told of what.

use super::Ticket;
use crate::core::Wake;

/// Those who wait. Each is told once, except the committer's task.
#[derive(Default)]
pub(super) struct Waiting {
    /// For a ticket to be durable. As many as there are connections, two for each at most.
    pub(super) durable: Vec<(Ticket, Wake)>,
    /// For room.
    pub(super) room: Vec<Wake>,
    /// For room in the upstream log.
    pub(super) upstream_room: Vec<Wake>,
    /// For the upstream log to grow.
    pub(super) events: Vec<Wake>,
    /// The committer, when it is a task.
    pub(super) dirty: Option<Wake>,
}

impl Waiting {
    /// Takes out those whose ticket is durable now.
    pub(super) fn take_durable(&mut self, durable: Ticket, into: &mut Vec<Wake>) {
        let told = self.durable.extract_if(.., |(ticket, _)| *ticket <= durable);
        into.extend(told.map(|(_, wake)| wake));
    }
}
