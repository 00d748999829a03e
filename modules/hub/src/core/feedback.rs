//! Feedback: what became of cloud-to-device messages whose senders wanted to know.

use std::collections::VecDeque;
use std::time::Instant;

use isotherm_iothub::SystemProperty;
use isotherm_iothub::time::dotnet;

use super::mail::{Fate, Item};
use super::timers::Timer;
use super::{ApiError, Core, Counter, ErrorCode, Now};
use crate::store::{StoreError, Table};

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

/// Feedback that waits for the service.
#[derive(Default)]
pub(super) struct Shelf {
    records: VecDeque<(u64, Feedback)>,
    next: u64,
    /// The number of the last one that the service has in hand.
    locked: Option<u64>,
    due: Option<Instant>,
}

impl Core {
    /// Fetches feedback, if there is any, and locks it for a minute.
    pub fn receive_feedback(&mut self, now: Now) -> Option<FeedbackBatch> {
        let shelf = &mut self.feedback;
        if shelf.locked.is_some() || shelf.records.is_empty() {
            return None;
        }
        let records: Vec<Feedback> = shelf.records.iter().map(|(_, record)| record.clone()).collect();
        let last = shelf.records.back().map_or(0, |(number, _)| *number);
        shelf.locked = Some(last);
        let at = now.instant + self.options.limits.lock_timeout;
        shelf.due = Some(at);
        self.timers.set(at, Timer::Feedback);
        Some(FeedbackBatch { lock_token: format!("{last:016x}"), records })
    }

    /// Completes a batch of feedback, or gives it back.
    ///
    /// # Errors
    /// 412002: the lock is lost.
    pub fn settle_feedback(&mut self, lock_token: &str, complete: bool) -> Result<(), ApiError> {
        let shelf = &mut self.feedback;
        let locked = shelf.locked.filter(|last| format!("{last:016x}") == lock_token);
        let Some(last) = locked else {
            return Err(ApiError::new(ErrorCode::DeviceMessageLockLost, "the lock on the feedback is lost"));
        };
        shelf.locked = None;
        while complete && shelf.records.front().is_some_and(|(number, _)| *number <= last) {
            if let Some((number, _)) = shelf.records.pop_front() {
                self.store.delete(Table::Feedback, &format!("{number:016x}"));
            }
        }
        Ok(())
    }

    /// At the start.
    pub(super) fn recall_feedback(&mut self) -> Result<(), StoreError> {
        for (key, value) in self.store.load(Table::Feedback)? {
            let record = serde_json::from_slice(&value).ok();
            if let (Ok(number), Some(record)) = (u64::from_str_radix(&key, 16), record) {
                self.feedback.next = self.feedback.next.max(number + 1);
                self.feedback.records.push_back((number, record));
            }
        }
        Ok(())
    }

    pub(super) fn tell_sender(&mut self, place: usize, item: &Item, fate: Fate, now: Now) {
        let (status, description) = match fate {
            Fate::Success => ("Success", "Success"),
            Fate::Rejected => ("Rejected", "the device rejected it"),
            Fate::Expired => ("Expired", "its time to live was over"),
            Fate::DeliveryCountExceeded => ("DeliveryCountExceeded", "it was tried as often as it may be"),
            Fate::Purged => ("Purged", "the queue was emptied"),
        };
        let person = &self.people[place];
        let record = Feedback {
            original_message_id: item.message.system.get(SystemProperty::MessageId).unwrap_or("").to_owned(),
            status_code: status.to_owned(),
            description: description.to_owned(),
            device_id: person.who.device_id().to_owned(),
            device_generation_id: person.record.generation.to_string(),
            enqueued_time_utc: dotnet(now.wall),
        };
        let shelf = &mut self.feedback;
        if shelf.records.len() >= self.options.limits.feedback_max
            && let Some((number, _)) = shelf.records.pop_front()
        {
            self.counters.count(Counter::FeedbackDropped);
            self.store.delete(Table::Feedback, &format!("{number:016x}"));
        }
        let number = shelf.next;
        shelf.next += 1;
        let kept = serde_json::to_vec(&record).expect("a record is JSON");
        self.store.put(Table::Feedback, &format!("{number:016x}"), kept);
        shelf.records.push_back((number, record));
    }

    pub(super) fn unlock_feedback(&mut self, now: Now) {
        if self.feedback.due.is_some_and(|due| due <= now.instant) {
            self.feedback.locked = None;
        }
    }
}
