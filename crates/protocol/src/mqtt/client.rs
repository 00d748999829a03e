//! The client's end of MQTT: the packets of `rumqttc`, under a state of our own.
//!
//! `rumqttc::MqttState` was tried for the state too and left aside. It reads the clock by itself at every packet,
//! copies every topic once more into its list of events, keeps every payload although the outbox has it already, ends
//! the connection over an acknowledgement it does not expect, and lets SUBSCRIBE take the identifier of a message in
//! flight. None of that can be turned off from outside. Its packets are sound, and they are a stranger to the hub's
//! end, which is what tests want; two traps of theirs are closed below, at [`ClientSession::new`] and `publish`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{self, QoS, v4};

use super::codec::PACKET_BYTES_MAX;
use super::{ConnectCode, Fault, Qos, Text};
use crate::transmit::Transmit;
use crate::{Malformed, Session, Window};

mod pending;
mod say;

use pending::Pending;
pub use say::{ClientCommand, ClientEvent, ConnectOptions, LastWill};

/// How long the server may take to answer CONNECT. A hub that authorises by asking elsewhere is given its time.
const CONNACK_WITHIN: Duration = Duration::from_secs(30);
/// How long the server may take to answer PINGREQ; half the keep-alive where that is shorter.
const PINGRESP_WITHIN: Duration = Duration::from_secs(30);
/// The client's end of one connection.
#[derive(Debug)]
pub struct ClientSession {
    stage: Stage,
    events: VecDeque<ClientEvent>,
    transmit: Transmit,
    window: Window,
    pending: Pending,
    keep_alive: Duration,
    sent: Instant,
    heard: Instant,
    pinged: Option<Instant>,
    timeout: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for CONNACK.
    Connecting,
    Open,
    Over,
}

impl ClientSession {
    /// A stream was opened at `now`; CONNECT is the first thing that goes out.
    ///
    /// # Panics
    /// When a string of the options has more than 65,535 bytes.
    pub fn new(now: Instant, options: ConnectOptions) -> Self {
        let keep_alive = u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let mut session = Self {
            stage: Stage::Connecting,
            events: VecDeque::new(),
            transmit: Transmit::default(),
            window: Window::new(options.window),
            pending: Pending::default(),
            keep_alive: Duration::from_secs(keep_alive.into()),
            sent: now,
            heard: now,
            pinged: None,
            timeout: Some(now + CONNACK_WITHIN),
        };
        // The library patches the flags in at a place it counts from the start of the buffer, so the buffer is empty.
        session.write(now, &v4::Packet::Connect(options.into_packet(keep_alive)));
        session
    }

    /// How many more QoS 1 messages fit.
    pub fn window(&self) -> usize {
        self.window.room()
    }

    /// How many QoS 1 messages are not acknowledged yet.
    pub fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// Nobody listened until `now`, so the server's silence is not its own.
    pub fn excuse(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.pinged = None;
    }

