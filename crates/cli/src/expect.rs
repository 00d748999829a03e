//! `isotherm expect`: this input, that output, within a time. A module tested from outside, in one line.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use isotherm_host::http;
use isotherm_proto::{CONTENT_TYPE, Celsius, Reading, SCHEMA_READING, SCHEMA_UPLOAD, Upload};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use crate::args::{HubAddress, Kind, duration};
use crate::context::Context;
use crate::decode::decode;
use crate::output::Failure;
use crate::service::{Request, Service, encoded};
use crate::watch::{object, watch_path};

/// Messages that came and were not the one expected; so many are shown.
const SHOWN_MAX: usize = 5;

/// `isotherm expect`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm expect --module filter --input temperature --send '{\"reading\":31}' --output alert --within 2s\n  isotherm expect --module filter --input temperature --send '{\"reading\":31}' --output alert --where '{\"properties\":{\"MessageType\":\"Alert\"}}'\n  isotherm expect --module filter --input temperature --send '{\"reading\":12}' --output alert --nothing --within 1s\n\nAn object with `reading` (°C; timestamp, sensorId and sequence if you like) or `readings` goes as protobuf, anything\nelse as it is. --where names what must be in the message, at any depth: `reading`, `readings`, `body`, `properties`.\nExit status 1 if it did not come, or came where --nothing was expected."
)]
pub(crate) struct ExpectArgs {
    /// Which module of the edge device.
    #[arg(long, value_name = "NAME")]
    module: String,
    /// Into which of its inputs.
    #[arg(long, value_name = "NAME", requires = "send")]
    input: Option<String>,
    /// What is sent, in order; may be given several times. Without it: what comes of itself.
    #[arg(long, value_name = "JSON|TEXT", requires = "input")]
    send: Vec<String>,
    /// On which of its outputs the answer is expected.
    #[arg(long, value_name = "NAME")]
    output: String,
    /// What the answer must hold.
    #[arg(long = "where", value_name = "JSON")]
    holds: Option<String>,
    /// How long it may take.
    #[arg(long, value_parser = duration, default_value = "2s")]
    within: Duration,
    /// Expect that nothing of the kind comes.
    #[arg(long)]
    nothing: bool,
    #[command(flatten)]
    hub: HubAddress,
}

/// Does the verb.
pub(crate) async fn expect(context: &Context, args: ExpectArgs) -> Result<(), Failure> {
    context.log("warn")?;
    let holds = args.holds.as_deref().map(serde_json::from_str::<Value>).transpose();
    let holds = holds.map_err(|error| Failure::Usage(format!("--where is no JSON: {error}")))?;
    let bodies: Vec<Sent> = args
        .send
        .iter()
        .enumerate()
        .map(|(place, text)| sent(context, text, place))
        .collect::<Result<_, _>>()?;
    let service = Service::find(context, &args.hub)?;
    let identity = service.identity(&args.module).await?;
    let module = identity.module_id().unwrap_or(&args.module).to_owned();
    // The watch is open before anything is sent, so that no answer is too fast to be seen.
    let mut lines =
        service.lines(Request::get(&watch_path(&[Kind::Messages], "latest", Some(&module)))).await?;
    let end = Instant::now() + args.within;
    for body in bodies {
        let input = args.input.as_deref().unwrap_or_default();
        service.call(body.into_input(identity.as_str(), input)).await?;
    }
    let mut others = Vec::new();
    let met = meets(&mut lines, end, |line| {
        let ours = line.get("from").is_some_and(|from| from == identity.as_str());
        let output = line.get("output").and_then(Value::as_str) == Some(&args.output);
        let found = ours
            && output
            && holds.as_ref().is_none_or(|holds| is_within(holds, &Value::Object(line.clone())));
        if ours && !found && others.len() < SHOWN_MAX {
            others.push(Value::Object(line.clone()).to_string());
        }
        found
    })
    .await?;
    match (met, args.nothing) {
        (Some(line), false) => Ok(context.output.say(&line, crate::decode::plain(as_map(&line)))?),
        (None, true) => {
            let said = json!({"event": "nothing", "from": identity.as_str(), "output": args.output});
            Ok(context
                .output
                .say(&said, format!("nothing came from {identity}.{}, as expected", args.output))?)
        }
        (Some(line), true) => Err(Failure::No(format!("nothing was expected, this came: {line}"))),
        (None, false) => Err(Failure::No(missed(&service, &args, identity.as_str(), &others).await)),
    }
}

/// The first line that is wanted, if it comes in time.
async fn meets(
    lines: &mut http::Lines,
    end: Instant,
    mut wanted: impl FnMut(&Map<String, Value>) -> bool,
) -> Result<Option<Value>, Failure> {
    loop {
        let Ok(line) = timeout_at(end, lines.next()).await else { return Ok(None) };
        let Some(line) = line? else {
            return Err(Failure::Nobody("the hub ended the watch".to_owned()));
        };
        if let Some(line) = object(&line).map(decode).filter(|line| wanted(line)) {
            return Ok(Some(Value::Object(line)));
        }
    }
}

