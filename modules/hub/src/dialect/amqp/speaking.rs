//! What a client is told: messages, calls, twin changes, events, and that it has to go.

use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use isotherm_host::Flow;
use isotherm_iothub::{Identity, Message, SystemProperty};
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{DeliveryState, Error, LinkId, Map, Server, ServerCommand, Value};

use super::Connection;
use super::address::Node;
use super::convert;
use super::links::{Going, Link};
use crate::core::{Outcome, Outgoing, SessionId};

/// Things taken from the hub's mind in one go for one identity.
const SAID_MAX: usize = 256;
/// What may wait on one link for credit; past it the connection ends as too slow.
const WAITING_MAX: usize = 1_000;

impl Connection {
    /// Says what the hub's mind has for those who are here, as far as their links have room.
    pub(super) fn speak(&mut self, now: Instant, session: &mut Server) -> Flow {
        if self.end_expired(now, session) == Flow::End {
            return Flow::End;
        }
        let seats: Vec<_> = self.seats.iter().map(|(who, seat)| (who.clone(), seat.session)).collect();
        for (who, id) in seats {
            let said = self.ask(&who, id, session);
            self.due |= said.len() == SAID_MAX;
            self.look |= said.len() == SAID_MAX;
            for outgoing in said {
                if self.say(now, &who, outgoing, session) == Flow::End {
                    return Flow::End;
                }
            }
        }
        self.fetch_feedback(session);
        self.fetch_events(now, session);
        if self.links.values().any(|link| link.waiting.len() > WAITING_MAX) {
            let error =
                Error::new("amqp:resource-limit-exceeded", "answers wait for credit that does not come");
            return self.close(now, session, "amqp_ended_too_slow", error);
        }
        self.pump(now, session);
        Flow::Go
    }

    fn ask(&self, who: &Identity, id: SessionId, session: &Server) -> Vec<Outgoing> {
        let mut room = self.room(who, session);
        let both = self.shared.now();
        let mut said = Vec::new();
        let mut core = self.shared.core();
        while said.len() < SAID_MAX {
            let Some(outgoing) = core.poll(id, room, both) else { break };
            if matches!(outgoing, Outgoing::Input { .. } | Outgoing::CloudToDevice { .. }) {
                room -= 1;
            }
            said.push(outgoing);
        }
        said
    }

    /// How many deliveries an identity's links can take now.
    fn room(&self, who: &Identity, session: &Server) -> usize {
        let takes = |link: &&Link| {
            link.outgoing && matches!(&link.node, Node::Events(it) | Node::Devicebound(it) if it == who)
        };
        let rooms = self.links.iter().filter(|(_, link)| takes(link));
        rooms.map(|(id, link)| session.room(*id).saturating_sub(link.waiting.len())).min().unwrap_or(0)
    }

    fn say(&mut self, now: Instant, who: &Identity, outgoing: Outgoing, session: &mut Server) -> Flow {
        match outgoing {
            Outgoing::Input { delivery, input, message, redelivered, .. } => {
                let count = u8::from(redelivered);
                let annotations =
                    delivered(&message, delivery, count).with_symbol("x-opt-input-name", &*input);
                let annotations = with_sender(annotations, &message);
                self.deliver(Node::Events(who.clone()), delivery, &message, annotations);
            }
            Outgoing::CloudToDevice { delivery, message, delivery_count, .. } => {
                let count = u8::try_from(delivery_count).unwrap_or(u8::MAX);
                let annotations = delivered(&message, delivery, count);
                self.deliver(Node::Devicebound(who.clone()), delivery, &message, annotations);
            }
            Outgoing::Method { rid, name, payload } => self.call(who, &rid, &name, &payload),
            Outgoing::Desired { version, patch } => self.tell_desired(who, version, &patch),
            Outgoing::Taken => {
                return self.see_off(now, who, session, "amqp:link:stolen", "another connection took over");
            }
            Outgoing::Expired => {
                return self.see_off(now, who, session, "amqp:unauthorized-access", "the token has expired");
            }
            Outgoing::Removed => {
                return self.see_off(now, who, session, "amqp:not-found", "disabled or deleted");
            }
            Outgoing::Cut => {
                return self.cut();
            }
            Outgoing::TooSlow => {
                return self.see_off(now, who, session, "amqp:resource-limit-exceeded", "too slow to read");
            }
        }
        Flow::Go
    }

