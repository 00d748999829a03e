//! Links come and go.

use std::sync::Arc;

use bytes::Bytes;

use super::link::{End, Link, Receiver, Sender, Stage};
use super::{LinkId, Server, ServerEvent};
use crate::amqp::performative::{Attach, Detach, Performative, ReceiverSettles, Role, SenderSettles};
use crate::amqp::state::Error;
use crate::amqp::{Fault, Map, Source, Target, Text, Value};

impl Server {
    /// Reads what a frame says. An `attach` or `open` is kept for longer than the buffer it came in, so it is copied.
    pub(super) fn decode(&self, body: Bytes) -> Result<(Performative, Bytes), Fault> {
        const FLOW_TRANSFER_DISPOSITION: std::ops::RangeInclusive<u8> = 0x13..=0x15;
        if body.starts_with(&[0x00, 0x53])
            && body.get(2).is_some_and(|code| FLOW_TRANSFER_DISPOSITION.contains(code))
        {
            return Performative::decode(&body);
        }
        let (performative, payload) = Performative::decode(&Bytes::copy_from_slice(&body))?;
        match performative {
            Performative::Attach(_) if body.len() > self.options.attach_bytes_max => {
                Err(Fault::AttachTooLarge(self.options.attach_bytes_max))
            }
            _ => Ok((performative, payload)),
        }
    }

