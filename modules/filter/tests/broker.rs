//! The whole filter over a plain MQTT broker, whose part is played here, packet by packet.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use isotherm_filter::Status;
use isotherm_host::{BoxFuture, BoxListener, BoxStream, Chance, Clock, Env, Host, MemoryDisk, Network, Stop};
use isotherm_proto::{Celsius, Reading};
use isotherm_protocol::mqtt::codec::{self, Publish};
use isotherm_protocol::mqtt::{ConnectCode, Packet, Qos, Text};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing here waits this long unless it waits for ever. The time is virtual.
const PATIENCE: Duration = Duration::from_secs(300);

/// Streams that are dialled come out at the other end of a channel.
#[derive(Debug)]
struct Cable(mpsc::Sender<DuplexStream>);

impl Network for Cable {
    fn dial<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(65_536);
            self.0.send(theirs).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn dial_unix<'a>(&'a self, _path: &'a Path) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn listen(&self, _address: SocketAddr) -> BoxFuture<'_, io::Result<BoxListener>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn listen_unix<'a>(&'a self, _path: &'a Path) -> BoxFuture<'a, io::Result<BoxListener>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// A clock that stands still and says that time is virtual, so that nothing leaves this thread.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn wall(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn is_virtual(&self) -> bool {
        true
    }
}

/// A filter at work, and the dials it makes.
struct Site {
    host: Host,
    dials: mpsc::Receiver<DuplexStream>,
    task: JoinHandle<anyhow::Result<Status>>,
}

impl Site {
    /// With the threshold at 30 °C and the outbox on this disk.
    fn start(disk: &Arc<MemoryDisk>) -> Self {
        Self::start_with(disk, [])
    }

