//! A device's queue of cloud-to-device messages, and how one of them ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use isotherm_iothub::{Identity, Message};
use jiff::Timestamp;

use super::SessionId;

/// A device's queue.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) items: VecDeque<Item>,
    pub(super) next: u64,
}

pub(super) struct Item {
    pub(super) number: u64,
    pub(super) message: Arc<Message>,
    pub(super) enqueued: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) tried: u32,
    /// Until when somebody has it, and in which session if in one.
    pub(super) held: Option<(Instant, Option<SessionId>)>,
}

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Success,
    Rejected,
    Expired,
    DeliveryCountExceeded,
    Purged,
}

impl Mail {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn item(&self, number: u64) -> Option<&Item> {
        self.items.iter().find(|item| item.number == number)
    }

    pub(super) fn item_mut(&mut self, number: u64) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.number == number)
    }
}

impl Item {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.tried.to_le_bytes());
        bytes.extend_from_slice(&self.enqueued.as_microsecond().to_le_bytes());
        bytes.extend_from_slice(&self.expires.as_microsecond().to_le_bytes());
        self.message.encode(&mut bytes);
        bytes
    }

    pub(super) fn read(number: u64, mut bytes: Bytes) -> Option<Self> {
        let tried = bytes.try_get_u32_le().ok()?;
        let enqueued = Timestamp::from_microsecond(bytes.try_get_i64_le().ok()?).ok()?;
        let expires = Timestamp::from_microsecond(bytes.try_get_i64_le().ok()?).ok()?;
        let message = Arc::new(Message::decode(bytes).ok()?);
        Some(Self { number, message, enqueued, expires, tried, held: None })
    }
}

pub(super) fn key(device: &Identity, number: u64) -> String {
    format!("{device}/{number:016x}")
}
