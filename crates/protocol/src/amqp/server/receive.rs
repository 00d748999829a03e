//! Messages that come, and the credit for them.

use bytes::{Bytes, BytesMut};

use super::link::{self, End, Receiver, Stage, Unfinished};
use super::{LinkId, Server, ServerEvent};
use crate::amqp::performative::{Flow, Performative, Transfer};
use crate::amqp::state::Error;
use crate::amqp::{Fault, Message};

/// The longest delivery tag that AMQP allows, in bytes.
const TAG_BYTES_MAX: usize = 32;

impl Server {
    pub(super) fn transfer(&mut self, number: u16, transfer: Transfer, payload: Bytes) -> Result<(), Fault> {
        self.count_transfer(number)?;
        let buffered_bytes_max = self.options.buffered_bytes_max;
        let message_bytes_max = self.options.message_bytes_max;
        let buffered = self.buffered;
        let channel = link::channel(&mut self.channels, number)?;
        let Some(link) = channel.known(transfer.handle)? else { return Ok(()) };
        let id = link.id;
        let End::Receiver(receiver) = &mut link.end else { return Err(Fault::WrongDirection) };
        match link.stage {
            Stage::Leaving => return Ok(()),
            Stage::Asked(_) => return Err(Fault::Credit),
            Stage::Attached => {}
        }
        if receiver.unfinished.is_none() && link.delivery_count == receiver.limit {
            return Err(Fault::Credit);
        }
        let before = receiver.unfinished.as_ref().map_or(0, |unfinished| unfinished.bytes.len());
        let mut delivery = receiver.delivery(&transfer)?;
        let whole = before + payload.len();
        if transfer.aborted || whole > message_bytes_max || !transfer.more {
            link.delivery_count = link.delivery_count.wrapping_add(1);
            link.credit = link.credit.saturating_sub(1);
            self.buffered = buffered - before;
            return if transfer.aborted {
                self.top_up(id);
                Ok(())
            } else if whole > message_bytes_max {
                self.too_large(id);
                Ok(())
            } else {
                self.message(id, delivery, payload)
            };
        }
        if buffered + payload.len() > buffered_bytes_max {
            return Err(Fault::Buffered(buffered_bytes_max));
        }
        delivery.bytes.extend_from_slice(&payload);
        receiver.unfinished = Some(Box::new(delivery));
        self.buffered = buffered + payload.len();
        Ok(())
    }

    /// One transfer less in the session's window, which is opened again when half of it is used up.
    fn count_transfer(&mut self, number: u16) -> Result<(), Fault> {
        let window = self.options.window;
        let channel = self.channel(number)?;
        channel.incoming_left = channel.incoming_left.checked_sub(1).ok_or(Fault::Window)?;
        channel.next_incoming = channel.next_incoming.wrapping_add(1);
        if channel.incoming_left <= window / 2 {
            self.write_flow(number, None);
        }
        Ok(())
    }

    /// A message is whole.
    fn message(&mut self, id: LinkId, delivery: Unfinished, payload: Bytes) -> Result<(), Fault> {
        let Unfinished { delivery, tag, format, settled, mut bytes } = delivery;
        let encoded = if bytes.is_empty() {
            payload
        } else {
            bytes.extend_from_slice(&payload);
            bytes.freeze()
        };
        let message = Box::new(Message::decode(&encoded)?);
        if settled {
            self.top_up(id);
        } else {
            let channel = self.channel(id.channel)?;
            if !channel.came.push(delivery, id.handle) {
                return Err(Fault::DeliveryId);
            }
            if let Some(End::Receiver(receiver)) = channel.link(id.handle.into()).map(|link| &mut link.end) {
                receiver.unsettled += 1;
            }
            self.unsettled += 1;
        }
        self.events.push_back(ServerEvent::Message { link: id, delivery, tag, settled, format, message });
        Ok(())
    }

