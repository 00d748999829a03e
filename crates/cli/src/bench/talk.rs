//! The load generator's ends of MQTT and of NATS: as little work as can be, so that they are not what is measured.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use isotherm_protocol::mqtt::codec::{self, Connect, PACKET_BYTES_MAX, Packet};
use isotherm_protocol::mqtt::{ConnectCode, Qos, Text};
use isotherm_protocol::{Malformed, Session};

/// What the other side said.
#[derive(Debug)]
pub(super) enum Heard {
    /// It lets us in.
    Open,
    /// It will send us what we asked for.
    Subscribed,
    /// It has the oldest message that it has not acknowledged yet.
    Acknowledged,
    /// A message; acknowledged already.
    Message(Bytes),
    /// It does not let us in, or refuses what we sent.
    Refused(String),
}

/// A session that can be made to publish.
pub(super) trait Talk: Session<Event = Heard> {
    /// Publishes; the acknowledgement comes as an event.
    fn publish(&mut self, topic: &[u8], payload: &[u8]);
    /// Asks for messages.
    fn subscribe(&mut self, topic: &str);
}

/// MQTT 3.1.1, QoS 1 both ways.
#[derive(Debug, Default)]
pub(super) struct Mqtt {
    out: BytesMut,
    heard: VecDeque<Heard>,
    packet_id: u16,
    retain: bool,
}

impl Mqtt {
    /// Introduces itself, with a clean session.
    pub(super) fn new(client_id: &str, login: Option<(&str, &str)>) -> Self {
        let text = |text: &str| Text::new(Bytes::copy_from_slice(text.as_bytes())).expect("short and plain");
        let connect = Connect {
            client_id: text(client_id),
            keep_alive: 600,
            clean: true,
            will: None,
            user_name: login.map(|(user, _)| text(user)),
            password: login.map(|(_, password)| Bytes::copy_from_slice(password.as_bytes())),
        };
        let mut session = Self::default();
        codec::encode(&Packet::Connect(Box::new(connect)), &mut session.out);
        session
    }

    /// Has the server keep the last message for whoever subscribes later.
    pub(super) fn retain(&mut self) {
        self.retain = true;
    }

    fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }
}

impl Talk for Mqtt {
    fn publish(&mut self, topic: &[u8], payload: &[u8]) {
        let id = self.next_id();
        self.out.extend_from_slice(&[0x32 | u8::from(self.retain)]);
        let mut length = 2 + topic.len() + 2 + payload.len();
        while length >= 0x80 {
            self.out.extend_from_slice(&[length as u8 | 0x80]);
            length >>= 7;
        }
        self.out.extend_from_slice(&[length as u8]);
        self.out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        self.out.extend_from_slice(topic);
        self.out.extend_from_slice(&id.to_be_bytes());
        self.out.extend_from_slice(payload);
    }

    fn subscribe(&mut self, topic: &str) {
        let packet_id = self.next_id();
        let filter = Text::filter(Bytes::copy_from_slice(topic.as_bytes())).expect("a filter of ours");
        codec::encode(
            &Packet::Subscribe { packet_id, filters: vec![(filter, Qos::AtLeastOnce)] },
            &mut self.out,
        );
    }
}

impl Session for Mqtt {
    type Event = Heard;
    type Command = ();

    fn handle_bytes(&mut self, _: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        while let Some(packet) = codec::decode(bytes, PACKET_BYTES_MAX)? {
            match packet {
                Packet::PubAck(_) => self.heard.push_back(Heard::Acknowledged),
                Packet::Publish(message) => {
                    if message.qos == Qos::AtLeastOnce {
                        codec::encode(&Packet::PubAck(message.packet_id), &mut self.out);
                    }
                    self.heard.push_back(Heard::Message(message.payload));
                }
                Packet::ConnAck { code: ConnectCode::Accepted, .. } => self.heard.push_back(Heard::Open),
                Packet::ConnAck { code, .. } => self.heard.push_back(Heard::Refused(format!("{code:?}"))),
                Packet::SubAck { codes, .. } if codes.contains(&0x80) => {
                    self.heard.push_back(Heard::Refused("the subscription".to_owned()));
                }
                Packet::SubAck { .. } => self.heard.push_back(Heard::Subscribed),
                _ => {}
            }
        }
        Ok(())
    }

