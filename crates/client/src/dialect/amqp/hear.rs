//! What the hub says: inputs, messages from the cloud, calls.

use fe2o3_amqp::{Receiver, link::ReceiverDisposer, link::delivery::DeliveryInfo};
use fe2o3_amqp_types::{messaging::Body, primitives::Value};
use isotherm_iothub::method;
use tracing::warn;

use super::{
    INPUTS_MAX, Over, Talk,
    convert::{self, Received},
};
use crate::{Call, Delivery, Event};

impl Talk<'_> {
    /// Takes inputs, and messages to a device. The hub sends no more than it has credit for, which comes back as the
    /// user accepts.
    pub(super) async fn take_deliveries(&self, receiver: Option<&mut Receiver>) -> Over {
        let Some(receiver) = receiver else { return std::future::pending().await };
        loop {
            if let Some(credit) = self.credit_for(receiver.credit())
                && let Err(error) = receiver.set_credit(credit).await
            {
                return Over::lost(error);
            }
            let delivery = tokio::select! {
                biased;
                delivery = receiver.recv::<Body<Value>>() => delivery,
                () = self.news.claims.notified() => continue,
            };
            match delivery {
                Ok(delivery) => {
                    let (info, wire) = delivery.into_parts();
                    self.delivered(info, &wire);
                }
                Err(error) => return Over::lost(error),
            }
        }
    }

    /// How much credit the hub is to have, once that is a good part more than it has. By itself the library would give
    /// it all of it again for half of what it sent, whatever the user still holds.
    fn credit_for(&self, has: u32) -> Option<u32> {
        if self.shared.lock().mirror.twin().is_none() && self.target.dialect.inputs().is_some() {
            return None; // not before the twin is known
        }
        let held = u32::try_from(self.claims().open.len()).unwrap_or(u32::MAX);
        let fits = INPUTS_MAX.saturating_sub(held);
        (fits >= has + INPUTS_MAX / 4).then_some(fits)
    }

    fn delivered(&self, info: DeliveryInfo, wire: &Received) {
        let message = convert::from_amqp(wire);
        let input = convert::annotation(wire, "x-opt-input-name").and_then(|name| match name {
            Value::String(name) => Some(name.clone()),
            Value::Symbol(name) => Some(name.as_str().to_owned()),
            _ => None,
        });
        let id = {
            let mut claims = self.claims();
            claims.last = claims.last.checked_add(1).unwrap_or(1);
            let id = claims.last;
            claims.open.insert(id, info);
            id
        };
        let mut state = self.shared.lock();
        let delivery = Delivery { epoch: state.epoch, id };
        state.push_input(match input {
            Some(name) => Event::Input { name, message, delivery },
            None => Event::CloudToDevice { message, delivery },
        });
    }

    /// Tells the hub what was accepted.
    pub(super) async fn accept(&self, disposer: Option<ReceiverDisposer>) -> Over {
        let Some(disposer) = disposer else { return std::future::pending().await };
        loop {
            self.news.accepted.notified().await;
            while let Some(id) = self.next_accepted() {
                let claim = self.claims().open.remove(&id);
                self.news.claims.notify_one();
                if let Some(info) = claim
                    && let Err(error) = disposer.accept(info).await
                {
                    return Over::lost(error);
                }
                self.shared.lock().acknowledge.pop_front_if(|it| *it == id);
            }
            self.shared.lock().told();
        }
    }

    /// It stays the next until it was said.
    fn next_accepted(&self) -> Option<u32> {
        self.shared.lock().acknowledge.front().copied()
    }

    /// Takes calls, as long as the user has room for them.
    pub(super) async fn take_calls(&self, receiver: Option<&mut Receiver>) -> Over {
        let Some(receiver) = receiver else { return std::future::pending().await };
        loop {
            while self.is_clogged() {
                self.news.room.notified().await;
            }
            let delivery = match receiver.recv::<Body<Value>>().await {
                Ok(delivery) => delivery,
                Err(error) => return Over::lost(error),
            };
            if let Err(error) = receiver.accept(&delivery).await {
                return Over::lost(error);
            }
            self.called(delivery.message());
        }
    }

    fn is_clogged(&self) -> bool {
        self.shared.lock().is_clogged()
    }

    fn called(&self, wire: &Received) {
        let id = wire.properties.as_ref().and_then(|properties| properties.correlation_id.as_ref());
        let name = convert::property(wire, "IoThub-methodname");
        let (Some(id), Some(name)) = (id, name) else {
            return warn!("the hub calls without a name or a correlation id; nobody can answer that");
        };
        let rid = convert::id_to_rid(id);
        let mut state = self.shared.lock();
        match method::read_payload(&convert::body(wire)) {
            Ok(payload) => state.push(Event::Method(Call { name, payload, rid })),
            Err(refused) => {
                let body = serde_json::json!(refused.to_string()).to_string().into_bytes();
                state.respond(rid, 400, body, self.host.now());
            }
        }
    }
}
