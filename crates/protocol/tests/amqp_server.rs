//! The hub's end of AMQP, frame by frame: what it says, what it tells, and what it does with a hostile peer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use isotherm_protocol::amqp::frame::{AMQP_HEADER, SASL_HEADER, decode};
use isotherm_protocol::amqp::performative::{
    Begin, Detach, Disposition, Flow, Performative, ReceiverSettles, SenderSettles, Transfer,
};
use isotherm_protocol::amqp::{
    Attach, DeliveryState, Error, Fault, LinkId, Map, Message, Open, Options, Role, SaslCode, Server,
    ServerCommand, ServerEvent, Source, Target, Text, Value,
};
use isotherm_protocol::{Malformed, Session as _};

#[expect(clippy::disallowed_methods, reason = "an instant to count from; no test asks what it is")]
fn start() -> Instant {
    Instant::now()
}

/// A client of a few lines, that says whatever it is told to say.
struct Client {
    server: Server,
    now: Instant,
    out: BytesMut,
    events: Vec<ServerEvent>,
}

type Said = Result<(), Malformed>;

impl Client {
    fn new(options: Options) -> Self {
        let now = start();
        let server = Server::new(now, Arc::new(options));
        Self { server, now, out: BytesMut::new(), events: Vec::new() }
    }

    /// One that has opened and begun, and read the answers.
    fn begun(options: Options) -> Self {
        let mut client = Self::new(options);
        client.bytes(&AMQP_HEADER).unwrap();
        client.say(0, &Performative::Open(Box::new(open()))).unwrap();
        client.say(0, &begin(1_000)).unwrap();
        client.header();
        assert_eq!(client.heard().len(), 2);
        client.events();
        client
    }

    fn bytes(&mut self, bytes: &[u8]) -> Said {
        let mut bytes = BytesMut::from(bytes);
        let said = self.server.handle_bytes(self.now, &mut bytes);
        self.collect();
        said
    }

    fn say(&mut self, channel: u16, performative: &Performative) -> Said {
        let mut out = BytesMut::new();
        performative.encode(channel, &mut out);
        self.bytes(&out)
    }

    fn command(&mut self, command: ServerCommand) {
        self.server.handle_command(self.now, command);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
        self.server.poll_transmit(&mut self.out);
    }

    fn events(&mut self) -> Vec<ServerEvent> {
        std::mem::take(&mut self.events)
    }

    /// The protocol header that the server said.
    fn header(&mut self) -> [u8; 8] {
        self.out.split_to(8)[..].try_into().unwrap()
    }

    /// What the server said since.
    fn heard(&mut self) -> Vec<(Performative, Bytes)> {
        let mut heard = Vec::new();
        while let Some(frame) = decode(&mut self.out, 1 << 20).unwrap() {
            if !frame.body.is_empty() {
                heard.push(Performative::decode(&frame.body).unwrap());
            }
        }
        heard
    }

    fn attach(&mut self, handle: u32, role: Role) -> LinkId {
        self.say(0, &Performative::Attach(Box::new(attach(handle, role)))).unwrap();
        match self.events().pop() {
            Some(ServerEvent::Attached { link, .. }) => link,
            other => panic!("{other:?} where an attach should be"),
        }
    }

    fn accepted(&mut self, handle: u32, role: Role, credit: u32) -> LinkId {
        let link = self.attach(handle, role);
        self.command(ServerCommand::accept(link, credit));
        self.heard();
        link
    }

    /// A receiver that gave credit.
    fn receiver(&mut self, handle: u32, credit: u32) -> LinkId {
        let link = self.accepted(handle, Role::Receiver, 0);
        self.say(0, &Performative::Flow(flow(Some(handle), credit))).unwrap();
        self.events();
        link
    }

    fn send(&mut self, link: LinkId, token: u64, body: &[u8]) {
        let message = Box::new(Message::data(Bytes::copy_from_slice(body)));
        let tag = Bytes::from_static(&[7; 16]);
        self.command(ServerCommand::Send { link, token, tag, settled: false, message });
    }

    fn transfer(&mut self, transfer: Transfer, payload: &[u8]) -> Said {
        let mut out = BytesMut::new();
        Performative::Transfer(transfer).encode(0, &mut out);
        out.extend_from_slice(payload);
        let size = (out.len() as u32).to_be_bytes();
        out[..4].copy_from_slice(&size);
        self.bytes(&out)
    }

    fn tick(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
        self.collect();
    }
}

fn open() -> Open {
    Open {
        container_id: "client".into(),
        hostname: Some("hub".into()),
        max_frame_size: 65_536,
        channel_max: 65_535,
        ..Open::default()
    }
}

fn begin(incoming_window: u32) -> Performative {
    Performative::Begin(Box::new(Begin {
        incoming_window,
        outgoing_window: 1_000,
        handle_max: 255,
        ..Begin::default()
    }))
}

