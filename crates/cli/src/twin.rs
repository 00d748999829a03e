//! `isotherm twin get|patch|watch`.

use std::io::Read;

use serde_json::{Value, json};

use crate::args::{Kind, TwinVerb};
use crate::context::Context;
use crate::output::Failure;
use crate::service::{Request, Service};
use crate::watch;

/// Does the verb.
pub(crate) async fn twin(context: &Context, verb: TwinVerb) -> Result<(), Failure> {
    context.log("warn")?;
    match verb {
        TwinVerb::Get { identity, hub } => {
            let service = Service::find(context, &hub)?;
            let twin = service.json(Request::get(&service.path("/twins", &identity).await?)).await?;
            show(context, &twin)
        }
        TwinVerb::Patch { identity, desired, hub } => {
            let service = Service::find(context, &hub)?;
            let desired = object(&desired)?;
            let path = service.path("/twins", &identity).await?;
            let body = json!({"properties": {"desired": desired}});
            let twin = service.json(Request::patch(&path, body)).await?;
            show(context, &twin)
        }
        TwinVerb::Watch { identity, hub, until } => {
            let service = Service::find(context, &hub)?;
            let identity = service.identity(&identity).await?.to_string();
            watch::follow(context, &service, &[Kind::Twins], "latest", None, &until, |line| {
                line.get("identity").and_then(Value::as_str) == Some(&identity)
            })
            .await
        }
    }
}

fn show(context: &Context, twin: &Value) -> Result<(), Failure> {
    Ok(context.output.say(twin, format!("{twin:#}"))?)
}

/// The argument, or standard input if it is `-`; an object in any case.
fn object(argument: &str) -> Result<Value, Failure> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text)?;
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(Value::Object(map)),
        Ok(other) => Err(Failure::Usage(format!(
            "{other} is no object; right would be '{{\"TemperatureThreshold\": 30}}'"
        ))),
        Err(error) => Err(Failure::Usage(format!("the desired properties are no JSON: {error}"))),
    }
}
