//! The load generator's end of AMQP 1.0: SASL PLAIN, one session, one link to send on, and as many others as a device
//! of Azure's SDKs has open.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf as _, BufMut as _, BytesMut};
use isotherm_protocol::amqp::frame::{self, AMQP_HEADER, SASL_HEADER};
use isotherm_protocol::amqp::performative::{Begin, Flow, Performative, ReceiverSettles, SenderSettles};
use isotherm_protocol::amqp::{Attach, DeliveryState, Error, Map, Open, Role, Source, Target, Text, Value};
use isotherm_protocol::{Malformed, Session};

use super::talk::{Heard, Talk};

/// The largest frame that is taken, and how many transfers a session lets through.
const FRAME_BYTES_MAX: u32 = 65_536;
const WINDOW: u32 = 65_535;

/// A device's end of a connection.
#[derive(Debug)]
pub(super) struct Amqp {
    out: BytesMut,
    heard: VecDeque<Heard>,
    stage: Stage,
    /// SASL's initial response.
    proof: Vec<u8>,
    host: String,
    /// Where it sends, and where else it has links: whether it sends there too, and the address.
    target: String,
    others: Vec<(Role, String)>,
    delivery: u32,
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    SaslHeader,
    Sasl,
    Header,
    Open,
}

impl Amqp {
    /// Introduces itself; `others` are links besides the one to send on.
    pub(super) fn new(
        host: &str,
        (user, password): (&str, &str),
        target: &str,
        others: Vec<(Role, String)>,
    ) -> Self {
        Self {
            out: BytesMut::from(&SASL_HEADER[..]),
            heard: VecDeque::new(),
            stage: Stage::SaslHeader,
            proof: format!("\0{user}\0{password}").into_bytes(),
            host: host.to_owned(),
            target: target.to_owned(),
            others,
            delivery: 0,
            open: false,
        }
    }

    fn takes_header(&mut self, bytes: &mut BytesMut, wanted: [u8; 8]) -> bool {
        if bytes.len() < wanted.len() {
            return false;
        }
        if bytes[..8] != wanted {
            self.heard.push_back(Heard::Refused(format!("a header of {:?}", &bytes[..8])));
        }
        bytes.advance(8);
        true
    }

    fn take_sasl(&mut self, body: &[u8]) {
        match body.get(2) {
            Some(0x40) => {
                let response = u32::try_from(self.proof.len()).expect("a token is short");
                let mechanism = [0xa3, 5, b'P', b'L', b'A', b'I', b'N'];
                let fields = 4 + 7 + 5 + response;
                self.out.put_u32(8 + 3 + 5 + fields);
                self.out.put_slice(&[2, 1, 0, 0, 0x00, 0x53, 0x41, 0xd0]);
                self.out.put_u32(fields);
                self.out.put_u32(2);
                self.out.put_slice(&mechanism);
                self.out.put_u8(0xb0);
                self.out.put_u32(response);
                self.out.put_slice(&self.proof);
            }
            Some(0x44) if body.windows(2).any(|pair| pair == [0x50, 0]) => {
                self.stage = Stage::Header;
                self.begin();
            }
            _ => self.heard.push_back(Heard::Refused("SASL PLAIN".to_owned())),
        }
    }

    fn begin(&mut self) {
        self.out.put_slice(&AMQP_HEADER);
        let open = Open {
            container_id: Text::from("bench"),
            hostname: Some(Text::from(self.host.as_str())),
            max_frame_size: FRAME_BYTES_MAX,
            channel_max: 0,
            ..Open::default()
        };
        let begin =
            Begin { incoming_window: WINDOW, outgoing_window: WINDOW, handle_max: 255, ..Begin::default() };
        Performative::Open(Box::new(open)).encode(0, &mut self.out);
        Performative::Begin(Box::new(begin)).encode(0, &mut self.out);
        let target = self.target.clone();
        self.attach(0, Role::Sender, &target);
        for (place, (role, address)) in std::mem::take(&mut self.others).into_iter().enumerate() {
            let handle = u32::try_from(place + 1).expect("a few links");
            self.attach(handle, role, &address);
            if role == Role::Receiver {
                let credit = Flow {
                    next_incoming_id: Some(0),
                    incoming_window: WINDOW,
                    outgoing_window: WINDOW,
                    handle: Some(handle),
                    delivery_count: Some(0),
                    link_credit: Some(100),
                    ..Flow::default()
                };
                Performative::Flow(credit).encode(0, &mut self.out);
            }
        }
    }

