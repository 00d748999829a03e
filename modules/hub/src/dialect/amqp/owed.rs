//! What a client is owed: outcomes and answers that wait until what came is in safe hands, in the order they must leave.

use std::collections::VecDeque;
use std::time::Instant;

use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{DeliveryState, LinkId, Message, Server, ServerCommand};

use super::Connection;
use super::links::Going;
use crate::store::Receipt;

/// Messages of one connection that may be owed for; at this many no more is read from it.
const OWED_MAX: usize = 4_096;
/// Bytes of them; at this many no more is read either.
const OWED_BYTES_MAX: usize = 4 << 20;

/// Debts, oldest first.
#[derive(Default)]
pub(super) struct Owed {
    debts: VecDeque<Debt>,
    bytes: usize,
    /// What the store will ring for.
    rung_for: Option<Receipt>,
}

/// Something that came, and what its sender gets for it.
pub(super) struct Debt {
    /// When it may be paid.
    pub(super) receipt: Receipt,
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
        let store = &self.shared.store;
        while let Some(debt) = self.owed.debts.pop_front_if(|debt| store.is_safe(&debt.receipt)) {
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
        if let Some(Debt { receipt, .. }) = self.owed.debts.front()
            && self.owed.rung_for.as_ref() != Some(receipt)
        {
            self.owed.rung_for = Some(receipt.clone());
            store.on_safe(receipt.clone(), self.disk.ringer());
        }
    }
}