fn attach(handle: u32, role: Role) -> Attach {
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

fn flow(handle: Option<u32>, credit: u32) -> Flow {
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

fn first(id: u32) -> Transfer {
    Transfer {
        delivery_id: Some(id),
        delivery_tag: Some(Bytes::copy_from_slice(&id.to_be_bytes())),
        message_format: Some(0),
        ..Transfer::default()
    }
}

fn encoded(body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    Message::data(Bytes::copy_from_slice(body)).encode(&mut out);
    out
}

fn fault(said: Said) -> &'static str {
    said.map_or_else(|malformed| malformed.name(), |()| "none")
}

fn disposition(first: u32, last: Option<u32>, settled: bool) -> Performative {
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

fn tokens(events: &[ServerEvent]) -> Vec<u64> {
    let token = |event: &ServerEvent| match event {
        ServerEvent::Disposition { token, .. } => Some(*token),
        _ => None,
    };
    events.iter().filter_map(token).collect()
}

#[test]
fn what_was_seen_on_the_wire_is_answered_as_it_was_seen() {
    let mut client = Client::new(Options::default());
    client.bytes(&SASL_HEADER).unwrap();
    assert_eq!(client.header(), SASL_HEADER);
    let mechanisms = decode(&mut client.out, 512).unwrap().unwrap();
    assert_eq!(mechanisms.kind, 1);
    assert!(mechanisms.body.starts_with(b"\x00\x53\x40\xc0"));

    let init =
        b"\x00\x00\x00\x26\x02\x01\x00\x00\x00\x53\x41\xc0\x19\x03\xa3\x09ANONYMOUS\xa0\x00\xa1\x09127.0.0.1";
    assert_eq!(init.len(), 0x26);
    client.bytes(init).unwrap();
    match client.events().pop() {
        Some(ServerEvent::Sasl(init)) => assert_eq!(init.mechanism, "ANONYMOUS"),
        other => panic!("{other:?}"),
    }
    assert!(!client.server.may_read());
    client.command(ServerCommand::SaslOutcome(SaslCode::Ok));
    assert_eq!(client.out.split(), &b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x00"[..]);
    assert!(client.server.may_read());
    client.bytes(&AMQP_HEADER).unwrap();
    assert_eq!(client.header(), AMQP_HEADER);
}

#[test]
fn everything_at_once_is_answered_in_order() {
    let mut all = BytesMut::from(&SASL_HEADER[..]);
    all.extend_from_slice(b"\x00\x00\x00\x19\x02\x01\x00\x00\x00\x53\x41\xc0\x0c\x03\xa3\x07MSSBCBS\x40\x40");
    all.extend_from_slice(&AMQP_HEADER);
    Performative::Open(Box::new(open())).encode(0, &mut all);
    begin(10).encode(0, &mut all);
    Performative::Attach(Box::new(attach(0, Role::Receiver))).encode(0, &mut all);
    Performative::Flow(flow(Some(0), 5)).encode(0, &mut all);
    // In every possible pair of pieces.
    for cut in 0..all.len() {
        let mut client = Client::new(Options::default());
        client.bytes(&[]).unwrap();
        let mut held = BytesMut::from(&all[..cut]);
        for rest in [&b""[..], &all[cut..]] {
            held.extend_from_slice(rest); // as the driver does with what was not taken
            client.server.handle_bytes(client.now, &mut held).unwrap();
            client.collect();
            if matches!(client.events.last(), Some(ServerEvent::Sasl(_))) {
                client.command(ServerCommand::SaslOutcome(SaslCode::Ok));
            }
        }
        let link = match &client.events()[..] {
            [ServerEvent::Sasl(_), ServerEvent::Opened(open), ServerEvent::Attached { link, attach }] => {
                assert_eq!((&*open.container_id, &*attach.name), ("client", "link 0"));
                *link
            }
            other => panic!("cut at {cut}: {other:?}"),
        };
        client.command(ServerCommand::accept(link, 0));
        assert_eq!(client.events(), [ServerEvent::Credit { link, credit: 5, drain: false }]);
        assert_eq!(client.server.room(link), 5);
    }
}

#[test]
fn a_wrong_header_is_answered_with_the_right_one() {
    for wrong in
        [&b"HTTP/1.1"[..], b"AMQP\x02\x01\x00\x00", b"AMQP\x00\x00\x09\x01", b"\x10\x20", b"AMQP\x00\x02"]
    {
        let mut client = Client::new(Options::default());
        assert_eq!(fault(client.bytes(wrong)), "protocol_header", "{wrong:?}");
        assert_eq!(client.out, &AMQP_HEADER[..]);
        assert!(client.server.is_over());
    }
}

#[test]
fn sasl_turns_away_what_was_not_offered_and_what_the_hub_refuses() {
    let init = b"\x00\x00\x00\x17\x02\x01\x00\x00\x00\x53\x41\xc0\x0a\x03\xa3\x05LOGIN\x40\x40";
    let mut client = Client::new(Options::default());
    client.bytes(&SASL_HEADER).unwrap();
    client.out.clear();
    assert_eq!(fault(client.bytes(init)), "mechanism");
    assert_eq!(client.out.last(), Some(&1)); // auth
    let mut client =
        Client::new(Options { mechanisms: vec![Text::from_static("LOGIN")], ..Options::default() });
    client.bytes(&SASL_HEADER).unwrap();
    client.bytes(init).unwrap();
    client.command(ServerCommand::SaslOutcome(SaslCode::SysTemp));
    assert_eq!(client.out.last(), Some(&4));
    assert!(client.server.is_over());
    // Nobody may send half the internet while the hub thinks.
    let mut client =
        Client::new(Options { mechanisms: vec![Text::from_static("LOGIN")], ..Options::default() });
    client.bytes(&SASL_HEADER).unwrap();
    client.bytes(init).unwrap();
    assert_eq!(fault(client.bytes(&[0; 300_000])), "impatient");
}

/// The number of fields in the list of each frame, by descriptor.
fn counts(mut out: BytesMut) -> Vec<(u8, usize)> {
    let mut counts = Vec::new();
    while let Some(frame) = decode(&mut out, 1 << 20).unwrap() {
        let body = &frame.body;
        assert_eq!(body[..2], [0x00, 0x53], "a small descriptor");
        let count = match body[3] {
            0xc0 => usize::from(body[5]),
            0xd0 => u32::from_be_bytes(body[8..12].try_into().unwrap()) as usize,
            other => panic!("{other:#04x} is no list that everyone reads"),
        };
        counts.push((body[2], count));
    }
    counts
}

#[test]
fn every_field_of_every_performative_is_written() {
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.header();
    client.say(0, &Performative::Open(Box::new(open()))).unwrap();
    client.say(0, &begin(100)).unwrap();
    client.events();
    let receiver = client.attach(0, Role::Receiver);
    client.command(ServerCommand::accept(receiver, 0));
    let sender = client.attach(1, Role::Sender);
    client.command(ServerCommand::accept(sender, 10));
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    client.send(receiver, 1, b"x");
    client.transfer(Transfer { handle: 1, ..first(0) }, &encoded(b"y")).unwrap();
    client.command(ServerCommand::accepted(sender, 0));
    client.command(ServerCommand::Detach { link: sender, error: None });
    client.say(0, &Performative::End(None)).unwrap();
    client.say(0, &Performative::Close(None)).unwrap();
    assert_eq!(
        counts(client.out),
        [
            (0x10, 10),
            (0x11, 8),
            (0x12, 14),
            (0x12, 14),
            (0x13, 11),
            (0x14, 11),
            (0x15, 6),
            (0x16, 3),
            (0x17, 1),
            (0x18, 1)
        ]
    );
}

#[test]
fn an_accepted_link_has_both_termini_and_the_address_of_a_dynamic_one() {
    let mut client = Client::begun(Options::default());
    let mut asked = attach(0, Role::Receiver);
    asked.source = Some(Source { dynamic: true, ..Source::default() });
    asked.target = None;
    client.say(0, &Performative::Attach(Box::new(asked))).unwrap();
    let Some(ServerEvent::Attached { link, .. }) = client.events().pop() else { panic!() };
    let address = Some("made up".into());
    client.command(ServerCommand::Accept { link, credit: 0, address, properties: Map::new() });
    match client.heard().pop() {
        Some((Performative::Attach(answer), _)) => {
            assert_eq!(answer.source.unwrap().address.as_deref(), Some("made up"));
            assert!(answer.target.is_some());
            assert_eq!((answer.role, answer.initial_delivery_count), (Role::Sender, Some(0)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_link_has_no_terminus_of_ours_and_then_an_error_of_three_items() {
    let mut client = Client::begun(Options::default());
    for (handle, role) in [(0, Role::Sender), (1, Role::Receiver)] {
        let link = client.attach(handle, role);
        client.command(ServerCommand::Refuse { link, error: Error::new("amqp:not-found", "no") });
        let raw = client.out.clone();
        assert!(raw.windows(6).any(|bytes| bytes[..4] == [0x00, 0x53, 0x1d, 0xc0] && bytes[5] == 3));
        match &client.heard()[..] {
            [(Performative::Attach(answer), _), (Performative::Detach(detach), _)] => {
                assert_eq!(answer.target.is_none(), role == Role::Sender);
                assert_eq!(answer.source.is_none(), role == Role::Receiver);
                assert_eq!(detach.error.as_ref().unwrap().condition, "amqp:not-found");
            }
            other => panic!("{other:?}"),
        }
        // The client agrees, nothing more is told, and its handle is free again.
        client.say(0, &Performative::Detach(Detach { handle, closed: true, error: None })).unwrap();
        assert_eq!(client.events(), []);
        client.attach(handle, role);
    }
}

#[test]
fn transactions_are_refused_without_asking() {
    let mut client = Client::begun(Options::default());
    let mut out = BytesMut::new();
    Performative::Attach(Box::new(Attach { properties: Map::new(), ..attach(0, Role::Sender) }))
        .encode(0, &mut out);
    let target = out.windows(3).position(|bytes| bytes == [0x00, 0x53, 0x29]).unwrap();
    out[target + 2] = 0x30;
    client.bytes(&out).unwrap();
    assert_eq!(client.events(), []);
    assert!(matches!(
        &client.heard()[..],
        [(Performative::Attach(_), _), (Performative::Detach(detach), _)]
            if detach.error.as_ref().unwrap().condition == "amqp:not-implemented"
    ));
}

#[test]
fn credit_comes_back_when_messages_are_settled_and_not_before() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 4);
    for id in 0..4 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    assert_eq!(client.heard(), []);
    client.command(ServerCommand::accepted(link, 0));
    assert!(!client.heard().iter().any(|(said, _)| matches!(said, Performative::Flow(_))));
    client.command(ServerCommand::accepted(link, 1));
    let credits = |client: &mut Client| -> Vec<u32> {
        let credit = |(said, _): &(Performative, Bytes)| match said {
            Performative::Flow(flow) => flow.link_credit,
            _ => None,
        };
        client.heard().iter().filter_map(credit).collect()
    };
    assert_eq!(credits(&mut client), [2]);
    client.transfer(first(4), &encoded(b"x")).unwrap();
    client.transfer(first(5), &encoded(b"x")).unwrap();
    assert_eq!(fault(client.transfer(first(6), &encoded(b"x"))), "credit");
    assert!(client.server.is_over());
}

#[test]
fn messages_that_were_on_their_way_when_credit_was_taken_back_are_taken() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 4);
    client.command(ServerCommand::Grant { link, credit: 0 });
    assert!(matches!(client.heard()[..], [(Performative::Flow(Flow { link_credit: Some(0), .. }), _)]));
    for id in 0..4 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    assert_eq!(client.events().len(), 4);
    assert_eq!(fault(client.transfer(first(4), &encoded(b"x"))), "credit");
}

#[test]
fn settled_messages_use_credit_and_get_it_back_at_once() {
    let mut client = Client::begun(Options::default());
    client.accepted(0, Role::Sender, 4);
    for id in 0..100 {
        client.transfer(Transfer { settled: Some(true), ..first(id) }, &encoded(b"x")).unwrap();
    }
    assert_eq!(client.server.unsettled(), 0);
    assert_eq!(client.events().len(), 100);
}

#[test]
fn neighbours_are_settled_in_one_frame() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 100);
    for id in 0..6 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    let rejected = DeliveryState::Rejected(Some(Arc::new(Error::new("amqp:not-allowed", "no"))));
    for delivery in [0, 1, 2, 5] {
        client.server.handle_command(client.now, ServerCommand::accepted(link, delivery));
    }
    client.server.handle_command(client.now, ServerCommand::Settle { link, delivery: 3, state: rejected });
    client.server.handle_command(client.now, ServerCommand::accepted(link, 3)); // twice: ignored
    client.collect();
    let ranges: Vec<_> = client
        .heard()
        .into_iter()
        .map(|(said, _)| match said {
            Performative::Disposition(said) => (said.first, said.last, said.settled, said.role),
            other => panic!("{other:?}"),
        })
        .collect();
    let receiver = Role::Receiver;
    assert_eq!(
        ranges,
        [(0, Some(2), true, receiver), (5, Some(5), true, receiver), (3, Some(3), true, receiver)]
    );
    assert_eq!(client.server.unsettled(), 1);
}

#[test]
fn a_message_in_pieces_is_put_together_and_an_aborted_one_forgotten() {
    let mut client = Client::begun(Options::default());
    client.accepted(0, Role::Sender, 10);
    let whole = encoded(&[9; 500]);
    client.transfer(Transfer { more: true, ..first(0) }, &whole[..100]).unwrap();
    client.transfer(Transfer { more: true, ..Transfer::default() }, b"").unwrap();
    client
        .transfer(Transfer { more: true, delivery_id: Some(0), ..Transfer::default() }, &whole[100..200])
        .unwrap();
    assert_eq!(client.events(), []);
    client.transfer(Transfer::default(), &whole[200..]).unwrap();
    match client.events().pop() {
        Some(ServerEvent::Message { message, delivery: 0, settled: false, tag, .. }) => {
            assert_eq!(message.body.bytes().unwrap(), vec![9; 500]);
            assert_eq!(tag, &[0; 4][..]);
        }
        other => panic!("{other:?}"),
    }
    client.transfer(Transfer { more: true, ..first(1) }, &whole[..100]).unwrap();
    client.transfer(Transfer { aborted: true, ..Transfer::default() }, b"").unwrap();
    assert_eq!(client.events(), []);
    client.transfer(first(2), &whole).unwrap();
    assert_eq!(client.events().len(), 1);
}

#[test]
fn a_message_without_end_costs_its_link_and_too_many_of_them_the_connection() {
    let options = Options { message_bytes_max: 10_000, buffered_bytes_max: 25_000, ..Options::default() };
    let mut client = Client::begun(options.clone());
    let link = client.accepted(0, Role::Sender, 10);
    for _ in 0..10 {
        client.transfer(Transfer { more: true, ..first(0) }, &[0; 1_000]).unwrap();
    }
    client.transfer(Transfer { more: true, ..first(0) }, &[0; 1]).unwrap();
    match client.events().pop() {
        Some(ServerEvent::Detached { link: gone, error: Some(error) }) => {
            assert_eq!((gone, &*error.condition), (link, "amqp:link:message-size-exceeded"));
        }
        other => panic!("{other:?}"),
    }
    // What was on its way is ignored.
    client.transfer(Transfer { more: true, ..first(0) }, &[0; 1_000]).unwrap();
    assert_eq!(client.events(), []);

    let mut client = Client::begun(options);
    for handle in 0..3 {
        client.accepted(handle, Role::Sender, 10);
    }
    let mut said = Ok(());
    for handle in 0..3 {
        for _ in 0..9 {
            let piece = Transfer { handle, more: true, ..first(handle) };
            said = said.and_then(|()| client.transfer(piece, &[0; 1_000]));
        }
    }
    assert_eq!(fault(said), "buffered");
}

#[test]
fn delivery_ids_and_tags_are_held_to_their_rules() {
    let cases: [(&str, Transfer); 4] = [
        ("delivery_id", Transfer { delivery_id: None, ..first(5) }),
        ("delivery_id", first(4)),
        ("delivery_tag", Transfer { delivery_tag: Some(vec![0; 33].into()), ..first(5) }),
        ("none", first(9)), // gaps are fine: uamqp leaves them
    ];
    for (name, transfer) in cases {
        let mut client = Client::begun(Options::default());
        client.accepted(0, Role::Sender, 10);
        client.transfer(first(4), &encoded(b"x")).unwrap();
        assert_eq!(fault(client.transfer(transfer, &encoded(b"x"))), name);
    }
}

#[test]
fn the_session_window_opens_in_time_and_is_held_to() {
    let mut client = Client::begun(Options { window: 8, ..Options::default() });
    client.accepted(0, Role::Sender, 1_000);
    let mut windows = Vec::new();
    for id in 0..40 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
        windows.extend(client.heard().into_iter().filter_map(|(said, _)| match said {
            Performative::Flow(flow) => Some((flow.next_incoming_id, flow.incoming_window)),
            _ => None,
        }));
    }
    assert_eq!(windows[..2], [(Some(4), 8), (Some(8), 8)]);
    assert_eq!(windows.len(), 10);
}

#[test]
fn reading_stops_while_too_much_is_unsettled() {
    let mut client = Client::begun(Options { unsettled_max: 3, ..Options::default() });
    let link = client.accepted(0, Role::Sender, 10);
    for id in 0..3 {
        assert!(client.server.may_read());
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    assert!(!client.server.may_read());
    client.command(ServerCommand::accepted(link, 1));
    assert!(client.server.may_read());
    client.say(0, &Performative::Detach(Detach { handle: 0, closed: true, error: None })).unwrap();
    assert_eq!(client.server.unsettled(), 0);
    client.command(ServerCommand::accepted(link, 2)); // too late, and harmless
}

#[test]
fn a_sender_may_settle_what_the_hub_has_not() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 4);
    for id in 0..4 {
        client.transfer(first(id), &encoded(b"x")).unwrap();
    }
    let gone = Disposition {
        role: Role::Sender,
        first: 0,
        last: Some(3),
        settled: true,
        state: None,
        batchable: false,
    };
    client.say(0, &Performative::Disposition(gone)).unwrap();
    assert_eq!(client.server.unsettled(), 0);
    client.command(ServerCommand::accepted(link, 2));
    assert!(matches!(client.heard()[..], [(Performative::Flow(Flow { link_credit: Some(2), .. }), _), ..]));
}

