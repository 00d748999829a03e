//! Publishing with the disk in between: acknowledged means synced, window 100, from one sender and from a hundred.

use std::collections::BTreeSet;
use std::io;

use isotherm_host::Host;
use isotherm_host::tls::ClientTls;
use isotherm_iothub::{Message, telemetry_topic};
use serde_json::{Value, json};

use super::child::{Child, Folder};
use super::filter::dial_tls;
use super::load::{Form, Stream, Windows};
use super::peers::{self, Peers, Tls};
use super::relay::{Hub, deployment, measure};
use super::report::Report;
use super::talk::{Heard, Nats, Talk as _};
use crate::service::{Request, Service};

const PEERS: [&str; 2] = ["nats", "nats-plain"];
const SENDERS: [usize; 2] = [1, 100];
const WINDOWS: Windows = Windows { unacknowledged: 100, unreceived: None };
/// The stream that NATS is to keep everything in.
const STREAM: &[u8] = br#"{"name":"bench","subjects":["bench.>"],"storage":"file","num_replicas":1}"#;
/// How long the log may be silent before it counts as read.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// One round.
pub(super) async fn round(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let tls = Tls::make(host, folder)?;
    for senders in SENDERS {
        let name = format!("durable_{senders}");
        if let Err(why) = ours(host, peers, folder, senders, &name, report).await {
            report.trouble(format!("{name} isotherm: {why}"));
        }
        for who in peers.present(&PEERS) {
            let tls = (who == "nats").then_some(&tls);
            if let Err(why) = theirs(host, peers, folder, tls, senders, who, report).await {
                report.trouble(format!("{name} {who}: {why}"));
            }
        }
    }
    Ok(())
}

fn take(report: &mut Report, name: &str, who: &str, child: &Child, (rate, cpu): (f64, f64)) {
    report.take(name, who, "messages_per_s", rate);
    report.take(&format!("{name}_cpu"), who, "cpu_s_per_million", cpu);
    report.take(&format!("{name}_memory"), who, "bytes", child.memory_peak() as f64);
}

async fn ours(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    senders: usize,
    name: &str,
    report: &mut Report,
) -> io::Result<()> {
    let _ = std::fs::remove_dir_all(folder.path().join("hub"));
    let routes = [("up".to_owned(), json!("FROM /messages/* INTO $upstream"))].into_iter().collect();
    let deployment = deployment(&[], routes);
    let mut hub = Hub::start(host, peers, folder, &deployment, &[]).await?;
    let form = Form::new(host);
    let mut streams = Vec::new();
    for sender in 0..senders {
        let (who, key) = hub.new_device(host, &format!("p{sender}")).await?;
        let topic = telemetry_topic(&who, &Message::default());
        let mut stream = Stream::new();
        stream.sender(hub.dial_as(host, &who, &key).await?, &topic, &form, WINDOWS);
        streams.push(stream);
    }
    let measured = measure(host, &hub.child, &streams).await.map_err(io::Error::other)?;
    take(report, name, "isotherm", &hub.child, measured);
    if senders == 1 {
        streams[0].board.open(); // killed under load
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        hub.child.kill();
        let promised = streams[0].board.acknowledged();
        drop(streams);
        let hub = Hub::start(host, peers, folder, &deployment, &[]).await?;
        let lost = lost(host, &hub, promised).await?;
        report.take("durable_lost_after_kill", "isotherm", "messages", lost as f64);
        if lost > 0 {
            report.trouble(format!("{lost} of {promised} acknowledged messages are lost after kill -9"));
        }
    }
    Ok(())
}

/// How many of the numbers up to `promised` are not in the hub's log.
async fn lost(host: &Host, hub: &Hub, promised: u64) -> io::Result<u64> {
    let trouble = |failure| io::Error::other(format!("{failure:?}"));
    let service = Service::of_ready(host.clone(), &hub.ready).map_err(trouble)?;
    let path = "/isotherm/v1/watch?kinds=upstream&from=earliest";
    let mut lines = service.lines(Request::get(path)).await.map_err(trouble)?;
    let mut there = BTreeSet::new();
    let mut given_up = 0;
    while let Ok(Ok(Some(line))) = tokio::time::timeout(SILENCE, lines.next()).await {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        let line = crate::decode::decode(line.as_object().cloned().unwrap_or_default());
        if line.get("event").is_some_and(|event| event == "lost") {
            given_up += line.get("count").and_then(Value::as_u64).unwrap_or(0);
        }
        there.extend(line.get("reading").and_then(|reading| reading["sequence"].as_u64()));
    }
    tracing::debug!(given_up, there = there.len(), promised, "read back");
    let oldest = there.first().copied().unwrap_or(1); // what went before was given up for room, and was there
    Ok((oldest..=promised).filter(|number| !there.contains(number)).count() as u64)
}

async fn theirs(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    tls: Option<&Tls>,
    senders: usize,
    who: &str,
    report: &mut Report,
) -> io::Result<()> {
    let _ = std::fs::remove_dir_all(folder.path().join("nats"));
    let broker = peers::nats(host, peers, folder, tls).await?;
    let trust = match tls {
        Some(tls) => Some(ClientTls::new(host, Some(&tls.ca_pem), None).map_err(io::Error::other)?),
        None => None,
    };
    let dial = async || match &trust {
        Some(trust) => dial_tls(host, broker.port, trust).await,
        None => host.network.dial("127.0.0.1", broker.port).await,
    };
    create_stream(dial().await?).await?;
    let form = Form::new(host);
    let mut streams = Vec::new();
    for sender in 0..senders {
        let mut stream = Stream::new();
        let session = Nats::new(&format!("s{sender}"));
        stream.sender((dial().await?, session), &format!("bench.{sender}"), &form, WINDOWS);
        streams.push(stream);
    }
    let measured = measure(host, &broker.child, &streams).await.map_err(io::Error::other)?;
    take(report, &format!("durable_{senders}"), who, &broker.child, measured);
    Ok(())
}

async fn create_stream(stream: isotherm_host::BoxStream) -> io::Result<()> {
    use isotherm_host::{Flow, Pilot, drive};
    use std::task::{Context, Poll};
    use std::time::Instant;

    struct Once(Result<(), String>);
    impl Pilot<Nats> for Once {
        fn on_event(&mut self, _: Instant, event: Heard, session: &mut Nats) -> Flow {
            match event {
                Heard::Open => {
                    session.publish(b"$JS.API.STREAM.CREATE.bench", STREAM);
                    return Flow::Go;
                }
                Heard::Acknowledged => self.0 = Ok(()),
                Heard::Refused(why) => self.0 = Err(why),
                Heard::Subscribed | Heard::Message(_) => {}
            }
            Flow::End
        }
        fn poll_wake(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
        fn on_wake(&mut self, _: Instant, _: &mut Nats) -> Flow {
            Flow::Go
        }
    }
    let mut once = Once(Err("no answer".to_owned()));
    let _ = drive(stream, &mut Nats::new("make"), &mut once).await;
    once.0.map_err(io::Error::other)
}
