//! The hub's end of AMQP: every field written, every depth bounded, and without a socket or a clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::frame::{self, Frame};
use super::performative::{Disposition, Performative};
use super::state::Error;
use super::{DeliveryState, Fault, Role};
use crate::transmit::Transmit;
use crate::{Malformed, Session};

mod attach;
mod greeting;
mod ledger;
mod link;
mod receive;
mod say;
mod send;
mod settle;

pub use say::{LinkId, Options, ServerCommand, ServerEvent};

use link::Channel;

/// What a client may send before it has the SASL outcome, in bytes. Well above one read, and reading stops as soon as
/// its credentials are there, so only a driver that reads on regardless ever meets it.
const HELD_BYTES_MAX: usize = 262_144;

/// The hub's end of one AMQP connection. Its driver asks [`may_read`](Server::may_read) before reading on, and ends
/// the stream once it [`is_over`](Server::is_over).
///
/// `open`, `begin`, `end` and `close` are answered at once. Links are the hub's decision: each
/// [`ServerEvent::Attached`] wants an answer. A frame that breaks the protocol ends the connection, with `close` and
/// the reason in it.
#[derive(Debug)]
pub struct Server {
    options: Arc<Options>,
    stage: Stage,
    events: VecDeque<ServerEvent>,
    transmit: Transmit,
    /// What came after the SASL credentials and before the answer to them.
    held: BytesMut,
    channels: Vec<Option<Box<Channel>>>,
    /// Links there are, in all sessions.
    links: usize,
    /// Links there ever were.
    serial: u32,
    /// Bytes of messages whose last frame has not come.
    buffered: usize,
    /// Messages that came and are not settled.
    unsettled: usize,
    /// What is settled and not yet written: neighbours share one frame.
    settled: Option<(u16, Disposition)>,
    /// The largest frame that goes out.
    frame_bytes_max: usize,
    heard: Instant,
    /// When the client's silence is looked at, or its `open` has to be here.
    lapse: Option<Instant>,
    /// How often the client wants to hear something, and when next.
    beat: Option<(Duration, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for the first eight bytes.
    Header,
    /// Waiting for `sasl-init`.
    Sasl,
    /// Waiting to be told what to answer.
    Deciding,
    /// Waiting for the eight bytes that follow SASL.
    SecondHeader,
    /// Waiting for `open`.
    Opening,
    Open,
    Over,
}

impl Server {
    /// A stream was opened at `now`.
    pub fn new(now: Instant, options: Arc<Options>) -> Self {
        Self {
            stage: Stage::Header,
            events: VecDeque::new(),
            transmit: Transmit::default(),
            held: BytesMut::new(),
            channels: Vec::new(),
            links: 0,
            serial: 0,
            buffered: 0,
            unsettled: 0,
            settled: None,
            frame_bytes_max: 512,
            heard: now,
            lapse: Some(now + options.open_within),
            beat: None,
            options,
        }
    }

    /// Whether more bytes are welcome: not while SASL credentials wait for their answer, nor with too much unsettled.
    pub fn may_read(&self) -> bool {
        self.stage != Stage::Deciding && self.unsettled < self.options.unsettled_max
    }

