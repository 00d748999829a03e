//! What the hub says.

use std::time::Instant;

use bytes::Bytes;
use isotherm_iothub::method;
use isotherm_protocol::{
    Session as _,
    mqtt::{ClientCommand, ClientSession, Qos},
};
use tracing::{debug, warn};

use super::{ASK_AGAIN_AFTER, Asking, COPIED_BYTES_MAX, Incoming, Link, RESPONSE, RESPONSE_LIFE};
use crate::{Call, Delivery, Event, shared::State, twin::Answered};

impl Link<'_> {
    pub(super) fn connected(&mut self, now: Instant, session: &mut ClientSession) {
        self.open = true;
        {
            let mut state = self.shared.lock();
            state.connected();
            let fresh = |at: Instant| now.saturating_duration_since(at) < RESPONSE_LIFE;
            state.responses.retain(|response| fresh(response.at));
        }
        let mut filters = self.dialect.filters();
        filters.retain(|filter| self.inputs.as_ref() != Some(filter));
        if !filters.is_empty() {
            session.handle_command(now, ClientCommand::Subscribe { filters });
        }
    }

    pub(super) fn subscribed(&mut self, filters: &[(String, Option<Qos>)]) {
        for (filter, _) in filters.iter().filter(|(_, granted)| granted.is_none()) {
            warn!(filter, "the hub refuses the subscription; nothing of that kind will come");
        }
        if self.dialect.is_hub() && self.asking == Asking::Deaf {
            self.shared.lock().mirror.connected();
            self.asking = Asking::Free;
        }
    }

    pub(super) fn received(&mut self, now: Instant, topic: String, payload: Bytes, qos: Qos, packet_id: u16) {
        let small = payload.len() <= COPIED_BYTES_MAX;
        let payload = if small { Bytes::copy_from_slice(&payload) } else { payload };
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { packet_id };
        let read = self.dialect.read(topic, payload.clone());
        let mut state = self.shared.lock();
        let delivery = Delivery { epoch: state.epoch, id: packet_id.into() };
        match read {
            Ok(Incoming::Input { name, message }) => {
                return state.push_input(Event::Input { name, message, delivery });
            }
            Ok(Incoming::CloudToDevice { message }) => {
                return state.push_input(Event::CloudToDevice { message, delivery });
            }
            Ok(Incoming::Method { name, rid }) => called(&mut state, now, name, rid, &payload),
            Ok(Incoming::TwinResult { status, rid }) => {
                let answered = state.mirror.answered(status, &rid, &payload);
                self.answered(&mut state, status, answered);
            }
            Ok(Incoming::Desired { version }) => match serde_json::from_slice(&payload) {
                Ok(patch) => state.mirror.desired(version, &patch),
                Err(_) => state.mirror.connected(), // whatever it was, the whole twin says it too
            },
            Err(reason) => warn!(reason, "the hub publishes what means nothing here"),
        }
        if packet_id != 0 {
            state.acknowledge.push_back(packet_id.into());
        }
        state.wake_user();
        drop(state);
        self.shared.keeper.notify_one();
    }

    fn answered(&mut self, state: &mut State, status: u16, answered: Answered) {
        match answered {
            Answered::Refused(reason) => {
                state.stats.reports_refused += 1;
                warn!(reason, "the hub refuses reported properties; they are dropped");
            }
            Answered::Later => {
                debug!(status, "the hub cannot speak of the twin now; it is asked again");
                return self.ask_in(Asking::Holding, ASK_AGAIN_AFTER);
            }
            Answered::Fine | Answered::Unknown => {}
        }
        if !state.mirror.is_asking() && self.asking == Asking::Waiting {
            self.asking = Asking::Free;
        }
    }

    /// The hub has what was published with `token`; true if the outbox could forget something over it.
    pub(super) fn acknowledged(&mut self, token: u64) -> bool {
        if token & RESPONSE != 0 {
            let mut state = self.shared.lock();
            state.responses.retain(|response| response.id | RESPONSE != token);
            state.told();
            return false;
        }
        if let Ok(index) = self.in_flight.binary_search_by_key(&token, |(offset, _)| *offset)
            && !std::mem::replace(&mut self.in_flight[index].1, true)
        {
            self.shared.lock().stats.delivered += 1;
        }
        let first = self.in_flight.front().is_some_and(|(_, there)| *there);
        if first {
            self.forget_delivered();
        }
        first
    }
}

fn called(state: &mut State, now: Instant, name: String, rid: String, payload: &[u8]) {
    match method::read_payload(payload) {
        Ok(payload) => state.push(Event::Method(Call { name, payload, rid })),
        Err(refused) => {
            state.respond(rid, 400, serde_json::json!(refused.to_string()).to_string().into(), now)
        }
    }
}
