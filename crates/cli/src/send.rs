//! `isotherm send`: a message in the name of a device or module, for trying routes and filters out.

use std::io::Read;
use std::path::Path;

use serde_json::json;

use crate::args::SendArgs;
use crate::context::Context;
use crate::output::Failure;
use crate::service::{Request, Service, encoded};

/// Does the verb.
pub(crate) async fn send(context: &Context, args: SendArgs) -> Result<(), Failure> {
    context.log("warn")?;
    let service = Service::find(context, &args.hub)?;
    let identity = service.identity(&args.identity).await?;
    if args.output.is_some() && identity.module_id().is_none() {
        return Err(Failure::Usage(format!("{identity} is a device; only modules have outputs")));
    }
    let body = body(args.file.as_deref())?;
    let mut path = format!("/isotherm/v1/messages?from={}", encoded(identity.as_str()));
    if let Some(output) = &args.output {
        path.push_str(&format!("&output={}", encoded(output)));
    }
    for (name, value) in &args.properties {
        path.push_str(&format!("&property={}", encoded(&format!("{name}={value}")))); // a header would lose its case
    }
    let bytes = body.len();
    service.call(Request::post_bytes(&path, body)).await?;
    let said = json!({"event": "sent", "from": identity.as_str(), "output": args.output, "bytes": bytes});
    Ok(context.output.say(&said, format!("{bytes} bytes sent as {identity}"))?)
}

fn body(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match file {
        Some(path) if path != Path::new("-") => {
            std::fs::read(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
        }
        _ => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            Ok(body)
        }
    }
}
