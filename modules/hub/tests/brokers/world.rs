//! What every test of a broker needs: processes that end with the test, cables that can be cut, an edge that sends.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use isotherm_client::{Client, Credentials, Options as ClientOptions};
use isotherm_host::{Host, MemoryDisk};
use isotherm_hub::{Options, Upstream};
use isotherm_iothub::{ConnectionString, Message};
use isotherm_proto::{Celsius, Reading};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Site, ephemeral};
use crate::{BODY, LONG, TOPIC};

/// A port for a stranger that cannot choose one by itself; below those that the system gives away, to anybody and at any
/// time.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(20_000 + std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A stranger's process and all that it starts, ended with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.process_group(0).spawn().expect("it was there a moment ago"))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    }

    pub(crate) fn end(mut self, signal: &str) {
        self.signal(signal);
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.0.wait();
    }
}

/// A cable that can be cut: what dials it reaches the port that it leads to at the moment.
#[derive(Clone)]
pub(crate) struct Cable {
    pub(crate) port: u16,
    lines: Arc<Mutex<JoinSet<()>>>,
    pub(crate) to: Arc<Mutex<u16>>,
}

impl Cable {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Self {
            port: listener.local_addr().unwrap().port(),
            lines: Arc::default(),
            to: Arc::new(Mutex::new(port)),
        };
        let lines = cable.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let port = *lines.to.lock().unwrap();
                lines.lines.lock().unwrap().spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        cable
    }

    pub(crate) fn cut(&self) {
        self.lines.lock().unwrap().abort_all();
    }
}

pub(crate) async fn open(port: u16) {
    let opening = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, opening).await.expect("it opens its port in time");
}

/// An edge with a filter, whose alerts go to a broker.
pub(crate) struct Edge {
    pub(crate) site: Site,
    filter: Client,
    pub(crate) sent: u64,
}

impl Edge {
    pub(crate) async fn to(connection: String) -> Self {
        Self::by(Upstream { topic: TOPIC.into(), body: BODY.into(), ..Upstream::to(&connection) }).await
    }

    pub(crate) async fn by(upstream: Upstream) -> Self {
        let site = Site::with(Options { upstream: Some(upstream), ..ephemeral() }).await;
        let content = json!({"modulesContent": {
            "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {}}, "systemModules": {}, "modules": {}}},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1",
                "routes": {"all": "FROM /messages/* INTO $upstream"},
                "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
            "filter": {"properties.desired": {}},
        }});
        let answer = site.rest("POST", "/devices/edge/applyConfigurationContent", content).await;
        assert_eq!(answer.status, 204, "{:?}", answer.body);
        let hub: ConnectionString = site.ready.policies["device"].parse().unwrap();
        let key = Credentials::Key(site.key("edge/filter").await);
        let mut options = ClientOptions::new("edge/filter".parse().unwrap(), &hub.host_name, key);
        options.gateway = Some(format!("localhost:{}", site.ready.ports.mqtts));
        options.roots = Some(site.ca.clone());
        let host = Host::real().with_disk(Arc::new(MemoryDisk::new())).with_own_stop();
        let filter = Client::with(&host, options).await.unwrap();
        Self { site, filter, sent: 0 }
    }

    pub(crate) async fn send(&mut self, count: u64) {
        let reading = |sequence| {
            let at = "2026-01-01T00:00:00Z".parse().unwrap();
            let celsius = Celsius::new(21.5).unwrap();
            Message::new(Reading { sensor_id: "attic".to_owned(), sequence, celsius, at }.encode())
        };
        let messages = (self.sent..self.sent + count).map(reading).collect();
        self.sent += count;
        self.filter.send_all("alert", messages, None).await.unwrap();
        assert!(timeout(LONG, self.filter.flush(LONG)).await.unwrap(), "the edge takes them");
    }

    /// Waits until the other side has acknowledged all that was sent.
    pub(crate) async fn all_upstream(&self) {
        let asking = async {
            loop {
                let upstream = self.site.get("/isotherm/v1/status").await["upstream"].clone();
                if upstream["open"] == 0 && upstream["unread"] == 0 {
                    return;
                }
            }
        };
        timeout(LONG, asking).await.expect("all of it is acknowledged in time");
    }
}