#[test]
fn nothing_is_sent_without_credit_and_never_more_than_there_is() {
    let mut client = Client::begun(Options { deliveries_max: 3, ..Options::default() });
    let link = client.accepted(0, Role::Receiver, 0);
    assert_eq!(client.server.room(link), 0);
    client.say(0, &Performative::Flow(flow(Some(0), 2))).unwrap();
    assert_eq!(client.events(), [ServerEvent::Credit { link, credit: 2, drain: false }]);
    client.send(link, 10, b"a");
    client.send(link, 11, b"b");
    assert_eq!(client.server.room(link), 0);
    // Credit counts from what the client had seen.
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    assert_eq!(client.server.room(link), 1, "three may be unsettled");
    client.say(0, &disposition(0, Some(1), true)).unwrap();
    assert_eq!(client.server.room(link), 3);
    assert_eq!(tokens(&client.events()), [10, 11]);
}

#[test]
fn a_message_waits_for_the_window_piece_by_piece() {
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.say(0, &Performative::Open(Box::new(Open { max_frame_size: 512, ..open() }))).unwrap();
    client.say(0, &begin(1)).unwrap();
    client.header();
    client.heard();
    let link = client.accepted(0, Role::Receiver, 0);
    let mut windowed = Flow { incoming_window: 1, ..flow(Some(0), 10) };
    client.say(0, &Performative::Flow(windowed.clone())).unwrap();
    client.events();
    client.send(link, 1, &[3; 1_000]);
    assert_eq!(client.server.room(link), 0);
    client.send(link, 2, b"short"); // there was no room, but there was credit: it waits its turn
    let mut body = BytesMut::new();
    for seen in 0..4_u32 {
        let heard = client.heard();
        assert_eq!(heard.len(), 1, "one transfer for a window of one");
        let (Performative::Transfer(transfer), piece) = &heard[0] else { panic!() };
        if seen < 3 {
            body.extend_from_slice(piece);
            assert_eq!((transfer.delivery_id, transfer.more), (Some(0), seen < 2));
        } else {
            assert_eq!((transfer.delivery_id, transfer.more), (Some(1), false));
        }
        windowed.next_incoming_id = Some(seen + 1);
        windowed.handle = None;
        client.say(0, &Performative::Flow(windowed.clone())).unwrap();
    }
    assert_eq!(Message::decode(&body.freeze()).unwrap(), Message::data(vec![3; 1_000]));
    assert_eq!(client.events(), [ServerEvent::WindowOpened]);
    assert_eq!(client.server.room(link), 1);
}

