//! What a client says: messages, twin requests, answers to methods, subscriptions.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use isotherm_host::Flow;
use isotherm_iothub::{
    Feed, FilterMeaning, Identity, Message, MethodResult, Properties, System, ToHub, twin_result_topic,
};
use isotherm_protocol::Session as _;
use isotherm_protocol::mqtt::{Qos, Server, ServerCommand, Text};

use super::owed::Debt;
use super::{Connection, Stage};
use crate::core::{ErrorCode, Outcome, Refusal, SessionId};
use crate::dialect::http::failure::twin_error;
use crate::quotas::Operation;
use crate::store::Ticket;

/// Things heard and not yet handed to the hub's mind; at this many they are handed over within a batch too. (While
/// the store refuses they stay, and no more is read: what is left is what one read brought.)
const HEARD_MAX: usize = 256;
/// SUBACK's code for a filter that is not granted.
const NOT_GRANTED: u8 = 0x80;

/// A PUBLISH.
pub(super) struct Packet {
    pub(super) topic: Text,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) packet_id: u16,
    pub(super) dup: bool,
    pub(super) retain: bool,
}

/// Something heard and not yet handed over. One queue for all, so that acknowledgements keep its order.
pub(super) enum Heard {
    Message { message: Message, packet_id: Option<u16> },
    Request { request: ToHub, payload: Bytes, packet_id: Option<u16> },
}

/// An answer to a twin request: where, and what.
type Answer = (Text, Bytes);

impl Heard {
    fn is_request(&self) -> bool {
        matches!(self, Self::Request { .. })
    }

    /// The message, if it is one.
    pub(super) fn into_message(self) -> Option<Message> {
        match self {
            Self::Message { message, .. } => Some(message),
            Self::Request { .. } => None,
        }
    }
}

impl Connection {
    /// Understands a PUBLISH by its topic.
    pub(super) fn hear(&mut self, now: Instant, packet: Packet, session: &mut Server) -> Flow {
        let Stage::Open(client) = &self.stage else { return Flow::End };
        let who = client.who.clone();
        if let Some(flow) = self.struck(now, &who, session) {
            return flow;
        }
        let packet_id = (packet.qos != Qos::AtMostOnce).then_some(packet.packet_id);
        self.heard.push_back(match ToHub::parse_from(&packet.topic, &who) {
            Ok(ToHub::Telemetry { properties, .. }) => {
                Heard::Message { message: message(&who, &packet, &properties), packet_id }
            }
            Ok(request) => Heard::Request { request, payload: packet.payload, packet_id },
            Err(refused) => {
                self.shared.remark("mqtt_refused_topic", || {
                    tracing::info!(%who, %refused, "MQTT client published where it may not; closed");
                });
                self.flush(now, session); // what it said before stands
                return self.close(session, now, "mqtt_ended_topic");
            }
        });
        self.due = true;
        let enough = self.heard.len() >= HEARD_MAX && !self.blocked && !self.behind;
        if enough { self.flush(now, session) } else { Flow::Go }
    }

