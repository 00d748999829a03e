//! Messages from the outbox, on their way to the hub.

use std::{collections::VecDeque, future::Future, pin::Pin, pin::pin};

use bytes::Bytes;
use fe2o3_amqp::{Sender, link::SendError};
use fe2o3_amqp_types::{definitions::Error, messaging::Outcome};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use isotherm_iothub::Message;
use isotherm_journal::Offset;
use tracing::warn;

use super::{Over, Talk, convert};
use crate::dialect::Dialect;

/// What becomes of a message that is on its way.
type Fate = Pin<Box<dyn Future<Output = (Offset, Result<Outcome, SendError>)> + Send>>;

/// Conditions under which a message would be refused for ever.
const FOR_EVER: [&str; 4] = ["message-size-exceeded", "MessageSizeExceeded", "argument", "DecodeError"];

/// What is on its way, in order.
struct Flight {
    /// The next message to publish.
    cursor: Offset,
    /// Published and not yet forgotten, with whether the hub has it.
    sent: VecDeque<(Offset, bool)>,
    fates: FuturesUnordered<Fate>,
}

impl Talk<'_> {
    /// Publishes from the outbox while there is room on the way, and lets it forget what the hub has.
    pub(super) async fn publish(&self, sender: &mut Sender) -> Over {
        let mut flight = Flight { cursor: 0, sent: VecDeque::new(), fates: FuturesUnordered::new() };
        loop {
            if let Err(over) = self.fill(sender, &mut flight).await {
                return over;
            }
            let settled = tokio::select! {
                biased;
                Some((offset, fate)) = flight.fates.next() => self.settled(&mut flight, offset, fate),
                () = self.news.outbox.notified() => Ok(()),
                detached = sender.on_detach() => Err(Over::lost(detached)),
            };
            if let Err(over) = settled {
                return over;
            }
        }
    }

    async fn fill(&self, sender: &mut Sender, flight: &mut Flight) -> Result<(), Over> {
        loop {
            let limit = self.shared.outbox.publishable();
            let room = self.target.window - flight.sent.len();
            if flight.cursor >= limit || room == 0 {
                return Ok(());
            }
            let most = usize::try_from(limit - flight.cursor).unwrap_or(room).min(room);
            let records = self
                .shared
                .outbox
                .read(flight.cursor, most)
                .map_err(|error| Over::lost(format_args!("the outbox cannot be read: {error}")))?;
            if records.first().is_none_or(|(offset, _)| *offset >= limit) {
                flight.cursor = limit; // what was there is delivered, dropped or damaged
            }
            for (offset, record) in records.into_iter().take_while(|(offset, _)| *offset < limit) {
                flight.cursor = offset + 1;
                self.send(sender, flight, offset, record).await?;
            }
            self.forget(flight);
        }
    }

    async fn send(
        &self,
        sender: &mut Sender,
        flight: &mut Flight,
        offset: Offset,
        record: Bytes,
    ) -> Result<(), Over> {
        let message = match Message::decode(record) {
            Ok(message) => message,
            Err(refused) => {
                self.shared.lock().stats.unreadable += 1;
                warn!(%refused, offset, "a message in the outbox cannot be read; it is dropped");
                flight.sent.push_back((offset, true));
                return Ok(());
            }
        };
        let wire = match &self.target.dialect {
            Dialect::Entity(_) => convert::to_entity(&message),
            _ => convert::to_amqp(&message),
        };
        flight.sent.push_back((offset, false));
        // It waits for the hub's credit; what the hub says meanwhile of the others is heard.
        let mut sending = pin!(sender.send_batchable(wire));
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut sending => break sent,
                Some((offset, fate)) = flight.fates.next(), if !flight.fates.is_empty() => {
                    self.settled(flight, offset, fate)?;
                }
            }
        };
        match sent {
            Ok(fate) => {
                flight.fates.push(Box::pin(async move { (offset, fate.await) }));
                Ok(())
            }
            Err(error) => self.settled(flight, offset, Err(error)),
        }
    }

    fn settled(
        &self,
        flight: &mut Flight,
        offset: Offset,
        fate: Result<Outcome, SendError>,
    ) -> Result<(), Over> {
        match fate {
            Ok(Outcome::Accepted(_)) => self.shared.lock().stats.delivered += 1,
            Ok(Outcome::Rejected(rejected)) => {
                let why = rejected.error.as_ref().map_or_else(|| "without a reason".to_owned(), said);
                self.turned_away(offset, &why)?;
            }
            Ok(_) => return Err(Over::lost("the hub gives messages back; they are sent again")),
            Err(error) => self.turned_away(offset, &format!("{error:?}"))?,
        }
        if let Ok(index) = flight.sent.binary_search_by_key(&offset, |(offset, _)| *offset) {
            flight.sent[index].1 = true;
        }
        self.forget(flight);
        Ok(())
    }

    /// What would be refused for ever is dropped, or it would hold up all behind it; anything else is tried again.
    fn turned_away(&self, offset: Offset, why: &str) -> Result<(), Over> {
        if !FOR_EVER.iter().any(|condition| why.contains(condition)) {
            return Err(Over::lost(format_args!("the hub does not take a message: {why}")));
        }
        self.shared.lock().stats.refused += 1;
        warn!(offset, why, "the hub refuses a message for good; it is dropped");
        Ok(())
    }

    /// Lets the outbox forget all up to the first message that the hub does not have.
    fn forget(&self, flight: &mut Flight) {
        while flight.sent.pop_front_if(|(_, there)| *there).is_some() {}
        let below = flight.sent.front().map_or(flight.cursor, |(offset, _)| *offset);
        self.shared.outbox.delivered(below);
        self.shared.lock().outbox_moved(self.shared.outbox.kept());
        self.shared.keeper.notify_one();
        if self.shared.lock().has_accepted() {
            self.news.accepted.notify_one();
        }
    }
}

fn said(error: &Error) -> String {
    format!("{:?} {}", error.condition, error.description.as_deref().unwrap_or_default())
}
