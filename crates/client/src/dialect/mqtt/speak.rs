//! What the hub is told.

use std::time::Instant;

use bytes::Bytes;
use isotherm_iothub::{Message, method_response_topic, reported_topic, twin_get_topic};
use isotherm_journal::Offset;
use isotherm_protocol::{
    Session as _,
    mqtt::{ClientCommand, ClientSession, Qos},
};
use tracing::warn;

use super::{ANSWER_WITHIN, Asking, Link, RESPONSE};
use crate::{shared::State, twin::Request};

impl Link<'_> {
    /// Lets the outbox forget all up to the first message that the hub does not have.
    pub(super) fn forget_delivered(&mut self) {
        while self.in_flight.pop_front_if(|(_, there)| *there).is_some() {}
        let below = self.in_flight.front().map_or(self.cursor, |(offset, _)| *offset);
        self.shared.outbox.delivered(below);
    }

    pub(super) fn tell_delivered(&self) {
        self.shared.lock().outbox_moved(self.shared.outbox.kept());
        self.shared.keeper.notify_one();
    }

    fn may_publish(&self) -> bool {
        let waits = self.cursor < self.shared.outbox.publishable();
        !self.draining && self.in_flight.len() < self.window && waits
    }

    pub(super) fn has_work(&self, state: &State) -> bool {
        let asks = matches!(self.asking, Asking::Free | Asking::Waiting) && state.mirror.has_request();
        let speaks = !state.acknowledge.is_empty() || state.responses.iter().any(|response| !response.sent);
        self.open && (speaks || asks || self.may_listen(state) || self.may_publish())
    }

    /// Whether inputs need not wait for the twin any more.
    fn may_listen(&self, state: &State) -> bool {
        self.inputs.is_some() && state.mirror.twin().is_some()
    }

    /// Says what is small and urgent: acknowledgements, answers, and what is asked about the twin.
    pub(super) fn speak(&mut self, now: Instant, session: &mut ClientSession) {
        let shared = self.shared;
        let mut state = shared.lock();
        for packet_id in state.acknowledge.drain(..).filter_map(|id| u16::try_from(id).ok()) {
            session.handle_command(now, ClientCommand::Acknowledge { packet_id });
        }
        state.told();
        for response in state.responses.iter_mut().filter(|response| !response.sent) {
            if session.window() == 0 {
                break;
            }
            response.sent = true;
            let topic = method_response_topic(response.status, &response.rid);
            let payload = Bytes::copy_from_slice(&response.payload);
            let token = response.id | RESPONSE;
            session
                .handle_command(now, ClientCommand::Publish { token, topic, payload, qos: Qos::AtLeastOnce });
        }
        while matches!(self.asking, Asking::Free | Asking::Waiting)
            && let Some(request) = state.mirror.request()
        {
            let (topic, payload) = match request {
                Request::Get { rid } => (twin_get_topic(&format!("{rid:x}")), Bytes::from_static(b" ")),
                Request::Report { rid, patch } => {
                    (reported_topic(&format!("{rid:x}")), patch.to_string().into())
                }
            };
            session.handle_command(
                now,
                ClientCommand::Publish { token: 0, topic, payload, qos: Qos::AtMostOnce },
            );
            self.ask_in(Asking::Waiting, ANSWER_WITHIN);
        }
        if self.may_listen(&state)
            && let Some(inputs) = self.inputs.take()
        {
            session.handle_command(now, ClientCommand::Subscribe { filters: vec![inputs] });
        }
    }

    /// Publishes from the outbox while there is room on the way.
    pub(super) fn publish(&mut self, now: Instant, session: &mut ClientSession) {
        let limit = self.shared.outbox.publishable();
        let room = (self.window - self.in_flight.len()).min(session.window());
        if self.draining || self.cursor >= limit || room == 0 {
            return;
        }
        let most = usize::try_from(limit - self.cursor).unwrap_or(room).min(room);
        let records = match self.shared.outbox.read(self.cursor, most) {
            Ok(records) => records,
            Err(error) => {
                warn!(%error, "the outbox cannot be read; the connection is begun anew");
                self.reason = Some(format!("the outbox cannot be read: {error}"));
                return;
            }
        };
        if records.first().is_none_or(|(offset, _)| *offset >= limit) {
            self.cursor = limit; // what was there is delivered, dropped or damaged; what is there may not go yet
        }
        for (offset, record) in records.into_iter().take_while(|(offset, _)| *offset < limit) {
            self.cursor = offset + 1;
            match Message::decode(record) {
                Ok(message) => self.publish_one(now, session, offset, message),
                Err(refused) => {
                    self.shared.lock().stats.unreadable += 1;
                    warn!(%refused, offset, "a message in the outbox cannot be read; it is dropped");
                    self.in_flight.push_back((offset, true));
                }
            }
        }
        if self.in_flight.front().is_none_or(|(_, there)| *there) {
            self.forget_delivered();
        }
    }

    fn publish_one(&mut self, now: Instant, session: &mut ClientSession, offset: Offset, message: Message) {
        let topic = self.dialect.topic(&message);
        self.in_flight.push_back((offset, false));
        let command =
            ClientCommand::Publish { token: offset, topic, payload: message.body, qos: Qos::AtLeastOnce };
        session.handle_command(now, command);
    }
}
