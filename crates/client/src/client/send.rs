//! The way into the outbox.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use isotherm_iothub::{Message, SystemProperty, telemetry_topic};
use tracing::warn;

use super::Client;
use crate::{SendError, dialect::Dialect};

/// The longest topic that MQTT can say, in bytes.
const TOPIC_BYTES_MAX: usize = 65_535;
/// Properties of more bytes than this might make too long a topic, where each byte may become three.
const PROPERTIES_BYTES_SAFE: usize = 16 << 10;
/// A dropped message is told of at once, and then once for this many.
const TELL_DROPPED_EVERY: u64 = 1000;
impl Client {
    /// Takes a message into the outbox, for an output of a module or, with `""`, as plain telemetry, and returns once
    /// it is on disk. A bookmark is kept beside it, for [`Client::bookmark`].
    ///
    /// While the disk fails this waits, and the message is held back: it is published once the disk has it and not
    /// before, so that whoever numbers messages never gives a number twice.
    ///
    /// # Errors
    /// When the message is too large, or the outbox is full and told to refuse; or the process ends before the disk
    /// has taken it.
    pub async fn send(
        &mut self,
        output: &str,
        message: Message,
        bookmark: Option<&[u8]>,
    ) -> Result<(), SendError> {
        self.send_all(output, vec![message], bookmark).await
    }

    /// Like [`Client::send`], for many messages with one sync. The bookmark is for all of them.
    ///
    /// # Errors
    /// As `send`. One that is too large keeps all of them out. A full outbox that is told to refuse takes none of
    /// them, so that they can be offered again.
    pub async fn send_all(
        &mut self,
        output: &str,
        messages: Vec<Message>,
        bookmark: Option<&[u8]>,
    ) -> Result<(), SendError> {
        if !self.shared.outbox.has_room(&messages) {
            return Err(SendError::Full);
        }
        let messages = messages.into_iter().map(|message| self.addressed(output, message));
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        let dropped = self.shared.outbox.put_all(&messages, bookmark)?;
        self.shared.keeper.notify_one();
        self.count(messages.len(), dropped);
        let next = self.shared.outbox.next();
        poll_fn(|cx| self.poll_taken(cx, next)).await
    }

    /// Takes a message into the outbox without waiting for the disk. It is published at once, and what is accepted
    /// after it is acknowledged to the hub only once it is safe: on disk, or acknowledged itself. The quick way for a
    /// module that forwards: should the process die, the input comes again, and the message is made again. It goes to
    /// disk only if the hub has not taken it within a tenth of a second; what has to outlive the client is for
    /// [`Client::send`].
    ///
    /// # Errors
    /// When the message is too large, or the outbox is full and told to refuse.
    pub fn post(&mut self, output: &str, message: &Message) -> Result<(), SendError> {
        let message = self.addressed(output, message.clone())?; // shares the body
        let dropped = self.shared.outbox.put(&message)?;
        self.shared.keeper.notify_one();
        self.count(1, dropped);
        self.shared.lock().wake_link();
        Ok(())
    }

    /// The message with its output on it, if it may go there.
    fn addressed(&self, output: &str, mut message: Message) -> Result<Message, SendError> {
        if !output.is_empty() {
            message.system.set(SystemProperty::OutputName, output);
        }
        self.check(&message)?;
        Ok(message)
    }

    fn count(&self, sent: usize, dropped: u64) {
        let mut state = self.shared.lock();
        state.stats.sent += sent as u64;
        if dropped > 0 {
            let before = state.stats.dropped;
            let dropped = before + dropped;
            state.stats.dropped = dropped;
            if before == 0 || before / TELL_DROPPED_EVERY != dropped / TELL_DROPPED_EVERY {
                warn!(dropped, "the outbox is full; the oldest messages give way");
            }
        }
    }

    /// What the hub would close the connection over is refused here, before it can come back for ever.
    fn check(&self, message: &Message) -> Result<(), SendError> {
        if !self.target.dialect.has_output() {
            return Err(SendError::NoOutput);
        }
        let properties = message.size().saturating_sub(message.body.len());
        if properties > PROPERTIES_BYTES_SAFE
            && let Dialect::Hub(hub) = &self.target.dialect
        {
            let bytes = telemetry_topic(&hub.identity, message).len();
            if bytes > TOPIC_BYTES_MAX {
                return Err(SendError::TooManyProperties { bytes });
            }
        }
        Ok(())
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>, below: u64) -> Poll<Result<(), SendError>> {
        let stopped = self.poll_stopped(cx);
        let mut state = self.shared.lock();
        if self.shared.outbox.taken() >= below {
            state.wake_link(); // without a disk nobody else tells it
            return Poll::Ready(Ok(()));
        }
        if stopped && state.disk_fails {
            return Poll::Ready(Err(SendError::Stopped));
        }
        state.listen(cx.waker());
        state.watched = true;
        Poll::Pending
    }
}
