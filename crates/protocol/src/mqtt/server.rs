//! The hub's end of MQTT: strict, and without a socket or a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::codec::{self, Connect, Flags, Packet, Publish};
use super::{ConnectCode, Fault, Qos, Text};
use crate::transmit::Transmit;
use crate::{Malformed, Session, Window};

mod say;

pub use say::{Limits, ServerCommand, ServerEvent};

/// What a client may send before it knows that it is welcome, in bytes. Well above one read, and reading stops as
/// soon as CONNECT is there, so only a driver that reads on regardless ever meets it.
const HELD_BYTES_MAX: usize = 262_144;

/// A keep-alive is forgiven half of itself `[MQTT-3.1.2-24]`, and at least this much: the crate `azure_iot_sdk`
/// announces ten seconds and pings every fifteen.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// The hub's end of one connection.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    stage: Stage,
    events: VecDeque<ServerEvent>,
    transmit: Transmit,
    /// What came after CONNECT and before the answer to it.
    held: BytesMut,
    window: Window,
    unacknowledged: usize,
    keep_alive: Duration,
    heard: Instant,
    timeout: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for CONNECT.
    Opening,
    /// Waiting to be told what to answer.
    Deciding,
    Open,
    Over,
}

impl Server {
    /// A stream was opened at `now`.
    pub fn new(now: Instant, limits: Limits) -> Self {
        Self {
            stage: Stage::Opening,
            events: VecDeque::new(),
            transmit: Transmit::default(),
            held: BytesMut::new(),
            window: Window::new(limits.window),
            unacknowledged: 0,
            keep_alive: limits.silence_max,
            heard: now,
            timeout: Some(now + limits.connect_within),
            limits,
        }
    }

    /// How many more QoS 1 deliveries fit.
    pub fn window(&self) -> usize {
        self.window.room()
    }

    /// How many QoS 1 deliveries are not acknowledged yet.
    pub fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// Whether more bytes are welcome: not while a CONNECT waits for its answer, nor with too much unacknowledged.
    pub fn may_read(&self) -> bool {
        self.stage != Stage::Deciding && self.unacknowledged < self.limits.unacknowledged_max
    }

