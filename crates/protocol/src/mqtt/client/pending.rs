//! SUBSCRIBE and UNSUBSCRIBE that wait for their answer.

use std::collections::VecDeque;

use rumqttc::mqttbytes::{QoS, v4};

use super::ClientEvent;
use crate::mqtt::Qos;
use crate::mqtt::codec::FILTERS_MAX;
use crate::window::PACKET_ID_MAX;

/// How many may wait at once. IoT Hub has five feeds to subscribe to.
const PENDING_MAX: usize = 64;

/// What was asked for and not answered yet, by packet identifier.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<(u16, Asked)>,
    last: u16,
}

#[derive(Debug)]
enum Asked {
    Subscribe(Vec<(String, Qos)>),
    Unsubscribe(Vec<String>),
}

impl Pending {
    pub(super) fn subscribe(&mut self, filters: Vec<(String, Qos)>) -> v4::Subscribe {
        let wanted = filters.iter().map(|(filter, qos)| {
            let qos = if *qos == Qos::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            v4::SubscribeFilter::new(filter.clone(), qos)
        });
        let mut packet = v4::Subscribe::new_many(wanted);
        packet.pkid = self.ask(filters.len(), Asked::Subscribe(filters));
        packet
    }

    pub(super) fn unsubscribe(&mut self, filters: Vec<String>) -> v4::Unsubscribe {
        let topics = filters.clone();
        let pkid = self.ask(filters.len(), Asked::Unsubscribe(filters));
        v4::Unsubscribe { pkid, topics }
    }

    pub(super) fn subscribed(&mut self, answer: &v4::SubAck) -> Option<ClientEvent> {
        let Some(Asked::Subscribe(filters)) = self.answered(answer.pkid) else { return None };
        let granted = answer.return_codes.iter().map(|code| match code {
            v4::SubscribeReasonCode::Success(QoS::AtMostOnce) => Some(Qos::AtMostOnce),
            v4::SubscribeReasonCode::Success(_) => Some(Qos::AtLeastOnce),
            v4::SubscribeReasonCode::Failure => None,
        });
        let granted = granted.chain(std::iter::repeat(None)); // too short an answer grants nothing further
        let filters = filters.into_iter().zip(granted).map(|((filter, _), qos)| (filter, qos)).collect();
        Some(ClientEvent::Subscribed { filters })
    }

    pub(super) fn unsubscribed(&mut self, answer: &v4::UnsubAck) -> Option<ClientEvent> {
        let Some(Asked::Unsubscribe(filters)) = self.answered(answer.pkid) else { return None };
        Some(ClientEvent::Unsubscribed { filters })
    }

    /// Identifiers above those of messages, so that the two never meet.
    fn ask(&mut self, filters: usize, asked: Asked) -> u16 {
        assert!(
            self.waiting.len() < PENDING_MAX,
            "five feeds are subscribed to, not {PENDING_MAX} times at once"
        );
        assert!(
            (1..=FILTERS_MAX).contains(&filters),
            "a packet has 1 to {FILTERS_MAX} filters, not {filters}"
        );
        self.last = self.last.max(PACKET_ID_MAX).checked_add(1).unwrap_or(PACKET_ID_MAX + 1);
        self.waiting.push_back((self.last, asked));
        self.last
    }

    fn answered(&mut self, packet_id: u16) -> Option<Asked> {
        let at = self.waiting.iter().position(|(id, _)| *id == packet_id)?;
        self.waiting.remove(at).map(|(_, asked)| asked)
    }
}
