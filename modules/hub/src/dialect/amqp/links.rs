//! Links: which address, who may, and what waits on each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use isotherm_host::Flow;
use isotherm_iothub::{Feed, Identity};
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{
    Attach, Error, LinkId, Map, Message, Role, Server, ServerCommand, Text, Value,
};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::access::unauthorized;
use super::address::Node;
use super::events::Reading;
use super::{Connection, Seat};
use crate::core::{Outcome, Refusal, Unauthorized};
use crate::faults::Blow;
use crate::quotas::Operation;
use crate::shared::Shared;
use crate::upstream;

/// How many messages of a client may be unsettled on a link.
const CREDIT: u32 = 1_000;
/// The digital-twin model that a client says it has.
const MODEL: &str = "com.microsoft:model-id";
/// The gateways between a client and this hub.
const CHAIN: &str = "com.microsoft:auth-chain";
/// Carried by both links of a pair.
const CORRELATION: &str = "com.microsoft:channel-correlation-id";

/// A link that was let in.
pub(super) struct Link {
    pub(super) node: Node,
    /// Whether we send on it.
    pub(super) outgoing: bool,
    /// Which pair it belongs to.
    pub(super) pair: Option<Text>,
    /// Where answers to it go, as requests name it.
    pub(super) answers_at: Option<Text>,
    /// What waits for credit.
    pub(super) waiting: VecDeque<Going>,
    /// Deliveries of the hub's mind that are not settled.
    pub(super) held: BTreeSet<u64>,
    /// The client wants everything settled.
    pub(super) settles: bool,
    /// Credit that is not used is to be given up.
    pub(super) drain: bool,
    /// Until when the token lasts that opened it; identities' links end with their session.
    pub(super) until: Option<Timestamp>,
    /// Where it reads the event endpoint.
    pub(super) reading: Option<Reading>,
    /// The feedback that the client has in hand.
    pub(super) feedback: Option<String>,
}

/// A message on its way out.
pub(super) struct Going {
    pub(super) message: Box<Message>,
    /// What the hub's mind wants back; nothing for what needs no outcome.
    pub(super) delivery: Option<u64>,
}

impl Link {
    /// What is not settled goes back.
    pub(super) fn give_back(&mut self, shared: &Shared, seats: &BTreeMap<Identity, Seat>) {
        let now = shared.now();
        if let Some(batch) = self.feedback.take() {
            let _ = shared.core().settle_feedback(&batch, false); // its lock may have run out
        }
        let Some(seat) = self.node.who().and_then(|who| seats.get(who)) else { return };
        let mut core = shared.core();
        let waiting = self.waiting.drain(..).filter_map(|going| going.delivery);
        for delivery in std::mem::take(&mut self.held).into_iter().chain(waiting) {
            core.settle(seat.session, delivery, Outcome::Released, now);
        }
    }
}

impl Connection {
    /// Answers an attach.
    pub(super) fn attached(
        &mut self,
        now: Instant,
        id: LinkId,
        attach: &Arc<Attach>,
        session: &mut Server,
    ) -> Flow {
        let address = match attach.role {
            Role::Sender => attach.target.as_ref().and_then(|target| target.address.clone()),
            Role::Receiver => attach.source.as_ref().and_then(|source| source.address.clone()),
        };
        let address = address.unwrap_or_default();
        let entity = upstream::entity_path(&self.shared.core().options().host_name).to_owned();
        let node = Node::parse(&address, &entity);
        if let Some(who) = node.as_ref().and_then(Node::who)
            && let Some(flow) = self.struck_at_the_door(now, id, who, session)
        {
            return flow;
        }
        let admitted = match node.clone() {
            Some(node) => self.admit(now, node, attach, &address),
            None => Err(Error::new("amqp:not-found", format!("{address:?} is no address of this hub"))),
        };
        match admitted {
            Ok(link) => {
                let credit = if link.outgoing { 0 } else { CREDIT };
                self.open_feed(&link);
                self.links.insert(id, link);
                session.handle_command(now, ServerCommand::accept(id, credit));
                self.look = true;
            }
            Err(error) => {
                self.shared.remark("amqp_refused_link", || {
                    tracing::info!(address = %address, %error.condition, why = error.description.as_deref(), "AMQP link refused");
                });
                // azure-eventhub does not understand an answer without terminus.
                if matches!(node, Some(Node::Partition { .. } | Node::Management | Node::Redirect(_))) {
                    session.handle_command(now, ServerCommand::accept(id, 0));
                    session.handle_command(now, ServerCommand::Detach { link: id, error: Some(error) });
                } else {
                    session.handle_command(now, ServerCommand::Refuse { link: id, error });
                }
            }
        }
        Flow::Go
    }