    fn attach(&mut self, handle: u32, role: Role, address: &str) {
        let address = Some(Text::from(address));
        let (source, target) = match role {
            Role::Sender => (Source::default(), Target { address, ..Target::default() }),
            Role::Receiver => (Source { address, ..Source::default() }, Target::default()),
        };
        let attach = Attach {
            name: Text::from(format!("bench-{handle}").as_str()),
            handle,
            role,
            snd_settle_mode: SenderSettles::Unsettled,
            rcv_settle_mode: ReceiverSettles::First,
            source: Some(source),
            target: Some(target),
            unsettled: Map::new(),
            incomplete_unsettled: false,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: None,
            offered_capabilities: Value::Null,
            desired_capabilities: Value::Null,
            properties: Map::new(),
        };
        Performative::Attach(Box::new(attach)).encode(0, &mut self.out);
    }

    fn take(&mut self, performative: Performative) {
        let refused = |error: Option<Error>| {
            Heard::Refused(error.map_or_else(|| "without a reason".to_owned(), |error| format!("{error:?}")))
        };
        match performative {
            Performative::Flow(flow)
                if !self.open && flow.handle == Some(0) && flow.link_credit > Some(0) =>
            {
                self.open = true;
                self.heard.push_back(Heard::Open);
            }
            Performative::Disposition(disposition) if disposition.role == Role::Receiver => {
                let last = disposition.last.unwrap_or(disposition.first);
                for _ in disposition.first..=last {
                    self.heard.push_back(match &disposition.state {
                        Some(DeliveryState::Accepted) => Heard::Acknowledged,
                        other => Heard::Refused(format!("{other:?}")),
                    });
                }
            }
            Performative::Detach(detach) => self.heard.push_back(refused(detach.error)),
            Performative::End(error) | Performative::Close(error) => self.heard.push_back(refused(error)),
            _ => {}
        }
    }
}

impl Talk for Amqp {
    /// One data section, unsettled; the topic is the link's affair.
    fn publish(&mut self, _: &[u8], payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a reading is short");
        self.out.put_u32(36 + length); // 8 of the frame, 20 of the transfer, 8 before the data
        self.out.put_slice(&[2, 0, 0, 0, 0x00, 0x53, 0x14, 0xc0, 15, 5, 0x43, 0x70]);
        self.out.put_u32(self.delivery);
        self.out.put_slice(&[0xa0, 4]);
        self.out.put_u32(self.delivery);
        self.out.put_slice(&[0x43, 0x42]);
        self.out.put_slice(&[0x00, 0x53, 0x75, 0xb0]);
        self.out.put_u32(length);
        self.out.put_slice(payload);
        self.delivery = self.delivery.wrapping_add(1);
    }

    fn subscribe(&mut self, _: &str) {} // only acknowledgements are of interest here
}

impl Session for Amqp {
    type Event = Heard;
    type Command = ();

    fn handle_bytes(&mut self, _: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            match self.stage {
                Stage::SaslHeader | Stage::Header => {
                    let (wanted, next) = match self.stage {
                        Stage::SaslHeader => (SASL_HEADER, Stage::Sasl),
                        _ => (AMQP_HEADER, Stage::Open),
                    };
                    if !self.takes_header(bytes, wanted) {
                        return Ok(());
                    }
                    self.stage = next;
                }
                Stage::Sasl | Stage::Open => {
                    let Some(frame) = frame::decode(bytes, FRAME_BYTES_MAX)? else { return Ok(()) };
                    if self.stage == Stage::Sasl {
                        self.take_sasl(&frame.body);
                    } else if !frame.body.is_empty() {
                        let (performative, _) = Performative::decode(&frame.body)?;
                        self.take(performative);
                    }
                }
            }
        }
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