#[test]
fn no_frame_is_larger_than_the_client_wants() {
    for body in (0..1_500).step_by(7) {
        let mut client = Client::new(Options::default());
        client.bytes(&AMQP_HEADER).unwrap();
        client.say(0, &Performative::Open(Box::new(Open { max_frame_size: 512, ..open() }))).unwrap();
        client.say(0, &begin(1_000)).unwrap();
        client.header();
        client.heard();
        let link = client.receiver(0, 10);
        client.send(link, 1, &vec![1; body]);
        while let Some(frame) = decode(&mut client.out, 512).unwrap() {
            assert!(frame.body.len() <= 504);
        }
    }
}

#[test]
fn one_disposition_may_settle_thousands_and_a_hostile_one_no_more_than_there_are() {
    let mut client = Client::begun(Options::default());
    let link = client.receiver(0, 500);
    for token in 0..300 {
        client.send(link, token, b"x");
    }
    client.say(0, &disposition(100, Some(199), true)).unwrap();
    assert_eq!(tokens(&client.events()), (100..200).collect::<Vec<_>>());
    for _ in 0..50 {
        client.say(0, &disposition(0, Some(i32::MAX as u32), false)).unwrap();
    }
    assert_eq!(client.events().len(), 200, "an outcome is told once");
    client.say(0, &disposition(5, Some(2), true)).unwrap();
    client.say(0, &disposition(1_000, None, true)).unwrap();
    assert_eq!(client.events(), []);
    client.say(0, &disposition(0, Some(1_000), true)).unwrap();
    assert_eq!(client.events().len(), 200);
}

