//! The filter between two topics of a plain broker: flat out, at a thousand a second, and from its start.

use std::io;
use std::time::Duration;

use isotherm_host::tls::ClientTls;
use isotherm_host::{BoxStream, Host};

use super::child::{Child, Folder};
use super::load::{Form, Stream, Windows};
use super::peers::{self, Broker, Peers, Tls};
use super::report::{Report, percentile};
use super::talk::Mqtt;

/// Who has such a filter.
const PEERS: [&str; 3] = ["c", "node", "python"];
/// Ours with its outbox in memory: as much custody as the peers have, and no less than the broker's.
const IN_MEMORY: &str = "isotherm-in-memory";
/// How long a run warms up, and how long it is measured.
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);
/// A thousand a second, for so many messages.
const INTERVAL: Duration = Duration::from_millis(1);
const PACED: u64 = 5_000;
/// On their way at once, from sender to receiver.
const WINDOW: u64 = 1_000;

/// One round, over plain TCP or with TLS between filter and broker.
pub(super) async fn round(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    tls: Option<&Tls>,
    report: &mut Report,
) -> io::Result<()> {
    let made = Tls::make(host, folder)?;
    let prefix = if tls.is_some() { "filter_tls" } else { "filter" };
    let mut whos = vec!["isotherm", IN_MEMORY];
    whos.extend(peers.present(&PEERS));
    if tls.is_none() {
        let broker = peers::mosquitto(host, peers, folder, &made).await?;
        paced(host, &broker, "mosquitto-alone", "in", report).await?;
    }
    for who in whos {
        let broker = peers::mosquitto(host, peers, folder, tls.unwrap_or(&made)).await?;
        let begun = host.now();
        let first = first_forwarded(host, &broker).await?;
        let started = host.now();
        let filter = start(peers, who, &broker, tls, folder)?;
        if first.settled(host).await.is_err() {
            report.trouble(format!("{prefix} {who}: forwarded nothing: {}", filter.last_words()));
            continue;
        }
        tracing::debug!(?begun, "broker and filter are up");
        let took = (host.now() - started).as_secs_f64() * 1000.0;
        report.take(&format!("{prefix}_start"), who, "ms", took);
        drop(first);
        if let Err(why) = flat_out(host, &broker, &filter, who, prefix, report).await {
            report.trouble(format!("{prefix} {who}: {why}"));
            continue;
        }
        if tls.is_none() && who != "python" {
            paced(host, &broker, who, "out", report).await?;
        }
        report.take(&format!("{prefix}_memory"), who, "bytes", filter.memory_peak() as f64);
    }
    Ok(())
}

