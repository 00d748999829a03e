//! A client of a few lines, that says whatever it is told to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::amqp::frame::{AMQP_HEADER, decode};
use isotherm_protocol::amqp::performative::{
    Begin, Disposition, Flow, Performative, ReceiverSettles, SenderSettles, Transfer,
};
use isotherm_protocol::amqp::{
    Attach, DeliveryState, LinkId, Map, Message, Open, Options, Role, Server, ServerCommand, ServerEvent,
    Source, Target, Value,
};
use isotherm_protocol::{Malformed, Session as _};

#[expect(clippy::disallowed_methods, reason = "an instant to count from; no test asks what it is")]
fn start() -> Instant {
    Instant::now()
}

/// A client of a few lines, that says whatever it is told to say.
pub(crate) struct Client {
    pub(crate) server: Server,
    pub(crate) now: Instant,
    pub(crate) out: BytesMut,
    pub(crate) events: Vec<ServerEvent>,
}

pub(crate) type Said = Result<(), Malformed>;

impl Client {
    pub(crate) fn new(options: Options) -> Self {
        let now = start();
        let server = Server::new(now, Arc::new(options));
        Self { server, now, out: BytesMut::new(), events: Vec::new() }
    }

    /// One that has opened and begun, and read the answers.
    pub(crate) fn begun(options: Options) -> Self {
        let mut client = Self::new(options);
        client.bytes(&AMQP_HEADER).unwrap();
        client.say(0, &Performative::Open(Box::new(open()))).unwrap();
        client.say(0, &begin(1_000)).unwrap();
        client.header();
        assert_eq!(client.heard().len(), 2);
        client.events();
        client
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Said {
        let mut bytes = BytesMut::from(bytes);
        let said = self.server.handle_bytes(self.now, &mut bytes);
        self.collect();
        said
    }

    pub(crate) fn say(&mut self, channel: u16, performative: &Performative) -> Said {
        let mut out = BytesMut::new();
        performative.encode(channel, &mut out);
        self.bytes(&out)
    }

    pub(crate) fn command(&mut self, command: ServerCommand) {
        self.server.handle_command(self.now, command);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
        self.server.poll_transmit(&mut self.out);
    }

    pub(crate) fn events(&mut self) -> Vec<ServerEvent> {
        std::mem::take(&mut self.events)
    }

    /// The protocol header that the server said.
    pub(crate) fn header(&mut self) -> [u8; 8] {
        self.out.split_to(8)[..].try_into().unwrap()
    }

    /// What the server said since.
    pub(crate) fn heard(&mut self) -> Vec<(Performative, Bytes)> {
        let mut heard = Vec::new();
        while let Some(frame) = decode(&mut self.out, 1 << 20).unwrap() {
            if !frame.body.is_empty() {
                heard.push(Performative::decode(&frame.body).unwrap());
            }
        }
        heard
    }

    pub(crate) fn attach(&mut self, handle: u32, role: Role) -> LinkId {
        self.say(0, &Performative::Attach(Box::new(attach(handle, role)))).unwrap();
        match self.events().pop() {
            Some(ServerEvent::Attached { link, .. }) => link,
            other => panic!("{other:?} where an attach should be"),
        }
    }

    pub(crate) fn accepted(&mut self, handle: u32, role: Role, credit: u32) -> LinkId {
        let link = self.attach(handle, role);
        self.command(ServerCommand::accept(link, credit));
        self.heard();
        link
    }

    /// A receiver that gave credit.
    pub(crate) fn receiver(&mut self, handle: u32, credit: u32) -> LinkId {
        let link = self.accepted(handle, Role::Receiver, 0);
        self.say(0, &Performative::Flow(flow(Some(handle), credit))).unwrap();
        self.events();
        link
    }

    pub(crate) fn send(&mut self, link: LinkId, token: u64, body: &[u8]) {
        let message = Box::new(Message::data(Bytes::copy_from_slice(body)));
        let tag = Bytes::from_static(&[7; 16]);
        self.command(ServerCommand::Send { link, token, tag, settled: false, message });
    }

    pub(crate) fn transfer(&mut self, transfer: Transfer, payload: &[u8]) -> Said {
        let mut out = BytesMut::new();
        Performative::Transfer(transfer).encode(0, &mut out);
        out.extend_from_slice(payload);
        let size = (out.len() as u32).to_be_bytes();
        out[..4].copy_from_slice(&size);
        self.bytes(&out)
    }

    pub(crate) fn tick(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
        self.collect();
    }
}

pub(crate) fn open() -> Open {
    Open {
        container_id: "client".into(),
        hostname: Some("hub".into()),
        max_frame_size: 65_536,
        channel_max: 65_535,
        ..Open::default()
    }
}

pub(crate) fn begin(incoming_window: u32) -> Performative {
    Performative::Begin(Box::new(Begin {
        incoming_window,
        outgoing_window: 1_000,
        handle_max: 255,
        ..Begin::default()
    }))
}

pub(crate) fn attach(handle: u32, role: Role) -> Attach {
    Attach {
        name: format!("link {handle}").into(),
        handle,
        role,
        snd_settle_mode: SenderSettles::Mixed,
        rcv_settle_mode: ReceiverSettles::First,
        source: Some(Source::at("source")),
        target: Some(Target::at("target")),
        unsettled: Map::new(),
        incomplete_unsettled: false,
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: None,
        offered_capabilities: Value::Null,
        desired_capabilities: Value::Null,
        properties: Map::new().with_symbol("com.microsoft:client-version", "test"),
    }
}

pub(crate) fn flow(handle: Option<u32>, credit: u32) -> Flow {
    Flow {
        next_incoming_id: Some(0),
        incoming_window: 1_000,
        outgoing_window: 1_000,
        handle,
        delivery_count: handle.map(|_| 0),
        link_credit: handle.map(|_| credit),
        ..Flow::default()
    }
}

pub(crate) fn first(id: u32) -> Transfer {
    Transfer {
        delivery_id: Some(id),
        delivery_tag: Some(Bytes::copy_from_slice(&id.to_be_bytes())),
        message_format: Some(0),
        ..Transfer::default()
    }
}

pub(crate) fn encoded(body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    Message::data(Bytes::copy_from_slice(body)).encode(&mut out);
    out
}

pub(crate) fn fault(said: Said) -> &'static str {
    said.map_or_else(|malformed| malformed.name(), |()| "none")
}

pub(crate) fn disposition(first: u32, last: Option<u32>, settled: bool) -> Performative {
    let state = Some(DeliveryState::Accepted);
    Performative::Disposition(Disposition {
        role: Role::Receiver,
        first,
        last,
        settled,
        state,
        batchable: false,
    })
}

pub(crate) fn tokens(events: &[ServerEvent]) -> Vec<u64> {
    let token = |event: &ServerEvent| match event {
        ServerEvent::Disposition { token, .. } => Some(*token),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}