    /// Nobody listened until `now`, so the client's silence is not its own: its keep-alive begins anew.
    pub fn excuse(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Whether the session is over: flush and end the stream.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// What [`ServerCommand::Deliver`] asks for, from parts that are somebody else's: nothing is copied but into what is
    /// sent.
    ///
    /// # Errors
    /// A topic that MQTT cannot carry; nothing is sent then.
    pub fn deliver(
        &mut self,
        token: u64,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        dup: bool,
    ) -> Result<(), Fault> {
        Text::check(topic)?;
        match self.stage {
            Stage::Over => {}
            Stage::Open => self.publish_to_client(token, topic.as_bytes(), payload, qos, dup),
            stage => panic!("a delivery at the stage {stage:?}: first CONNECT, one answer, then the rest"),
        }
        Ok(())
    }

    fn read(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Fault> {
        while let Some(kind) = codec::next_kind(bytes) {
            let limit = match self.stage {
                Stage::Opening if kind != 1 => return Err(Fault::NotConnect(kind)), // [MQTT-3.1.0-1]
                Stage::Opening => self.limits.connect_bytes_max,
                Stage::Open => self.limits.packet_bytes_max,
                Stage::Deciding => return self.hold(bytes),
                Stage::Over => break,
            };
            let Some(packet) = codec::decode(bytes, limit)? else { return Ok(()) };
            self.heard = now; // a whole packet counts; a byte now and then does not
            self.handle_packet(packet)?;
        }
        if self.is_over() {
            bytes.clear(); // nothing counts after DISCONNECT
        }
        Ok(())
    }

    fn hold(&mut self, bytes: &mut BytesMut) -> Result<(), Fault> {
        if self.held.len() + bytes.len() > HELD_BYTES_MAX {
            return Err(Fault::Impatient(HELD_BYTES_MAX));
        }
        self.held.extend_from_slice(bytes);
        bytes.clear();
        Ok(())
    }

    fn handle_packet(&mut self, packet: Packet) -> Result<(), Fault> {
        match packet {
            Packet::Publish(message) => return self.publish(message),
            Packet::PubAck(packet_id) => {
                // An unknown one is let pass: the standard does not forbid it, and clients do repeat themselves.
                if let Some(token) = self.window.close(packet_id) {
                    self.events.push_back(ServerEvent::Acknowledged { token });
                }
            }
            Packet::PingReq => self.pong(),
            Packet::Subscribe { packet_id, mut filters } => {
                filters.iter_mut().for_each(|(_, qos)| *qos = (*qos).min(Qos::AtLeastOnce));
                self.events.push_back(ServerEvent::Subscribe { packet_id, filters });
            }
            Packet::Unsubscribe { packet_id, filters } => {
                self.events.push_back(ServerEvent::Unsubscribe { packet_id, filters });
            }
            Packet::Disconnect => self.end(ServerEvent::Disconnected),
            Packet::Connect(_) | Packet::OtherLevel(_) if self.stage == Stage::Open => {
                return Err(Fault::SecondConnect); // [MQTT-3.1.0-2]
            }
            Packet::Connect(connect) => return self.connect(connect),
            Packet::OtherLevel(level) => {
                return Err(self.turn_away(ConnectCode::BadProtocolLevel, Fault::ProtocolLevel(level)));
            }
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => return Err(Fault::QosTwo),
            Packet::ConnAck { .. } => return Err(Fault::WrongDirection(2)),
            Packet::SubAck { .. } => return Err(Fault::WrongDirection(9)),
            Packet::UnsubAck(_) => return Err(Fault::WrongDirection(11)),
            Packet::PingResp => return Err(Fault::WrongDirection(13)),
        }
        Ok(())
    }

    fn connect(&mut self, connect: Box<Connect>) -> Result<(), Fault> {
        if connect.client_id.is_empty() {
            return Err(self.turn_away(ConnectCode::IdentifierRejected, Fault::EmptyClientId));
        }
        self.keep_alive = self.patience(connect.keep_alive);
        self.stage = Stage::Deciding;
        self.timeout = None; // from here on it is the hub that the client waits for
        self.events.push_back(ServerEvent::Connect(connect));
        Ok(())
    }

    /// How long a client may be silent that announced this keep-alive.
    fn patience(&self, seconds: u16) -> Duration {
        match Duration::from_secs(seconds.into()).min(self.limits.keep_alive_max) {
            Duration::ZERO => self.limits.silence_max,
            keep_alive => keep_alive + (keep_alive / 2).max(GRACE_MIN),
        }
    }

    fn publish(&mut self, message: Publish) -> Result<(), Fault> {
        let Publish { dup, qos, retain, topic, packet_id, payload } = message;
        match qos {
            Qos::ExactlyOnce => return Err(Fault::QosTwo),
            Qos::AtLeastOnce => self.unacknowledged += 1,
            Qos::AtMostOnce => {}
        }
        if payload.len() > self.limits.payload_bytes_max {
            return Err(Fault::TooLarge { length: payload.len(), limit: self.limits.payload_bytes_max });
        }
        self.events.push_back(ServerEvent::Publish { topic, payload, qos, packet_id, dup, retain });
        Ok(())
    }

    /// PINGREQ is the sound of an idle client, so this is the moment to give back what a busy hour has grown.
    fn pong(&mut self) {
        self.window.rest();
        self.transmit.rest();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        codec::encode(&Packet::PingResp, self.transmit.buffer());
    }

    fn accept(&mut self, now: Instant, session_present: bool) {
        let answer = Packet::ConnAck { session_present, code: ConnectCode::Accepted };
        codec::encode(&answer, self.transmit.buffer());
        self.stage = Stage::Open;
        self.heard = now;
        self.timeout = Some(now + self.keep_alive);
        let mut held = std::mem::take(&mut self.held);
        match self.read(now, &mut held) {
            Ok(()) => self.held = held, // the start of a packet, perhaps
            Err(fault) => self.end(ServerEvent::Lapsed(fault)),
        }
    }

    fn turn_away(&mut self, code: ConnectCode, fault: Fault) -> Fault {
        codec::encode(&Packet::ConnAck { session_present: false, code }, self.transmit.buffer());
        fault
    }

    fn publish_to_client(&mut self, token: u64, topic: &[u8], payload: &[u8], qos: Qos, dup: bool) {
        let (qos, packet_id) = match qos {
            Qos::AtMostOnce => (qos, 0),
            _ => (Qos::AtLeastOnce, self.window.open(token)),
        };
        let flags = Flags { dup: dup && qos != Qos::AtMostOnce, qos, retain: false };
        codec::publish(flags, topic, packet_id, payload, self.transmit.buffer());
    }

    fn end(&mut self, event: ServerEvent) {
        self.stage = Stage::Over;
        self.timeout = None;
        self.events.push_back(event);
    }
}

impl Session for Server {
    type Event = ServerEvent;
    type Command = ServerCommand;

    fn handle_bytes(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        if self.stage == Stage::Open && !self.held.is_empty() {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(bytes);
            *bytes = whole;
        }
        self.read(now, bytes).map_err(|fault| {
            self.stage = Stage::Over;
            self.timeout = None;
            bytes.clear();
            fault.into()
        })
    }

    fn handle_command(&mut self, now: Instant, command: ServerCommand) {
        match (self.stage, command) {
            (Stage::Over, _) => {}
            (_, ServerCommand::Close) => {
                self.stage = Stage::Over;
                self.timeout = None;
            }
            (Stage::Deciding, ServerCommand::Accept { session_present }) => self.accept(now, session_present),
            (Stage::Deciding, ServerCommand::Refuse(code)) => {
                codec::encode(&Packet::ConnAck { session_present: false, code }, self.transmit.buffer());
                self.stage = Stage::Over;
            }
            (Stage::Open, ServerCommand::Deliver { token, topic, payload, qos, dup }) => {
                self.publish_to_client(token, topic.as_bytes(), &payload, qos, dup);
            }
            (Stage::Open, ServerCommand::Acknowledge { packet_id }) => {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
                codec::acknowledgement(packet_id, self.transmit.buffer());
            }
            (Stage::Open, ServerCommand::Granted { packet_id, codes }) => {
                codec::encode(&Packet::SubAck { packet_id, codes }, self.transmit.buffer());
            }
            (Stage::Open, ServerCommand::Unsubscribed { packet_id }) => {
                codec::encode(&Packet::UnsubAck(packet_id), self.transmit.buffer());
            }
            (stage, command) => {
                panic!("{command:?} at the stage {stage:?}: first CONNECT, one answer, then the rest")
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timeout.is_none_or(|timeout| now < timeout) {
            return;
        }
        if self.stage == Stage::Opening {
            return self.end(ServerEvent::Lapsed(Fault::ConnectLate));
        }
        if !self.may_read() {
            self.excuse(now);
        }
        match self.heard + self.keep_alive {
            due if due <= now => self.end(ServerEvent::Lapsed(Fault::KeepAlive)),
            due => self.timeout = Some(due),
        }
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    fn poll_transmit(&mut self, into: &mut BytesMut) {
        self.transmit.give(into);
    }

    /// Moves only when it fires, not with every packet.
    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}