#[test]
fn who_settles_second_is_settled_when_the_hub_says_so() {
    let mut client = Client::begun(Options::default());
    let second = Attach { rcv_settle_mode: ReceiverSettles::Second, ..attach(0, Role::Receiver) };
    client.say(0, &Performative::Attach(Box::new(second))).unwrap();
    let Some(ServerEvent::Attached { link, .. }) = client.events().pop() else { panic!() };
    client.command(ServerCommand::accept(link, 0));
    let answered = client.heard();
    let Some((Performative::Attach(answer), _)) = answered.first() else { panic!() };
    assert_eq!(answer.rcv_settle_mode, ReceiverSettles::Second);
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    client.send(link, 7, b"x");
    client.heard();
    client.events();
    client.say(0, &disposition(0, None, false)).unwrap();
    let state = Some(DeliveryState::Accepted);
    assert_eq!(
        client.events(),
        [ServerEvent::Disposition { link, delivery: 0, token: 7, state, settled: false }]
    );
    assert_eq!(client.heard(), []);
    client.command(ServerCommand::accepted(link, 0));
    let heard = client.heard();
    assert!(matches!(
        &heard[..],
        [(Performative::Disposition(said), _)] if said.role == Role::Sender && said.settled && said.first == 0
    ));
    client.say(0, &disposition(0, None, true)).unwrap();
    assert_eq!(client.events(), []);
}

