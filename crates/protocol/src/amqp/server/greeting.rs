//! How a connection begins: protocol headers, SASL if the client wants it, `open`, and then the first sessions.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::link::{Channel, End, Link, Stage as LinkStage};
use super::{Server, ServerEvent, Stage};
use crate::amqp::frame::{AMQP_HEADER, FRAME_BYTES_MIN, Frame, SASL, SASL_HEADER};
use crate::amqp::performative::{Begin, Performative};
use crate::amqp::state::Error;
use crate::amqp::{Fault, Open, SaslCode, SaslInit, Value, sasl};

/// A client that wants to hear something more often than this is asking for too much.
const IDLE_TIME_OUT_MIN: u32 = 1_000;

impl Server {
    /// Reads a protocol header and answers it; false as long as it is not whole.
    pub(super) fn header(&mut self, bytes: &mut BytesMut) -> Result<bool, Fault> {
        let there = bytes.len().min(AMQP_HEADER.len());
        let is = |header: &[u8; 8]| bytes[..there] == header[..there];
        let sasl = self.stage == Stage::Header && is(&SASL_HEADER);
        if !sasl && !is(&AMQP_HEADER) {
            self.transmit.buffer().extend_from_slice(&AMQP_HEADER); // the version that would be right
            return Err(Fault::ProtocolHeader);
        }
        if there < AMQP_HEADER.len() {
            return Ok(false);
        }
        bytes.advance(there);
        if sasl && self.stage == Stage::Header {
            self.transmit.buffer().extend_from_slice(&SASL_HEADER);
            sasl::mechanisms(&self.options.mechanisms, self.transmit.buffer());
            self.stage = Stage::Sasl;
        } else {
            self.transmit.buffer().extend_from_slice(&AMQP_HEADER);
            self.stage = Stage::Opening;
        }
        Ok(true)
    }

    pub(super) fn sasl(&mut self, frame: &Frame) -> Result<(), Fault> {
        if frame.kind != SASL {
            return Err(Fault::FrameType(frame.kind));
        }
        let init = SaslInit::read(&Bytes::copy_from_slice(&frame.body))?;
        if !self.options.mechanisms.contains(&init.mechanism) {
            sasl::outcome(SaslCode::Auth, self.transmit.buffer());
            return Err(Fault::Mechanism);
        }
        self.stage = Stage::Deciding;
        self.lapse = None; // from here on it is the hub that the client waits for
        self.events.push_back(ServerEvent::Sasl(Box::new(init)));
        Ok(())
    }

    pub(super) fn sasl_outcome(&mut self, now: Instant, code: SaslCode) {
        if self.stage != Stage::Deciding {
            return;
        }
        sasl::outcome(code, self.transmit.buffer());
        if code != SaslCode::Ok {
            return self.over();
        }
        self.stage = Stage::SecondHeader;
        self.lapse = Some(now + self.options.open_within);
        let mut held = std::mem::take(&mut self.held);
        match self.read(now, &mut held) {
            Ok(()) => self.held = held, // the start of a frame, perhaps
            Err(fault) => self.lapse(fault),
        }
    }

    pub(super) fn open(&mut self, now: Instant, open: Box<Open>) -> Result<(), Fault> {
        if self.stage != Stage::Opening {
            return Err(Fault::SecondOpen);
        }
        if open.max_frame_size < FRAME_BYTES_MIN {
            return Err(Fault::MaxFrameSize(open.max_frame_size));
        }
        match open.idle_time_out {
            None | Some(0) => {}
            Some(short @ ..IDLE_TIME_OUT_MIN) => return Err(Fault::IdleTimeOut(short)),
            Some(millis) => {
                let every = Duration::from_millis(millis.into()) / 2;
                self.beat = Some((every, now + every));
            }
        }
        self.frame_bytes_max = open.max_frame_size.min(self.options.frame_bytes_max) as usize;
        self.write_open();
        self.stage = Stage::Open;
        self.lapse = Some(now + self.patience());
        self.events.push_back(ServerEvent::Opened(open));
        Ok(())
    }

    pub(super) fn write_open(&mut self) {
        let idle = u32::try_from(self.options.idle_time_out.as_millis()).unwrap_or(u32::MAX);
        let open = Open {
            container_id: self.options.container_id.clone(),
            hostname: None,
            max_frame_size: self.options.frame_bytes_max,
            channel_max: self.options.sessions_max.saturating_sub(1),
            idle_time_out: Some(idle),
            ..Open::default()
        };
        self.write(0, &Performative::Open(Box::new(open)));
    }

    pub(super) fn begin(&mut self, number: u16, begin: &Begin) -> Result<(), Fault> {
        let limit = self.options.sessions_max.saturating_sub(1);
        if number > limit {
            return Err(Fault::ChannelTooHigh { channel: number, limit });
        }
        let index = usize::from(number);
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        if self.channels[index].is_some() {
            return Err(Fault::ChannelInUse);
        }
        self.channels[index] = Some(Box::new(Channel::new(begin, self.options.window)));
        let answer = Begin {
            remote_channel: Some(number),
            next_outgoing_id: 0,
            incoming_window: self.options.window,
            outgoing_window: u32::from(u16::MAX), // ours to choose, and nobody is bound by it
            handle_max: self.options.handles_max.saturating_sub(1),
            offered_capabilities: Value::Null,
            ..Begin::default()
        };
        self.write(number, &Performative::Begin(Box::new(answer)));
        Ok(())
    }

    /// The client ended a session: so are its links.
    pub(super) fn ended(&mut self, number: u16, error: Option<&Error>) -> Result<(), Fault> {
        self.channel(number)?;
        self.write(number, &Performative::End(None));
        let Some(channel) = self.channels[usize::from(number)].take() else { return Ok(()) };
        for link in channel.links.into_iter().flatten() {
            self.links -= 1;
            self.let_go(&link);
            if !matches!(link.stage, LinkStage::Leaving) {
                self.events.push_back(ServerEvent::Detached { link: link.id, error: error.cloned() });
            }
        }
        Ok(())
    }

    /// What a link had counted among the connection's is no more.
    fn let_go(&mut self, link: &Link) {
        if let End::Receiver(receiver) = &link.end {
            self.unsettled -= receiver.unsettled;
            self.buffered -= receiver.unfinished.as_ref().map_or(0, |unfinished| unfinished.bytes.len());
        }
    }
}
