//! The loop: news from the hub first, then what waits for the outbox, then whatever is due.

#[cfg(test)]
mod tests;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use isotherm_client::{Client, Event, SendError};
use isotherm_host::{Host, metrics::Board};
use serde_json::Value;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use crate::{
    OUTPUT, Totals,
    reader::{READY_MAX, Reader},
    settings::Settings,
    status::Status,
};

/// How long to wait before what the outbox did not take is offered again.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

/// How long a sensor that is to end waits for the hub to have its last readings: what was taken and not acknowledged
/// comes twice after the next start. They are on disk in any case.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The sensor at work.
pub(crate) struct Sensor {
    pub(crate) client: Client,
    pub(crate) reader: Reader,
    /// When the outbox, which did not take what it was offered, is offered it again.
    offer_at: Option<Instant>,
    /// How many messages it is offered at once: fewer while it is nearly full.
    offer: usize,
    /// What is counted, for whoever reads metrics.
    board: Arc<Board<Status>>,
}

impl Sensor {
    pub(crate) fn new(host: &Host, client: Client, reader: Reader) -> Self {
        let board = Arc::new(Board::default());
        host.metrics.ask(&board);
        Self { client, reader, offer_at: None, offer: READY_MAX, board }
    }

    pub(crate) async fn run(mut self) -> Totals {
        loop {
            self.board.post(self.reader.status.clone());
            tokio::select! {
                biased; // news from the hub first: a new interval should not wait for the old one
                event = self.client.next() => match event {
                    Event::Desired(desired) => self.change(&desired),
                    Event::Method(call) => self.answer(call).await,
                    Event::Input { delivery, .. } | Event::CloudToDevice { delivery, .. } => {
                        debug!("a sensor takes no messages");
                        self.client.accept(delivery); // so that it cannot come back
                    }
                    Event::Connected => info!("connected"),
                    Event::Disconnected { reason } => info!(reason, "disconnected"),
                    Event::Stop => return self.end().await,
                },
                () = offer(self.offer_at), if self.reader.ready() > 0 => self.hand_on().await,
                () = self.reader.due() => self.reader.act().await,
            }
        }
    }

    /// Takes over what the twin desires and reports what came of it.
    pub(crate) fn change(&mut self, desired: &Value) {
        for name in Settings::unknown(desired) {
            warn!(name, "the twin desires a property that the sensor does not have");
        }
        let report = self.reader.change(desired);
        for (_, refused) in report.as_object().into_iter().flatten().filter(|(_, answer)| answer["ac"] == 400)
        {
            warn!(reason = %refused["ad"], "a desired property was refused");
        }
        self.client.report(report);
    }

    /// Puts the messages that are ready into the outbox with one sync, and goes on reading meanwhile. An outbox takes
    /// all that it is offered or nothing: what it does not take is kept, and offered again in smaller pieces.
    pub(crate) async fn hand_on(&mut self) {
        let taken = self.reader.take_ready(self.offer);
        let Some((_, mark)) = taken.last() else { return };
        let mark = mark.encode();
        let messages = taken.iter().map(|(message, _)| message.clone()).collect();
        let result = {
            let mut sending = pin!(self.client.send_all(OUTPUT, messages, Some(&mark)));
            loop {
                tokio::select! {
                    biased; // the sync that was waited for, before more that wants one
                    result = &mut sending => break result,
                    () = self.reader.due() => self.reader.act().await,
                }
            }
        };
        self.offer_at = None;
        match result {
            Ok(()) => self.offer = (self.offer * 2).min(READY_MAX),
            Err(SendError::Full) if taken.len() > 1 => {
                self.offer = taken.len() / 2;
                self.reader.put_back(taken);
            }
            Err(error) => {
                let messages = self.reader.ready() + taken.len();
                warn!(%error, messages, "the outbox takes nothing; it is offered the same again");
                self.reader.put_back(taken);
                self.offer_at = Some(self.reader.now() + OFFER_AGAIN);
            }
        }
    }

    /// Messages that the hub has not acknowledged yet, and readings that are not in a message yet.
    pub(crate) fn held(&self) -> u64 {
        self.client.held() + (self.reader.ready() + self.reader.readings.waiting()) as u64
    }

    /// Puts what was read into the outbox, where it outlives the process, and gives the hub a moment to take it.
    async fn end(mut self) -> Totals {
        self.reader.finished = true;
        self.reader.close_batch();
        self.offer_at = None; // once more, whenever that was last tried
        while self.reader.ready() > 0 && self.offer_at.is_none() {
            self.hand_on().await;
        }
        self.client.flush(LAST_WORD).await;
        info!(last = self.reader.readings.sequence(), held = self.held(), "the sensor ends");
        Totals { sensed: self.reader.status.sensed, refused: self.reader.status.refused, held: self.held() }
    }
}

/// Waits until then; there is nothing to wait for without such a moment.
async fn offer(at: Option<Instant>) {
    if let Some(moment) = at {
        sleep_until(moment.into()).await;
    }
}