#[test]
fn a_link_that_settles_everything_sends_everything_settled() {
    let mut client = Client::begun(Options::default());
    let settled = Attach { snd_settle_mode: SenderSettles::Settled, ..attach(0, Role::Receiver) };
    client.say(0, &Performative::Attach(Box::new(settled))).unwrap();
    let Some(ServerEvent::Attached { link, .. }) = client.events().pop() else { panic!() };
    client.command(ServerCommand::accept(link, 0));
    client.say(0, &Performative::Flow(flow(Some(0), 5))).unwrap();
    client.heard();
    client.send(link, 7, b"x");
    assert!(matches!(
        client.heard()[..],
        [(Performative::Transfer(Transfer { settled: Some(true), .. }), _)]
    ));
}

#[test]
fn drained_credit_is_gone_and_said_to_be() {
    let mut client = Client::begun(Options::default());
    let link = client.receiver(0, 5);
    client.send(link, 1, b"x");
    client.heard();
    client.say(0, &Performative::Flow(Flow { drain: true, ..flow(Some(0), 5) })).unwrap();
    assert_eq!(client.events(), [ServerEvent::Credit { link, credit: 4, drain: true }]);
    client.command(ServerCommand::Drained { link });
    let heard = client.heard();
    assert!(matches!(
        &heard[..],
        [(Performative::Flow(Flow { delivery_count: Some(5), link_credit: Some(0), drain: true, .. }), _)]
    ));
    assert_eq!(client.server.room(link), 0);
}

