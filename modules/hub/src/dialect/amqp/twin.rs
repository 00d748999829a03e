//! Twins: the operation stands in the annotations, the answer carries its status there.

use isotherm_iothub::{Feed, Identity};
use isotherm_protocol::amqp::{DeliveryState, Map, Message, Properties, Value};

use super::Connection;
use super::address::Node;
use super::hearing::Came;
use super::links::Going;
use super::owed::Debt;
use crate::core::ErrorCode;
use crate::dialect::http::failure::twin_error;
use crate::store::Ticket;

const DESIRED: &str = "/notifications/twin/properties/desired";
const REPORTED: &str = "/properties/reported";

/// An answer: its status, its version if there is one, its body, and when it may be given.
struct Answer(i32, Option<u64>, String, Ticket);

impl Connection {
    pub(super) fn hear_twin_request(&mut self, who: &Identity, came: &Came) {
        let annotations = &came.message.annotations;
        let operation = annotations.text("operation").map_or("", |text| text.as_str()).to_ascii_uppercase();
        let resource = annotations.text("resource").map_or("", |text| text.as_str()).to_ascii_lowercase();
        let bytes = came.message.body.bytes().unwrap_or_default();
        let Answer(status, version, body, ticket) = match (operation.as_str(), resource.as_str()) {
            ("GET", _) => self.twin(who),
            ("PATCH", REPORTED | "") => self.report(who, &bytes),
            ("PUT", DESIRED) => self.follow_desired(who, true),
            ("DELETE", DESIRED) => self.follow_desired(who, false),
            _ => self.wrong(&format!("{operation} of {resource:?} is no operation on a twin")),
        };
        self.owe(came, ticket, DeliveryState::Accepted);
        let mut answer = Message::data(body);
        let correlation_id = came.message.properties.correlation_id.clone();
        answer.properties = Box::new(Properties { correlation_id, ..Properties::default() });
        answer.annotations = Map::new().with_symbol("status", status);
        if let Some(version) = version {
            answer.annotations = answer.annotations.with_symbol("version", version.cast_signed());
        }
        let node = Node::Twin(who.clone());
        let pair = self.links.get(&came.link).and_then(|link| link.pair.clone());
        let links = || self.links.iter().filter(|(_, link)| link.outgoing && link.node == node);
        let link = links().find(|(_, link)| link.pair == pair).or_else(|| links().last());
        if let Some((&link, _)) = link {
            let answer = Some((link, Box::new(answer)));
            self.owed.push(Debt { receipt: ticket.into(), outcome: None, answer, bytes: bytes.len() });
        }
    }

    fn twin(&self, who: &Identity) -> Answer {
        let twin = self.shared.core().twin_get(who);
        match twin {
            Some(twin) => Answer(200, None, twin.to_string(), Ticket::DURABLE),
            None => {
                let error = twin_error(&self.shared.host, ErrorCode::DeviceNotFound, "no such identity");
                Answer(404, None, error, Ticket::DURABLE)
            }
        }
    }

    fn report(&self, who: &Identity, patch: &[u8]) -> Answer {
        let result = serde_json::from_slice(patch)
            .map_err(|error| format!("reported properties are a JSON object: {error}"))
            .and_then(|patch| {
                let now = self.shared.now();
                self.shared.core().reported(who, &patch, now).map_err(|refused| refused.to_string())
            });
        match result {
            Ok((version, ticket)) => Answer(204, Some(version), String::new(), ticket),
            Err(reason) => self.wrong(&reason),
        }
    }

    fn follow_desired(&self, who: &Identity, on: bool) -> Answer {
        if let Some(seat) = self.seats.get(who) {
            let mut core = self.shared.core();
            if on {
                core.subscribe(seat.session, Feed::Desired, 0, self.shared.now());
            } else {
                core.unsubscribe(seat.session, Feed::Desired);
            }
        }
        Answer(200, None, String::new(), Ticket::DURABLE)
    }

    fn wrong(&self, reason: &str) -> Answer {
        self.shared.counters.count("amqp_refused_twin_request");
        let error = twin_error(&self.shared.host, ErrorCode::ArgumentInvalid, reason);
        Answer(400, None, error, Ticket::DURABLE)
    }

    /// Desired properties changed: no correlation id, which is how clients know it.
    pub(super) fn tell_desired(&mut self, who: &Identity, version: u64, patch: &serde_json::Value) {
        let node = Node::Twin(who.clone());
        let Some(link) = self.links.values_mut().rfind(|link| link.outgoing && link.node == node) else {
            return;
        };
        let mut message = Message::data(patch.to_string());
        message.annotations = Map::new()
            .with_symbol("resource", DESIRED)
            .with_symbol("version", Value::Long(version.cast_signed()));
        link.waiting.push_back(Going { message: Box::new(message), delivery: None });
    }
}