    /// Nobody listened until `now`, so the client's silence is not its own: its time begins anew.
    pub fn excuse(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Whether the session is over: flush and end the stream.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Messages that came and are not settled.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    fn read(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Fault> {
        loop {
            match self.stage {
                Stage::Over => bytes.clear(), // nothing counts after close
                Stage::Deciding => return self.hold(bytes),
                Stage::Header | Stage::SecondHeader => {
                    if self.header(bytes)? {
                        continue;
                    }
                }
                Stage::Sasl => {
                    if let Some(frame) = frame::decode(bytes, super::SASL_FRAME_BYTES_MAX)? {
                        self.sasl(&frame)?;
                        continue;
                    }
                }
                Stage::Opening | Stage::Open => {
                    if let Some(frame) = frame::decode(bytes, self.options.frame_bytes_max)? {
                        self.heard = now; // a whole frame counts; a byte now and then does not
                        self.handle_frame(now, frame)?;
                        continue;
                    }
                }
            }
            return Ok(());
        }
    }

    fn hold(&mut self, bytes: &mut BytesMut) -> Result<(), Fault> {
        if self.held.len() + bytes.len() > HELD_BYTES_MAX {
            return Err(Fault::Impatient(HELD_BYTES_MAX));
        }
        self.held.extend_from_slice(bytes);
        bytes.clear();
        Ok(())
    }

    fn handle_frame(&mut self, now: Instant, frame: Frame) -> Result<(), Fault> {
        let Frame { kind, channel, body } = frame;
        if kind != frame::AMQP {
            return Err(Fault::FrameType(kind));
        }
        if body.is_empty() {
            self.rest();
            return Ok(());
        }
        let (performative, payload) = self.decode(body)?;
        match performative {
            Performative::Open(open) => return self.open(now, open),
            _ if self.stage == Stage::Opening => return Err(Fault::NotOpen),
            Performative::Begin(begin) => return self.begin(channel, &begin),
            Performative::Close(error) => {
                self.write(0, &Performative::Close(None));
                self.end(ServerEvent::Closed(error));
            }
            // azure-eventhub ends its session first and detaches the links afterwards.
            _ if self.has_ended(channel) => {}
            Performative::Transfer(transfer) => return self.transfer(channel, transfer, payload),
            Performative::Disposition(disposition) => return self.disposition(channel, &disposition),
            Performative::Flow(flow) => return self.flow(channel, &flow),
            Performative::Attach(attach) => return self.attach(channel, *attach),
            Performative::Detach(detach) => return self.detached(channel, detach),
            Performative::End(error) => self.ended(channel, error.as_ref())?,
        }
        Ok(())
    }

    /// Sends a performative, after what is settled before it.
    fn write(&mut self, channel: u16, performative: &Performative) {
        self.flush_settled();
        performative.encode(channel, self.transmit.buffer());
    }

    fn channel(&mut self, number: u16) -> Result<&mut Channel, Fault> {
        link::channel(&mut self.channels, number)
    }

    /// Whether there was a session on a channel, and is none.
    fn has_ended(&self, number: u16) -> bool {
        matches!(self.channels.get(usize::from(number)), Some(None))
    }

    /// The session and the link of an id, as long as the link is that one.
    fn find(&mut self, id: LinkId) -> Option<&mut Channel> {
        let channel = self.channel(id.channel).ok()?;
        let there = channel.link(id.handle.into()).is_some_and(|link| link.id == id);
        there.then_some(channel)
    }

    /// Silence, or an empty frame, is the sound of an idle client: the moment to give back what a busy hour has grown.
    fn rest(&mut self) {
        self.transmit.rest();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        self.channels.iter_mut().flatten().for_each(|channel| channel.rest());
    }

    fn end(&mut self, event: ServerEvent) {
        self.over();
        self.events.push_back(event);
    }

    fn over(&mut self) {
        self.stage = Stage::Over;
        self.lapse = None;
        self.beat = None;
        self.channels = Vec::new();
        self.unsettled = 0;
        self.held = BytesMut::new();
    }

    /// Tells the client what it did wrong, in whatever form it can hear now.
    fn accuse(&mut self, fault: Fault) {
        match self.stage {
            Stage::Opening => {
                self.write_open();
                self.write(0, &Performative::Close(Some(Error::of(fault))));
            }
            Stage::Open => self.write(0, &Performative::Close(Some(Error::of(fault)))),
            _ => {}
        }
        self.over();
    }

    fn lapse(&mut self, fault: Fault) {
        self.accuse(fault);
        self.events.push_back(ServerEvent::Lapsed(fault));
    }

    /// How long a client may be silent: half as long again as it was told.
    fn patience(&self) -> Duration {
        self.options.idle_time_out.mul_f32(1.5)
    }
}

impl Session for Server {
    type Event = ServerEvent;
    type Command = ServerCommand;

    fn handle_bytes(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        if self.stage != Stage::Deciding && !self.held.is_empty() {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(bytes);
            *bytes = whole;
        }
        self.read(now, bytes).map_err(|fault| {
            self.accuse(fault);
            bytes.clear();
            fault.into()
        })
    }

    fn handle_command(&mut self, now: Instant, command: ServerCommand) {
        match command {
            _ if self.stage == Stage::Over => {}
            ServerCommand::SaslOutcome(code) => self.sasl_outcome(now, code),
            ServerCommand::Accept { link, credit, address, properties } => {
                self.accept(link, credit, address, properties);
            }
            ServerCommand::Refuse { link, error } => self.detach(link, Some(error)),
            ServerCommand::Grant { link, credit } => self.grant(link, credit),
            ServerCommand::Send { link, token, tag, settled, message } => {
                self.send(link, token, tag, settled, &message);
            }
            ServerCommand::Settle { link, delivery, state } => self.settle(link, delivery, state),
            ServerCommand::Drained { link } => self.drained(link),
            ServerCommand::Detach { link, error } => self.detach(link, error),
            ServerCommand::Close(error) => {
                match self.stage {
                    Stage::Open => self.write(0, &Performative::Close(error)),
                    Stage::Opening => {
                        self.write_open();
                        self.write(0, &Performative::Close(error));
                    }
                    _ => {}
                }
                self.over();
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((every, next)) = self.beat
            && next <= now
        {
            frame::empty(self.transmit.buffer());
            self.beat = Some((every, now + every));
        }
        if self.lapse.is_none_or(|lapse| now < lapse) {
            return;
        }
        if self.stage != Stage::Open {
            return self.lapse(Fault::OpenLate);
        }
        if !self.may_read() {
            self.excuse(now);
        }
        match self.heard + self.patience() {
            due if due <= now => self.lapse(Fault::Silence),
            due => self.lapse = Some(due),
        }
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    fn poll_transmit(&mut self, into: &mut BytesMut) {
        self.flush_settled();
        self.transmit.give(into);
    }

    /// Moves only when it fires, not with every frame.
    fn poll_timeout(&self) -> Option<Instant> {
        match (self.lapse, self.beat) {
            (Some(lapse), Some((_, beat))) => Some(lapse.min(beat)),
            (lapse, beat) => lapse.or(beat.map(|(_, beat)| beat)),
        }
    }
}