#[test]
fn an_echo_is_answered_for_the_session_and_for_a_link() {
    let mut client = Client::begun(Options::default());
    client.receiver(3, 5);
    client.say(0, &Performative::Flow(Flow { echo: true, ..flow(None, 0) })).unwrap();
    client.say(0, &Performative::Flow(Flow { echo: true, ..flow(Some(3), 6) })).unwrap();
    let handles: Vec<_> = client
        .heard()
        .into_iter()
        .map(|(said, _)| match said {
            Performative::Flow(flow) => (flow.handle, flow.link_credit),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(handles, [(None, None), (Some(3), Some(6))]);
}

#[test]
fn a_detached_link_is_deaf_until_the_client_knows() {
    let mut client = Client::begun(Options::default());
    let link = client.accepted(0, Role::Sender, 10);
    client.command(ServerCommand::Detach { link, error: Some(Error::new("amqp:link:detach-forced", "bye")) });
    client.heard();
    client.transfer(first(0), &encoded(b"x")).unwrap();
    client.say(0, &Performative::Flow(flow(Some(0), 1))).unwrap();
    client.command(ServerCommand::accepted(link, 0));
    client.command(ServerCommand::Grant { link, credit: 5 });
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    let detach = Performative::Detach(Detach { handle: 0, closed: true, error: None });
    client.say(0, &detach).unwrap();
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    // The same handle is another link now; commands for the old one do not reach it.
    let other = client.accepted(0, Role::Sender, 10);
    assert_ne!(other, link);
    client.command(ServerCommand::Detach { link, error: None });
    assert_eq!(client.heard(), []);
}

#[test]
fn what_comes_after_the_last_word_on_a_link_is_not_held_against_it() {
    // fe2o3-amqp, refused, detaches and says more about the link afterwards.
    let mut client = Client::begun(Options::default());
    client.accepted(1, Role::Sender, 10);
    let detach = |handle| Performative::Detach(Detach { handle, closed: true, error: None });
    client.say(0, &detach(1)).unwrap();
    client.events();
    client.heard();
    client.say(0, &Performative::Flow(flow(Some(1), 1))).unwrap();
    client.say(0, &detach(1)).unwrap();
    client.transfer(Transfer { handle: 1, ..first(0) }, b"x").unwrap();
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    for unheard_of in [detach(2), Performative::Flow(flow(Some(2), 1))] {
        let mut client = Client::begun(Options::default());
        assert_eq!(fault(client.say(0, &unheard_of)), "handle_unknown");
    }
}

#[test]
fn a_client_that_leaves_before_it_is_answered_is_answered_nevertheless() {
    let mut client = Client::begun(Options::default());
    let link = client.attach(0, Role::Receiver);
    client.say(0, &Performative::Detach(Detach { handle: 0, closed: true, error: None })).unwrap();
    assert!(matches!(client.heard()[..], [(Performative::Attach(_), _), (Performative::Detach(_), _)]));
    assert_eq!(client.events(), [ServerEvent::Detached { link, error: None }]);
    client.command(ServerCommand::accept(link, 5));
    assert_eq!(client.heard(), []);
}

#[test]
fn the_end_of_a_session_is_the_end_of_its_links() {
    let mut client = Client::begun(Options { links_max: 2, ..Options::default() });
    let one = client.accepted(0, Role::Sender, 10);
    let two = client.receiver(5, 10);
    client.transfer(first(0), &encoded(b"x")).unwrap();
    client.transfer(Transfer { more: true, ..first(1) }, b"half").unwrap();
    client.send(two, 1, b"x");
    client.events();
    client.heard();
    client.say(0, &Performative::End(None)).unwrap();
    let gone = |link| ServerEvent::Detached { link, error: None };
    assert_eq!(client.events(), [gone(one), gone(two)]);
    assert!(matches!(client.heard()[..], [(Performative::End(None), _)]));
    assert_eq!((client.server.unsettled(), client.server.room(two)), (0, 0));
    // azure-eventhub takes its links off afterwards.
    client.say(0, &Performative::Detach(Detach { handle: 0, closed: true, error: None })).unwrap();
    assert_eq!((client.events(), client.heard()), (vec![], vec![]));
    client.say(0, &begin(10)).unwrap();
    client.attach(0, Role::Sender);
    client.attach(1, Role::Sender);
    assert_eq!(fault(client.say(7, &Performative::End(None))), "channel_unknown");
}

#[test]
fn goodbyes_are_returned() {
    let mut client = Client::begun(Options::default());
    let error = Error::new("amqp:internal-error", "oh");
    client.say(0, &Performative::Close(Some(error.clone()))).unwrap();
    assert_eq!(client.events(), [ServerEvent::Closed(Some(error))]);
    assert!(matches!(client.heard()[..], [(Performative::Close(None), _)]));
    assert!(client.server.is_over());
    client.say(0, &begin(1)).unwrap(); // nothing counts any more
    client.command(ServerCommand::Close(None));
    assert_eq!(client.heard(), []);
}

#[test]
fn floods_of_attaches_and_sessions_end_at_their_bounds() {
    let mut client = Client::begun(Options { links_max: 5, ..Options::default() });
    for handle in 0..5 {
        client.attach(handle, Role::Sender);
    }
    // Refused ones count until the client takes them off.
    let attach_of = |handle| Performative::Attach(Box::new(attach(handle, Role::Sender)));
    assert_eq!(fault(client.say(0, &attach_of(5))), "too_many_links");

    let mut client = Client::begun(Options::default());
    assert_eq!(fault(client.say(0, &attach_of(256))), "handle_too_high");
    let mut client = Client::begun(Options::default());
    assert_eq!(fault(client.say(0, &attach_of(u32::MAX))), "handle_too_high");
    let mut client = Client::begun(Options::default());
    client.attach(0, Role::Sender);
    assert_eq!(fault(client.say(0, &attach_of(0))), "handle_in_use");
    let mut client = Client::begun(Options::default());
    let large = Attach { name: "n".repeat(20_000).into(), ..attach(0, Role::Sender) };
    assert_eq!(fault(client.say(0, &Performative::Attach(Box::new(large)))), "attach_too_large");

    let mut client = Client::begun(Options::default());
    for channel in 1..64 {
        client.say(channel, &begin(1)).unwrap();
    }
    assert_eq!(fault(client.say(64, &begin(1))), "channel_too_high");
    let mut client = Client::begun(Options::default());
    assert_eq!(fault(client.say(0, &begin(1))), "channel_in_use");
}

#[test]
fn floods_of_credit_are_only_numbers() {
    let mut client = Client::begun(Options::default());
    let link = client.receiver(0, u32::MAX >> 1);
    assert_eq!(client.server.room(link), 1_000, "the session's window");
    let wide = Flow { incoming_window: u32::MAX >> 1, ..flow(Some(0), u32::MAX >> 1) };
    client.say(0, &Performative::Flow(wide)).unwrap();
    assert_eq!(client.server.room(link), 4_096, "what may be unsettled");
    for nonsense in [u32::MAX, 1 << 31, 0] {
        let flow =
            Flow { delivery_count: Some(nonsense), incoming_window: nonsense, ..flow(Some(0), nonsense) };
        client.say(0, &Performative::Flow(flow)).unwrap();
        let _ = client.server.room(link);
    }
}

#[test]
fn a_frame_out_of_its_place_ends_the_connection_with_the_reason() {
    let nested = [&b"\x00\x53\x10\xc0\xff\x01"[..], &[0x00; 200]].concat();
    let frame = |body: &[u8]| [&((body.len() + 8) as u32).to_be_bytes()[..], &[2, 0, 0, 0], body].concat();
    let cases: [(&str, Vec<u8>); 11] = [
        ("frame_short", vec![0, 0, 0, 3]),
        ("frame_offset", vec![0, 0, 0, 8, 9, 0, 0, 0]),
        ("frame_type", vec![0, 0, 0, 8, 2, 1, 0, 0]),
        ("frame_type", vec![0, 0, 0, 8, 2, 9, 0, 0]),
        ("frame_too_large", vec![0, 1, 0, 1]),
        ("descriptor", frame(b"\x00\x53\x99\xc0\x01\x00")),
        ("wrong_type", frame(b"\x40")),
        ("second_open", frame(b"\x00\x53\x10\xc0\x04\x01\xa1\x01a")),
        ("missing", frame(b"\x00\x53\x11\x45")),
        ("truncated", frame(&nested)),
        ("handle_unknown", frame(b"\x00\x53\x14\xc0\x03\x01\x52\x09")),
    ];
    for (name, bytes) in cases {
        let mut client = Client::begun(Options::default());
        assert_eq!(fault(client.bytes(&bytes)), name, "{bytes:02x?}");
        assert!(client.server.is_over());
        match client.heard().pop() {
            Some((Performative::Close(Some(error)), _)) => assert!(error.condition.starts_with("amqp:")),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Before open an accusation needs an open of its own.
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.header();
    assert_eq!(fault(client.say(0, &begin(1))), "not_open");
    assert!(matches!(client.heard()[..], [(Performative::Open(_), _), (Performative::Close(Some(_)), _)]));
}

#[test]
fn a_message_that_cannot_be_read_ends_the_connection() {
    for body in [&b"\x00\x53\x75\xa0\xff"[..], b"rubbish", &[0x00; 5_000], &b"\x00\x53\x77\x00".repeat(1_000)]
    {
        let mut client = Client::begun(Options::default());
        client.accepted(0, Role::Sender, 10);
        assert_ne!(fault(client.transfer(first(0), body)), "none");
        assert!(client.server.is_over());
    }
    let mut client = Client::begun(Options::default());
    client.receiver(0, 10);
    assert_eq!(fault(client.transfer(first(0), &encoded(b"x"))), "wrong_direction");
    let mut client = Client::begun(Options::default());
    client.attach(0, Role::Sender);
    assert_eq!(fault(client.transfer(first(0), &encoded(b"x"))), "credit", "not answered yet");
}

#[test]
fn unreasonable_wishes_in_open_are_refused() {
    for (name, wish) in [
        ("max_frame_size", Open { max_frame_size: 511, ..open() }),
        ("idle_time_out", Open { idle_time_out: Some(1), ..open() }),
        ("none", Open { idle_time_out: Some(0), ..open() }),
    ] {
        let mut client = Client::new(Options::default());
        client.bytes(&AMQP_HEADER).unwrap();
        assert_eq!(fault(client.say(0, &Performative::Open(Box::new(wish)))), name);
    }
}

#[test]
fn an_idle_client_hears_something_after_half_of_what_it_bears() {
    let mut client = Client::new(Options::default());
    client.bytes(&AMQP_HEADER).unwrap();
    client.say(0, &Performative::Open(Box::new(Open { idle_time_out: Some(20_000), ..open() }))).unwrap();
    client.out.clear();
    client.tick(9);
    assert!(client.out.is_empty());
    client.tick(1);
    assert_eq!(client.out.split(), &b"\x00\x00\x00\x08\x02\x00\x00\x00"[..]);
    assert_eq!(client.server.poll_timeout(), Some(client.now + Duration::from_secs(10)));
}

#[test]
fn a_silent_client_is_let_go_and_one_that_makes_a_sound_is_not() {
    let mut client = Client::begun(Options::default());
    client.tick(300);
    client.bytes(b"\x00\x00\x00\x08\x02\x00\x00\x00").unwrap();
    client.tick(300);
    assert!(!client.server.is_over());
    client.tick(61);
    assert_eq!(client.events(), [ServerEvent::Lapsed(Fault::Silence)]);
    assert!(matches!(client.heard()[..], [(Performative::Close(Some(_)), _)]));
    assert_eq!(client.server.poll_timeout(), None);
}

#[test]
fn a_client_that_was_not_listened_to_is_not_blamed() {
    let mut client = Client::begun(Options { unsettled_max: 1, ..Options::default() });
    client.accepted(0, Role::Sender, 10);
    client.transfer(first(0), &encoded(b"x")).unwrap();
    client.tick(1_000);
    assert!(!client.server.is_over());
}

#[test]
fn who_never_opens_is_let_go() {
    for begun in [&b""[..], &AMQP_HEADER[..3], &AMQP_HEADER, &SASL_HEADER] {
        let mut client = Client::new(Options::default());
        client.bytes(begun).unwrap();
        client.tick(9);
        assert!(!client.server.is_over());
        client.tick(1);
        assert_eq!(client.events(), [ServerEvent::Lapsed(Fault::OpenLate)]);
    }
}

#[test]
fn drops_of_bytes_are_put_together() {
    let mut all = BytesMut::from(&AMQP_HEADER[..]);
    Performative::Open(Box::new(open())).encode(0, &mut all);
    begin(10).encode(0, &mut all);
    let mut client = Client::new(Options::default());
    let mut held = BytesMut::new();
    for byte in all {
        held.extend_from_slice(&[byte]);
        client.server.handle_bytes(client.now, &mut held).unwrap();
    }
    client.collect();
    client.header();
    assert_eq!(client.heard().len(), 2);
}
