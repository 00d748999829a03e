//! Cloud-to-device messages: a short durable queue for each device, locks.

use std::sync::Arc;

use bytes::Bytes;
use isotherm_iothub::time::dotnet;
use isotherm_iothub::{C2D_BYTES_MAX, C2D_QUEUE_MAX, Feed, Identity, Message, SystemProperty};
use jiff::{SignedDuration, Timestamp};

use super::mail::{Fate, Item, key};
use super::timers::Timer;
use super::{ApiError, Core, Counter, ErrorCode, Now, Outcome, Outgoing, SessionId};
use crate::store::{StoreError, Table, Ticket};

/// Longest time to live of a cloud-to-device message, as IoT Hub has it.
const TTL_MAX: SignedDuration = SignedDuration::from_hours(48);
/// Marks the number of a delivery as one of these.
const MAIL: u64 = 1 << 63;

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
    /// Its number in the device's queue.
    pub sequence: u64,
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
        let device = self.known_device(device_id)?;
        if device.mail.len() >= C2D_QUEUE_MAX {
            self.counters.count(Counter::DeviceboundQueueFull);
            let message =
                format!("{device_id} has {C2D_QUEUE_MAX} messages waiting, as many as there may be");
            return Err(ApiError::new(ErrorCode::DeviceMaximumQueueDepthExceeded, message));
        }
        let bytes = message.size();
        if bytes > C2D_BYTES_MAX {
            let message =
                format!("{bytes} bytes are more than the {C2D_BYTES_MAX} of a cloud-to-device message");
            return Err(ApiError::new(ErrorCode::MessageTooLarge, message));
        }
        if self.mail_bytes + bytes > self.options.limits.devicebound_bytes_max {
            self.counters.count(Counter::DeviceboundQueueFull);
            let message = "the hub holds as many cloud-to-device messages as it may";
            return Err(ApiError::new(ErrorCode::IotHubQuotaExceeded, message));
        }
        let expires = self.expiry_of(&message, now)?;
        let place = self.people.find(&device.who.clone()).expect("it was just there");
        Ok(self.add_mail(place, message, expires, now))
    }

    /// Empties a device's queue and says how many there were; their senders get `Purged`.
    ///
    /// # Errors
    /// 404001.
    pub fn purge_cloud_to_device(&mut self, device_id: &str, now: Now) -> Result<usize, ApiError> {
        let who = self.known_device(device_id)?.who.clone();
        let place = self.people.find(&who).expect("it was just there");
        let numbers: Vec<u64> = self.people[place].mail.items.iter().map(|item| item.number).collect();
        for &number in &numbers {
            self.finish_mail(place, number, Fate::Purged, now);
        }
        Ok(numbers.len())
    }

    /// Fetches a device's next message without a session.
    pub fn receive_cloud_to_device(&mut self, device: &Identity, now: Now) -> Option<Locked> {
        let place = self.people.find(device)?;
        let (message, number, delivery_count) = self.next_mail(place, None, now)?;
        let item = self.people[place].mail.item(number)?;
        let lock_token = format!("{number:016x}-{delivery_count:x}");
        Some(Locked { lock_token, message, enqueued: item.enqueued, delivery_count, sequence: number })
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
        let lost = || ApiError::new(ErrorCode::DeviceMessageLockLost, "the lock on the message is lost");
        let place = self.people.find(device).ok_or_else(|| ApiError::not_found(device))?;
        let (number, tried) = lock_token.split_once('-').ok_or_else(lost)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| lost())?;
        let tried = u32::from_str_radix(tried, 16).map_err(|_| lost())?;
        let item = self.people[place].mail.item(number).ok_or_else(lost)?;
        if item.tried != tried || item.held.is_none() {
            return Err(lost());
        }
        self.settle_mail(place, number, outcome, now);
        Ok(())
    }
}

/// The number of a cloud-to-device message, if the delivery is one.
pub(super) fn mail_of(delivery: u64) -> Option<u64> {
    (delivery & MAIL != 0).then_some(delivery & !MAIL)
}

impl Core {
    /// Recalls messages and feedback from the store.
    pub(super) fn recall_mail(&mut self) -> Result<(), StoreError> {
        for (key, value) in self.store.load(Table::Devicebound)? {
            let Some((device, number)) = key.split_once('/') else { continue };
            let (Ok(device), Ok(number)) = (device.parse::<Identity>(), u64::from_str_radix(number, 16))
            else {
                continue;
            };
            let item = Item::read(number, Bytes::from(value));
            if let (Some(place), Some(item)) = (self.people.find(&device), item) {
                self.mail_bytes += item.message.size();
                let mail = &mut self.people[place].mail;
                mail.next = mail.next.max(number + 1);
                mail.items.push_back(item);
            }
        }
        self.recall_feedback()
    }

    fn expiry_of(&self, message: &Message, now: Now) -> Result<Timestamp, ApiError> {
        let default = SignedDuration::try_from(self.options.limits.devicebound_ttl).unwrap_or(TTL_MAX);
        let latest = now.wall.checked_add(TTL_MAX).unwrap_or(Timestamp::MAX);
        match message.system.get(SystemProperty::Expiry) {
            None => Ok(now.wall.checked_add(default).unwrap_or(latest).min(latest)),
            Some(text) => text.parse::<Timestamp>().map(|at| at.min(latest)).map_err(|_| {
                let message = format!("the expiry time {text:?} is not one: expected 2024-03-14T09:54:49Z");
                ApiError::new(ErrorCode::ArgumentInvalid, message)
            }),
        }
    }

