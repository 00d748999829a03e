//! The twin: requests and answers on a pair of links, and changes that nobody asked for.

use std::time::Duration;

use fe2o3_amqp_types::{
    messaging::{Body, Data, Message as Wire, MessageAnnotations, MessageId, Properties},
    primitives::{Binary, Value},
};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::{
    ANSWER_WITHIN, ASK_AGAIN_AFTER, Over, Talk,
    convert::{self, Received},
    open::Pair,
};
use crate::twin::{Answered, Request};

/// The id of the request to be told of changes. Those of the mirror are numbers.
const SUBSCRIPTION: &str = "desired";
const DESIRED: &str = "/notifications/twin/properties/desired";
const REPORTED: &str = "/properties/reported";

/// Whether the hub may be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// Not before we hear of changes: what happened until then has to be asked for.
    Deaf(Instant),
    Free,
    /// An answer is due.
    Waiting(Instant),
    /// Not before this.
    Holding(Instant),
}

impl Asking {
    fn due(self) -> Option<Instant> {
        match self {
            Self::Free => None,
            Self::Deaf(at) | Self::Waiting(at) | Self::Holding(at) => Some(at),
        }
    }
}

fn after(wait: Duration) -> Instant {
    Instant::now() + wait
}

impl Talk<'_> {
    pub(super) async fn follow_twin(&self, pair: Option<&mut Pair>) -> Over {
        let Some(pair) = pair else { return std::future::pending().await };
        if let Err(error) = pair.sender.send(request("PUT", Some(DESIRED), SUBSCRIPTION, " ")).await {
            return Over::lost(error);
        }
        let mut asking = Asking::Deaf(after(ANSWER_WITHIN));
        loop {
            if let Err(over) = self.ask(pair, &mut asking).await {
                return over;
            }
            let due = asking.due();
            tokio::select! {
                biased;
                heard = pair.receiver.recv::<Body<Value>>() => {
                    let delivery = match heard {
                        Ok(delivery) => delivery,
                        Err(error) => return Over::lost(error),
                    };
                    if let Err(error) = pair.receiver.accept(&delivery).await {
                        return Over::lost(error);
                    }
                    self.told_of_twin(delivery.message(), &mut asking);
                }
                () = self.news.twin.notified() => {}
                () = sleep_until(due.unwrap_or_else(|| after(ANSWER_WITHIN))), if due.is_some() => {
                    match asking {
                        Asking::Deaf(_) => return Over::lost("the hub does not answer about the twin"),
                        Asking::Waiting(_) => self.shared.lock().mirror.give_up_waiting(),
                        Asking::Free | Asking::Holding(_) => {}
                    }
                    asking = Asking::Free;
                }
            }
        }
    }

    async fn ask(&self, pair: &mut Pair, asking: &mut Asking) -> Result<(), Over> {
        while matches!(asking, Asking::Free | Asking::Waiting(_)) {
            let next = self.shared.lock().mirror.request();
            let wire = match next {
                None => return Ok(()),
                Some(Request::Get { rid }) => request("GET", None, &format!("{rid:x}"), " "),
                Some(Request::Report { rid, patch }) => {
                    request("PATCH", Some(REPORTED), &format!("{rid:x}"), &patch.to_string())
                }
            };
            pair.sender.send(wire).await.map_err(Over::lost)?;
            *asking = Asking::Waiting(after(ANSWER_WITHIN));
        }
        Ok(())
    }

    fn told_of_twin(&self, wire: &Received, asking: &mut Asking) {
        let id = wire.properties.as_ref().and_then(|properties| properties.correlation_id.clone());
        let body = convert::body(wire);
        let mut state = self.shared.lock();
        match id {
            Some(MessageId::String(id)) if id == SUBSCRIPTION => {
                state.mirror.connected();
                *asking = Asking::Free;
            }
            Some(id) => {
                let rid = match id {
                    MessageId::String(id) => id,
                    other => convert::id_to_rid(&other),
                };
                let status = convert::annotation(wire, "status").and_then(convert::number);
                let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
                match state.mirror.answered(status, &rid, &body) {
                    Answered::Refused(reason) => {
                        state.stats.reports_refused += 1;
                        warn!(reason, "the hub refuses reported properties; they are dropped");
                    }
                    Answered::Later => {
                        debug!(status, "the hub cannot speak of the twin now; it is asked again");
                        *asking = Asking::Holding(after(ASK_AGAIN_AFTER));
                    }
                    Answered::Fine | Answered::Unknown => {}
                }
                if !state.mirror.is_asking() && matches!(asking, Asking::Waiting(_)) {
                    *asking = Asking::Free;
                }
            }
            None => self.changed(&mut state, wire, &body),
        }
        state.wake_user();
        drop(state);
        self.news.claims.notify_one(); // inputs may have waited for it
        self.shared.keeper.notify_one();
    }

    /// Desired properties changed: that is what a message without a correlation id says.
    fn changed(&self, state: &mut crate::shared::State, wire: &Received, body: &[u8]) {
        let patch = serde_json::from_slice::<serde_json::Value>(body).ok();
        let said = convert::annotation(wire, "version").and_then(convert::number);
        let version = patch.as_ref().and_then(|patch| patch["$version"].as_i64()).or(said);
        match (patch, version.and_then(|version| u64::try_from(version).ok())) {
            (Some(patch), Some(version)) => state.mirror.desired(version, &patch),
            _ => state.mirror.connected(), // whatever it was, the whole twin says it too
        }
    }
}

fn request(operation: &str, resource: Option<&str>, id: &str, body: &str) -> Wire<Data> {
    let mut annotations = MessageAnnotations::builder().insert("operation", operation.to_owned());
    if let Some(resource) = resource {
        annotations = annotations.insert("resource", resource.to_owned());
    }
    Wire::builder()
        .message_annotations(annotations.build())
        .properties(Properties::builder().correlation_id(MessageId::String(id.to_owned())).build())
        .data(Binary::from(body.as_bytes().to_vec()))
        .build()
}
