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

/// What goes as one delivery: a message, or a batch of them. Never none.
type Parcel = Vec<(Offset, Message)>;

/// What becomes of a parcel that is on its way.
type Fate = Pin<Box<dyn Future<Output = (Parcel, Result<Outcome, SendError>)> + Send>>;

/// Messages in a batch: each delivery costs the library some hops from task to task, whatever is in it.
const BATCH_MAX: usize = 100;
/// Bytes of them; a hub takes 256 KiB.
const BATCH_BYTES_MAX: usize = 60 << 10;
/// The window makes at least so many batches, so that one is prepared while others are on their way.
const BATCHES_IN_WINDOW: usize = 8;

/// Conditions under which a message would be refused for ever.
const FOR_EVER: [&str; 4] = ["message-size-exceeded", "MessageSizeExceeded", "argument", "DecodeError"];

/// What is on its way, in order.
#[derive(Default)]
struct Flight {
    /// The next message to publish.
    cursor: Offset,
    /// Published and not yet forgotten, with whether the hub has it.
    sent: VecDeque<(Offset, bool)>,
    fates: FuturesUnordered<Fate>,
    /// Messages of a batch that was refused.
    apart: VecDeque<(Offset, Message)>,
}

impl Talk<'_> {
    /// Publishes from the outbox while there is room on the way, and lets it forget what the hub has.
    pub(super) async fn publish(&self, sender: &mut Sender) -> Over {
        let mut flight = Flight::default();
        loop {
            if let Err(over) = self.fill(sender, &mut flight).await {
                return over;
            }
            let settled = tokio::select! {
                biased;
                Some((parcel, fate)) = flight.fates.next() => self.settled(&mut flight, parcel, fate),
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
            // One of those that were refused together is to blame, and it alone is to be dropped.
            while let Some(message) = flight.apart.pop_front() {
                self.send(sender, flight, vec![message]).await?;
            }
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
            let (mut parcel, mut bytes) = (Parcel::new(), 0);
            for (offset, record) in records.into_iter().take_while(|(offset, _)| *offset < limit) {
                flight.cursor = offset + 1;
                let Some(message) = self.unpack(flight, offset, record) else { continue };
                bytes += message.size();
                if parcel.len() >= self.batch_max() || (bytes > BATCH_BYTES_MAX && !parcel.is_empty()) {
                    bytes = message.size();
                    self.send(sender, flight, std::mem::take(&mut parcel)).await?;
                }
                parcel.push((offset, message));
            }
            if !parcel.is_empty() {
                self.send(sender, flight, parcel).await?;
            }
            self.forget(flight);
        }
    }

    fn batch_max(&self) -> usize {
        match &self.target.dialect {
            Dialect::Hub(_) if self.target.batches => {
                (self.target.window / BATCHES_IN_WINDOW).clamp(1, BATCH_MAX)
            }
            _ => 1,
        }
    }

    /// The message in a record, which is on its way from now on.
    fn unpack(&self, flight: &mut Flight, offset: Offset, record: Bytes) -> Option<Message> {
        let message = Message::decode(record);
        flight.sent.push_back((offset, message.is_err()));
        message
            .inspect_err(|refused| {
                self.shared.lock().stats.unreadable += 1;
                warn!(%refused, offset, "a message in the outbox cannot be read; it is dropped");
            })
            .ok()
    }

    async fn send(&self, sender: &mut Sender, flight: &mut Flight, parcel: Parcel) -> Result<(), Over> {
        let is_entity = matches!(self.target.dialect, Dialect::Entity(_));
        let wire = match &parcel[..] {
            [(_, message)] if is_entity => convert::alone(convert::to_entity(message)),
            [(_, message)] => convert::alone(convert::to_amqp(message)),
            several => convert::to_batch(several.iter().map(|(_, message)| message)).map_err(Over::lost)?,
        };
        // It waits for the hub's credit; what the hub says meanwhile of the others is heard.
        let mut sending = pin!(sender.send_batchable(wire));
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut sending => break sent,
                Some((parcel, fate)) = flight.fates.next(), if !flight.fates.is_empty() => {
                    self.settled(flight, parcel, fate)?;
                }
            }
        };
        match sent {
            Ok(fate) => {
                flight.fates.push(Box::pin(async move { (parcel, fate.await) }));
                Ok(())
            }
            Err(error) => self.settled(flight, parcel, Err(error)),
        }
    }

    fn settled(
        &self,
        flight: &mut Flight,
        parcel: Parcel,
        fate: Result<Outcome, SendError>,
    ) -> Result<(), Over> {
        let why = match fate {
            Ok(Outcome::Accepted(_)) => None,
            Ok(Outcome::Rejected(rejected)) => {
                Some(rejected.error.as_ref().map_or_else(|| "without a reason".to_owned(), said))
            }
            Ok(_) => return Err(Over::lost("the hub gives messages back; they are sent again")),
            Err(error) => Some(format!("{error:?}")),
        };
        match why {
            None => self.shared.lock().stats.delivered += parcel.len() as u64,
            Some(why) if !FOR_EVER.iter().any(|condition| why.contains(condition)) => {
                return Err(Over::lost(format_args!("the hub does not take a message: {why}")));
            }
            Some(_) if parcel.len() > 1 => {
                flight.apart.extend(parcel);
                return Ok(());
            }
            Some(why) => self.turned_away(parcel[0].0, &why),
        }
        for (offset, _) in parcel {
            if let Ok(index) = flight.sent.binary_search_by_key(&offset, |(offset, _)| *offset) {
                flight.sent[index].1 = true;
            }
        }
        self.forget(flight);
        Ok(())
    }

    /// What would be refused for ever is dropped, or it would hold up all behind it.
    fn turned_away(&self, offset: Offset, why: &str) {
        self.shared.lock().stats.refused += 1;
        warn!(offset, why, "the hub refuses a message for good; it is dropped");
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