    fn add_mail(&mut self, place: usize, mut message: Message, expires: Timestamp, now: Now) -> Ticket {
        let person = &mut self.people[place];
        let to = format!("/{}/messages/devicebound", person.who.path());
        message.system.set(SystemProperty::To, to);
        message.system.set(SystemProperty::EnqueuedTime, dotnet(now.wall));
        let number = person.mail.next;
        person.mail.next += 1;
        let message = Arc::new(message);
        self.mail_bytes += message.size();
        let item = Item { number, message, enqueued: now.wall, expires, tried: 0, held: None };
        let ticket = self.store.put(Table::Devicebound, &key(&person.who, number), item.write());
        person.mail.items.push_back(item);
        self.counters.count(Counter::DeviceboundReceived);
        self.wake_for(place, Feed::CloudToDevice);
        ticket
    }

    /// For a session: the next message that nobody has.
    pub(super) fn take_mail(
        &mut self,
        place: usize,
        session: SessionId,
        qos: u8,
        now: Now,
    ) -> Option<Outgoing> {
        let (message, number, delivery_count) = self.next_mail(place, Some(session), now)?;
        Some(Outgoing::CloudToDevice { delivery: MAIL | number, message, qos, delivery_count })
    }

    fn next_mail(
        &mut self,
        place: usize,
        session: Option<SessionId>,
        now: Now,
    ) -> Option<(Arc<Message>, u64, u32)> {
        if self.people[place].mail.items.is_empty() {
            return None;
        }
        self.expire_mail_of(place, now);
        let until = now.instant + self.options.limits.lock_timeout;
        let item = self.people[place].mail.items.iter_mut().find(|item| item.held.is_none())?;
        item.held = Some((until, session));
        item.tried += 1;
        let taken = (Arc::clone(&item.message), item.number, item.tried);
        self.timers.set(until, Timer::Lock(place, taken.1));
        Some(taken)
    }

    pub(super) fn settle_mail(&mut self, place: usize, number: u64, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Accepted => self.finish_mail(place, number, Fate::Success, now),
            Outcome::Rejected => self.finish_mail(place, number, Fate::Rejected, now),
            Outcome::Released => self.return_one(place, number, now),
        }
    }

    /// Back into the queue, at its old place; or given up, if it was tried too often.
    fn return_one(&mut self, place: usize, number: u64, now: Now) {
        let most = self.options.limits.delivery_count_max;
        let person = &mut self.people[place];
        let Some(item) = person.mail.item_mut(number) else { return };
        if item.held.take().is_none() {
            return;
        }
        if item.tried >= most {
            return self.finish_mail(place, number, Fate::DeliveryCountExceeded, now);
        }
        let kept = item.write();
        self.store.put(Table::Devicebound, &key(&person.who, number), kept);
        self.wake_for(place, Feed::CloudToDevice);
    }

    /// A session ended: what it had not settled goes back.
    pub(super) fn return_mail(&mut self, place: usize, session: SessionId, now: Now) {
        let items = self.people[place].mail.items.iter();
        let theirs = items.filter(|item| item.held.is_some_and(|(_, holder)| holder == Some(session)));
        let numbers: Vec<u64> = theirs.map(|item| item.number).collect();
        for number in numbers {
            self.return_one(place, number, now);
        }
    }

    pub(super) fn lock_timeout(&mut self, place: usize, number: u64, now: Now) {
        let item = self.people.at(place).and_then(|person| person.mail.item(number));
        let until = item.and_then(|item| item.held).map(|(until, _)| until);
        if until.is_some_and(|until| until <= now.instant) {
            self.return_one(place, number, now);
        }
    }

    pub(super) fn expire_devicebound(&mut self, now: Now) {
        for place in self.people.places() {
            self.expire_mail_of(place, now);
        }
    }

    fn expire_mail_of(&mut self, place: usize, now: Now) {
        let items = self.people[place].mail.items.iter();
        let over = items.filter(|item| item.held.is_none() && item.expires <= now.wall);
        let numbers: Vec<u64> = over.map(|item| item.number).collect();
        for number in numbers {
            self.finish_mail(place, number, Fate::Expired, now);
        }
    }

    fn finish_mail(&mut self, place: usize, number: u64, fate: Fate, now: Now) {
        let person = &mut self.people[place];
        let Some(at) = person.mail.items.iter().position(|item| item.number == number) else { return };
        let Some(item) = person.mail.items.remove(at) else { return };
        self.mail_bytes -= item.message.size();
        self.store.delete(Table::Devicebound, &key(&person.who, number));
        match fate {
            Fate::Success => self.counters.count(Counter::DeviceboundCompleted),
            Fate::Rejected => self.counters.count(Counter::DeviceboundRejected),
            Fate::Expired => self.counters.count(Counter::DeviceboundExpired),
            Fate::DeliveryCountExceeded => self.counters.count(Counter::DeviceboundGivenUp),
            Fate::Purged => {}
        }
        let wanted = match item.message.system.get(SystemProperty::Ack) {
            Some("full") => true,
            Some("positive") => fate == Fate::Success,
            Some("negative") => fate != Fate::Success,
            _ => false,
        };
        if wanted {
            self.tell_sender(place, &item, fate, now);
        }
    }

    /// A deleted device's messages go with it.
    pub(super) fn drop_mail_of(&mut self, who: &Identity) {
        let Some(place) = self.people.find(who) else { return };
        for item in std::mem::take(&mut self.people[place].mail.items) {
            self.mail_bytes -= item.message.size();
            self.store.delete(Table::Devicebound, &key(who, item.number));
        }
    }
}
