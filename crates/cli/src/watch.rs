//! `isotherm watch`: what passes, as lines or JSON.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time;

use crate::args::{Kind, Until, WatchArgs};
use crate::context::Context;
use crate::decode::{decode, plain};
use crate::output::Failure;
use crate::service::{Request, Service, encoded};

/// How long an end without `--timeout` is away: no watch lasts longer than a machine.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Does the verb.
pub(crate) async fn watch(context: &Context, args: WatchArgs) -> Result<(), Failure> {
    context.log("warn")?;
    let service = Service::find(context, &args.hub)?;
    let both = [Kind::Messages, Kind::Upstream];
    let kinds = if args.kinds.is_empty() { &both[..] } else { &args.kinds };
    follow(context, &service, kinds, &args.from, args.module.as_deref(), &args.until, |_| true).await
}

/// Prints what passes and is wanted, until the end that was asked for.
pub(crate) async fn follow(
    context: &Context,
    service: &Service,
    kinds: &[Kind],
    from: &str,
    module: Option<&str>,
    until: &Until,
    wanted: impl Fn(&Map<String, Value>) -> bool,
) -> Result<(), Failure> {
    let stop = &context.host.stop;
    context.stop_on_signals(stop)?;
    let mut lines = service.lines(Request::get(&watch_path(kinds, from, module))).await?;
    let end = time::sleep(until.timeout.unwrap_or(FOR_EVER));
    tokio::pin!(end);
    let mut seen = 0;
    while until.count.is_none_or(|count| seen < count) {
        let line = tokio::select! {
            biased;
            () = stop.stopped() => return Ok(()),
            line = lines.next() => line?,
            () = &mut end => return fewer(seen, until.count),
        };
        let Some(line) = line else {
            return Err(Failure::Nobody("the hub ended the watch".to_owned()));
        };
        let Some(line) = object(&line).map(decode).filter(|line| wanted(line)) else { continue };
        seen += u64::from(line.get("event").is_none_or(|event| event != "lost"));
        let sentence = plain(&line);
        if context.output.say(&Value::Object(line), sentence).is_err() {
            return Ok(()); // nobody reads any more: `watch | head` is no failure
        }
    }
    Ok(())
}

fn fewer(seen: u64, wanted: Option<u64>) -> Result<(), Failure> {
    match wanted {
        Some(wanted) if seen < wanted => Err(Failure::No(format!("{seen} of {wanted} came in time"))),
        _ => Ok(()),
    }
}

/// The path of a watch; `messages` and so on joined by commas.
pub(crate) fn watch_path(kinds: &[Kind], from: &str, module: Option<&str>) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let mut path = format!("/isotherm/v1/watch?kinds={}&from={}", names.join(","), encoded(from));
    if let Some(module) = module {
        path.push_str(&format!("&module={}", encoded(module)));
    }
    path
}

/// A line of the hub's; an empty one only keeps the connection awake.
pub(crate) fn object(line: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(line).ok()
}