fn as_map(line: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    line.as_object().unwrap_or(&EMPTY)
}

/// Why it may not have come.
async fn missed(service: &Service, args: &ExpectArgs, identity: &str, others: &[String]) -> String {
    let mut said =
        format!("nothing of the kind came from {identity}.{} within {:?}", args.output, args.within);
    let status = service.json(Request::get("/isotherm/v1/status")).await.unwrap_or_default();
    let connected = status["connected"].as_array().is_some_and(|all| all.iter().any(|who| who == identity));
    if !connected {
        said.push_str(&format!("; {identity} is not connected"));
    }
    for other in others {
        said.push_str(&format!("\n  this came instead: {other}"));
    }
    said
}

/// A body with what says of which kind it is.
struct Sent {
    body: Bytes,
    /// Content type and schema.
    kind: Option<(&'static str, &'static str)>,
}

impl Sent {
    fn into_input(self, module: &str, input: &str) -> Request {
        let path = format!("/isotherm/v1/inputs?to={}&input={}", encoded(module), encoded(input));
        let mut request = Request::post_bytes(&path, self.body.to_vec());
        if let Some((content_type, schema)) = self.kind {
            request.header("iothub-contenttype".to_owned(), content_type.to_owned());
            request.header("iothub-message-schema".to_owned(), schema.to_owned());
        }
        request
    }
}

/// Readings become protobuf, the rest stays what it is.
fn sent(context: &Context, text: &str, place: usize) -> Result<Sent, Failure> {
    let plain = || Sent { body: Bytes::copy_from_slice(text.as_bytes()), kind: None };
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else { return Ok(plain()) };
    if object.get("reading").is_some_and(Value::is_number) {
        let reading = reading(context, &object, place)?;
        return Ok(Sent { body: reading.encode(), kind: Some((CONTENT_TYPE, SCHEMA_READING)) });
    }
    let Some(readings) = object.get("readings").and_then(Value::as_array) else { return Ok(plain()) };
    let readings = readings.iter().enumerate().map(|(place, it)| reading(context, as_map(it), place));
    let upload = Upload { uploaded_at: context.host.wall(), readings: readings.collect::<Result<_, _>>()? };
    Ok(Sent { body: upload.encode(), kind: Some((CONTENT_TYPE, SCHEMA_UPLOAD)) })
}

fn reading(context: &Context, object: &Map<String, Value>, place: usize) -> Result<Reading, Failure> {
    let wrong = |why: String| Failure::Usage(format!("--send: {why}"));
    let now = context.host.wall();
    let celsius = object.get("reading").and_then(Value::as_f64);
    let celsius = celsius.ok_or_else(|| wrong("a reading is {\"reading\": 21.5}".to_owned()))?;
    let at = match object.get("timestamp") {
        None => now,
        Some(text) => text
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong(format!("timestamp: {text} is no time such as 2026-01-31T12:00:00Z")))?,
    };
    // Nobody shall take it for a repeat of what an earlier test sent.
    let unique = u64::try_from(now.as_microsecond()).unwrap_or_default() + place as u64;
    Ok(Reading {
        sensor_id: object.get("sensorId").and_then(Value::as_str).unwrap_or("expect").to_owned(),
        sequence: object.get("sequence").and_then(Value::as_u64).unwrap_or(unique),
        celsius: Celsius::new(celsius as f32).map_err(|refused| wrong(refused.to_string()))?,
        at,
    })
}

/// Whether everything in `wanted` is in `found` too, at any depth. Numbers are compared as a chip's: to 1/1000.
fn is_within(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, value)| found.get(name).is_some_and(|found| is_within(value, found)))
        }
        (Value::Object(_), Value::String(text)) => {
            serde_json::from_str(text).is_ok_and(|found: Value| is_within(wanted, &found)) // a body that is JSON
        }
        (Value::Number(wanted), Value::Number(found)) => {
            let (wanted, found) = (wanted.as_f64().unwrap_or(f64::NAN), found.as_f64().unwrap_or(f64::NAN));
            (wanted - found).abs() <= 0.001
        }
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_may_be_a_part_of_what_came() {
        let came = json!({"output": "alert", "properties": {"MessageType": "Alert", "more": 1}, "reading": {"reading": 31.0625}});
        for wanted in [
            json!({}),
            json!({"properties": {"MessageType": "Alert"}}),
            json!({"reading": {"reading": 31.0625}}),
            json!({"reading": {"reading": 31.0626}}),
        ] {
            assert!(is_within(&wanted, &came), "{wanted}");
        }
        for wanted in [
            json!({"properties": {"MessageType": "Other"}}),
            json!({"nothing": null}),
            json!({"reading": 31}),
        ] {
            assert!(!is_within(&wanted, &came), "{wanted}");
        }
        assert!(is_within(&json!({"body": {"a": 1}}), &json!({"body": "{\"a\": 1, \"b\": 2}"})));
    }
}
