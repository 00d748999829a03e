//! Telemetry over AMQP 1.0 with TLS, window 100, from one device and from twenty: each message accepted by name. Ours
//! keeps them in its log; RabbitMQ sends them to an exchange without a queue, which is the least that it can do.

use std::io;

use isotherm_host::Host;
use isotherm_host::tls::ClientTls;
use isotherm_iothub::{ConnectionString, Token};

use super::child::Folder;
use super::filter::dial_tls;
use super::load::{Form, Stream, Windows};
use super::peers::{self, Peers, Tls};
use super::relay::{Hub, deployment, measure};
use super::report::Report;
use super::talk_amqp::Amqp;

const PEERS: [&str; 1] = ["rabbitmq"];
const SENDERS: [usize; 2] = [1, 20];
const WINDOWS: Windows = Windows { unacknowledged: 100, unreceived: None };
/// A token for these runs.
const TOKEN_SECONDS: i64 = 3_600;

/// One round.
pub(super) async fn round(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    report: &mut Report,
) -> io::Result<()> {
    let mut whos = vec!["isotherm"];
    whos.extend(peers.present(&PEERS));
    for senders in SENDERS {
        for who in &whos {
            let name = format!("amqp_{senders}");
            let measured = match *who {
                "isotherm" => ours(host, peers, folder, senders).await,
                _ => theirs(host, peers, folder, senders).await,
            };
            match measured {
                Ok((rate, cpu, memory)) => {
                    report.take(&name, who, "messages_per_s", rate);
                    report.take(&format!("{name}_cpu"), who, "cpu_s_per_million", cpu);
                    report.take(&format!("{name}_memory"), who, "bytes", memory);
                }
                Err(why) => report.trouble(format!("{name} {who}: {why}")),
            }
        }
    }
    Ok(())
}

async fn ours(host: &Host, peers: &Peers, folder: &Folder, senders: usize) -> io::Result<(f64, f64, f64)> {
    let hub =
        Hub::start(host, peers, folder, &deployment(&[], serde_json::Map::new()), &["--ephemeral"]).await?;
    let owner: ConnectionString = hub.ready.policies["iothubowner"].parse().map_err(io::Error::other)?;
    let key = owner.key.ok_or_else(|| io::Error::other("a policy has a key"))?;
    let until = host.wall().as_second() + TOKEN_SECONDS;
    let token = Token::mint(&key, &hub.ready.host_name, until, Some("iothubowner"));
    let port = hub.ready.ports.amqps.ok_or_else(|| io::Error::other("no door for AMQP"))?;
    let mut streams = Vec::new();
    for sender in 0..senders {
        let (who, _) = hub.new_device(host, &format!("d{sender}")).await?;
        let address = format!("/{}/messages/events", who.path());
        let proof = ("iothubowner@sas.root.localhub", token.as_str());
        let session = Amqp::new(&hub.ready.host_name, proof, &address, Vec::new());
        let mut stream = Stream::new();
        stream.sender((dial_tls(host, port, &hub.trust).await?, session), "", &Form::new(host), WINDOWS);
        streams.push(stream);
    }
    let (rate, cpu) = measure(host, &hub.child, &streams).await.map_err(io::Error::other)?;
    Ok((rate, cpu, hub.child.memory_peak() as f64))
}

async fn theirs(host: &Host, peers: &Peers, folder: &Folder, senders: usize) -> io::Result<(f64, f64, f64)> {
    let tls = Tls::make(host, folder)?;
    let broker = peers::rabbitmq(host, peers, folder, &tls).await?;
    let trust = ClientTls::new(host, Some(&tls.ca_pem), None).map_err(io::Error::other)?;
    let mut streams = Vec::new();
    for _ in 0..senders {
        let session = Amqp::new("localhost", ("guest", "guest"), "/exchange/amq.fanout", Vec::new());
        let mut stream = Stream::new();
        let dialled = dial_tls(host, broker.tls_port, &trust).await?;
        stream.sender((dialled, session), "", &Form::new(host), WINDOWS);
        streams.push(stream);
    }
    let (rate, cpu) = measure(host, &broker.child, &streams).await.map_err(io::Error::other)?;
    Ok((rate, cpu, broker.child.memory_peak() as f64))
}