    /// Whether the session is over: flush and end the stream.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn read(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        while self.stage != Stage::Over {
            match v4::Packet::read(bytes, PACKET_BYTES_MAX) {
                Ok(packet) => {
                    self.heard = now;
                    self.pinged = None; // whatever it says, it is there
                    self.handle_packet(now, packet)?;
                }
                Err(mqttbytes::Error::InsufficientBytes(_)) => return Ok(()),
                Err(mqttbytes::Error::PayloadSizeLimitExceeded(length)) => {
                    return Err(Fault::TooLarge { length, limit: PACKET_BYTES_MAX }.into());
                }
                Err(error) => {
                    let sentence = format!("{}: {error}", Fault::Unreadable);
                    return Err(Malformed::new(Fault::Unreadable.name(), sentence));
                }
            }
        }
        bytes.clear();
        Ok(())
    }

    fn handle_packet(&mut self, now: Instant, packet: v4::Packet) -> Result<(), Fault> {
        match (self.stage, packet) {
            (Stage::Connecting, v4::Packet::ConnAck(answer)) => self.connected(now, &answer),
            (Stage::Connecting, _) => return Err(Fault::NotConnack), // [MQTT-3.2.0-1]
            (_, v4::Packet::Publish(message)) => return self.receive(message),
            (_, v4::Packet::PubAck(v4::PubAck { pkid })) => {
                // An unknown one is let pass: all that matters is that none of ours is forgotten over it.
                if let Some(token) = self.window.close(pkid) {
                    self.events.push_back(ClientEvent::Acknowledged { token });
                }
            }
            (_, v4::Packet::SubAck(answer)) => self.events.extend(self.pending.subscribed(&answer)),
            (_, v4::Packet::UnsubAck(answer)) => self.events.extend(self.pending.unsubscribed(&answer)),
            (_, v4::Packet::PingResp) => self.rest(),
            (_, v4::Packet::ConnAck(_)) => return Err(Fault::SecondConnect),
            (_, v4::Packet::PubRec(_) | v4::Packet::PubRel(_) | v4::Packet::PubComp(_)) => {
                return Err(Fault::QosTwo);
            }
            (_, v4::Packet::Connect(_)) => return Err(Fault::WrongDirection(1)),
            (_, v4::Packet::Subscribe(_)) => return Err(Fault::WrongDirection(8)),
            (_, v4::Packet::Unsubscribe(_)) => return Err(Fault::WrongDirection(10)),
            (_, v4::Packet::PingReq) => return Err(Fault::WrongDirection(12)),
            (_, v4::Packet::Disconnect) => return Err(Fault::WrongDirection(14)),
        }
        Ok(())
    }

    fn connected(&mut self, now: Instant, answer: &v4::ConnAck) {
        let code = ConnectCode::of(answer.code as u8).expect("the library knows no other codes than we do");
        if code != ConnectCode::Accepted {
            return self.end(ClientEvent::Refused(code));
        }
        self.stage = Stage::Open;
        self.timeout = (!self.keep_alive.is_zero()).then(|| now + self.ping_after());
        self.events.push_back(ClientEvent::Connected { session_present: answer.session_present });
    }

    fn receive(&mut self, message: v4::Publish) -> Result<(), Fault> {
        let v4::Publish { dup, qos, retain, topic, pkid: packet_id, payload } = message;
        let qos = match qos {
            QoS::AtMostOnce => Qos::AtMostOnce,
            QoS::AtLeastOnce => Qos::AtLeastOnce,
            QoS::ExactlyOnce => return Err(Fault::QosTwo), // never subscribed to
        };
        self.events.push_back(ClientEvent::Publish { topic, payload, qos, packet_id, dup, retain });
        Ok(())
    }

    fn publish(&mut self, now: Instant, token: u64, topic: String, payload: Bytes, qos: Qos) {
        // The library would write the length modulo 65,536 and the server would read nonsense from there on.
        assert!(
            topic.len() <= Text::BYTES_MAX,
            "a topic has at most 65,535 bytes; it is checked before it is queued"
        );
        let (qos, pkid) = match qos {
            Qos::AtMostOnce => (QoS::AtMostOnce, 0),
            _ => (QoS::AtLeastOnce, self.window.open(token)),
        };
        self.transmit.buffer().reserve(9 + topic.len() + payload.len());
        let (dup, retain) = (false, false);
        self.write(now, &v4::Packet::Publish(v4::Publish { dup, qos, retain, topic, pkid, payload }));
    }

    fn write(&mut self, now: Instant, packet: &v4::Packet) {
        self.sent = now;
        packet
            .write(self.transmit.buffer(), usize::MAX)
            .expect("an identifier is set and no packet has 256 MiB");
    }

    /// Well before the keep-alive is over: the ping still has to travel.
    fn ping_after(&self) -> Duration {
        self.keep_alive * 3 / 4
    }

    fn stay_alive(&mut self, now: Instant) {
        if let Some(pinged) = self.pinged {
            let due = pinged + PINGRESP_WITHIN.min(self.keep_alive / 2);
            match due <= now {
                true => self.end(ClientEvent::Closed(Fault::PingLate)),
                false => self.timeout = Some(due),
            }
            return;
        }
        // Silence either way is a reason: the server wants to hear something, and a dead link answers nothing.
        let mut due = self.sent.min(self.heard) + self.ping_after();
        if due <= now {
            self.write(now, &v4::Packet::PingReq);
            self.pinged = Some(now);
            due = now + PINGRESP_WITHIN.min(self.keep_alive / 2);
        }
        self.timeout = Some(due);
    }

    /// PINGRESP means that nothing else was said for a while: give back what a busy hour has grown.
    fn rest(&mut self) {
        self.window.rest();
        self.transmit.rest();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    fn end(&mut self, event: ClientEvent) {
        self.stage = Stage::Over;
        self.timeout = None;
        self.events.push_back(event);
    }
}

impl Session for ClientSession {
    type Event = ClientEvent;
    type Command = ClientCommand;

    fn handle_bytes(&mut self, now: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        self.read(now, bytes).inspect_err(|_| {
            self.stage = Stage::Over;
            self.timeout = None;
            bytes.clear();
        })
    }

    fn handle_command(&mut self, now: Instant, command: ClientCommand) {
        if self.is_over() {
            return;
        }
        match command {
            ClientCommand::Publish { token, topic, payload, qos } => {
                self.publish(now, token, topic, payload, qos)
            }
            ClientCommand::Subscribe { filters } => {
                let packet = self.pending.subscribe(filters);
                self.write(now, &v4::Packet::Subscribe(packet));
            }
            ClientCommand::Unsubscribe { filters } => {
                let packet = self.pending.unsubscribe(filters);
                self.write(now, &v4::Packet::Unsubscribe(packet));
            }
            ClientCommand::Acknowledge { packet_id } => {
                self.write(now, &v4::Packet::PubAck(v4::PubAck::new(packet_id)));
            }
            ClientCommand::Disconnect => {
                self.write(now, &v4::Packet::Disconnect);
                self.stage = Stage::Over;
                self.timeout = None;
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timeout.is_none_or(|timeout| now < timeout) {
            return;
        }
        match self.stage {
            Stage::Connecting => self.end(ClientEvent::Closed(Fault::ConnackLate)),
            Stage::Open => self.stay_alive(now),
            Stage::Over => {}
        }
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
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
