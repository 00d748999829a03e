//! `isotherm bench`: every figure of ours beside its peers', in one interleaved run on one machine.
//!
//! Each process under test is a process of its own, watched from outside. Messages are numbered, so that every run
//! also shows whether one was lost, doubled or out of order. Latency is measured from when a message was due.

mod amqp;
mod child;
mod durable;
mod filter;
mod load;
mod peers;
mod relay;
mod render;
mod report;
mod sessions;
mod site;
mod store;
mod talk;
mod talk_amqp;
mod uplink;

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use isotherm_host::Host;

use crate::context::Context;
use crate::output::Failure;
use child::Folder;
use peers::{Peers, Tls};
use report::Report;

/// `isotherm bench`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm bench\n  isotherm bench filter --against c,node --rounds 5\n  isotherm bench relay durable --json\n\nPeers that are not installed are named, with how to get them. Quote what it shows as ratios of one run: absolute\nnumbers are the machine's as much as ours. Exit status 1 if a message was lost, doubled or out of order."
)]
pub(crate) struct BenchArgs {
    /// Which figures; without it: all.
    #[arg(value_enum, value_name = "NAME")]
    pub(crate) names: Vec<Figures>,
    /// Beside whom: c, node, python, mosquitto, rumqttd, nats, nats-plain, rabbitmq,
    /// iotedgedev; without it: all that are installed.
    #[arg(long, value_delimiter = ',', value_name = "PEER,…")]
    pub(crate) against: Vec<String>,
    /// How often everything is measured; the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Where the peers were put by benches/peers/get.
    #[arg(long, default_value = "target/peers", value_name = "DIR")]
    pub(crate) peers: PathBuf,
    /// Measure the binaries in this folder [default: this program, and the modules' beside it].
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figures {
    /// The filter over a plain broker, beside the same filter in C, Node and Python.
    Filter,
    /// The same with TLS between filter and broker.
    FilterTls,
    /// The hub between modules, in memory, beside other brokers.
    Relay,
    /// Publishing with sync before acknowledgement, beside NATS; and what a kill costs.
    Durable,
    /// Telemetry over AMQP 1.0, beside RabbitMQ.
    Amqp,
    /// A thousand devices with a session each: what an idle one costs; the hub's start and its rest.
    Sessions,
    /// Sensor → filter → upstream at a thousand readings a second.
    Site,
    /// From nothing to the first reading upstream.
    Start,
    /// A site with one reading a second to carry.
    Idle,
    /// A million stored messages: how long the hub takes to be there again after a kill, how fast they drain, and
    /// how late a live reading is meanwhile.
    #[value(aliases = ["reopen", "drain"])]
    Backlog,
    /// A million messages that an outage of the uplink has left: how fast they go up, to a hub and to mosquitto, and
    /// how late a live one is meanwhile.
    Uplink,
    /// Bytes written to disk for a byte of payload, at 2,000 messages of 60 bytes a second.
    Written,
    /// A manifest from the project's template, beside iotedgedev.
    Render,
}

impl Figures {
    pub(crate) const ALL: [Figures; 13] = [
        Figures::Filter,
        Figures::FilterTls,
        Figures::Relay,
        Figures::Durable,
        Figures::Amqp,
        Figures::Sessions,
        Figures::Site,
        Figures::Start,
        Figures::Idle,
        Figures::Backlog,
        Figures::Uplink,
        Figures::Written,
        Figures::Render,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Figures::Filter => "filter",
            Figures::FilterTls => "filter-tls",
            Figures::Relay => "relay",
            Figures::Durable => "durable",
            Figures::Amqp => "amqp",
            Figures::Sessions => "sessions",
            Figures::Site => "site",
            Figures::Start => "start",
            Figures::Idle => "idle",
            Figures::Backlog => "backlog",
            Figures::Uplink => "uplink",
            Figures::Written => "written",
            Figures::Render => "render",
        }
    }
}

/// Measures what is asked for, or everything.
pub(crate) async fn bench(context: &Context, args: BenchArgs) -> Result<(), Failure> {
    context.log("warn")?;
    let host = &context.host;
    context.stop_on_signals(&host.stop)?;
    let peers = Peers::find(host, args.peers, args.binaries, args.against)?;
    let names = if args.names.is_empty() { Figures::ALL.to_vec() } else { args.names };
    let mut report = Report::default();
    for round in 1..=args.rounds {
        for name in &names {
            eprintln!("round {round} of {}: {}", args.rounds, name.name());
            let folder = Folder::new(&peers::disk_folder(&context.state), name.name())?;
            let outcome = tokio::select! {
                biased;
                () = host.stop.stopped() => break,
                outcome = one(host, &peers, &folder, *name, &mut report) => outcome,
            };
            if let Err(error) = outcome {
                report.trouble(format!("{}: {error}", name.name()));
            }
        }
    }
    report.print(&context.output)
}

async fn one(
    host: &Host,
    peers: &Peers,
    folder: &Folder,
    name: Figures,
    report: &mut Report,
) -> io::Result<()> {
    match name {
        Figures::Filter => filter::round(host, peers, folder, None, report).await,
        Figures::FilterTls => {
            let tls = Tls::make(host, folder)?;
            filter::round(host, peers, folder, Some(&tls), report).await
        }
        Figures::Relay => relay::round(host, peers, folder, report).await,
        Figures::Durable => durable::round(host, peers, folder, report).await,
        Figures::Amqp => amqp::round(host, peers, folder, report).await,
        Figures::Sessions => sessions::round(host, peers, folder, report).await,
        Figures::Site => site::latency(host, peers, folder, report).await,
        Figures::Start => site::start(host, peers, folder, report).await,
        Figures::Idle => site::idle(host, peers, folder, report).await,
        Figures::Backlog => store::backlog(host, peers, folder, report).await,
        Figures::Uplink => uplink::round(host, peers, folder, report).await,
        Figures::Written => store::written(host, peers, folder, report).await,
        Figures::Render => render::round(host, peers, folder, report),
    }
}
