//! What a client is owed: outcomes and answers that wait for the disk, in the order they must leave.

use std::collections::VecDeque;
use std::time::Instant;

use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{DeliveryState, LinkId, Message, Server, ServerCommand};

use super::Connection;
use super::links::Going;
use crate::store::Ticket;

/// Messages of one connection that may wait for the disk; at this many no more is read from it.
const OWED_MAX: usize = 4_096;
/// Bytes of them; at this many no more is read either.
const OWED_BYTES_MAX: usize = 4 << 20;

/// Debts, oldest first.
#[derive(Default)]
pub(super) struct Owed {
    debts: VecDeque<Debt>,
    bytes: usize,
    /// The ticket that the store will ring for.
    rung_for: Option<Ticket>,
}

/// Something that came, and what its sender gets for it.
pub(super) struct Debt {
    /// When it may be paid.
    pub(super) ticket: Ticket,
    /// The outcome: on which link, of which delivery.
    pub(super) outcome: Option<(LinkId, u32, DeliveryState)>,
    /// The answer to a twin request.
    pub(super) answer: Option<(LinkId, Box<Message>)>,
    /// How much of the store's pending bytes it stands for.
    pub(super) bytes: usize,
}

impl Owed {
    /// One more.
    pub(super) fn push(&mut self, debt: Debt) {
        self.bytes += debt.bytes;
        self.debts.push_back(debt);
    }

    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        self.debts.is_empty()
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.debts.len() < OWED_MAX && self.bytes < OWED_BYTES_MAX
    }
}

impl Connection {
    /// Pays what may be paid, and has the store ring for the next.
    pub(super) fn pay(&mut self, now: Instant, session: &mut Server) {
        let durable = self.shared.store.durable();
        while let Some(debt) = self.owed.debts.pop_front_if(|debt| debt.ticket <= durable) {
            self.owed.bytes -= debt.bytes;
            if let Some((link, delivery, state)) = debt.outcome {
                session.handle_command(now, ServerCommand::Settle { link, delivery, state });
            }
            if let Some((link, message)) = debt.answer
                && let Some(link) = self.links.get_mut(&link)
            {
                link.waiting.push_back(Going { message, delivery: None });
                self.look = true;
            }
        }
        let next = self.owed.debts.front().map(|debt| debt.ticket);
        if let Some(ticket) = next.filter(|_| self.owed.rung_for != next) {
            self.owed.rung_for = next;
            self.shared.store.on_durable(ticket, self.disk.ringer());
        }
    }
}
