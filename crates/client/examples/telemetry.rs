//! A device that sends its temperature every ten seconds, hub or no hub, and goes on counting where it was.
//!
//! ```text
//! EdgeHubConnectionString='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run -p isotherm-client --example telemetry
//! ```

use std::{process::ExitCode, time::Duration};

use isotherm_client::{Client, Event};
use isotherm_host::Host;
use isotherm_iothub::{Message, SystemProperty};
use tokio::time::{MissedTickBehavior, interval};

fn main() -> ExitCode {
    isotherm_host::start::main("telemetry", env!("CARGO_PKG_VERSION"), run)
}

async fn run(host: Host) -> anyhow::Result<()> {
    let mut client = Client::connect(&host).await?;
    let mut count: u64 =
        client.bookmark().and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()).unwrap_or(0);
    let mut every = interval(Duration::from_secs(10));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            event = client.next() => match event {
                Event::Stop => return Ok(()),
                Event::Desired(desired) => {
                    if let Some(seconds) = desired["interval"].as_u64().filter(|seconds| *seconds > 0) {
                        every = interval(Duration::from_secs(seconds));
                    }
                }
                Event::CloudToDevice { message, delivery } => {
                    println!("the cloud says {:?}", message.body);
                    client.accept(delivery);
                }
                Event::Method(call) => client.respond(call, 404, serde_json::Value::Null),
                other => println!("{other:?}"),
            },
            _ = every.tick() => {
                count += 1;
                let celsius = 20.0 + 5.0 * host.chance.f64();
                let message = Message::new(format!(r#"{{"temperature":{celsius:.2},"count":{count}}}"#))
                    .with_system(SystemProperty::ContentType, "application/json")
                    .with_system(SystemProperty::ContentEncoding, "utf-8");
                // Once this returns, the count is safe together with the message.
                client.send("", message, Some(count.to_string().as_bytes())).await?;
            }
        }
    }
}
