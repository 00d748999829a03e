//! A peer of another make, in a process of its own, that says in lines of JSON what it has seen.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its own part")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use isotherm_pki::{Authority, Validity};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What the peer is called, and the policy that may send to it.
pub const ENTITY: &str = "readings";
pub const POLICY: &str = "send";
/// A key as the portal shows one; it is used as it is written.
pub const KEY: &str = "c2VjcmV0LWtleS1vZi1hbi1ldmVudC1odWItMTIzNDU=";
/// What a basic event hub takes.
pub const MESSAGE_BYTES_MAX: usize = 262_144;

/// An event hub, made of qpid-proton.
pub struct EventHub {
    pub port: u16,
    pub ca: String,
    folder: PathBuf,
    python: PathBuf,
    /// What may be changed between two starts.
    pub key: String,
    pub message_bytes_max: usize,
    process: Option<(Child, mpsc::UnboundedReceiver<Value>)>,
}

impl EventHub {
    /// `None` where there is no Python with qpid-proton.
    pub fn new(name: &str) -> Option<Self> {
        let python = root().join("target/strangers/python/bin/python");
        let there = Command::new(&python).args(["-c", "import proton"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "skipped: no qpid-proton: .ci/strangers target/strangers");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("isotherm-entity-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |text: &str| text.parse().unwrap();
        let validity =
            Validity { not_before: at("2020-01-01T00:00:00Z"), not_after: at("2049-01-01T00:00:00Z") };
        let authority = Authority::create("test", validity.not_before, validity.not_after).unwrap();
        let issued = authority.issue_server(&["localhost".to_owned()], validity).unwrap();
        std::fs::write(folder.join("certificate.pem"), &issued.certificate_pem).unwrap();
        std::fs::write(folder.join("key.pem"), &issued.key_pem).unwrap();
        std::fs::write(folder.join("ca.pem"), authority.certificate_pem()).unwrap();
        Some(Self {
            port: free_port(),
            ca: authority.certificate_pem().to_owned(),
            folder,
            python,
            key: KEY.to_owned(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            process: None,
        })
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// As the portal shows it, but that it leads to this port.
    pub fn connection_string(&self, port: u16) -> String {
        format!(
            "Endpoint=sb://localhost:{port}/;SharedAccessKeyName={POLICY};SharedAccessKey={KEY};EntityPath={ENTITY}"
        )
    }

    /// Starts it; it is there when it has said so.
    pub async fn start(&mut self) {
        let told = json!({
            "port": self.port, "entity": ENTITY, "policy": POLICY, "key": self.key,
            "audience": format!("sb://localhost/{ENTITY}"), "maxMessageSize": self.message_bytes_max,
            "certificate": self.folder.join("certificate.pem"), "certificateKey": self.folder.join("key.pem"),
        });
        let script = root().join("crates/client/tests/strangers/entity.py");
        let mut command = Command::new(&self.python);
        command.arg(script).arg(told.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = say.send(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")));
            }
        });
        self.process = Some((child, said));
        self.wait_for("ready").await;
    }

    /// The next thing that happens; nothing more after its end.
    pub async fn next(&mut self) -> Option<Value> {
        self.process.as_mut()?.1.recv().await
    }

    /// The next of this kind; others are passed over.
    pub async fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let said = self.next().await.unwrap_or_else(|| panic!("it ends before it says {event}"));
            if said["event"] == event {
                return said;
            }
        }
    }

    /// Kills it (-9); what it had said is still to be heard.
    pub fn kill(&mut self) {
        if let Some((child, _)) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for EventHub {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..") // two down, whichever package tests with it
}

/// The bytes of a message's body.
pub fn body(message: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(message["body"].as_str().unwrap()).unwrap()
}

/// A port for somebody who cannot choose one, below those that the system gives away to anybody.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(10_000 + std::process::id() % 9_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
