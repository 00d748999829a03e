//! What the hub is told besides messages: answers to calls, fresh tokens.

use std::time::Duration;

use fe2o3_amqp::Sender;
use fe2o3_amqp_types::{
    messaging::{ApplicationProperties, Data, Message as Wire, Outcome, Properties},
    primitives::Binary,
};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::{Over, RENEW_AGAIN, Talk, convert, open::Cbs, open::put_token};

impl Talk<'_> {
    /// Answers calls, one after the other.
    pub(super) async fn answer(&self, sender: Option<&mut Sender>) -> Over {
        let Some(sender) = sender else { return std::future::pending().await };
        loop {
            self.news.answers.notified().await;
            while let Some((id, wire)) = self.next_answer() {
                match sender.send(wire).await {
                    Ok(Outcome::Accepted(_)) => {}
                    Ok(outcome) => debug!(?outcome, "the hub has no use for an answer any more"),
                    Err(error) => return Over::lost(error),
                }
                let mut state = self.shared.lock();
                state.responses.retain(|response| response.id != id);
                state.told();
            }
        }
    }

    fn next_answer(&self) -> Option<(u64, Wire<Data>)> {
        let mut state = self.shared.lock();
        let response = state.responses.iter_mut().find(|response| !response.sent)?;
        response.sent = true;
        let properties = Properties::builder().correlation_id(convert::rid_to_id(&response.rid)).build();
        let status = ApplicationProperties::builder().insert("IoThub-status", response.status).build();
        let wire = Wire::builder()
            .properties(properties)
            .application_properties(status)
            .data(Binary::from(response.payload.clone()))
            .build();
        Some((response.id, wire))
    }

    /// Shows a fresh token before the old one ends; the connection stays.
    pub(super) async fn renew(&self, cbs: Option<&mut Cbs>, after: Option<Duration>) -> Over {
        let (Some(cbs), Some(mut after)) = (cbs, after) else { return std::future::pending().await };
        loop {
            sleep(after).await;
            let password = match self.target.password(self.host).await {
                Ok(password) => password,
                Err(error) => {
                    warn!(%error, "there is no fresh token yet; it is tried again");
                    after /= RENEW_AGAIN;
                    continue;
                }
            };
            let Some(token) = password.token else { return std::future::pending().await };
            if let Err(over) = put_token(cbs, &self.target.audience(), &token).await {
                return over;
            }
            after = password.renew_after.unwrap_or(after);
        }
    }
}