    /// An identity has to go, and so its links do. The connection stays the client's to close: Node's client waits for
    /// ever if it is closed on it while it still takes its other links off.
    fn see_off(
        &mut self,
        now: Instant,
        who: &Identity,
        session: &mut Server,
        condition: &'static str,
        why: &'static str,
    ) -> Flow {
        let error = Error::new(condition, format!("{who}: {why}"));
        self.shared.counters.count("amqp_links_taken_off");
        self.take_off(now, session, &error, |link| link.node.who() == Some(who));
        self.stand_up(who);
        Flow::Go
    }

    fn deliver(&mut self, node: Node, delivery: u64, message: &Message, annotations: Map) {
        let Some(link) = self.links.values_mut().rfind(|link| link.outgoing && link.node == node) else {
            return;
        };
        let mut wire = convert::to_amqp(message);
        wire.annotations = annotations;
        link.waiting.push_back(Going { message: Box::new(wire), delivery: Some(delivery) });
    }

    /// Sends what waits, as far as there is room.
    fn pump(&mut self, now: Instant, session: &mut Server) {
        let mut settled = Vec::new();
        for (&id, link) in &mut self.links {
            while !link.waiting.is_empty() && session.room(id) > 0 {
                let Some(going) = link.waiting.pop_front() else { break };
                self.deliveries += 1;
                let token = going.delivery.unwrap_or_default();
                let pre_settled = going.delivery.is_none();
                if let Some(delivery) = going.delivery {
                    if link.settles {
                        settled.push((id, delivery));
                    } else {
                        link.held.insert(delivery);
                    }
                }
                let tag = tag(token, self.deliveries);
                let command = ServerCommand::Send {
                    link: id,
                    token,
                    tag,
                    settled: pre_settled,
                    message: going.message,
                };
                session.handle_command(now, command);
            }
            if link.drain && link.waiting.is_empty() {
                link.drain = false;
                session.handle_command(now, ServerCommand::Drained { link: id });
            }
        }
        for (id, delivery) in settled {
            self.disposed(id, delivery, Some(&DeliveryState::Accepted));
        }
    }

    /// What became of a delivery.
    pub(super) fn disposed(&mut self, id: LinkId, token: u64, state: Option<&DeliveryState>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let outcome = match state {
            Some(DeliveryState::Accepted) => Outcome::Accepted,
            Some(DeliveryState::Rejected(_)) => Outcome::Rejected,
            _ => Outcome::Released, // modified too; and settled without a word says that nobody looked at it
        };
        self.look = true; // settling makes room
        link.held.remove(&token);
        if let Some(batch) = link.feedback.take() {
            let _ = self.shared.core().settle_feedback(&batch, outcome != Outcome::Released); // its lock may have run out
            return;
        }
        if let Some(seat) = link.node.who().and_then(|who| self.seats.get(who)) {
            self.shared.core().settle(seat.session, token, outcome, self.shared.now());
        }
    }
}

/// 16 bytes, since clients in C# make a GUID of it.
fn tag(token: u64, serial: u64) -> Bytes {
    let mut tag = BytesMut::with_capacity(16);
    tag.put_u64(token);
    tag.put_u64(serial);
    tag.freeze()
}

/// What is said of every delivery that wants an outcome.
fn delivered(message: &Message, delivery: u64, count: u8) -> Map {
    let mut lock = [0; 16];
    lock[8..].copy_from_slice(&delivery.to_be_bytes());
    let mut annotations = convert::annotations(message)
        .with_symbol("x-opt-lock-token", convert::uuid(lock).as_str())
        .with_symbol("x-opt-sequence-number", delivery & (u64::MAX >> 1))
        .with_symbol("iothub-deliverycount", Value::UByte(count));
    let enqueued = message.system.get(SystemProperty::EnqueuedTime).and_then(convert::milliseconds);
    if let Some(enqueued) = enqueued {
        annotations = annotations.with_symbol("iothub-enqueuedtime", Value::Timestamp(enqueued));
    }
    annotations
}

/// Who sent it.
pub(super) fn with_sender(mut annotations: Map, message: &Message) -> Map {
    let sender = [
        ("iothub-connection-device-id", SystemProperty::ConnectionDeviceId),
        ("iothub-connection-module-id", SystemProperty::ConnectionModuleId),
    ];
    for (name, property) in sender {
        if let Some(id) = message.system.get(property) {
            annotations = annotations.with_symbol(name, id);
        }
    }
    annotations
}