    /// A message above the limit costs its link, in the words that clients know.
    fn too_large(&mut self, id: LinkId) {
        let limit = self.options.message_bytes_max;
        let sentence = format!("a message of more than {limit} bytes; that many are taken here");
        let error = Error::new("amqp:link:message-size-exceeded", sentence);
        self.detach(id, Some(error.clone()));
        self.events.push_back(ServerEvent::Detached { link: id, error: Some(error) });
    }

    pub(super) fn grant(&mut self, id: LinkId, allowed: u32) {
        let Some(link) = self.find(id).and_then(|channel| channel.link(id.handle.into())) else { return };
        let (Stage::Attached, End::Receiver(receiver)) = (&link.stage, &mut link.end) else { return };
        receiver.allowed = allowed;
        let credit = receiver.free();
        if credit != link.credit {
            self.give_credit(id, credit);
        }
    }

    /// Gives credit again once half of what there may be is used up and settled.
    pub(super) fn top_up(&mut self, id: LinkId) {
        let Some(link) = self.find(id).and_then(|channel| channel.link(id.handle.into())) else { return };
        let (Stage::Attached, End::Receiver(receiver)) = (&link.stage, &link.end) else { return };
        let credit = receiver.free();
        if credit.saturating_sub(link.credit) >= (receiver.allowed / 2).max(1) {
            self.give_credit(id, credit);
        }
    }

    fn give_credit(&mut self, id: LinkId, credit: u32) {
        let Some(link) = self.find(id).and_then(|channel| channel.link(id.handle.into())) else { return };
        link.credit = credit;
        let limit = link.delivery_count.wrapping_add(credit);
        if let End::Receiver(receiver) = &mut link.end
            && limit.wrapping_sub(receiver.limit).cast_signed() > 0
        {
            receiver.limit = limit;
        }
        self.write_flow(id.channel, Some(id.handle));
    }

    /// Says where a session stands, and one of its links. The session's window is wide open again after it.
    pub(super) fn write_flow(&mut self, number: u16, handle: Option<u16>) {
        let window = self.options.window;
        let Ok(channel) = self.channel(number) else { return };
        channel.incoming_left = window;
        let mut flow = Flow {
            next_incoming_id: Some(channel.next_incoming),
            incoming_window: window,
            next_outgoing_id: channel.next_outgoing,
            outgoing_window: u32::from(u16::MAX),
            ..Flow::default()
        };
        if let Some(link) = handle.and_then(|handle| channel.link(handle.into())) {
            flow.handle = handle.map(u32::from);
            flow.delivery_count = Some(link.delivery_count);
            flow.link_credit = Some(link.credit);
            flow.drain = matches!(&link.end, End::Sender(sender) if sender.drain);
        }
        Performative::Flow(flow).encode(number, self.transmit.buffer());
    }
}

impl Receiver {
    /// How many more may come as things stand.
    fn free(&self) -> u32 {
        self.allowed.saturating_sub(u32::try_from(self.unsettled).unwrap_or(u32::MAX))
    }

    /// The delivery that a transfer belongs to: the unfinished one, or one that begins.
    fn delivery(&mut self, transfer: &Transfer) -> Result<Unfinished, Fault> {
        let settled = self.settled || transfer.settled.unwrap_or_default();
        if let Some(mut unfinished) = self.unfinished.take() {
            if transfer.delivery_id.is_some_and(|id| id != unfinished.delivery) {
                return Err(Fault::DeliveryId);
            }
            unfinished.settled |= settled;
            return Ok(*unfinished);
        }
        let tag = transfer.delivery_tag.clone().unwrap_or_default();
        if tag.len() > TAG_BYTES_MAX {
            return Err(Fault::DeliveryTag(tag.len()));
        }
        Ok(Unfinished {
            delivery: transfer.delivery_id.ok_or(Fault::DeliveryId)?,
            tag: if transfer.more { Bytes::copy_from_slice(&tag) } else { tag },
            format: transfer.message_format.unwrap_or_default(),
            settled,
            bytes: BytesMut::new(),
        })
    }
}
