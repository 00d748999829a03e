//! What a client is owed: acknowledgements and answers that wait until what came is in safe hands, in the order they must leave.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use isotherm_protocol::Session as _;
use isotherm_protocol::mqtt::{Qos, Server, ServerCommand, Text};

use super::{Connection, KEPT_MAX};
use crate::store::Receipt;

/// Messages of one connection that may be owed for; at this many no more is read from it.
const OWED_MAX: usize = 4_096;
/// Bytes of them; at this many no more is read either.
const OWED_BYTES_MAX: usize = 4 << 20;
/// Bytes of answers to twin requests that wait; at this many no further request is answered until they are on their
/// way. A twin is a thousand times as long as the question for it, and while one client is given its answers, the others
/// of its thread wait.
const ANSWERS_BYTES_MAX: usize = 32 << 10;

/// Debts, oldest first.
#[derive(Default)]
pub(super) struct Owed {
    debts: VecDeque<Debt>,
    bytes: usize,
    answers_bytes: usize,
    /// What the store will ring for.
    rung_for: Option<Receipt>,
}

/// One publish, and what its sender gets for it.
pub(super) struct Debt {
    /// When it may be paid.
    pub(super) receipt: Receipt,
    /// The PUBACK, unless it was QoS 0.
    pub(super) packet_id: Option<u16>,
    /// The answer to a twin request.
    pub(super) answer: Option<(Text, Bytes)>,
    /// How much of the store's pending bytes it stands for.
    pub(super) bytes: usize,
}

impl Debt {
    fn answer_bytes(&self) -> usize {
        self.answer.as_ref().map_or(0, |(topic, payload)| topic.len() + payload.len())
    }
}

impl Owed {
    /// One more.
    pub(super) fn push(&mut self, debt: Debt) {
        self.bytes += debt.bytes;
        self.answers_bytes += debt.answer_bytes();
        self.debts.push_back(debt);
    }

    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        self.debts.is_empty()
    }

    /// Gives back what a burst needed, once it is over.
    pub(super) fn forget_burst(&mut self) {
        if self.debts.is_empty() && self.debts.capacity() > KEPT_MAX {
            self.debts = VecDeque::new();
        }
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.debts.len() < OWED_MAX && self.bytes < OWED_BYTES_MAX && self.may_answer()
    }

    /// Whether more may be answered.
    pub(super) fn may_answer(&self) -> bool {
        self.answers_bytes < ANSWERS_BYTES_MAX
    }
}

impl Connection {
    /// Pays what may be paid, and has the store ring for the next.
    pub(super) fn pay(&mut self, now: Instant, session: &mut Server) {
        let store = &self.shared.store;
        while let Some(debt) = self.owed.debts.pop_front_if(|debt| store.is_safe(&debt.receipt)) {
            self.owed.bytes -= debt.bytes;
            self.owed.answers_bytes -= debt.answer_bytes();
            if let Some(packet_id) = debt.packet_id {
                session.handle_command(now, ServerCommand::Acknowledge { packet_id });
            }
            if let Some((topic, payload)) = debt.answer {
                let command =
                    ServerCommand::Deliver { token: 0, topic, payload, qos: Qos::AtMostOnce, dup: false };
                session.handle_command(now, command);
            }
        }
        self.due |= self.behind && self.owed.may_answer(); // requests waited for that
        if let Some(Debt { receipt, .. }) = self.owed.debts.front()
            && self.owed.rung_for.as_ref() != Some(receipt)
        {
            self.owed.rung_for = Some(receipt.clone());
            store.on_safe(receipt.clone(), self.disk.ringer());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Ticket;

    fn debt(bytes: usize, answer: Option<(Text, Bytes)>) -> Debt {
        Debt { receipt: Ticket(1).into(), packet_id: Some(1), answer, bytes }
    }

    #[test]
    fn debts_are_limited_in_number_and_in_bytes() {
        let mut many = Owed::default();
        (1..OWED_MAX).for_each(|_| many.push(debt(0, None)));
        assert!(many.has_room());
        many.push(debt(0, None));
        assert!(!many.has_room(), "one more than {OWED_MAX} is not waited for");

        let mut large = Owed::default();
        large.push(debt(OWED_BYTES_MAX - 1, None));
        assert!(large.has_room());
        large.push(debt(1, None));
        assert!(!large.has_room());
    }

    #[test]
    fn answers_are_limited_by_their_own_bytes() {
        let topic = Text::new("t").expect("a letter");
        let mut owed = Owed::default();
        owed.push(debt(0, Some((topic.clone(), Bytes::from(vec![b'x'; ANSWERS_BYTES_MAX - 2])))));
        assert!(owed.has_room() && owed.may_answer());
        owed.push(debt(0, Some((topic, Bytes::new()))));
        assert!(!owed.has_room() && !owed.may_answer());
    }
}