    fn admit(&mut self, now: Instant, node: Node, attach: &Attach, address: &str) -> Result<Link, Error> {
        let outgoing = attach.role == Role::Receiver;
        let mut link = Link {
            node,
            outgoing,
            pair: attach.properties.text(CORRELATION).map(pair_of),
            answers_at: attach.target.as_ref().and_then(|target| target.address.clone()).filter(|_| outgoing),
            waiting: VecDeque::new(),
            held: BTreeSet::new(),
            settles: attach.snd_settle_mode == isotherm_protocol::amqp::performative::SenderSettles::Settled,
            drain: false,
            until: None,
            reading: None,
            feedback: None,
        };
        match &link.node {
            Node::Cbs => {}
            Node::Management => link.until = Some(self.serve_events().map_err(unauthorized)?),
            Node::Partition { group, partition } => {
                link.until = Some(self.serve_events().map_err(unauthorized)?);
                only(outgoing, "the event endpoint is read: attach as a receiver")?;
                let (group, partition) = (group.clone(), partition.clone());
                link.reading = Some(self.read(&group, &partition, attach)?);
            }
            Node::Redirect(rest) => {
                self.serve_events().map_err(unauthorized)?;
                return Err(self.redirect(rest, address));
            }
            Node::Send => {
                link.until = Some(self.serve_service("/messages/devicebound").map_err(unauthorized)?);
                only(!outgoing, "messages are sent here: attach as a sender")?;
            }
            Node::Feedback => {
                link.until =
                    Some(self.serve_service("/messages/serviceBound/feedback").map_err(unauthorized)?);
                only(outgoing, "feedback is received: attach as a receiver")?;
            }
            Node::FileNotifications => {
                self.serve_service("/messages/serviceBound/filenotifications").map_err(unauthorized)?;
                return Err(Error::new(
                    "amqp:not-implemented",
                    "no files are uploaded to this hub, so there is nothing to notify of",
                ));
            }
            Node::Devicebound(who) => {
                only(outgoing, "a device's messages are received here: attach as a receiver")?;
                self.sit_down(now, &who.clone(), attach)?;
            }
            Node::Events(who) => {
                let module = who.module_id().is_some();
                only(!outgoing || module, "a device sends its telemetry here: attach as a sender")?;
                self.sit_down(now, &who.clone(), attach)?;
            }
            Node::Methods(who) | Node::Twin(who) => self.sit_down(now, &who.clone(), attach)?,
        }
        Ok(link)
    }

    /// The identity's session with the hub's mind begins with its first link.
    fn sit_down(&mut self, now: Instant, who: &Identity, attach: &Attach) -> Result<(), Error> {
        if self.seats.contains_key(who) {
            self.note_model(who, attach);
            return Ok(());
        }
        if self.shared.throttles.take(Operation::Connection, now).is_err() {
            return Err(throttled());
        }
        let chain = attach.properties.text(CHAIN).map(|chain| chain.as_str().to_owned());
        let proven = self.prove(who, chain.as_deref()).map_err(|why| {
            self.shared.remark("amqp_refused_not_authorized", || {
                tracing::info!(%who, %why, "AMQP client not let in");
            });
            match why {
                Unauthorized::Unknown => Error::new("amqp:not-found", why.to_string()),
                _ => unauthorized(why),
            }
        })?;
        let both = self.shared.now();
        let attached = self.shared.core().attach(who, true, "amqp", proven.until, self.news.ringer(), both);
        let attached = attached.map_err(|refusal| match refusal {
            Refusal::Busy => Error::new("amqp:resource-limit-exceeded", refusal.to_string()),
            _ => Error::new("amqp:not-found", refusal.to_string()),
        })?;
        let (open, closed) = oneshot::channel();
        drop(self.shared.sockets.enter(who, attached.session, closed)); // the older socket ends by itself
        self.seats.insert(who.clone(), Seat { session: attached.session, chain, _open: open });
        tracing::debug!(%who, "AMQP client let in");
        self.shared.counters.count("amqp_accepted");
        self.note_model(who, attach);
        Ok(())
    }