fn start(peers: &Peers, who: &str, broker: &Broker, tls: Option<&Tls>, folder: &Folder) -> io::Result<Child> {
    let log = folder.path().join(format!("{who}.log"));
    if !who.starts_with("isotherm") {
        return peers.filter(who, broker, tls, log);
    }
    let state = folder.path().join("state");
    let _ = std::fs::remove_dir_all(&state);
    let url = match tls {
        Some(_) => format!("mqtts://localhost:{}", broker.tls_port),
        None => format!("mqtt://localhost:{}", broker.port),
    };
    let outbox = if who == IN_MEMORY { "hand-to-hand" } else { "disk" };
    let mut variables = vec![
        ("BROKER_URL", url),
        ("INPUT_TOPIC", "in".to_owned()),
        ("OUTPUT_TOPIC", "out".to_owned()),
        ("MODULE_SETTINGS", r#"{"TemperatureThreshold": 25}"#.to_owned()),
        ("ISOTHERM_STATE", state.display().to_string()),
        ("OUTBOX", outbox.to_owned()),
        ("LOG_LEVEL", "warn".to_owned()),
    ];
    variables.extend(tls.map(|tls| ("BROKER_CA_FILE", tls.ca.display().to_string())));
    let (program, words) = peers.module("filter");
    Child::start(&program, &words, &variables, log)
}

/// A stream of one message, kept by the broker until the filter that is to be started asks for it.
async fn first_forwarded(host: &Host, broker: &Broker) -> io::Result<Stream> {
    let form = Form::new(host);
    let mut stream = Stream::new();
    stream.receiver(host, dial(host, broker, "bench-first-out").await?, "out", &form);
    let mut session = Mqtt::new("bench-first-in", None);
    session.retain();
    let line = host.network.dial("127.0.0.1", broker.port).await?;
    stream.sender((line, session), "in", &form, Windows { unacknowledged: 1, unreceived: None });
    stream.ready(host).await.map_err(io::Error::other)?;
    stream.board.pace(host, Duration::ZERO, 1);
    while stream.board.acknowledged() == 0 {
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(stream)
}

/// As much as goes through.
async fn flat_out(
    host: &Host,
    broker: &Broker,
    filter: &Child,
    who: &str,
    prefix: &str,
    report: &mut Report,
) -> Result<(), String> {
    let stream = stream(host, broker, "out").await.map_err(|error| error.to_string())?;
    stream.ready(host).await?;
    stream.board.open();
    tokio::time::sleep(WARM_UP).await;
    let before = (host.now(), stream.done(), filter.cpu());
    tokio::time::sleep(MEASURED).await;
    let after = (host.now(), stream.done(), filter.cpu());
    stream.board.close();
    stream.settled(host).await?;
    let messages = (after.1 - before.1) as f64;
    report.take(
        &format!("{prefix}_flat_out"),
        who,
        "messages_per_s",
        messages / (after.0 - before.0).as_secs_f64(),
    );
    let cpu = after.2.saturating_sub(before.2).as_secs_f64();
    report.take(&format!("{prefix}_cpu"), who, "cpu_s_per_million", cpu / messages * 1e6);
    match stream.faults() {
        0 => Ok(()),
        faults => Err(format!("{faults} messages were lost, doubled or out of order")),
    }
}

/// A thousand a second, each measured from when it was due.
async fn paced(host: &Host, broker: &Broker, who: &str, output: &str, report: &mut Report) -> io::Result<()> {
    let stream = stream(host, broker, output).await?;
    let run = async {
        stream.ready(host).await?;
        stream.board.pace(host, INTERVAL, PACED);
        tokio::time::sleep(INTERVAL * PACED as u32).await;
        stream.settled(host).await
    };
    if let Err(why) = run.await {
        report.trouble(format!("filter {who} at a thousand a second: {why}"));
        return Ok(());
    }
    if stream.faults() > 0 {
        report.trouble(format!("filter {who}: {} lost, doubled or out of order", stream.faults()));
    }
    let latencies = &mut stream.board.ledger().latencies;
    report.take("filter_latency_p50", who, "ms", percentile(latencies, 0.5) as f64 / 1e6);
    report.take("filter_latency_p99", who, "ms", percentile(latencies, 0.99) as f64 / 1e6);
    Ok(())
}

async fn stream(host: &Host, broker: &Broker, output: &str) -> io::Result<Stream> {
    let form = Form::new(host);
    let mut stream = Stream::new();
    stream.receiver(host, dial(host, broker, "bench-out").await?, output, &form);
    let windows = Windows { unacknowledged: WINDOW, unreceived: Some(WINDOW) };
    stream.sender(dial(host, broker, "bench-in").await?, "in", &form, windows);
    Ok(stream)
}

async fn dial(host: &Host, broker: &Broker, name: &str) -> io::Result<(BoxStream, Mqtt)> {
    Ok((host.network.dial("127.0.0.1", broker.port).await?, Mqtt::new(name, None)))
}

/// A stream to a TLS port, for whoever has no other.
pub(super) async fn dial_tls(host: &Host, port: u16, trust: &ClientTls) -> io::Result<BoxStream> {
    trust.connect(host.network.dial("127.0.0.1", port).await?, "localhost").await
}
