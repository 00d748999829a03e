//! A machine and a broker that are not there: memory for a disk, a pipe for a network, virtual time.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use isotherm_host::{
    BoxFuture, BoxListener, BoxStream, Chance, Clock, Disk as _, Env, Flow, Host, MemoryDisk, Network, Pilot,
    Stop, drive,
};
use isotherm_proto::{Body, Reading};
use isotherm_protocol::{
    Session as _,
    mqtt::{Limits, Server, ServerCommand, ServerEvent},
};
use jiff::Timestamp;
use tokio::{
    task::JoinHandle,
    time::{Sleep, sleep},
};

/// What keeps its contents when a sensor ends: the disk, and the broker with all it was sent.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) broker: Arc<Broker>,
    pub(crate) disk: MemoryDisk,
}

/// An MQTT broker that keeps the bodies it was sent.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    bodies: Mutex<Vec<Body>>,
    /// Nobody can reach it.
    pub(crate) away: AtomicBool,
    /// Milliseconds that it takes over each acknowledgement.
    pub(crate) late: AtomicU64,
}

impl Site {
    /// A site with one file, `temps.csv`, and a sensor wired to it.
    pub(crate) fn with_file(csv: &str) -> Self {
        let site = Self::default();
        site.disk.write_atomic(Path::new("temps.csv"), csv.as_bytes()).unwrap();
        site
    }

    /// Starts the sensor with these variables on top of the usual ones.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Running {
        let usual = [
            ("BROKER_URL", "mqtt://broker:1883"),
            ("OUTPUT_TOPIC", "site/temperature"),
            ("SENSOR_CHIP", "replay"),
            ("SENSOR_REPLAY", "temps.csv"),
            ("SENSOR_REPLAY_SPEED", "max"),
            ("SENSOR_ID", "attic"),
        ];
        let host = Host {
            env: Env::of(usual).overlaid(&Env::of(variables.iter().copied())),
            network: Arc::new(Cable(self.broker.clone())),
            disk: Arc::new(self.disk.clone()),
            clock: Arc::new(VirtualClock { begun: tokio::time::Instant::now() }),
            chance: Chance::seeded(7),
            stop: Stop::new(),
            metrics: Default::default(),
            log: Default::default(),
        };
        let stop = host.stop.clone();
        Running { stop, task: tokio::spawn(isotherm_sensor::run(host)) }
    }

    /// Waits until the broker has at least so many readings, however often.
    pub(crate) async fn wait_for(&self, readings: usize) {
        for _ in 0..100_000 {
            if self.broker.readings().len() >= readings {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("only {} of {readings} readings arrived", self.broker.readings().len());
    }
}

impl Broker {
    pub(crate) fn bodies(&self) -> Vec<Body> {
        self.bodies.lock().unwrap().clone()
    }

    /// All readings in the order they came, repeats included.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        self.bodies.lock().unwrap().iter().flat_map(Body::readings).cloned().collect()
    }

    /// The temperatures without repeats; panics if one is missing or out of its place.
    pub(crate) fn temperatures(&self) -> Vec<f32> {
        let mut last = 0;
        let mut temperatures = Vec::new();
        for reading in self.readings().into_iter() {
            if reading.sequence > last {
                assert_eq!(reading.sequence, last + 1, "a reading is missing");
                last = reading.sequence;
                temperatures.push(reading.celsius.get());
            }
        }
        temperatures
    }
}

/// A sensor at work.
pub(crate) struct Running {
    stop: Stop,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Ends it as SIGTERM would.
    pub(crate) async fn end(self) {
        self.stop.stop();
        self.task.await.unwrap().unwrap();
    }

    /// How it ended by itself.
    pub(crate) async fn outcome(self) -> anyhow::Result<()> {
        self.task.await.unwrap()
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The only cable leads to the broker.
#[derive(Debug)]
struct Cable(Arc<Broker>);

impl Network for Cable {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async {
            if self.0.away.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let broker = self.0.clone();
            tokio::spawn(async move {
                let now = tokio::time::Instant::now().into_std();
                let mut keep = Keep { broker, due: VecDeque::new(), timer: Box::pin(sleep(Duration::ZERO)) };
                drive(Box::new(theirs), &mut Server::new(now, Limits::default()), &mut keep).await
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn dial_unix<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<BoxListener>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn listen_unix<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, io::Result<BoxListener>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// Keeps every body and acknowledges it, in time or late.
struct Keep {
    broker: Arc<Broker>,
    /// When which packet is to be acknowledged.
    due: VecDeque<(tokio::time::Instant, u16)>,
    timer: Pin<Box<Sleep>>,
}

impl Pilot<Server> for Keep {
    fn on_event(&mut self, now: Instant, event: ServerEvent, session: &mut Server) -> Flow {
        let answer = match event {
            ServerEvent::Connect(_) => ServerCommand::Accept { session_present: false },
            ServerEvent::Subscribe { packet_id, filters } => {
                ServerCommand::Granted { packet_id, codes: vec![1; filters.len()] }
            }
            ServerEvent::Publish { topic, payload, packet_id, .. } => {
                assert_eq!(topic.as_str(), "site/temperature");
                self.broker.bodies.lock().unwrap().push(Body::decode(&payload).unwrap());
                let late = Duration::from_millis(self.broker.late.load(Ordering::Relaxed));
                if !late.is_zero() {
                    self.due.push_back((tokio::time::Instant::from_std(now) + late, packet_id));
                    return Flow::Go;
                }
                ServerCommand::Acknowledge { packet_id }
            }
            ServerEvent::Disconnected | ServerEvent::Lapsed(_) => return Flow::End,
            ServerEvent::Acknowledged { .. } | ServerEvent::Unsubscribe { .. } => return Flow::Go,
        };
        session.handle_command(now, answer);
        Flow::Go
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((at, _)) = self.due.front() else { return Poll::Pending };
        if self.timer.deadline() != *at {
            self.timer.as_mut().reset(*at);
        }
        self.timer.as_mut().poll(cx)
    }

    fn on_wake(&mut self, now: Instant, session: &mut Server) -> Flow {
        if let Some((_, packet_id)) = self.due.pop_front() {
            session.handle_command(now, ServerCommand::Acknowledge { packet_id });
        }
        Flow::Go
    }
}

/// A wall clock that goes by virtual time.
#[derive(Debug)]
struct VirtualClock {
    begun: tokio::time::Instant,
}

impl Clock for VirtualClock {
    fn wall(&self) -> Timestamp {
        let begun: Timestamp = "2026-03-01T06:30:00Z".parse().unwrap();
        begun + self.begun.elapsed()
    }

    fn is_virtual(&self) -> bool {
        true
    }
}
