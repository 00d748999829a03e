//! A million messages that an outage of the uplink has left: how fast they go up, in order, and how late a live one is
//! meanwhile.

use std::io;
use std::process::Command;
use std::time::Duration;

use isotherm_host::{BoxStream, Host};
use isotherm_iothub::{Feed, Identity};
use serde_json::json;

use super::child::{Child, Folder};
use super::load::{Form, Stream};
use super::peers::{self, Broker, Peers, Tls};
use super::relay::{Hub, deployment};
use super::report::Report;
use super::store::{BACKLOG, Drain, FILLING, LIVE, LIVE_EVERY, LIVE_MAX, OUTAGE, until};
use super::talk::Mqtt;

/// The log has room for a million, which its default has not.
const LOG_BYTES: &str = "2000000000";

/// One round, to each place that the messages can go up to.
pub(super) async fn round(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let mut places = vec!["isotherm", "isotherm-amqp"];
    places.extend(peers.present(&["mosquitto"]));
    for place in places {
        let (own, above) = (Folder::new(folder.path(), "edge")?, Folder::new(folder.path(), "above")?);
        let upstream = Upstream::start(host, peers, &above, place).await?;
        if let Err(why) = upstream.comes_back(host, peers, &own, &format!("uplink_{place}"), report).await {
            report.trouble(format!("uplink to {place}: {why}"));
        }
    }
    Ok(())
}

/// Where the messages go up to.
struct Upstream {
    place: Place,
    /// What the hub below is told of it.
    variables: Vec<(&'static str, String)>,
}

enum Place {
    Hub(Box<Hub>),
    Broker(Broker),
}

impl Upstream {
    async fn start(host: &Host, peers: &Peers, folder: &Folder, place: &str) -> io::Result<Self> {
        if place == "mosquitto" {
            let tls = Tls::make(host, folder)?;
            let broker = peers::mosquitto(host, peers, folder, &tls).await?;
            let variables = vec![("UpstreamConnectionString", format!("mqtt://127.0.0.1:{}", broker.port))];
            return Ok(Self { place: Place::Broker(broker), variables });
        }
        let route = json!("FROM /messages/* INTO BrokeredEndpoint(\"/modules/reader/inputs/in\")");
        let all = [("all".to_owned(), route)].into_iter().collect();
        let hub = Hub::start(host, peers, folder, &deployment(&["reader".to_owned()], all), &[]).await?;
        let (_, key) = hub.new_child(host, "site").await?;
        let (protocol, port) = match place {
            "isotherm-amqp" => ("Amqp", hub.ready.ports.amqps.unwrap_or_default()),
            _ => ("Mqtt", hub.ready.ports.mqtts),
        };
        let connection = format!(
            "HostName={};DeviceId=site;SharedAccessKey={};GatewayHostName=localhost:{port}",
            hub.ready.host_name,
            key.to_base64(),
        );
        let variables = vec![
            ("UpstreamConnectionString", connection),
            ("UpstreamProtocol", protocol.to_owned()),
            ("UpstreamCACertificateFile", hub.ready.ca.clone()),
        ];
        Ok(Self { place: Place::Hub(Box::new(hub)), variables })
    }

    /// Who takes all that arrives, and what he asks for.
    async fn reader(&self, host: &Host) -> io::Result<((BoxStream, Mqtt), String)> {
        match &self.place {
            Place::Broker(broker) => {
                let stream = host.network.dial("127.0.0.1", broker.port).await?;
                Ok(((stream, Mqtt::new("reader", None)), "isotherm/#".to_owned()))
            }
            Place::Hub(hub) => {
                let who = Identity::module(&hub.ready.device_id, "reader").map_err(io::Error::other)?;
                Ok((hub.dial(host, "reader").await?, Feed::Inputs.filter(&who)))
            }
        }
    }

    fn signal(&self, signal: &str) -> io::Result<()> {
        let child: &Child = match &self.place {
            Place::Hub(hub) => &hub.child,
            Place::Broker(broker) => &broker.child,
        };
        let done = Command::new("kill").args([signal, &child.id().to_string()]).status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other("kill: no such process")) }
    }

    /// It stands still while a million messages are sent, and then goes on.
    async fn comes_back(
        &self,
        host: &Host,
        peers: &Peers,
        folder: &Folder,
        name: &str,
        report: &mut Report,
    ) -> io::Result<()> {
        let names = ["old", "live"].map(str::to_owned);
        let all = [("all".to_owned(), json!("FROM /messages/* INTO $upstream"))].into_iter().collect();
        let flags = ["--fresh-first", "*", "--log-bytes", LOG_BYTES];
        let template = deployment(&names, all);
        let (old, live) = (Form::of(host, "old"), Form::of(host, "live"));
        let (reader, filter) = self.reader(host).await?;
        let mut drain = Drain::begin(host, reader, filter, (old.clone(), live.clone()), Stream::new());
        until(host, "be let in", || drain.listens()).await?; // a broker keeps nothing for who is not there
        self.signal("-STOP")?;
        let hub = Hub::start_with(host, peers, folder, &template, &flags, &self.variables).await?;
        let mut filling = Stream::new();
        filling.sender(hub.dial(host, "old").await?, &hub.topic("old")?, &old, FILLING);
        filling.board.pace(host, Duration::ZERO, BACKLOG);
        until(host, "fill the log", || filling.board.acknowledged() >= BACKLOG).await?;
        tokio::time::sleep(OUTAGE).await;

        drain.sending.sender(hub.dial(host, "live").await?, &hub.topic("live")?, &live, LIVE);
        self.signal("-CONT")?;
        until(host, "see the first go up", || drain.done() > 0).await?;
        drain.sending.board.pace(host, LIVE_EVERY, LIVE_MAX);
        drain.end(host, name, report).await
    }
}
