//! Cloud-to-device messages: a short durable queue for each device, locks, feedback.

use std::sync::Arc;

use isotherm_iothub::{Identity, Message};
use jiff::Timestamp;

use super::{ApiError, Core, Now, Outcome};
use crate::store::Ticket;

/// What became of a cloud-to-device message whose sender wanted to know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Feedback {
    /// The message's id.
    pub original_message_id: String,
    /// `Success`, `Expired`, `DeliveryCountExceeded`, `Rejected` or `Purged`.
    pub status_code: String,
    /// The same as a sentence.
    pub description: String,
    /// Which device.
    pub device_id: String,
    /// Which of its lives.
    pub device_generation_id: String,
    /// When that was, as .NET writes it.
    pub enqueued_time_utc: String,
}

/// Feedback handed to the service, locked until it is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackBatch {
    /// What [`Core::settle_feedback`] wants back.
    pub lock_token: String,
    /// The records.
    pub records: Vec<Feedback>,
}

/// A cloud-to-device message fetched without a session (HTTP), locked until it is settled.
#[derive(Debug, Clone)]
pub struct Locked {
    /// What [`Core::settle_locked`] wants back.
    pub lock_token: String,
    /// The message.
    pub message: Arc<Message>,
    /// When it came in.
    pub enqueued: Timestamp,
    /// How often it has been tried, this time included.
    pub delivery_count: u32,
}

impl Core {
    /// Puts a message into a device's queue. Answer once durable.
    ///
    /// # Errors
    /// 404001, 403004 (50 are waiting), 403002 (the hub's total), 413001 (over 64 KiB), 400004.
    pub fn send_cloud_to_device(
        &mut self,
        device_id: &str,
        message: Message,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let _ = (device_id, message, now);
        unimplemented!()
    }

    /// Empties a device's queue and says how many there were; their senders get `Purged`.
    ///
    /// # Errors
    /// 404001.
    pub fn purge_cloud_to_device(&mut self, device_id: &str, now: Now) -> Result<usize, ApiError> {
        let _ = (device_id, now);
        unimplemented!()
    }

    /// Fetches a device's next message without a session.
    pub fn receive_cloud_to_device(&mut self, device: &Identity, now: Now) -> Option<Locked> {
        let _ = (device, now);
        unimplemented!()
    }

    /// Settles a fetched message.
    ///
    /// # Errors
    /// 412002: the lock is lost.
    pub fn settle_locked(
        &mut self,
        device: &Identity,
        lock_token: &str,
        outcome: Outcome,
        now: Now,
    ) -> Result<(), ApiError> {
        let _ = (device, lock_token, outcome, now);
        unimplemented!()
    }

    /// Fetches feedback, if there is any, and locks it for a minute.
    pub fn receive_feedback(&mut self, now: Now) -> Option<FeedbackBatch> {
        let _ = now;
        unimplemented!()
    }

    /// Completes a batch of feedback, or gives it back.
    ///
    /// # Errors
    /// 412002: the lock is lost.
    pub fn settle_feedback(&mut self, lock_token: &str, complete: bool) -> Result<(), ApiError> {
        let _ = (lock_token, complete);
        unimplemented!()
    }
}