    /// Hands what was heard and what was settled to the hub's mind, under one lock.
    pub(super) fn flush(&mut self, now: Instant, session: &mut Server) -> Flow {
        let Stage::Open(client) = &self.stage else { return Flow::Go };
        if self.heard.is_empty() && self.settled.is_empty() {
            return Flow::Go;
        }
        let (id, who) = (client.session, client.who.clone());
        let both = self.shared.now();
        self.look |= !self.settled.is_empty(); // settling makes room
        let _batch = self.shared.store.batch();
        let mut core = self.shared.core();
        core.settle_all(id, self.settled.drain(..), Outcome::Accepted, both);
        // While the store refuses, messages stay here, unacknowledged, and nothing more is read.
        let refusing = self.shared.store.refusing();
        let (resting, mut wait, mut upstream_full) = (self.resting.is_some(), None, false);
        let throttles = &self.shared.throttles;
        let mut may_send = || match throttles.take(Operation::Telemetry, now) {
            Ok(()) => true,
            Err(time) => {
                wait = Some(time);
                false
            }
        };
        while let Some(heard) = {
            let may_answer = self.owed.may_answer();
            self.heard.pop_front_if(|heard| match heard.is_request() {
                _ if resting => false,
                true => may_answer,
                false => !refusing && may_send(),
            })
        } {
            match heard {
                Heard::Message { message, packet_id } => {
                    let bytes = message.body.len();
                    match core.publish(id, &who, message, both) {
                        Ok(receipt) => self.owed.push(Debt { receipt, packet_id, answer: None, bytes }),
                        Err(Refusal::UpstreamFull(message)) => {
                            self.heard.push_front(Heard::Message { message: *message, packet_id });
                            upstream_full = true;
                            break;
                        }
                        Err(refusal) => {
                            drop(core);
                            self.shared.remark("mqtt_refused_message", || {
                                tracing::info!(%who, %refusal, "message refused; connection closed");
                            });
                            return self.close(session, now, refusal_name(&refusal));
                        }
                    }
                }
                Heard::Request { request, payload, packet_id } => {
                    drop(core);
                    let (ticket, answer) = self.answer(id, &who, request, &payload);
                    let receipt = ticket.into();
                    self.owed.push(Debt { receipt, packet_id, answer, bytes: payload.len() });
                    core = self.shared.core();
                }
            }
        }
        drop(core);
        if let Some(wait) = wait {
            self.rest(wait);
        }
        let waits = self.resting.is_none();
        self.behind = waits && self.heard.front().is_some_and(Heard::is_request);
        self.blocked = waits && !self.behind && !self.heard.is_empty();
        if self.blocked && upstream_full {
            self.shared.store.on_upstream_room(Arc::clone(&self.room));
        } else if self.blocked {
            self.shared.store.on_room(Arc::clone(&self.room));
        }
        Flow::Go
    }

    /// Everything but a message: what it is answered, and when.
    fn answer(
        &self,
        id: SessionId,
        who: &Identity,
        request: ToHub,
        payload: &[u8],
    ) -> (Ticket, Option<Answer>) {
        match request {
            ToHub::TwinGet { rid } => (Ticket::DURABLE, self.twin(who, &rid)),
            ToHub::TwinPatch { rid } => self.report(who, rid.as_deref(), payload),
            ToHub::MethodResponse { status, rid } => {
                self.answer_method(id, who, status, &rid, payload);
                (Ticket::DURABLE, None)
            }
            ToHub::Telemetry { .. } | ToHub::Ignored(_) => {
                self.shared.remark("mqtt_ignored_topic", || {
                    tracing::info!(%who, "a method response that belongs to no call");
                });
                (Ticket::DURABLE, None)
            }
        }
    }

    fn twin(&self, who: &Identity, rid: &str) -> Option<Answer> {
        let twin = self.shared.core().twin_get(who);
        match twin {
            Some(twin) => answer(200, rid, None, twin.to_string()),
            None => {
                let error = twin_error(&self.shared.host, ErrorCode::DeviceNotFound, "no such identity");
                answer(404, rid, None, error)
            }
        }
    }

    fn report(&self, who: &Identity, rid: Option<&str>, payload: &[u8]) -> (Ticket, Option<Answer>) {
        let result = serde_json::from_slice(payload)
            .map_err(|error| format!("reported properties are a JSON object: {error}"))
            .and_then(|patch| {
                let now = self.shared.now();
                self.shared.core().reported(who, &patch, now).map_err(|refused| refused.to_string())
            });
        match (result, rid) {
            (Ok((version, ticket)), Some(rid)) => (ticket, answer(204, rid, Some(version), String::new())),
            (Ok((_, ticket)), None) => (ticket, None),
            (Err(reason), rid) => {
                self.shared.remark("mqtt_refused_report", || {
                    tracing::info!(%who, reason, "reported properties refused");
                });
                let error = twin_error(&self.shared.host, ErrorCode::ArgumentInvalid, &reason);
                (Ticket::DURABLE, rid.and_then(|rid| answer(400, rid, None, error)))
            }
        }
    }