    fn start_with<const N: usize>(disk: &Arc<MemoryDisk>, more: [(&str, &str); N]) -> Self {
        let (cable, dials) = mpsc::channel(1);
        let env = Env::of([
            ("BROKER_URL", "mqtt://broker"),
            ("INPUT_TOPIC", "in"),
            ("OUTPUT_TOPIC", "out"),
            ("MODULE_SETTINGS", r#"{"TemperatureThreshold": 30}"#),
        ]);
        let env = env.overlaid(&Env::of(more));
        let host = Host {
            env,
            network: Arc::new(Cable(cable)),
            disk: disk.clone(),
            clock: Arc::new(Still),
            chance: Chance::seeded(1),
            stop: Stop::new(),
            metrics: Default::default(),
            log: Default::default(),
        };
        let task = tokio::spawn(isotherm_filter::serve(host.clone()));
        Self { host, dials, task }
    }

    /// Accepts the connection and the subscription.
    async fn broker(&mut self) -> Broker {
        let stream = timeout(PATIENCE, self.dials.recv()).await.expect("it dials").expect("it runs");
        let mut broker = Broker { stream, bytes: BytesMut::new(), published: VecDeque::new() };
        assert!(matches!(broker.next().await, Packet::Connect(_)));
        broker.say(Packet::ConnAck { session_present: false, code: ConnectCode::Accepted }).await;
        loop {
            match broker.next().await {
                Packet::Subscribe { packet_id, filters } => {
                    assert_eq!(filters.len(), 1);
                    assert_eq!(filters[0].0, "in");
                    broker.say(Packet::SubAck { packet_id, codes: vec![1] }).await;
                    return broker;
                }
                Packet::Publish(alert) => broker.published.push_back(alert),
                other => panic!("{other:?} before SUBSCRIBE"),
            }
        }
    }

    async fn stop(self) -> Status {
        self.host.stop.stop();
        timeout(PATIENCE, self.task).await.expect("it ends").unwrap().unwrap()
    }
}

struct Broker {
    stream: DuplexStream,
    bytes: BytesMut,
    published: VecDeque<Publish>,
}

impl Broker {
    async fn next(&mut self) -> Packet {
        loop {
            if let Some(packet) =
                codec::decode(&mut self.bytes, codec::PACKET_BYTES_MAX).expect("it speaks MQTT")
            {
                return packet;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await;
            assert_ne!(read.expect("it says something").unwrap(), 0, "it hung up");
        }
    }

    async fn say(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        codec::encode(&packet, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn deliver(&mut self, packet_id: u16, payload: Bytes) {
        let topic = Text::try_from("in").unwrap();
        let qos = Qos::AtLeastOnce;
        self.say(Packet::Publish(Publish { dup: false, qos, retain: false, topic, packet_id, payload }))
            .await;
    }

    /// Acknowledges alerts until `inputs` inputs are accepted and `alerts` alerts are there.
    async fn until(&mut self, inputs: &[u16], alerts: usize) -> Vec<Bytes> {
        timeout(PATIENCE, self.collect(inputs, alerts)).await.expect("all of it comes")
    }

    async fn collect(&mut self, inputs: &[u16], alerts: usize) -> Vec<Bytes> {
        let (mut accepted, mut bodies) = (Vec::new(), Vec::new());
        while accepted.len() < inputs.len() || bodies.len() < alerts {
            let packet = match self.published.pop_front() {
                Some(alert) => Packet::Publish(alert),
                None => self.next().await,
            };
            match packet {
                Packet::Publish(alert) => {
                    assert_eq!((&alert.topic == "out", alert.qos), (true, Qos::AtLeastOnce));
                    bodies.push(alert.payload);
                    self.say(Packet::PubAck(alert.packet_id)).await;
                }
                Packet::PubAck(packet_id) => accepted.push(packet_id),
                Packet::PingReq => self.say(Packet::PingResp).await,
                other => panic!("{other:?} was not expected"),
            }
        }
        assert_eq!(accepted, inputs, "inputs are accepted in order");
        bodies
    }
}

fn reading(sequence: u64, celsius: f32) -> Bytes {
    let at = Timestamp::from_second(1_700_000_000 + sequence.cast_signed()).unwrap();
    Reading { sensor_id: "attic".into(), sequence, celsius: Celsius::measured(celsius), at }.encode()
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_goes_out_as_it_came_in_and_all_is_accepted_in_order() {
    let disk = Arc::new(MemoryDisk::new());
    let mut site = Site::start(&disk);
    let mut broker = site.broker().await;
    let bodies =
        [reading(1, 30.0), reading(2, 30.5), Bytes::from("noise"), reading(2, 30.5), reading(3, 31.0)];
    for (packet_id, body) in (1..).zip(&bodies) {
        broker.deliver(packet_id, body.clone()).await;
    }
    assert_eq!(broker.until(&[1, 2, 3, 4, 5], 2).await, [bodies[1].clone(), bodies[4].clone()]);
    let status = site.stop().await;
    let wanted =
        Status { received: 5, forwarded: 2, below: 1, refused: 1, repeats: 1, held: 0, threshold: 30.0 };
    assert_eq!(status, wanted);
}

#[tokio::test(start_paused = true)]
async fn an_alert_outlives_a_filter_that_is_killed_before_the_broker_has_it() {
    let disk = Arc::new(MemoryDisk::new());
    let mut site = Site::start(&disk);
    let mut broker = site.broker().await;
    let alert = reading(1, 35.0);
    broker.deliver(7, alert.clone()).await;
    let accepted = loop {
        match broker.next().await {
            Packet::PubAck(_) => break true,
            Packet::Publish(_) => break false, // and no acknowledgement
            _ => {}
        }
    };
    site.task.abort();
    let _ = site.task.await;
    drop(broker);

    let mut site = Site::start(&disk);
    let mut broker = site.broker().await;
    let inputs: &[u16] = if accepted { &[] } else { &[8] };
    if !accepted {
        broker.deliver(8, alert.clone()).await;
    }
    let alerts = broker.until(inputs, 1).await;
    assert!(alerts.iter().all(|body| *body == alert));
    site.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hand_to_hand_an_input_is_accepted_only_once_the_broker_has_its_alert() {
    let mut site = Site::start_with(&Arc::new(MemoryDisk::new()), [("OUTBOX", "hand-to-hand")]);
    let mut broker = site.broker().await;
    broker.deliver(7, reading(1, 35.0)).await;
    let Packet::Publish(alert) = broker.next().await else { panic!("the alert comes first") };
    let more = timeout(Duration::from_secs(5), broker.next()).await;
    assert!(more.is_err(), "{more:?} before the alert was acknowledged");
    broker.say(Packet::PubAck(alert.packet_id)).await;
    assert_eq!(broker.next().await, Packet::PubAck(7));
    site.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_may_drop_nothing_makes_the_filter_wait_and_nothing_is_lost() {
    let refuse = [("OUTBOX_WHEN_FULL", "refuse"), ("OUTBOX_BYTES_MAX", "1000")];
    let mut site = Site::start_with(&Arc::new(MemoryDisk::new()), refuse);
    let mut broker = site.broker().await;
    let bodies: Vec<Bytes> = (1..=30).map(|number| reading(number, 35.0)).collect();
    let inputs: Vec<u16> = (1..=30).collect();
    for (packet_id, body) in inputs.iter().zip(&bodies) {
        broker.deliver(*packet_id, body.clone()).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await; // nothing is acknowledged meanwhile
    assert_eq!(broker.until(&inputs, 30).await, bodies);
    assert_eq!(site.stop().await.forwarded, 30);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_no_outbox_of_this_size_can_hold_is_counted_and_stops_nobody() {
    let mut site = Site::start_with(&Arc::new(MemoryDisk::new()), [("OUTBOX_BYTES_MAX", "1")]);
    let mut broker = site.broker().await;
    broker.deliver(1, reading(1, 35.0)).await;
    broker.deliver(2, reading(2, 20.0)).await;
    broker.until(&[1, 2], 0).await;
    let status = site.stop().await;
    assert_eq!((status.forwarded, status.refused, status.below), (0, 1, 1));
}

#[tokio::test]
async fn wiring_that_makes_no_sense_ends_the_filter_at_once() {
    let host = Host { env: Env::of([("BROKER_URL", "ftp://broker")]), ..Host::real() };
    let error = isotherm_filter::serve(host).await.unwrap_err();
    assert!(error.to_string().contains("BROKER_URL"), "{error}");
}
