//! From the body of a frame to a performative.

use bytes::Bytes;

use super::*;
use crate::amqp::Fault;
use crate::amqp::codec::{Fields, Reader};

impl Performative {
    /// Reads a performative; what follows it is a piece of a message, if it is a transfer. Both are slices of `body`.
    ///
    /// # Errors
    /// Not a performative, or a field of the wrong type.
    pub fn decode(body: &Bytes) -> Result<(Self, Bytes), Fault> {
        let mut reader = Reader::new(body);
        let code = reader.descriptor("a performative")?;
        let mut fields = reader.fields("a performative")?;
        let read = match code {
            0x14 => Self::Transfer(Transfer::read(&mut fields)?),
            0x15 => Self::Disposition(Disposition::read(&mut fields)?),
            0x13 => Self::Flow(Flow::read(&mut fields)?),
            0x10 => Self::Open(Box::new(Open::read(&mut fields)?)),
            0x11 => Self::Begin(Box::new(Begin::read(&mut fields)?)),
            0x12 => Self::Attach(Box::new(Attach::read(&mut fields)?)),
            0x16 => Self::Detach(Detach::read(&mut fields)?),
            0x17 => Self::End(Error::field(&mut fields)?),
            0x18 => Self::Close(Error::field(&mut fields)?),
            _ => return Err(Fault::Descriptor("a performative")),
        };
        fields.skip();
        Ok((read, reader.rest()))
    }
}

impl Open {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            container_id: fields.text()?.ok_or(Fault::Missing("container-id"))?,
            hostname: fields.text()?,
            max_frame_size: fields.uint()?.unwrap_or(u32::MAX),
            channel_max: fields.ushort()?.unwrap_or(u16::MAX),
            idle_time_out: fields.uint()?,
            outgoing_locales: fields.value()?,
            incoming_locales: fields.value()?,
            offered_capabilities: fields.value()?,
            desired_capabilities: fields.value()?,
            properties: fields.map()?,
        })
    }
}

impl Begin {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            remote_channel: fields.ushort()?,
            next_outgoing_id: fields.uint()?.ok_or(Fault::Missing("next-outgoing-id"))?,
            incoming_window: fields.uint()?.ok_or(Fault::Missing("incoming-window"))?,
            outgoing_window: fields.uint()?.ok_or(Fault::Missing("outgoing-window"))?,
            handle_max: fields.uint()?.unwrap_or(u32::MAX),
            offered_capabilities: fields.value()?,
            desired_capabilities: fields.value()?,
            properties: fields.map()?,
        })
    }
}

fn role(fields: &mut Fields<'_, '_>) -> Result<Role, Fault> {
    match fields.boolean()? {
        Some(true) => Ok(Role::Receiver),
        Some(false) => Ok(Role::Sender),
        None => Err(Fault::Missing("role")),
    }
}

impl Attach {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            name: fields.text()?.ok_or(Fault::Missing("name"))?,
            handle: fields.uint()?.ok_or(Fault::Missing("handle"))?,
            role: role(fields)?,
            snd_settle_mode: match fields.ubyte()? {
                None | Some(2) => SenderSettles::Mixed,
                Some(0) => SenderSettles::Unsettled,
                Some(1) => SenderSettles::Settled,
                Some(_) => return Err(Fault::Field("snd-settle-mode")),
            },
            rcv_settle_mode: match fields.ubyte()? {
                None | Some(0) => ReceiverSettles::First,
                Some(1) => ReceiverSettles::Second,
                Some(_) => return Err(Fault::Field("rcv-settle-mode")),
            },
            source: Source::field(fields)?,
            target: Target::field(fields)?,
            unsettled: fields.map()?,
            incomplete_unsettled: fields.boolean()?.unwrap_or_default(),
            initial_delivery_count: fields.uint()?,
            max_message_size: fields.ulong()?,
            offered_capabilities: fields.value()?,
            desired_capabilities: fields.value()?,
            properties: fields.map()?,
        })
    }
}

impl Flow {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            next_incoming_id: fields.uint()?,
            incoming_window: fields.uint()?.ok_or(Fault::Missing("incoming-window"))?,
            next_outgoing_id: fields.uint()?.ok_or(Fault::Missing("next-outgoing-id"))?,
            outgoing_window: fields.uint()?.ok_or(Fault::Missing("outgoing-window"))?,
            handle: fields.uint()?,
            delivery_count: fields.uint()?,
            link_credit: fields.uint()?,
            available: fields.uint()?,
            drain: fields.boolean()?.unwrap_or_default(),
            echo: fields.boolean()?.unwrap_or_default(),
            properties: fields.map()?,
        })
    }
}

impl Transfer {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            handle: fields.uint()?.ok_or(Fault::Missing("handle"))?,
            delivery_id: fields.uint()?,
            delivery_tag: fields.binary()?,
            message_format: fields.uint()?,
            settled: fields.boolean()?,
            more: fields.boolean()?.unwrap_or_default(),
            rcv_settle_mode: fields.ubyte()?,
            state: DeliveryState::field(fields)?,
            resume: fields.boolean()?.unwrap_or_default(),
            aborted: fields.boolean()?.unwrap_or_default(),
            batchable: fields.boolean()?.unwrap_or_default(),
        })
    }
}

impl Disposition {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            role: role(fields)?,
            first: fields.uint()?.ok_or(Fault::Missing("first"))?,
            last: fields.uint()?,
            settled: fields.boolean()?.unwrap_or_default(),
            state: DeliveryState::field(fields)?,
            batchable: fields.boolean()?.unwrap_or_default(),
        })
    }
}

impl Detach {
    fn read(fields: &mut Fields<'_, '_>) -> Result<Self, Fault> {
        Ok(Self {
            handle: fields.uint()?.ok_or(Fault::Missing("handle"))?,
            closed: fields.boolean()?.unwrap_or_default(),
            error: Error::field(fields)?,
        })
    }
}
