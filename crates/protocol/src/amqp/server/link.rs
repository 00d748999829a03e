//! Sessions and their links, as one connection remembers them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::LinkId;
use super::ledger::Ledger;
use crate::amqp::performative::{Begin, Transfer};
use crate::amqp::{Attach, Fault};

/// One session.
#[derive(Debug)]
pub(super) struct Channel {
    /// The id of the client's next transfer.
    pub(super) next_incoming: u32,
    /// How many more of them it may send.
    pub(super) incoming_left: u32,
    /// The id of our next transfer.
    pub(super) next_outgoing: u32,
    /// How many more of them the client takes.
    pub(super) outgoing_left: u32,
    /// The id of our next delivery.
    pub(super) next_delivery: u32,
    /// By handle: ours are the client's.
    pub(super) links: Vec<Option<Box<Link>>>,
    /// Messages that came and are not settled, with their link's handle.
    pub(super) came: Ledger<u16>,
    /// Messages that went and are not settled.
    pub(super) went: Ledger<Went>,
    /// Messages that wait for the client's window to open.
    pub(super) waiting: VecDeque<Waiting>,
}

/// The session on a channel, with the rest of the connection left free to be touched.
pub(super) fn channel(channels: &mut [Option<Box<Channel>>], number: u16) -> Result<&mut Channel, Fault> {
    let channel = channels.get_mut(usize::from(number)).and_then(Option::as_deref_mut);
    channel.ok_or(Fault::ChannelUnknown(number))
}

/// A delivery to the client.
#[derive(Debug)]
pub(super) struct Went {
    pub(super) link: LinkId,
    pub(super) token: u64,
    /// The outcome was told, the client does not settle first. Told once, however often it is said.
    pub(super) told: bool,
}

/// What is left to send of a message.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) transfer: Transfer,
    pub(super) rest: Bytes,
}

impl Channel {
    pub(super) fn new(begin: &Begin, window: u32) -> Self {
        Self {
            next_incoming: begin.next_outgoing_id,
            incoming_left: window,
            next_outgoing: 0,
            outgoing_left: begin.incoming_window,
            next_delivery: 0,
            links: Vec::new(),
            came: Ledger::default(),
            went: Ledger::default(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn link(&mut self, handle: u32) -> Option<&mut Link> {
        self.links.get_mut(usize::try_from(handle).ok()?)?.as_deref_mut()
    }

    /// The link of a handle; nothing if it was taken off. Clients are known to say more about a link after they took
    /// it off, which is forgiven, but not about one that never was.
    pub(super) fn known(&mut self, handle: u32) -> Result<Option<&mut Link>, Fault> {
        match self.links.get_mut(usize::try_from(handle).unwrap_or(usize::MAX)) {
            Some(link) => Ok(link.as_deref_mut()),
            None => Err(Fault::HandleUnknown(handle)),
        }
    }

    /// Forgets what is unsettled or unsent on a link. Returns how many messages of the client that were, and how many
    /// bytes of an unfinished one.
    pub(super) fn forget(&mut self, handle: u16) -> (usize, usize) {
        let Some(link) = self.link(handle.into()) else { return (0, 0) };
        let id = link.id;
        match &mut link.end {
            End::Receiver(receiver) => {
                let unsettled = std::mem::take(&mut receiver.unsettled);
                let unfinished = receiver.unfinished.take();
                if unsettled > 0 {
                    self.came.retain(|&held| held != handle);
                }
                (unsettled, unfinished.map_or(0, |unfinished| unfinished.bytes.len()))
            }
            End::Sender(sender) => {
                if std::mem::take(&mut sender.sent) {
                    self.went.retain(|went| went.link != id);
                    self.waiting.retain(|waiting| waiting.transfer.handle != u32::from(handle));
                }
                (0, 0)
            }
        }
    }

    /// Gives memory back that a busy hour has grown.
    pub(super) fn rest(&mut self) {
        self.came.rest();
        self.went.rest();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) stage: Stage,
    /// Deliveries so far.
    pub(super) delivery_count: u32,
    /// How many more there may be.
    pub(super) credit: u32,
    pub(super) end: End,
}

/// How far a link has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Asked for, not answered.
    Asked(Arc<Attach>),
    Attached,
    /// Detached by us; whatever still comes was sent before the client knew, and is ignored until it says so too.
    Leaving,
}

/// Which end is ours.
#[derive(Debug)]
pub(super) enum End {
    Receiver(Receiver),
    Sender(Sender),
}

/// The client sends.
#[derive(Debug)]
pub(super) struct Receiver {
    /// How many may be unsettled at once.
    pub(super) allowed: u32,
    /// The delivery count up to which credit was ever given: taking credit back does not make liars of messages that
    /// were on their way.
    pub(super) limit: u32,
    pub(super) unsettled: usize,
    /// The client settles everything it sends.
    pub(super) settled: bool,
    pub(super) unfinished: Option<Box<Unfinished>>,
}

/// The client receives.
#[derive(Debug)]
pub(super) struct Sender {
    /// Everything is settled when it is sent.
    pub(super) settled: bool,
    pub(super) drain: bool,
    /// Anything was ever sent, so there may be something to forget.
    pub(super) sent: bool,
}

/// A message whose last frame has not come. Its bytes are a copy, so that it does not keep whole read buffers alive.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    pub(super) delivery: u32,
    pub(super) tag: Bytes,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) bytes: BytesMut,
}
