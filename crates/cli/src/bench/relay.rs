//! The hub between modules: one to one and twenty to twenty, QoS 1, TLS on every side, nothing on disk.

use std::io;
use std::path::Path;
use std::time::Duration;

use isotherm_host::tls::ClientTls;
use isotherm_host::{BoxStream, Host};
use isotherm_hub::{READY_FILE, Ready};
use isotherm_iothub::{
    ConnectionString, Feed, Identity, Key, Message, SystemProperty, Token, UserName, telemetry_topic,
};
use serde_json::{Value, json};

use super::child::{self, Child, Folder};
use super::filter::dial_tls;
use super::load::{Form, Stream, Windows};
use super::peers::{self, Peers, Tls};
use super::report::Report;
use super::talk::Mqtt;
use crate::service::{Request, Service};

const PEERS: [&str; 2] = ["mosquitto", "rumqttd"];
/// Pairs of a sender and a receiver.
const PAIRS: [usize; 2] = [1, 20];
/// On their way at once, of each pair.
const WINDOWS: [u64; 2] = [20, 1_000];
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(2);
/// A token for these runs.
const TOKEN_SECONDS: i64 = 3600;

/// One round.
pub(super) async fn round(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let tls = Tls::make(host, folder)?;
    let mut whos = vec!["isotherm"];
    whos.extend(peers.present(&PEERS));
    for pairs in PAIRS {
        for window in WINDOWS {
            for who in &whos {
                let name = format!("relay_{pairs}to{pairs}_w{window}");
                if let Err(why) = run(host, peers, folder, &tls, who, (pairs, window), &name, report).await {
                    report.trouble(format!("{name} {who}: {why}"));
                }
            }
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one run is described by that much")]
async fn run(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    tls: &Tls,
    who: &str,
    (pairs, window): (usize, u64),
    name: &str,
    report: &mut Report,
) -> io::Result<()> {
    let (child, streams) = match who {
        "isotherm" => {
            let hub = Hub::start(host, peers, folder, &template(pairs), &["--ephemeral"]).await?;
            let streams = hub.streams(host, pairs, window).await?;
            (hub.child, streams)
        }
        who => {
            let broker = match who {
                "mosquitto" => peers::mosquitto(host, peers, folder, tls).await?,
                _ => peers::rumqttd(host, peers, folder, tls).await?,
            };
            let trust = ClientTls::new(host, Some(&tls.ca_pem), None).map_err(io::Error::other)?;
            let mut streams = Vec::new();
            for pair in 0..pairs {
                let receiver =
                    (dial_tls(host, broker.tls_port, &trust).await?, Mqtt::new(&format!("c{pair}"), None));
                let sender =
                    (dial_tls(host, broker.tls_port, &trust).await?, Mqtt::new(&format!("p{pair}"), None));
                let topic = format!("bench/{pair}");
                streams.push(pair_up(host, receiver, &topic, sender, &topic, window));
            }
            (broker.child, streams)
        }
    };
    let (rate, cpu) = measure(host, &child, &streams).await.map_err(io::Error::other)?;
    report.take(name, who, "messages_per_s", rate);
    report.take(&format!("{name}_cpu"), who, "cpu_s_per_million", cpu);
    report.take(&format!("{name}_memory"), who, "bytes", child.memory_peak() as f64);
    Ok(())
}

fn pair_up(
    host: &Host,
    receiver: (BoxStream, Mqtt),
    filter: &str,
    sender: (BoxStream, Mqtt),
    topic: &str,
    window: u64,
) -> Stream {
    let form = Form::new(host);
    let mut stream = Stream::new();
    stream.receiver(host, receiver, filter, &form);
    let windows = Windows { unacknowledged: window, unreceived: Some(window) };
    stream.sender(sender, topic, &form, windows);
    stream
}

/// Messages a second of all streams together, and CPU seconds of the process for a million of them.
pub(super) async fn measure(host: &Host, child: &Child, streams: &[Stream]) -> Result<(f64, f64), String> {
    for stream in streams {
        stream.ready(host).await?;
    }
    streams.iter().for_each(|stream| stream.board.open());
    let look = || (host.now(), streams.iter().map(Stream::done).sum::<u64>(), child.cpu());
    tokio::time::sleep(WARM_UP).await;
    let before = look();
    tokio::time::sleep(MEASURED).await;
    let after = look();
    streams.iter().for_each(|stream| stream.board.close());
    for stream in streams {
        stream.settled(host).await?;
    }
    let messages = (after.1 - before.1) as f64;
    let faults: u64 = streams.iter().map(Stream::faults).sum();
    match faults {
        0 => Ok((
            messages / (after.0 - before.0).as_secs_f64(),
            after.2.saturating_sub(before.2).as_secs_f64() / messages * 1e6,
        )),
        faults => Err(format!("{faults} messages were lost, doubled or out of order")),
    }
}

/// A hub of ours, running.
pub(super) struct Hub {
    pub(super) child: Child,
    pub(super) ready: Ready,
    pub(super) trust: ClientTls,
}

impl Hub {
    /// Starts it with a deployment.
    pub(super) async fn start(
        host: &Host,
        peers: &Peers,
        folder: &Folder,
        template: &Value,
        flags: &[&str],
    ) -> io::Result<Self> {
        Self::start_with(host, peers, folder, template, flags, &[]).await
    }

    /// The same, with these variables in its environment.
    pub(super) async fn start_with(
        host: &Host,
        peers: &Peers,
        folder: &Folder,
        template: &Value,
        flags: &[&str],
        variables: &[(&str, String)],
    ) -> io::Result<Self> {
        let template = folder.write("template.json", &template.to_string())?;
        let mut words: Vec<String> = "hub --json --mqtts 0 --amqps 0 --https 0 --template"
            .split(' ')
            .chain([template.display().to_string().as_str()])
            .chain(flags.iter().copied())
            .map(str::to_owned)
            .collect();
        words.extend(["--state".to_owned(), folder.path().join("hub").display().to_string()]);
        let log = folder.path().join("hub.log");
        let variables = [&[("LOG_LEVEL", "warn".to_owned())], variables].concat();
        let mut child = Child::start(&peers.isotherm, &words, &variables, log)?;
        let line = child.line(host).await?;
        Self::of(host, child, serde_json::from_value(line).map_err(io::Error::other)?)
    }

    /// The hub's own binary, as an image has it, if that was built too; else as [`Hub::start`].
    pub(super) async fn start_own(
        host: &Host,
        peers: &Peers,
        folder: &Folder,
        template: &Value,
    ) -> io::Result<Self> {
        let (program, words) = peers.module("hub");
        if !words.is_empty() {
            return Self::start(host, peers, folder, template, &[]).await;
        }
        let template = folder.write("template.json", &template.to_string())?;
        let state = folder.path().join("hub");
        let variables = [
            ("HUB_LISTEN", "127.0.0.1".to_owned()),
            ("HUB_MQTTS_PORT", "0".to_owned()),
            ("HUB_AMQPS_PORT", "0".to_owned()),
            ("HUB_HTTPS_PORT", "0".to_owned()),
            ("HUB_TEMPLATE", template.display().to_string()),
            ("ISOTHERM_STATE", state.display().to_string()),
            ("LOG_LEVEL", "warn".to_owned()),
        ];
        let child = Child::start(&program, &words, &variables, folder.path().join("hub.log"))?;
        let ready = child::written(host, &state.join(READY_FILE), &child).await?;
        Self::of(host, child, ready)
    }

    fn of(host: &Host, child: Child, ready: Ready) -> io::Result<Self> {
        let ca = std::fs::read_to_string(Path::new(&ready.ca))?;
        let trust = ClientTls::new(host, Some(&ca), None).map_err(io::Error::other)?;
        Ok(Self { child, ready, trust })
    }

    /// A connection of one of its modules, before it has said anything but who it is.
    pub(super) async fn dial(&self, host: &Host, module: &str) -> io::Result<(BoxStream, Mqtt)> {
        let string = self.ready.modules.get(module).ok_or_else(|| io::Error::other("no such module"))?;
        let string: ConnectionString = string.parse().map_err(io::Error::other)?;
        let who = string.identity.ok_or_else(|| io::Error::other("a module has an identity"))?;
        let key = string.key.ok_or_else(|| io::Error::other("a module has a key"))?;
        self.dial_as(host, &who, &key).await
    }

    /// The same for anybody whose key is known.
    pub(super) async fn dial_as(
        &self,
        host: &Host,
        who: &Identity,
        key: &Key,
    ) -> io::Result<(BoxStream, Mqtt)> {
        let hub = &self.ready.host_name;
        let expiry = host.wall().as_second() + TOKEN_SECONDS;
        let token = Token::mint(key, &who.resource(hub), expiry, None);
        let user = UserName::new(hub, who.clone(), "2021-04-12").to_string();
        let stream = dial_tls(host, self.ready.ports.mqtts, &self.trust).await?;
        Ok((stream, Mqtt::new(who.as_str(), Some((&user, &token)))))
    }

    /// Makes a device.
    pub(super) async fn new_device(&self, host: &Host, name: &str) -> io::Result<(Identity, Key)> {
        self.make_device(host, name, json!({"deviceId": name})).await
    }

    /// Makes a device that is a child of this edge, so that its messages go by the edge's routes.
    pub(super) async fn new_child(&self, host: &Host, name: &str) -> io::Result<(Identity, Key)> {
        let trouble = |failure| io::Error::other(format!("{failure:?}"));
        let service = Service::of_ready(host.clone(), &self.ready).map_err(trouble)?;
        let edge = Request::get(&format!("/devices/{}", self.ready.device_id));
        let edge = service.json(edge).await.map_err(trouble)?;
        self.make_device(host, name, json!({"deviceId": name, "deviceScope": edge["deviceScope"]})).await
    }

    async fn make_device(&self, host: &Host, name: &str, body: Value) -> io::Result<(Identity, Key)> {
        let trouble = |failure| io::Error::other(format!("{failure:?}"));
        let service = Service::of_ready(host.clone(), &self.ready).map_err(trouble)?;
        let request = Request::put(&format!("/devices/{name}"), body);
        let device = service.json(request).await.map_err(trouble)?;
        let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap_or_default();
        let key = Key::from_base64(key).map_err(io::Error::other)?;
        Ok((Identity::device(name).map_err(io::Error::other)?, key))
    }

    /// The topic on which a module publishes to its output `out`.
    pub(super) fn topic(&self, module: &str) -> io::Result<String> {
        let message = Message::default().with_system(SystemProperty::OutputName, "out");
        Ok(telemetry_topic(&self.identity(module)?, &message))
    }

    fn identity(&self, module: &str) -> io::Result<Identity> {
        Identity::module(&self.ready.device_id, module).map_err(io::Error::other)
    }

    async fn streams(&self, host: &Host, pairs: usize, window: u64) -> io::Result<Vec<Stream>> {
        let mut streams = Vec::new();
        for pair in 0..pairs {
            let (from, to) = (format!("p{pair}"), format!("c{pair}"));
            let receiver = self.dial(host, &to).await?;
            let filter = Feed::Inputs.filter(&self.identity(&to)?);
            let sender = self.dial(host, &from).await?;
            streams.push(pair_up(host, receiver, &filter, sender, &self.topic(&from)?, window));
        }
        Ok(streams)
    }
}

/// A deployment of so many senders, each with a receiver of its own.
fn template(pairs: usize) -> Value {
    let names: Vec<String> = (0..pairs).flat_map(|pair| [format!("p{pair}"), format!("c{pair}")]).collect();
    let routes = (0..pairs).map(|pair| {
        let route = format!(
            "FROM /messages/modules/p{pair}/outputs/out INTO BrokeredEndpoint(\"/modules/c{pair}/inputs/in\")"
        );
        (format!("r{pair}"), json!(route))
    });
    deployment(&names, routes.collect())
}

/// A deployment of modules and routes.
pub(super) fn deployment(names: &[String], routes: serde_json::Map<String, Value>) -> Value {
    let module = |name: &String| {
        let settings = json!({"image": "bench", "createOptions": {}});
        let module = json!({
            "version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always",
            "settings": settings,
        });
        (name.clone(), module)
    };
    let modules: serde_json::Map<String, Value> = names.iter().map(module).collect();
    let system = |image: &str| json!({"type": "docker", "settings": {"image": image, "createOptions": {}}});
    let hub = json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "settings": {"image": "mcr.microsoft.com/azureiotedge-hub:1.5", "createOptions": {}},
    });
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
            "systemModules": {
                "edgeAgent": system("mcr.microsoft.com/azureiotedge-agent:1.5"),
                "edgeHub": hub,
            },
            "modules": modules,
        }},
        "$edgeHub": {"properties.desired": {
            "schemaVersion": "1.1",
            "routes": routes,
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
        }},
    }})
}
