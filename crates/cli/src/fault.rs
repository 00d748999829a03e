//! `isotherm fault`: misfortunes on request, to see how one's own code behaves.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::args::{HubAddress, duration};
use crate::context::Context;
use crate::output::Failure;
use crate::service::{Request, Service};

/// Where the hub takes faults.
const PATH: &str = "/isotherm/v1/faults";

/// `isotherm fault`.
#[derive(Debug, Clone, Subcommand)]
#[command(
    after_help = "WHOM: a module of this edge (`filter`), `device/`, `device/module`, `device/*`, `*` for every device and module,\nor `@service` for the REST calls of services.\n\nExamples:\n  isotherm fault disconnect filter                        once, at once\n  isotherm fault disconnect sensor --duration 30s         nor let it in again for 30 s\n  isotherm fault drop sensor --probability 0.1\n  isotherm fault delay '*' --by 250ms --duration 1m\n  isotherm fault throttle @service --count 5              the next five calls get 429\n  isotherm fault enospc --duration 10s\n  isotherm fault list\n  isotherm fault clear"
)]
pub(crate) enum FaultVerb {
    /// What is said to the hub is lost on the way: not heard, never acknowledged.
    Drop(Struck),
    /// What is said to the hub is heard later.
    Delay {
        /// By how much.
        #[arg(long, value_parser = duration, default_value = "1s")]
        by: Duration,
        #[command(flatten)]
        struck: Struck,
    },
    /// The connection is closed; with --duration nobody is let in for so long.
    Disconnect(Struck),
    /// Too much at once: 429 over HTTPS; over MQTT and AMQP nobody is let in, and messages are heard slowly.
    Throttle(Struck),
    /// The hub's disk is full: nothing is acknowledged, nothing is lost.
    Enospc {
        /// For so long; without it until it is cleared.
        #[arg(long, value_parser = duration)]
        duration: Option<Duration>,
        #[command(flatten)]
        hub: HubAddress,
    },
    /// What is in force.
    List {
        #[command(flatten)]
        hub: HubAddress,
    },
    /// End one fault, or all.
    Clear {
        /// Its number, as `list` shows it.
        id: Option<u64>,
        #[command(flatten)]
        hub: HubAddress,
    },
}

/// Whom a fault strikes, and how often.
#[derive(Debug, Clone, Args)]
pub(crate) struct Struck {
    /// Whom.
    #[arg(value_name = "WHOM")]
    whom: String,
    /// How likely each time, above 0 and at most 1.
    #[arg(long, value_name = "0..1")]
    probability: Option<f64>,
    /// End after so many strikes.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    hub: HubAddress,
}

/// Does the verb.
pub(crate) async fn fault(context: &Context, verb: FaultVerb) -> Result<(), Failure> {
    context.log("warn")?;
    match verb {
        FaultVerb::Drop(struck) => add(context, "drop", struck, None).await,
        FaultVerb::Delay { by, struck } => add(context, "delay", struck, Some(by)).await,
        FaultVerb::Disconnect(struck) => add(context, "disconnect", struck, None).await,
        FaultVerb::Throttle(struck) => add(context, "throttle", struck, None).await,
        FaultVerb::Enospc { duration, hub } => {
            let service = Service::find(context, &hub)?;
            send(context, &service, json!({"kind": "enospc", "durationMs": milliseconds(duration)})).await
        }
        FaultVerb::List { hub } => {
            let service = Service::find(context, &hub)?;
            let list = service.json(Request::get(PATH)).await?;
            for fault in list.as_array().into_iter().flatten() {
                context.output.say(&event(fault), plain(fault))?;
            }
            Ok(())
        }
        FaultVerb::Clear { id, hub } => {
            let service = Service::find(context, &hub)?;
            let path = id.map_or_else(|| PATH.to_owned(), |id| format!("{PATH}/{id}"));
            let cleared = service.json(Request::delete(&path)).await?["cleared"].as_u64().unwrap_or_default();
            if id.is_some() && cleared == 0 {
                return Err(Failure::No("no such fault is in force".to_owned()));
            }
            Ok(context
                .output
                .say(&json!({"event": "cleared", "cleared": cleared}), format!("{cleared} cleared"))?)
        }
    }
}

async fn add(context: &Context, kind: &str, struck: Struck, delay: Option<Duration>) -> Result<(), Failure> {
    let service = Service::find(context, &struck.hub)?;
    let pattern = struck.whom.contains('*') || struck.whom.starts_with('@');
    let whom = if pattern { struck.whom.clone() } else { service.identity(&struck.whom).await?.to_string() };
    let wanted = json!({
        "kind": kind,
        "identity": whom,
        "probability": struck.probability,
        "count": struck.count,
        "durationMs": milliseconds(struck.duration),
        "delayMs": milliseconds(delay),
    });
    send(context, &service, wanted).await
}

async fn send(context: &Context, service: &Service, wanted: Value) -> Result<(), Failure> {
    let fault = service.json(Request::post(PATH, wanted)).await?;
    Ok(context.output.say(&event(&fault), plain(&fault))?)
}

fn milliseconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn event(fault: &Value) -> Value {
    let mut event = json!({"event": "fault"});
    crate::hub::merge(&mut event, fault.clone());
    event
}

fn plain(fault: &Value) -> String {
    let text = |name: &str| fault[name].as_str().unwrap_or_default();
    let mut said = format!("{:3}  {:10} {}", fault["id"], text("kind"), text("identity"));
    for (name, words) in
        [("delayMs", "by ms"), ("left", "times left"), ("leftMs", "ms left"), ("struck", "struck")]
    {
        if let Some(value) = fault[name].as_u64() {
            said.push_str(&format!("  {words} {value}"));
        }
    }
    if fault["probability"].as_f64().is_some_and(|it| it < 1.0) {
        said.push_str(&format!("  probability {}", fault["probability"]));
    }
    said
}