    fn handle_command(&mut self, _: Instant, (): ()) {}
    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_event(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn poll_transmit(&mut self, into: &mut BytesMut) {
        into.extend_from_slice(&self.out);
        self.out.clear();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// NATS with JetStream: every publish asks for an acknowledgement.
#[derive(Debug)]
pub(super) struct Nats {
    out: BytesMut,
    heard: VecDeque<Heard>,
    inbox: String,
    greeted: bool,
}

impl Nats {
    /// Introduces itself. `name` makes its inbox its own.
    pub(super) fn new(name: &str) -> Self {
        let inbox = format!("_INBOX.{name}");
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}}\r\n\
             SUB {inbox} 1\r\nPING\r\n"
        );
        Self { out: hello.as_bytes().into(), heard: VecDeque::new(), inbox, greeted: false }
    }

    fn read_line(&mut self, line: &[u8]) -> Option<usize> {
        if line.starts_with(b"MSG ") {
            let length = line.rsplit(|byte| *byte == b' ').next()?;
            return std::str::from_utf8(length).ok()?.parse().ok();
        }
        if line.starts_with(b"PING") {
            self.out.extend_from_slice(b"PONG\r\n");
        } else if line.starts_with(b"PONG") && !std::mem::replace(&mut self.greeted, true) {
            self.heard.push_back(Heard::Open);
        } else if line.starts_with(b"-ERR") {
            self.heard.push_back(Heard::Refused(String::from_utf8_lossy(line).into_owned()));
        }
        None
    }
}

impl Talk for Nats {
    fn publish(&mut self, topic: &[u8], payload: &[u8]) {
        self.out.extend_from_slice(b"PUB ");
        self.out.extend_from_slice(topic);
        self.out.extend_from_slice(b" ");
        self.out.extend_from_slice(self.inbox.as_bytes());
        self.out.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
        self.out.extend_from_slice(payload);
        self.out.extend_from_slice(b"\r\n");
    }

    fn subscribe(&mut self, _: &str) {} // only acknowledgements are of interest here
}

impl Session for Nats {
    type Event = Heard;
    type Command = ();

    fn handle_bytes(&mut self, _: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
            let line = bytes[..end].to_vec();
            match self.read_line(&line) {
                Some(length) if bytes.len() < end + 2 + length + 2 => return Ok(()),
                Some(length) => {
                    let body = &bytes[end + 2..end + 2 + length];
                    let refused = body.windows(7).any(|word| word == b"\"error\"");
                    self.heard.push_back(match refused {
                        true => Heard::Refused(String::from_utf8_lossy(body).into_owned()),
                        false => Heard::Acknowledged,
                    });
                    bytes.advance(end + 2 + length + 2);
                }
                None => bytes.advance(end + 2),
            }
        }
        Ok(())
    }

    fn handle_command(&mut self, _: Instant, (): ()) {}
    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_event(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn poll_transmit(&mut self, into: &mut BytesMut) {
        into.extend_from_slice(&self.out);
        self.out.clear();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_by_hand_reads_as_the_codec_reads_it() {
        let mut session = Mqtt::new("bench", None);
        session.out.clear();
        let payload = [7; 300];
        session.publish(b"a/b", &payload);
        let packet = codec::decode(&mut session.out, PACKET_BYTES_MAX).unwrap().unwrap();
        let Packet::Publish(message) = packet else { panic!("{packet:?}") };
        assert_eq!((message.topic.as_str(), message.packet_id, message.qos), ("a/b", 1, Qos::AtLeastOnce));
        assert_eq!(&message.payload[..], payload);
    }

    #[test]
    fn acknowledgements_of_nats_are_counted_also_when_they_come_in_pieces() {
        let mut session = Nats::new("a");
        let whole = b"INFO {}\r\nPONG\r\nMSG _INBOX.a 1 2\r\n{}\r\nMSG _INBOX.a 1 11\r\n{\"error\":{}\r\n";
        let mut bytes = BytesMut::new();
        let now = tokio::time::Instant::now().into_std();
        for byte in whole {
            bytes.extend_from_slice(&[*byte]);
            session.handle_bytes(now, &mut bytes).unwrap();
        }
        assert!(matches!(session.poll_event(), Some(Heard::Open)));
        assert!(matches!(session.poll_event(), Some(Heard::Acknowledged)));
        assert!(matches!(session.poll_event(), Some(Heard::Refused(_))));
        assert!(session.poll_event().is_none());
    }
}
