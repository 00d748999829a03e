//! What a client is told: messages for its inputs, calls, twin changes, and that it has to go.

use std::time::Instant;

use bytes::Bytes;
use isotherm_host::Flow;
use isotherm_iothub::{Identity, desired_topic, devicebound_topic, method_topic, write_input_topic};
use isotherm_protocol::Session as _;
use isotherm_protocol::mqtt::{Qos, Server, ServerCommand, Text};

use super::{Connection, Stage};
use crate::core::{Outcome, Outgoing};

/// Things said in one go; what is left is said after the next write, so that acknowledgements are not held up.
const SAID_MAX: usize = 256;

impl Connection {
    /// Says what the hub's mind has for this client, as far as its window has room.
    pub(super) fn speak(&mut self, now: Instant, session: &mut Server) -> Flow {
        let Stage::Open(client) = &self.stage else { return Flow::Go };
        let (id, who) = (client.session, client.who.clone());
        let both = self.shared.now();
        let mut room = session.window();
        let mut said = std::mem::take(&mut self.said);
        let mut core = self.shared.core();
        while said.len() < SAID_MAX {
            let Some(outgoing) = core.poll(id, room, both) else { break };
            if matches!(outgoing, Outgoing::Input { qos: 1, .. } | Outgoing::CloudToDevice { qos: 1, .. }) {
                room -= 1;
            }
            said.push(outgoing);
        }
        drop(core); // topics are written without the lock
        self.look |= said.len() == SAID_MAX;
        for outgoing in said.drain(..) {
            if self.say(now, &who, outgoing, session) == Flow::End {
                return Flow::End;
            }
        }
        self.said = said;
        Flow::Go
    }

    fn say(&mut self, now: Instant, who: &Identity, outgoing: Outgoing, session: &mut Server) -> Flow {
        match outgoing {
            Outgoing::Input { delivery, input, message, qos, redelivered } => {
                self.topic.clear();
                write_input_topic(&mut self.topic, who, &input, &message);
                self.deliver(delivery, &message.body, qos, redelivered, session);
            }
            Outgoing::CloudToDevice { delivery, message, qos, delivery_count } => {
                self.topic = devicebound_topic(who, &message);
                self.deliver(delivery, &message.body, qos, delivery_count > 1, session);
            }
            Outgoing::Method { rid, name, payload } => {
                tell(now, method_topic(&name, &rid), payload.to_string(), session);
            }
            Outgoing::Desired { version, patch } => {
                tell(now, desired_topic(version), patch.to_string(), session);
            }
            Outgoing::Taken => return self.close(session, now, "mqtt_ended_taken_over"),
            Outgoing::Expired => return self.close(session, now, "mqtt_ended_token_expired"),
            Outgoing::Removed => return self.close(session, now, "mqtt_ended_identity_removed"),
            Outgoing::Cut => return self.close(session, now, "mqtt_ended_by_fault"),
            Outgoing::TooSlow => return self.close(session, now, "mqtt_ended_too_slow"),
        }
        Flow::Go
    }

    /// Delivers to the topic that was written last.
    fn deliver(&mut self, delivery: u64, payload: &[u8], qos: u8, dup: bool, session: &mut Server) {
        let qos = if qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
        if session.deliver(delivery, &self.topic, payload, qos, dup).is_err() {
            // Properties that came by another dialect and fit into no MQTT topic: nobody can ever be told.
            self.shared.counters.count("mqtt_undeliverable_topic_too_long");
            return self.settle(delivery, Outcome::Rejected);
        }
        if qos == Qos::AtMostOnce {
            self.settled.push(delivery);
            self.due = true;
        }
    }

    fn settle(&self, delivery: u64, outcome: Outcome) {
        if let Stage::Open(client) = &self.stage {
            self.shared.core().settle(client.session, delivery, outcome, self.shared.now());
        }
    }
}

fn tell(now: Instant, topic: String, body: String, session: &mut Server) {
    // Names and rids are ours or were checked at the REST door, so the topic fits.
    if let Ok(topic) = Text::try_from(topic) {
        let payload = Bytes::from(body);
        let command = ServerCommand::Deliver { token: 0, topic, payload, qos: Qos::AtMostOnce, dup: false };
        session.handle_command(now, command);
    }
}
