//! `isotherm hub`: the hub alone.

use isotherm_hub::{Hub, Options, Quotas, Ready, SyncWhen, Upstream, WhenFull};
use serde_json::{Value, json};

use crate::args::{HubArgs, Sync};
use crate::context::Context;
use crate::output::Failure;

/// Runs until it is told to stop.
pub(crate) async fn hub(context: &Context, args: HubArgs) -> Result<(), Failure> {
    context.log("info")?;
    context.stop_on_signals(&context.host.stop)?;
    isotherm_host::metrics::serve(&context.host).await?;
    let upstream = Upstream::from_env(&context.host.env)?;
    let options = Options { state: context.state.clone(), upstream, ..options(args) };
    let hub = Hub::start(context.host.clone(), options).await?;
    context.output.say(&ready_event(hub.ready()), plain(hub.ready()))?;
    Ok(hub.closed().await?)
}

fn options(args: HubArgs) -> Options {
    Options {
        ephemeral: args.ephemeral,
        template: args.template,
        host_name: args.host_name,
        listen: args.listen,
        mqtts: args.mqtts,
        amqps: args.amqps,
        https: args.https,
        policies: args.policies,
        device_ca: args.device_ca,
        quotas: if args.quotas == "s1" { Quotas::S1 } else { Quotas::None },
        sync: match args.sync {
            Sync::Batch => SyncWhen::Batch,
            Sync::Every(interval) => SyncWhen::Interval(interval),
        },
        store_bytes: args.store_bytes,
        log_bytes: args.log_bytes,
        when_full: match &*args.when_full {
            "drop-oldest" => WhenFull::DropOldest,
            "drop-lowest-priority" => WhenFull::DropLowestPriority,
            _ => WhenFull::Refuse,
        },
        fresh_first: args.fresh_first,
        ..Options::default()
    }
}

/// The `ready` event of `isotherm hub`.
pub(crate) fn ready_event(ready: &Ready) -> Value {
    let mut event = json!({"event": "ready"});
    merge(&mut event, json!(ready));
    event
}

/// Adds the members of one object to another.
pub(crate) fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn plain(ready: &Ready) -> String {
    let mut lines = vec![
        format!("{} is ready on {}", ready.host_name, ready.address),
        format!("  mqtts {}   https {}   trust {}", ready.ports.mqtts, ready.ports.https, ready.ca),
        format!("  workload {}", ready.workload),
    ];
    if ready.modules.is_empty() {
        lines.push("  no modules yet; --template brings some".to_owned());
    }
    for module in ready.modules.keys() {
        lines.push(format!("  module {module}"));
    }
    lines.push("  connection strings: --json, or hub.json in the state folder; Ctrl-C ends it".to_owned());
    lines.join("\n")
}
