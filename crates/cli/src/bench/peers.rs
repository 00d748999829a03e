//! Who is measured beside us: what is installed, and how it is started.

use std::io;
use std::path::{Path, PathBuf};

use isotherm_host::Host;
use isotherm_pki::{Authority, Validity};
use jiff::SignedDuration;

use super::child::{Child, Folder, answers, free_port};

/// How to get all of them.
pub(super) const GET: &str = "benches/peers/get";

/// Where peers and our own binaries are.
#[derive(Debug)]
pub(super) struct Peers {
    folder: PathBuf,
    path: Vec<PathBuf>,
    /// The program under test, this very one unless another was named.
    pub(super) isotherm: PathBuf,
    /// Only these, if any are named.
    wanted: Vec<String>,
}

impl Peers {
    pub(super) fn find(
        host: &Host,
        folder: PathBuf,
        binaries: Option<PathBuf>,
        wanted: Vec<String>,
    ) -> io::Result<Self> {
        let path = host.env.get("PATH").unwrap_or_default();
        let mut path: Vec<PathBuf> = std::env::split_paths(path).collect();
        path.push("/usr/sbin".into()); // where Debian keeps mosquitto, and users do not look
        let isotherm = match binaries {
            Some(binaries) => binaries.join("isotherm"),
            None => std::env::current_exe()?,
        };
        Ok(Self { folder, path, isotherm, wanted })
    }

    /// Whether it is to be measured.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
    }

    /// Those of `names` that are to be measured and are there; says which are not.
    pub(super) fn present(&self, names: &[&'static str]) -> Vec<&'static str> {
        let wanted = names.iter().filter(|name| self.wants(name));
        let (there, missing): (Vec<&str>, Vec<&str>) = wanted.partition(|name| self.is_there(name));
        if !missing.is_empty() {
            eprintln!("not here: {}; get them with {GET} {}", missing.join(", "), self.folder.display());
        }
        there
    }

    fn is_there(&self, name: &str) -> bool {
        match name {
            "c" => self.folder.join("filter-c").exists(),
            "node" => self.folder.join("node/node_modules/mqtt").exists() && self.program("node").is_some(),
            "python" => self.folder.join("python/filter.py").exists(),
            "rabbitmq" => self.program("rabbitmq-server").is_some(),
            "nats" | "nats-plain" => self.program("nats-server").is_some(),
            name => self.program(name).is_some(),
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let here = self.folder.join("bin");
        [&here].into_iter().chain(&self.path).map(|folder| folder.join(name)).find(|path| path.exists())
    }

    /// Where `.ci/strangers` puts it, or on the path; none if it is not to be measured, or not there.
    pub(super) fn iotedgedev(&self) -> Option<PathBuf> {
        let own = self.folder.with_file_name("strangers/iotedgedev/bin/iotedgedev");
        let found = Some(own).filter(|path| path.exists()).or_else(|| self.program("iotedgedev"));
        if found.is_none() {
            eprintln!("not here: iotedgedev; get it with .ci/strangers target/strangers");
        }
        found.filter(|_| self.wants("iotedgedev"))
    }

    fn required(&self, name: &str) -> io::Result<PathBuf> {
        let why = format!("{name} is not here; get it with {GET} {}", self.folder.display());
        self.program(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, why))
    }

    /// A module of ours: its own binary if that was built too, else this program.
    pub(super) fn module(&self, name: &str) -> (PathBuf, Vec<String>) {
        let own = self.isotherm.with_file_name(name);
        if own.exists() {
            (own, Vec::new())
        } else {
            (self.isotherm.clone(), vec!["run".into(), name.into()])
        }
    }

    /// The filter of a peer, over a broker.
    pub(super) fn filter(
        &self,
        who: &str,
        at: &Broker,
        tls: Option<&Tls>,
        log: PathBuf,
    ) -> io::Result<Child> {
        let script = |name: &str| self.folder.join(name).display().to_string();
        let (program, mut words) = match who {
            "c" => (self.folder.join("filter-c"), vec![]),
            "node" => (self.required("node")?, vec![script("node/filter.js")]),
            _ => (self.folder.join("python/bin/python"), vec![script("python/filter.py")]),
        };
        let port = if tls.is_some() { at.tls_port } else { at.port };
        words.extend(["localhost".into(), port.to_string(), "in".into(), "out".into(), "25".into()]);
        words.extend(tls.map(|tls| tls.ca.display().to_string()));
        Child::start(&program, &words, &[], log)
    }
}

/// A certificate for `localhost`, for every peer that speaks TLS.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) ca_pem: String,
    pub(super) ca: PathBuf,
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

impl Tls {
    pub(super) fn make(host: &Host, folder: &Folder) -> io::Result<Self> {
        let day = SignedDuration::from_hours(24);
        let now = host.wall();
        let validity = Validity { not_before: now - day, not_after: now + day };
        let authority = Authority::create("isotherm bench", validity.not_before, validity.not_after);
        let authority = authority.map_err(io::Error::other)?;
        let issued = authority.issue_server(&["localhost".to_owned()], validity).map_err(io::Error::other)?;
        Ok(Self {
            ca_pem: authority.certificate_pem().to_owned(),
            ca: folder.write("ca.pem", authority.certificate_pem())?,
            chain: folder.write("server.pem", &issued.certificate_pem)?,
            key: folder.write("server.key", &issued.key_pem)?,
        })
    }
}

/// A broker that runs.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) child: Child,
    pub(super) port: u16,
    pub(super) tls_port: u16,
}