    fn answer_method(&self, id: SessionId, who: &Identity, status: i32, rid: &str, payload: &[u8]) {
        let result = MethodResult::from_wire(status, payload).unwrap_or_else(|refused| {
            // The caller is told what came rather than left to wait for a time-out.
            self.shared.remark("mqtt_method_answer_no_json", || {
                tracing::info!(%who, %refused, "a method's answer is no JSON");
            });
            let text = String::from_utf8_lossy(payload).into_owned();
            MethodResult { status, payload: serde_json::Value::String(text) }
        });
        let now = self.shared.now();
        self.shared.core().method_response(id, rid, result.status, result.payload, now);
    }

    /// Turns feeds on. What is not ours to give is refused by its code; the connection goes on.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        packet_id: u16,
        filters: &[(Text, Qos)],
        session: &mut Server,
    ) -> Flow {
        if self.flush(now, session) == Flow::End {
            return Flow::End;
        }
        let Stage::Open(client) = &self.stage else { return Flow::End };
        let both = self.shared.now();
        let mut core = self.shared.core();
        let mut codes = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            let qos = (*qos).min(Qos::AtLeastOnce) as u8;
            codes.push(match Feed::of_filter(filter, &client.who) {
                FilterMeaning::Feed(feed) => {
                    core.subscribe(client.session, feed, qos, both);
                    qos
                }
                FilterMeaning::Foreign | FilterMeaning::Unknown => {
                    self.shared.remark("mqtt_refused_filter", || {
                        tracing::info!(who = %client.who, %filter, "subscription refused");
                    });
                    NOT_GRANTED
                }
            });
        }
        drop(core);
        session.handle_command(now, ServerCommand::Granted { packet_id, codes });
        self.look = true;
        Flow::Go
    }

    /// Turns feeds off.
    pub(super) fn unsubscribe(
        &mut self,
        now: Instant,
        packet_id: u16,
        filters: &[Text],
        session: &mut Server,
    ) -> Flow {
        if self.flush(now, session) == Flow::End {
            return Flow::End;
        }
        let Stage::Open(client) = &self.stage else { return Flow::End };
        let mut core = self.shared.core();
        for filter in filters {
            if let FilterMeaning::Feed(feed) = Feed::of_filter(filter, &client.who) {
                core.unsubscribe(client.session, feed);
            }
        }
        drop(core);
        session.handle_command(now, ServerCommand::Unsubscribed { packet_id });
        Flow::Go
    }
}

fn message(who: &Identity, packet: &Packet, properties: &(System, Properties)) -> Message {
    // A slice would keep the whole buffer that was read into for as long as the message waits.
    let mut message = Message::gathered(who, &packet.payload, &properties.0, &properties.1);
    if packet.retain {
        message.properties.set("mqtt-retain", "true");
    }
    if packet.dup {
        message.properties.set("mqtt-dup", "true");
    }
    message
}

fn answer(status: u16, rid: &str, version: Option<u64>, body: String) -> Option<Answer> {
    let topic = Text::try_from(twin_result_topic(status, rid, version)).ok()?; // a rid of 64 KiB gets no answer
    Some((topic, Bytes::from(body)))
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::TooLarge { .. } => "mqtt_ended_message_too_large",
        Refusal::Foreign { .. } => "mqtt_ended_topic",
        Refusal::Malformed(_) => "mqtt_ended_message_malformed",
        Refusal::Full | Refusal::UpstreamFull(_) => "mqtt_ended_store_full",
        Refusal::Busy | Refusal::Unknown | Refusal::Ended => "mqtt_ended_session_over",
    }
}
