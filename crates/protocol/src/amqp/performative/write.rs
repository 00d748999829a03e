//! From a performative to the body of a frame.

use bytes::BytesMut;

use super::*;
use crate::amqp::codec::{self, described};
use crate::amqp::frame;
use crate::amqp::state::write_map;

impl Performative {
    /// Appends a whole frame with this in it and nothing after it.
    pub fn encode(&self, channel: u16, out: &mut BytesMut) {
        frame::encode(frame::AMQP, channel, out, |out| self.write(out));
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Open(open) => open.write(out),
            Self::Begin(begin) => begin.write(out),
            Self::Attach(attach) => attach.write(out),
            Self::Flow(flow) => flow.write(out),
            Self::Transfer(transfer) => transfer.write(out),
            Self::Disposition(disposition) => disposition.write(out),
            Self::Detach(detach) => detach.write(out),
            Self::End(error) => {
                described(0x17, 1, out, |out| codec::optional(error.as_ref(), out, Error::write))
            }
            Self::Close(error) => {
                described(0x18, 1, out, |out| codec::optional(error.as_ref(), out, Error::write));
            }
        }
    }
}

/// Appends a whole frame: a transfer and the piece of a message that `fill` writes.
pub(in crate::amqp) fn transfer(
    transfer: &Transfer,
    channel: u16,
    out: &mut BytesMut,
    fill: impl FnOnce(&mut BytesMut),
) {
    frame::encode(frame::AMQP, channel, out, |out| {
        transfer.write(out);
        fill(out);
    });
}

impl Open {
    fn write(&self, out: &mut BytesMut) {
        described(0x10, 10, out, |out| {
            codec::text(&self.container_id, out);
            codec::optional(self.hostname.as_ref(), out, |text, out| codec::text(text, out));
            codec::uint(self.max_frame_size, out);
            codec::ushort(self.channel_max, out);
            codec::optional(self.idle_time_out, out, codec::uint);
            codec::encode(&self.outgoing_locales, out);
            codec::encode(&self.incoming_locales, out);
            codec::encode(&self.offered_capabilities, out);
            codec::encode(&self.desired_capabilities, out);
            write_map(&self.properties, out);
        });
    }
}

impl Begin {
    fn write(&self, out: &mut BytesMut) {
        described(0x11, 8, out, |out| {
            codec::optional(self.remote_channel, out, codec::ushort);
            codec::uint(self.next_outgoing_id, out);
            codec::uint(self.incoming_window, out);
            codec::uint(self.outgoing_window, out);
            codec::uint(self.handle_max, out);
            codec::encode(&self.offered_capabilities, out);
            codec::encode(&self.desired_capabilities, out);
            write_map(&self.properties, out);
        });
    }
}

impl Attach {
    fn write(&self, out: &mut BytesMut) {
        described(0x12, 14, out, |out| {
            codec::text(&self.name, out);
            codec::uint(self.handle, out);
            codec::boolean(self.role == Role::Receiver, out);
            codec::ubyte(self.snd_settle_mode as u8, out);
            codec::ubyte(self.rcv_settle_mode as u8, out);
            codec::optional(self.source.as_ref(), out, Source::write);
            codec::optional(self.target.as_ref(), out, Target::write);
            write_map(&self.unsettled, out);
            codec::boolean(self.incomplete_unsettled, out);
            codec::optional(self.initial_delivery_count, out, codec::uint);
            codec::optional(self.max_message_size, out, codec::ulong);
            codec::encode(&self.offered_capabilities, out);
            codec::encode(&self.desired_capabilities, out);
            write_map(&self.properties, out);
        });
    }
}

impl Flow {
    fn write(&self, out: &mut BytesMut) {
        described(0x13, 11, out, |out| {
            codec::optional(self.next_incoming_id, out, codec::uint);
            codec::uint(self.incoming_window, out);
            codec::uint(self.next_outgoing_id, out);
            codec::uint(self.outgoing_window, out);
            codec::optional(self.handle, out, codec::uint);
            codec::optional(self.delivery_count, out, codec::uint);
            codec::optional(self.link_credit, out, codec::uint);
            codec::optional(self.available, out, codec::uint);
            codec::boolean(self.drain, out);
            codec::boolean(self.echo, out);
            write_map(&self.properties, out);
        });
    }
}

impl Transfer {
    fn write(&self, out: &mut BytesMut) {
        described(0x14, 11, out, |out| {
            codec::uint(self.handle, out);
            codec::optional(self.delivery_id, out, codec::uint);
            codec::optional(self.delivery_tag.as_ref(), out, codec::binary);
            codec::optional(self.message_format, out, codec::uint);
            codec::optional(self.settled, out, codec::boolean);
            codec::boolean(self.more, out);
            codec::optional(self.rcv_settle_mode, out, codec::ubyte);
            codec::optional(self.state.as_ref(), out, DeliveryState::write);
            codec::boolean(self.resume, out);
            codec::boolean(self.aborted, out);
            codec::boolean(self.batchable, out);
        });
    }
}

impl Disposition {
    fn write(&self, out: &mut BytesMut) {
        described(0x15, 6, out, |out| {
            codec::boolean(self.role == Role::Receiver, out);
            codec::uint(self.first, out);
            codec::optional(self.last, out, codec::uint);
            codec::boolean(self.settled, out);
            codec::optional(self.state.as_ref(), out, DeliveryState::write);
            codec::boolean(self.batchable, out);
        });
    }
}

impl Detach {
    fn write(&self, out: &mut BytesMut) {
        described(0x16, 3, out, |out| {
            codec::uint(self.handle, out);
            codec::boolean(self.closed, out);
            codec::optional(self.error.as_ref(), out, Error::write);
        });
    }
}
