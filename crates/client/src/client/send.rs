//! The way into the outbox.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use isotherm_iothub::{Message, SystemProperty, telemetry_topic};
use tracing::warn;

use super::Client;
use crate::SendError;

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
    /// While the disk fails this waits: until the disk takes the message, or the hub has.
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
    /// As `send`. A full outbox that is told to refuse takes none of them, so that they can be offered again.
    pub async fn send_all(
        &mut self,
        output: &str,
        messages: Vec<Message>,
        bookmark: Option<&[u8]>,
    ) -> Result<(), SendError> {
        if !self.shared.outbox.has_room(&messages) {
            return Err(SendError::Full);
        }
        let taken = messages.iter().try_for_each(|message| self.put(output, message));
        self.shared.outbox.disk_first();
        self.shared.keeper.notify_one(); // what was taken is kept, whatever became of the others
        taken?;
        if let Some(bookmark) = bookmark {
            self.shared.outbox.set_bookmark(bookmark);
            self.shared.keeper.notify_one();
        }
        let next = self.shared.outbox.next();
        poll_fn(|cx| self.poll_taken(cx, next)).await
    }

    /// Takes a message into the outbox without waiting for the disk. It is published at once, and what is accepted
    /// after it is acknowledged to the hub only once it is safe: on disk, or acknowledged itself. The quick way for a
    /// module that forwards: should the process die, the input comes again, and the message is made again.
    ///
    /// # Errors
    /// When the message is too large, or the outbox is full and told to refuse.
    pub fn post(&mut self, output: &str, message: &Message) -> Result<(), SendError> {
        self.put(output, message)?;
        self.shared.keeper.notify_one();
        self.shared.lock().wake_link();
        Ok(())
    }

    fn put(&mut self, output: &str, message: &Message) -> Result<(), SendError> {
        let mut message = message.clone(); // shares the body
        if !output.is_empty() {
            message.system.set(SystemProperty::OutputName, output);
        }
        self.check(&message)?;
        let dropped = self.shared.outbox.put(&message)?;
        let mut state = self.shared.lock();
        state.stats.sent += 1;
        if dropped > 0 {
            let before = state.stats.dropped;
            let dropped = before + dropped;
            state.stats.dropped = dropped;
            if before == 0 || before / TELL_DROPPED_EVERY != dropped / TELL_DROPPED_EVERY {
                warn!(dropped, "the outbox is full; the oldest messages give way");
            }
        }
        Ok(())
    }

    /// What the hub would close the connection over is refused here, before it can come back for ever.
    fn check(&self, message: &Message) -> Result<(), SendError> {
        if !self.target.dialect.has_output() {
            return Err(SendError::NoOutput);
        }
        let properties = message.size().saturating_sub(message.body.len());
        if properties > PROPERTIES_BYTES_SAFE
            && let Some(login) = &self.target.login
        {
            let bytes = telemetry_topic(&login.identity, message).len();
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
