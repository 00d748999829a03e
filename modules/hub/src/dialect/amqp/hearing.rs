//! What a client says: telemetry, and requests on the other links.

use std::sync::Arc;
use std::time::{Duration, Instant};

use isotherm_host::Flow;
use isotherm_iothub::{Identity, Message};
use isotherm_protocol::amqp::{self, DeliveryState, Error, LinkId, Server};

use super::Connection;
use super::address::Node;
use super::convert;
use super::owed::Debt;
use crate::core::Refusal;
use crate::faults::Blow;
use crate::quotas::Operation;
use crate::store::Ticket;

/// How long a client that a fault throttles is not heard.
const SLOWED: Duration = Duration::from_secs(1);

/// A message as it came.
pub(super) struct Came {
    pub(super) link: LinkId,
    pub(super) delivery: u32,
    pub(super) settled: bool,
    pub(super) format: u32,
    pub(super) message: amqp::Message,
}

/// Telemetry that is not yet handed to the hub's mind.
pub(super) struct Heard {
    who: Identity,
    message: Message,
    /// With the last one of a batch: the outcome that is wanted.
    outcome: Option<(LinkId, u32)>,
    /// With the others of a batch: what comes next shares its outcome.
    more: bool,
}

impl Connection {
    /// Understands a message by its link.
    pub(super) fn hear(&mut self, now: Instant, came: Came, session: &mut Server) -> Flow {
        let Some(link) = self.links.get(&came.link) else { return Flow::Go };
        let node = link.node.clone();
        if let Some(who) = node.who()
            && let Some(blow) = self.shared.faults.strike(who.as_str(), now, &self.shared.host.chance)
        {
            match blow {
                Blow::Drop => return Flow::Go,
                Blow::Disconnect => {
                    self.flush(now, session); // what it said before stands
                    return self.cut();
                }
                Blow::Delay(delay) => self.rest(delay),
                Blow::Throttle => self.rest(SLOWED),
            }
        }
        match node {
            Node::Events(who) => self.hear_telemetry(&who, came),
            Node::Cbs => {
                let answer = self.claim(&came.message);
                self.answer(&Node::Cbs, &came, answer);
            }
            Node::Management => {
                let answer = self.manage(&came.message);
                self.answer(&Node::Management, &came, answer);
            }
            Node::Methods(who) => self.hear_method_answer(&who, &came),
            Node::Twin(who) => self.hear_twin_request(&who, &came),
            Node::Send => self.hear_devicebound(now, &came),
            _ => self.owe(&came, Ticket::DURABLE, DeliveryState::Released),
        }
        self.due = true;
        Flow::Go
    }

    /// Settles with this once the ticket is durable.
    pub(super) fn owe(&mut self, came: &Came, ticket: Ticket, state: DeliveryState) {
        let outcome = (!came.settled).then_some((came.link, came.delivery, state));
        self.owed.push(Debt { receipt: ticket.into(), outcome, answer: None, bytes: 0 });
    }

    /// Puts the answer to a request on its way.
    fn answer(&mut self, node: &Node, came: &Came, answer: amqp::Message) {
        self.owe(came, Ticket::DURABLE, DeliveryState::Accepted);
        let wanted = came.message.properties.reply_to.as_ref();
        let links = || self.links.iter().filter(|(_, link)| link.outgoing && link.node == *node);
        let named = links().find(|(_, link)| wanted.is_some() && link.answers_at.as_ref() == wanted);
        if let Some((&id, _)) = named.or_else(|| links().last()) {
            let answer = Some((id, Box::new(answer)));
            self.owed.push(Debt { receipt: Ticket::DURABLE.into(), outcome: None, answer, bytes: 0 });
        } else {
            self.shared.counters.count("amqp_answer_without_link");
        }
    }

    fn hear_telemetry(&mut self, who: &Identity, came: Came) {
        let messages = match convert::from_amqp(&came.message, came.format) {
            Ok(messages) => messages,
            Err(error) => {
                self.shared.remark(
                    "amqp_refused_message",
                    || tracing::info!(%who, why = error.description.as_deref(), "message refused"),
                );
                return self.owe(&came, Ticket::DURABLE, DeliveryState::Rejected(Some(Arc::new(error))));
            }
        };
        let last = messages.len() - 1;
        for (place, message) in messages.into_iter().enumerate() {
            let outcome = (place == last && !came.settled).then_some((came.link, came.delivery));
            self.heard.push_back(Heard { who: who.clone(), message, outcome, more: place < last });
        }
    }

    /// Hands what was heard to the hub's mind, under one lock.
    pub(super) fn flush(&mut self, now: Instant, _session: &mut Server) {
        if self.heard.is_empty() {
            return;
        }
        let both = self.shared.now();
        // While the store refuses, messages stay here, unsettled, and nothing more is read.
        if self.resting.is_some() || self.shared.store.refusing() {
            self.blocked = self.resting.is_none();
            if self.blocked {
                self.shared.store.on_room(Arc::clone(&self.room));
            }
            return;
        }
        self.blocked = false;
        let mut wait = None;
        let mut core = self.shared.core();
        let mut refused = None;
        while let Some(heard) = self.heard.pop_front() {
            if let Err(time) = self.shared.throttles.take(Operation::Telemetry, now) {
                wait = Some(time);
                self.heard.push_front(heard);
                break;
            }
            let bytes = heard.message.body.len();
            let published = match self.seats.get(&heard.who) {
                Some(seat) => core.publish(seat.session, &heard.who, heard.message, both),
                None => Err(Refusal::Ended),
            };
            let receipt = match published {
                Ok(receipt) => receipt,
                Err(Refusal::UpstreamFull(message)) => {
                    self.heard.push_front(Heard { message: *message, ..heard });
                    self.blocked = true;
                    self.shared.store.on_upstream_room(Arc::clone(&self.room));
                    break;
                }
                Err(refusal) => {
                    refused.get_or_insert(refusal);
                    Ticket::DURABLE.into()
                }
            };
            let state = || match &refused {
                None => DeliveryState::Accepted,
                Some(Refusal::Full) => DeliveryState::Released,
                Some(refusal) => DeliveryState::Rejected(Some(Arc::new(error_of(refusal)))),
            };
            let outcome = heard.outcome.map(|(link, delivery)| (link, delivery, state()));
            self.owed.push(Debt { receipt, outcome, answer: None, bytes });
            if !heard.more {
                refused = None;
            }
        }
        drop(core);
        if let Some(wait) = wait {
            self.rest(wait);
        }
    }

    /// What came in the same breath as the end was said all the same; nobody is left to be told.
    pub(super) fn flush_last(&mut self) {
        let now = self.shared.now();
        for heard in std::mem::take(&mut self.heard) {
            if let Some(seat) = self.seats.get(&heard.who) {
                let _ = self.shared.core().publish(seat.session, &heard.who, heard.message, now);
            }
        }
    }

    pub(super) fn rest(&mut self, how_long: Duration) {
        self.resting = Some(Box::pin(tokio::time::sleep(how_long)));
    }
}

fn error_of(refusal: &Refusal) -> Error {
    let condition = match refusal {
        Refusal::TooLarge { .. } => "amqp:link:message-size-exceeded",
        Refusal::Foreign { .. } => "amqp:unauthorized-access",
        Refusal::Malformed(_) => "com.microsoft:argument-error",
        Refusal::Full | Refusal::UpstreamFull(_) | Refusal::Busy => "amqp:resource-limit-exceeded",
        Refusal::Unknown | Refusal::Ended => "amqp:not-found",
    };
    Error::new(condition, refusal.to_string())
}