/// Starts mosquitto with both doors open, no limit on what is in flight, nothing on disk.
pub(super) async fn mosquitto(host: &Host, peers: &Peers, folder: &Folder, tls: &Tls) -> io::Result<Broker> {
    let (port, tls_port) = (free_port()?, free_port()?);
    let (chain, key) = (tls.chain.display(), tls.key.display());
    let text = format!(
        "allow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_inflight_messages 0\n\
         max_queued_messages 0\nlog_type error\nuser root\n\
         listener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\ncertfile {chain}\nkeyfile {key}\n"
    );
    let file = folder.write("mosquitto.conf", &text)?;
    let words = ["-c".to_owned(), file.display().to_string()];
    let program = peers.required("mosquitto")?;
    let child = Child::start(&program, &words, &[], folder.path().join("mosquitto.log"))?;
    answers(host, port, &child).await?;
    Ok(Broker { child, port, tls_port })
}

/// Starts rumqttd, TLS only.
pub(super) async fn rumqttd(host: &Host, peers: &Peers, folder: &Folder, tls: &Tls) -> io::Result<Broker> {
    let tls_port = free_port()?;
    let (chain, key) = (tls.chain.display(), tls.key.display());
    let text = format!(
        "id = 0\n[router]\nid = 0\nmax_connections = 1000\nmax_outgoing_packet_count = 1000\n\
         max_segment_size = 104857600\nmax_segment_count = 10\n\
         [v4.1]\nname = \"bench\"\nlisten = \"127.0.0.1:{tls_port}\"\nnext_connection_delay_ms = 1\n\
         [v4.1.tls]\ncertpath = \"{chain}\"\nkeypath = \"{key}\"\n\
         [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 262144\n\
         max_inflight_count = 1000\ndynamic_filters = true\n"
    );
    let file = folder.write("rumqttd.toml", &text)?;
    let words = ["-c".to_owned(), file.display().to_string(), "-q".to_owned()];
    let program = peers.required("rumqttd")?;
    let child = Child::start(&program, &words, &[], folder.path().join("rumqttd.log"))?;
    answers(host, tls_port, &child).await?;
    Ok(Broker { child, port: 0, tls_port })
}

/// Starts NATS with JetStream in files, synced when NATS thinks it right (every two minutes), with TLS or without.
pub(super) async fn nats(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    tls: Option<&Tls>,
) -> io::Result<Broker> {
    let port = free_port()?;
    let store = folder.path().join("nats");
    let secure = tls.map_or_else(String::new, |tls| {
        let (chain, key) = (tls.chain.display(), tls.key.display());
        format!("tls {{ cert_file: \"{chain}\", key_file: \"{key}\", handshake_first: true }}\n")
    });
    let text = format!(
        "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{}\" }}\n{secure}",
        store.display()
    );
    let file = folder.write("nats.conf", &text)?;
    let words = ["-c".to_owned(), file.display().to_string()];
    let program = peers.required("nats-server")?;
    let child = Child::start(&program, &words, &[], folder.path().join("nats.log"))?;
    answers(host, port, &child).await?;
    Ok(Broker { child, port, tls_port: port })
}

/// The folder where a test disk is: not `/tmp`, which may be memory.
pub(super) fn disk_folder(state: &Path) -> PathBuf {
    state.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Starts RabbitMQ with its AMQP 1.0 plugin, nothing on disk that messages would go to, as a process that is its own
/// virtual machine, so that what is watched is what works.
pub(super) async fn rabbitmq(host: &Host, peers: &Peers, folder: &Folder, tls: &Tls) -> io::Result<Broker> {
    let (port, tls_port) = (free_port()?, free_port()?);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
         ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\nlog.console.level = error\nloopback_users = none\n",
        tls.ca.display(),
        tls.chain.display(),
        tls.key.display()
    );
    folder.write("rabbitmq.conf", &text)?;
    folder.write("enabled_plugins", "[rabbitmq_amqp1_0].\n")?;
    let names_port = free_port()?.to_string();
    let variables = [
        ("ERL_EPMD_PORT", names_port.clone()),
        ("RABBITMQ_NODENAME", format!("bench{}@localhost", std::process::id())),
        ("RABBITMQ_CONFIG_FILE", at("rabbitmq")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", at("mnesia")),
        ("RABBITMQ_LOG_BASE", at("rabbitmq-log")),
        ("RABBITMQ_PID_FILE", at("rabbitmq.pid")),
        ("RABBITMQ_DIST_PORT", free_port()?.to_string()),
        ("HOME", folder.path().display().to_string()),
    ];
    // Debian's own wrapper of it wants another user and a home of its own.
    let bare = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let program = if bare.exists() { bare } else { peers.required("rabbitmq-server")? };
    let mut child = Child::start::<&str>(&program, &[], &variables, folder.path().join("rabbitmq.out"))?;
    let mut answered = answers(host, tls_port, &child).await;
    if answered.is_err() {
        answered = answers(host, tls_port, &child).await; // it takes its time on a busy machine
    }
    let within = std::fs::read_to_string(folder.path().join("rabbitmq.pid"))?;
    child.watch(within.trim().parse().map_err(io::Error::other)?);
    // Its directory of names stays behind, and goes only when nobody is in it any more.
    let mut names = std::process::Command::new("sh");
    names.args(["-c", "n=0; until epmd -kill || [ $n = 50 ]; do n=$((n+1)); done"]);
    names.env("ERL_EPMD_PORT", &names_port);
    child.afterwards(names);
    answered?;
    Ok(Broker { child, port, tls_port })
}
