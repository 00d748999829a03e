//! Messages that go, and the credit and window that the client gives for them.

use bytes::{Bytes, BytesMut};

use super::link::{self, Channel, End, Stage, Waiting, Went};
use super::{LinkId, Server, ServerEvent};
use crate::amqp::performative::{self, Flow, Transfer};
use crate::amqp::{Fault, Message};
use crate::transmit::Transmit;

/// What a transfer takes at most in a frame before the piece of the message begins, in bytes: header 8, performative
/// 12, tag 34, handle, id and format 15, the rest below 10.
const TRANSFER_BYTES_MAX: usize = 96;

impl Server {
    /// How many messages may be sent on a link now: the client has given credit, its session takes more transfers,
    /// and not too much is unsettled. None on a link that is gone.
    pub fn room(&self, id: LinkId) -> usize {
        let Some(Some(channel)) = self.channels.get(usize::from(id.channel)) else { return 0 };
        let Some(Some(link)) = channel.links.get(usize::from(id.handle)) else { return 0 };
        let ours = link.id == id && matches!((&link.stage, &link.end), (Stage::Attached, End::Sender(_)));
        if !ours || !channel.waiting.is_empty() {
            return 0;
        }
        let unsettled = self.options.deliveries_max.saturating_sub(channel.went.span());
        unsettled.min(link.credit.min(channel.outgoing_left) as usize)
    }

    /// How many bytes wait to be written. Whoever has much to send stops at some and goes on after they are gone.
    pub fn unsent(&self) -> usize {
        self.transmit.waiting()
    }

    pub(super) fn send(&mut self, id: LinkId, token: u64, tag: Bytes, settled: bool, message: &Message) {
        self.flush_settled();
        let frame_bytes_max = self.frame_bytes_max;
        let Some(Some(channel)) = self.channels.get_mut(usize::from(id.channel)) else { return };
        let Some(link) = channel.link(id.handle.into()).filter(|link| link.id == id) else { return };
        let (Stage::Attached, End::Sender(sender)) = (&link.stage, &mut link.end) else { return };
        assert!(link.credit > 0, "a message on {id:?} without credit: there must be room");
        link.credit -= 1;
        link.delivery_count = link.delivery_count.wrapping_add(1);
        sender.sent = true;
        let settled = settled || sender.settled;
        let delivery = channel.next_delivery;
        channel.next_delivery = delivery.wrapping_add(1);
        if !settled {
            channel.went.push(delivery, Went { link: id, token, told: false });
        }
        let transfer = Transfer {
            handle: id.handle.into(),
            delivery_id: Some(delivery),
            delivery_tag: Some(tag),
            message_format: Some(0),
            settled: Some(settled),
            ..Transfer::default()
        };
        if channel.waiting.is_empty() && channel.outgoing_left > 0 {
            let Some(rest) = whole(&transfer, message, id.channel, frame_bytes_max, &mut self.transmit)
            else {
                return channel.count_sent();
            };
            channel.waiting.push_back(Waiting { transfer, rest });
        } else {
            let mut encoded = BytesMut::new();
            message.encode(&mut encoded);
            channel.waiting.push_back(Waiting { transfer, rest: encoded.freeze() });
        }
        pump(channel, id.channel, frame_bytes_max, &mut self.transmit);
    }

    pub(super) fn flow(&mut self, number: u16, flow: &Flow) -> Result<(), Fault> {
        let frame_bytes_max = self.frame_bytes_max;
        let channel = link::channel(&mut self.channels, number)?;
        let shut = channel.outgoing_left == 0 || !channel.waiting.is_empty();
        // Before it has seen our begin it counts from the id that we begin with, which is 0.
        let end = flow.next_incoming_id.unwrap_or_default().wrapping_add(flow.incoming_window);
        let left = end.wrapping_sub(channel.next_outgoing).cast_signed();
        channel.outgoing_left = u32::try_from(left).unwrap_or_default();
        pump(channel, number, frame_bytes_max, &mut self.transmit);
        let open = channel.outgoing_left > 0 && channel.waiting.is_empty();
        if let Some(handle) = flow.handle {
            self.link_flow(number, handle, flow)?;
        } else if flow.echo {
            self.write_flow(number, None);
        }
        if shut && open && self.events.back() != Some(&ServerEvent::WindowOpened) {
            self.events.push_back(ServerEvent::WindowOpened);
        }
        Ok(())
    }

    fn link_flow(&mut self, number: u16, handle: u32, flow: &Flow) -> Result<(), Fault> {
        let Some(link) = self.channel(number)?.known(handle)? else { return Ok(()) };
        let id = link.id;
        if matches!(link.stage, Stage::Leaving) {
            return Ok(());
        }
        if let End::Sender(sender) = &mut link.end {
            let until =
                flow.delivery_count.unwrap_or_default().wrapping_add(flow.link_credit.unwrap_or_default());
            let credit = until.wrapping_sub(link.delivery_count).cast_signed();
            link.credit = u32::try_from(credit).unwrap_or_default();
            sender.drain = flow.drain;
            let (credit, drain) = (link.credit, flow.drain);
            if matches!(link.stage, Stage::Attached) {
                self.events.push_back(ServerEvent::Credit { link: id, credit, drain });
            }
        }
        if flow.echo {
            self.write_flow(number, Some(id.handle));
        }
        Ok(())
    }

    /// Gives up the credit that is left.
    pub(super) fn drained(&mut self, id: LinkId) {
        let Some(link) = self.find(id).and_then(|channel| channel.link(id.handle.into())) else { return };
        let (Stage::Attached, End::Sender(sender)) = (&link.stage, &mut link.end) else { return };
        if !sender.drain {
            return; // taken back meanwhile
        }
        link.delivery_count = link.delivery_count.wrapping_add(std::mem::take(&mut link.credit));
        self.write_flow(id.channel, Some(id.handle));
    }
}

impl Channel {
    /// One transfer more is on its way.
    fn count_sent(&mut self) {
        self.outgoing_left -= 1;
        self.next_outgoing = self.next_outgoing.wrapping_add(1);
    }
}

/// Writes a message straight into what goes out. If it turns out not to fit into one frame it is taken back, and
/// returned encoded.
fn whole(
    transfer: &Transfer,
    message: &Message,
    channel: u16,
    frame_bytes_max: usize,
    transmit: &mut Transmit,
) -> Option<Bytes> {
    let out = transmit.buffer();
    let start = out.len();
    let mut body = start;
    performative::transfer(transfer, channel, out, |out| {
        body = out.len();
        message.encode(out);
    });
    if out.len() - start <= frame_bytes_max {
        return None;
    }
    let encoded = out.split_off(body).freeze();
    out.truncate(start);
    Some(encoded)
}

/// Sends as much of what waits as the client's window allows.
fn pump(channel: &mut Channel, number: u16, frame_bytes_max: usize, transmit: &mut Transmit) {
    let piece_bytes_max = frame_bytes_max - TRANSFER_BYTES_MAX; // frames have at least 512 bytes
    while channel.outgoing_left > 0
        && let Some(waiting) = channel.waiting.front_mut()
    {
        let piece = waiting.rest.split_to(waiting.rest.len().min(piece_bytes_max));
        waiting.transfer.more = !waiting.rest.is_empty();
        performative::transfer(&waiting.transfer, number, transmit.buffer(), |out| {
            out.extend_from_slice(&piece)
        });
        if !waiting.transfer.more {
            channel.waiting.pop_front();
        }
        channel.count_sent();
    }
}