    pub(super) fn attach(&mut self, number: u16, attach: Attach) -> Result<(), Fault> {
        let limit = self.options.handles_max.saturating_sub(1);
        let handle = match u16::try_from(attach.handle) {
            Ok(handle) if attach.handle <= limit => handle,
            _ => return Err(Fault::HandleTooHigh { handle: attach.handle, limit }),
        };
        let links_max = self.options.links_max;
        let too_many = self.links >= links_max;
        let serial = self.serial;
        let channel = self.channel(number)?;
        let index = usize::from(handle);
        if channel.links.len() <= index {
            channel.links.resize_with(index + 1, || None);
        }
        if channel.links[index].is_some() {
            return Err(Fault::HandleInUse);
        }
        if too_many {
            return Err(Fault::TooManyLinks(links_max));
        }
        let id = LinkId { serial, channel: number, handle };
        let attach = Arc::new(attach);
        channel.links[index] = Some(Box::new(Link::asked(id, Arc::clone(&attach))));
        self.links += 1;
        self.serial = self.serial.wrapping_add(1);
        if attach.target.as_ref().is_some_and(|target| target.coordinator) {
            let error = Error::new("amqp:not-implemented", "there are no transactions here");
            self.detach(id, Some(error));
        } else {
            self.events.push_back(ServerEvent::Attached { link: id, attach });
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, id: LinkId, credit: u32, address: Option<Text>, properties: Map) {
        let Some(link) = self.find(id).and_then(|channel| channel.link(id.handle.into())) else { return };
        let Stage::Asked(asked) = &link.stage else { return };
        let asked = Arc::clone(asked);
        link.stage = Stage::Attached;
        let (waiting, drain) = match &link.end {
            End::Sender(sender) if link.credit > 0 || sender.drain => (Some(link.credit), sender.drain),
            _ => (None, false),
        };
        let mut source = asked.source.clone().unwrap_or_default();
        let mut target = asked.target.clone().unwrap_or_default();
        match asked.role {
            Role::Receiver if address.is_some() => source.address = address,
            Role::Sender if address.is_some() => target.address = address,
            _ => {}
        }
        let answer = self.answer(&asked, Some(source), Some(target), properties);
        self.write(id.channel, &Performative::Attach(Box::new(answer)));
        match (asked.role, waiting) {
            (Role::Sender, _) => self.grant(id, credit),
            // The client gave credit before it had our answer.
            (Role::Receiver, Some(credit)) => {
                self.events.push_back(ServerEvent::Credit { link: id, credit, drain });
            }
            (Role::Receiver, None) => {}
        }
    }

    fn answer(
        &self,
        asked: &Attach,
        source: Option<Source>,
        target: Option<Target>,
        properties: Map,
    ) -> Attach {
        let (role, initial_delivery_count, rcv_settle_mode) = match asked.role {
            // uamqp waits for ever if it is not told that we settle first.
            Role::Sender => (Role::Receiver, None, ReceiverSettles::First),
            Role::Receiver => (Role::Sender, Some(0), asked.rcv_settle_mode),
        };
        Attach {
            name: asked.name.clone(),
            handle: asked.handle,
            role,
            snd_settle_mode: asked.snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            unsettled: Map::new(),
            incomplete_unsettled: false,
            initial_delivery_count,
            max_message_size: Some(self.options.message_bytes_max as u64),
            offered_capabilities: Value::Null,
            desired_capabilities: Value::Null,
            properties,
        }
    }

    /// Takes a link off, or refuses it if it was not answered yet.
    pub(super) fn detach(&mut self, id: LinkId, error: Option<Error>) {
        let Some(link) = self.find(id).and_then(|channel| channel.link(id.handle.into())) else { return };
        match std::mem::replace(&mut link.stage, Stage::Leaving) {
            Stage::Leaving => return,
            Stage::Attached => {}
            Stage::Asked(asked) => self.write_refusal(id.channel, &asked),
        }
        self.forget(id.channel, id.handle);
        let detach = Detach { handle: id.handle.into(), closed: true, error };
        self.write(id.channel, &Performative::Detach(detach));
    }

    /// An answer without a terminus on our side says that a `detach` follows.
    fn write_refusal(&mut self, channel: u16, asked: &Attach) {
        let (source, target) = match asked.role {
            Role::Sender => (asked.source.clone(), None),
            Role::Receiver => (None, asked.target.clone()),
        };
        let target = target.filter(|target| !target.coordinator);
        let answer = self.answer(asked, source, target, Map::new());
        self.write(channel, &Performative::Attach(Box::new(answer)));
    }

    /// The client takes a link off, or agrees that we did.
    pub(super) fn detached(&mut self, number: u16, detach: Detach) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        let Some(link) = channel.known(detach.handle)? else { return Ok(()) };
        let id = link.id;
        let stage = std::mem::replace(&mut link.stage, Stage::Leaving);
        self.forget(number, id.handle);
        self.links -= 1;
        if let Stage::Asked(asked) = &stage {
            self.write_refusal(number, asked);
        }
        if !matches!(stage, Stage::Leaving) {
            let answer = Detach { handle: detach.handle, closed: detach.closed, error: None };
            self.write(number, &Performative::Detach(answer));
            self.events.push_back(ServerEvent::Detached { link: id, error: detach.error });
        }
        self.channel(number)?.links[usize::from(id.handle)] = None;
        Ok(())
    }

    /// What was unsettled or unfinished on a link is no more.
    pub(super) fn forget(&mut self, number: u16, handle: u16) {
        if let Ok(channel) = self.channel(number) {
            let (unsettled, buffered) = channel.forget(handle);
            self.unsettled -= unsettled;
            self.buffered -= buffered;
        }
    }
}

impl Link {
    fn asked(id: LinkId, attach: Arc<Attach>) -> Self {
        let settled = attach.snd_settle_mode == SenderSettles::Settled;
        let delivery_count = attach.initial_delivery_count.unwrap_or_default();
        let (end, delivery_count) = match attach.role {
            Role::Sender => {
                let limit = delivery_count;
                let receiver = Receiver { allowed: 0, limit, unsettled: 0, settled, unfinished: None };
                (End::Receiver(receiver), delivery_count)
            }
            Role::Receiver => (End::Sender(Sender { settled, drain: false, sent: false }), 0),
        };
        Self { id, stage: Stage::Asked(attach), delivery_count, credit: 0, end }
    }
}
