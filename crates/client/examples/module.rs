//! A module that passes on what comes in on any input, answers methods, and reports what it was told to be.
//!
//! ```text
//! EdgeHubConnectionString='HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…;GatewayHostName=…' \
//! EdgeModuleCACertificateFile=ca.pem cargo run -p isotherm-client --example module
//! ```

use std::process::ExitCode;

use isotherm_client::{Client, Event};
use isotherm_host::Host;
use serde_json::json;

fn main() -> ExitCode {
    isotherm_host::start::main("module", env!("CARGO_PKG_VERSION"), run)
}

async fn run(host: Host) -> anyhow::Result<()> {
    let mut client = Client::connect(&host).await?;
    let mut passed: u64 = 0;
    loop {
        match client.next().await {
            Event::Input { name, message, delivery } => {
                // No waiting for the disk here: the hub hears of the acceptance only when the message is safe.
                client.post("output", &message.with_property("cameBy", name))?;
                client.accept(delivery);
                passed += 1;
            }
            Event::Desired(desired) => {
                client.report(json!({"label": {"value": desired["label"], "ac": 200}}))
            }
            Event::Method(call) if call.name == "count" => {
                client.respond(call, 200, json!({ "passed": passed }))
            }
            Event::Method(call) => client.respond(call, 404, json!("there is only count")),
            Event::Stop => return Ok(()),
            other => println!("{other:?}"),
        }
    }
}
