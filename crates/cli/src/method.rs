//! `isotherm method`: calls a direct method and prints what it answered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::MethodArgs;
use crate::context::Context;
use crate::output::Failure;
use crate::service::{Request, Service};

/// What IoT Hub accepts as the time to wait for an answer (iot-hub-devguide-direct-methods).
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(300);

/// Does the verb.
pub(crate) async fn method(context: &Context, args: MethodArgs) -> Result<(), Failure> {
    context.log("warn")?;
    if !TIMEOUT.contains(&args.timeout) {
        return Err(Failure::Usage("--timeout must be from 5s to 300s, as IoT Hub has it".to_owned()));
    }
    let payload = match &args.payload {
        None => Value::Null,
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Failure::Usage(format!("the payload is no JSON ({error}); text wants quotes: '\"text\"'"))
        })?,
    };
    let service = Service::find(context, &args.hub)?;
    let answer = call(&service, &args.identity, &args.name, payload, args.timeout).await?;
    context.output.say(&answer, &answer)?;
    match answer.get("status").and_then(Value::as_i64) {
        Some(..400) => Ok(()),
        _ => Err(Failure::No(String::new())),
    }
}

/// One call; the object `{"status", "payload"}`.
pub(crate) async fn call(
    service: &Service,
    identity: &str,
    name: &str,
    payload: Value,
    timeout: Duration,
) -> Result<Value, Failure> {
    let path = format!("{}/methods", service.path("/twins", identity).await?);
    let body = json!({
        "methodName": name,
        "payload": payload,
        "responseTimeoutInSeconds": timeout.as_secs(),
        "connectTimeoutInSeconds": 0,
    });
    service.json(Request::post(&path, body)).await
}
