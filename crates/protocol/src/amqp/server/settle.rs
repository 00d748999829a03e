//! What becomes of deliveries, in both directions.

use super::link::{self, Channel, End};
use super::{DeliveryState, Disposition, LinkId, Performative, Role, Server, ServerEvent};
use crate::amqp::Fault;

impl Server {
    /// The hub settles: a message that came, or second a delivery that went.
    pub(super) fn settle(&mut self, id: LinkId, delivery: u32, state: DeliveryState) {
        let Some(channel) = self.find(id) else { return };
        let came = matches!(channel.link(id.handle.into()).map(|link| &link.end), Some(End::Receiver(_)));
        let known = if came { channel.settle_came(delivery) } else { channel.went.take(delivery).is_some() };
        if !known {
            return; // settled before, by one or the other
        }
        let role = if came { Role::Receiver } else { Role::Sender };
        self.write_settled(id.channel, role, delivery, state);
        if came {
            self.unsettled -= 1;
            self.top_up(id);
        }
    }

    /// Neighbours with the same outcome share a frame.
    fn write_settled(&mut self, channel: u16, role: Role, delivery: u32, state: DeliveryState) {
        if let Some((open, disposition)) = &mut self.settled {
            let next = disposition.last.unwrap_or(disposition.first).wrapping_add(1) == delivery;
            if next
                && *open == channel
                && disposition.role == role
                && disposition.state.as_ref() == Some(&state)
            {
                disposition.last = Some(delivery);
                return;
            }
        }
        self.flush_settled();
        let disposition = Disposition {
            role,
            first: delivery,
            last: Some(delivery),
            settled: true,
            state: Some(state),
            batchable: false,
        };
        self.settled = Some((channel, disposition));
    }

    pub(super) fn flush_settled(&mut self) {
        if let Some((channel, disposition)) = self.settled.take() {
            Performative::Disposition(disposition).encode(channel, self.transmit.buffer());
        }
    }

    /// The client says what became of deliveries.
    pub(super) fn disposition(&mut self, number: u16, said: &Disposition) -> Result<(), Fault> {
        let channel = link::channel(&mut self.channels, number)?;
        let (first, last) = (said.first, said.last.unwrap_or(said.first));
        if said.role == Role::Receiver {
            let events = &mut self.events;
            channel.went.visit(first, last, |delivery, entry| {
                let Some(went) = entry else { return };
                let news = !went.told && said.state.as_ref().is_some_and(DeliveryState::is_terminal);
                if said.settled || news {
                    went.told = true;
                    let (link, token) = (went.link, went.token);
                    let (state, settled) = (said.state.clone(), said.settled);
                    events.push_back(ServerEvent::Disposition { link, delivery, token, state, settled });
                }
                if said.settled {
                    *entry = None;
                }
            });
        } else if said.settled {
            // A sender that wants no answer any more; the hub may still settle, and is ignored.
            let mut given_up = Vec::new();
            channel.came.visit(first, last, |_, entry| given_up.extend(entry.take()));
            for handle in given_up {
                self.unsettled -= 1;
                if let Some(link) = self.channel(number)?.release(handle) {
                    self.top_up(link);
                }
            }
        }
        Ok(())
    }
}

impl Channel {
    fn settle_came(&mut self, delivery: u32) -> bool {
        let Some(handle) = self.came.take(delivery) else { return false };
        self.release(handle).is_some()
    }

    /// One unsettled message less on a link.
    fn release(&mut self, handle: u16) -> Option<LinkId> {
        let link = self.link(handle.into())?;
        if let End::Receiver(receiver) = &mut link.end {
            receiver.unsettled -= 1;
        }
        Some(link.id)
    }
}
