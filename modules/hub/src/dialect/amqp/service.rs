//! The service side's links: cloud-to-device messages in, feedback out.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use isotherm_protocol::amqp::{DeliveryState, Error, Map, Message, Properties, Server, Text, Value};

use super::Connection;
use super::address::Node;
use super::convert;
use super::hearing::Came;
use super::links::Going;
use crate::core::{ApiError, ErrorCode};
use crate::faults::{Blow, SERVICE};
use crate::quotas::Operation;
use crate::store::Ticket;
use crate::upstream;

const FEEDBACK_TYPE: Text = Text::from_static("application/vnd.microsoft.iothub.feedback.json");

impl Connection {
    /// A message for the device that its `to` names.
    pub(super) fn hear_devicebound(&mut self, now: Instant, came: &Came) {
        if self.shared.faults.strike(SERVICE, now, &self.shared.host.chance) == Some(Blow::Drop) {
            return;
        }
        let (ticket, state) = match self.send(now, came) {
            Ok(ticket) => (ticket, DeliveryState::Accepted),
            Err(error) => (Ticket::DURABLE, DeliveryState::Rejected(Some(Arc::new(error)))),
        };
        self.owe(came, ticket, state);
    }

    fn send(&self, now: Instant, came: &Came) -> Result<Ticket, Error> {
        let to = came.message.properties.to.clone().unwrap_or_default();
        let Some(Node::Devicebound(who)) = Node::parse(&to, "") else {
            let why = format!("`to` is {to:?} and should be /devices/DEVICE/messages/devicebound");
            return Err(Error::new("com.microsoft:argument-error", why));
        };
        if self.shared.throttles.take(Operation::CloudToDevice, now).is_err() {
            return Err(Error::new("com.microsoft:device-container-throttled", "too many messages a minute"));
        }
        let message = convert::from_amqp(&came.message, 0)?.remove(0);
        let now = self.shared.now();
        let sent = self.shared.core().send_cloud_to_device(who.as_str(), message, now);
        sent.map_err(|error| error_of(&error))
    }

    /// Fetches feedback for a link that waits for it.
    pub(super) fn fetch_feedback(&mut self, session: &Server) {
        let now = self.shared.now();
        for (id, link) in &mut self.links {
            let ready = link.node == Node::Feedback && link.feedback.is_none() && session.room(*id) > 0;
            if !ready {
                continue;
            }
            let mut core = self.shared.core();
            let Some(batch) = core.receive_feedback(now) else { return };
            let hub = upstream::entity_path(&core.options().host_name).to_owned();
            drop(core);
            let body = serde_json::to_vec(&batch.records).expect("records are JSON");
            let mut message = Message::data(body);
            message.properties = Box::new(Properties {
                user_id: Some(Bytes::from(hub)),
                to: Some(Text::from_static("/messages/serviceBound/feedback")),
                content_type: Some(FEEDBACK_TYPE),
                content_encoding: Some(Text::from_static("utf-8")),
                ..Properties::default()
            });
            let enqueued = Value::Timestamp(now.wall.as_millisecond());
            message.annotations = Map::new().with_symbol("iothub-enqueuedtime", enqueued);
            link.feedback = Some(batch.lock_token);
            // The hub's mind knows the batch by its lock, not by a number.
            link.waiting.push_back(Going { message: Box::new(message), delivery: Some(0) });
        }
    }
}

fn error_of(error: &ApiError) -> Error {
    let condition = match error.code {
        ErrorCode::DeviceNotFound | ErrorCode::ModuleNotFound => "amqp:not-found",
        ErrorCode::DeviceMaximumQueueDepthExceeded => "amqp:resource-limit-exceeded",
        ErrorCode::IotHubQuotaExceeded => "com.microsoft:quota-exceeded",
        ErrorCode::MessageTooLarge => "amqp:link:message-size-exceeded",
        ErrorCode::ArgumentInvalid => "com.microsoft:argument-error",
        _ => "amqp:internal-error",
    };
    Error::new(condition, error.message.clone())
}