    fn note_model(&self, who: &Identity, attach: &Attach) {
        if let Some(model) = attach.properties.text(MODEL) {
            self.shared.core().set_model(who, model);
        }
    }

    /// What a fault does to an identity that comes; `None` if its link is looked at.
    fn struck_at_the_door(
        &mut self,
        now: Instant,
        id: LinkId,
        who: &Identity,
        session: &mut Server,
    ) -> Option<Flow> {
        if self.seats.contains_key(who) {
            return None;
        }
        match self.shared.faults.strike(who.as_str(), now, &self.shared.host.chance)? {
            Blow::Drop | Blow::Disconnect => return Some(self.cut()),
            Blow::Throttle => {
                self.shared.counters.count("amqp_refused_throttled");
                session.handle_command(now, ServerCommand::Refuse { link: id, error: throttled() });
                return Some(Flow::Go);
            }
            Blow::Delay(delay) => self.rest(delay),
        }
        None
    }

    /// A receiver link is a subscription.
    fn open_feed(&self, link: &Link) {
        let Some((seat, feed)) = self.feed_of(link) else { return };
        let qos = u8::from(!link.settles);
        self.shared.core().subscribe(seat.session, feed, qos, self.shared.now());
    }

    fn feed_of(&self, link: &Link) -> Option<(&Seat, Feed)> {
        let seat = self.seats.get(link.node.who()?)?;
        let feed = match &link.node {
            Node::Events(_) => Feed::Inputs,
            Node::Devicebound(_) => Feed::CloudToDevice,
            Node::Methods(_) => Feed::Methods,
            _ => return None, // a twin's changes are asked for on the link
        };
        link.outgoing.then_some((seat, feed))
    }

    /// A link is gone; with an identity's last one its session ends.
    pub(super) fn detached(&mut self, id: LinkId) {
        let Some(mut link) = self.links.remove(&id) else { return };
        link.give_back(&self.shared, &self.seats);
        let Some(who) = link.node.who().cloned() else { return };
        let others = |other: &Link| other.node == link.node && other.outgoing == link.outgoing;
        if !self.links.values().any(others)
            && let Some((seat, feed)) = self.feed_of(&link)
        {
            self.shared.core().unsubscribe(seat.session, feed);
        }
        if !self.links.values().any(|other| other.node.who() == Some(&who)) {
            self.flush_last();
            self.stand_up(&who);
        }
    }

    /// Takes off whatever links of ours a question is true of.
    pub(super) fn take_off(
        &mut self,
        now: Instant,
        session: &mut Server,
        error: &Error,
        mut which: impl FnMut(&Link) -> bool,
    ) {
        let ids: Vec<LinkId> = self.links.iter().filter(|(_, link)| which(link)).map(|(id, _)| *id).collect();
        for id in ids {
            session.handle_command(now, ServerCommand::Detach { link: id, error: Some(error.clone()) });
            if let Some(mut link) = self.links.remove(&id) {
                link.give_back(&self.shared, &self.seats);
            }
        }
    }

    /// Where old clients of the event endpoint find it.
    fn redirect(&self, rest: &str, address: &str) -> Error {
        let core = self.shared.core();
        let named = address.split_once("://").and_then(|(_, rest)| rest.split(['/', ':']).next());
        let host = named.or(self.hostname.as_deref()).unwrap_or(&core.options().host_name).to_owned();
        let port = self.shared.amqps.get().copied().unwrap_or(5671);
        let entity = upstream::entity_path(&core.options().host_name);
        let info = Map::new()
            .with_symbol("hostname", host.as_str())
            .with_symbol("network-host", host.as_str())
            .with_symbol("port", Value::UInt(port.into()))
            .with_symbol("address", format!("amqps://{host}:{port}/{entity}{rest}").as_str());
        Error { info, ..Error::new("amqp:link:redirect", "the event endpoint has an address of its own") }
    }
}

/// What somebody is told who comes too often.
fn throttled() -> Error {
    Error::new("com.microsoft:device-container-throttled", "too many connections at once: come again later")
}

fn only(fits: bool, otherwise: &'static str) -> Result<(), Error> {
    if fits { Ok(()) } else { Err(Error::new("amqp:not-allowed", otherwise)) }
}

/// What stands behind `methods:` or `twin:`.
fn pair_of(text: &Text) -> Text {
    text.split_once(':').map_or_else(|| text.detached(), |(_, id)| Text::from(id))
}
