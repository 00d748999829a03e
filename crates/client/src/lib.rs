//! One identity's connection to a hub, a module's or a device's: IoT Hub, Azure IoT Edge's edgeHub, isotherm's own,
//! or any MQTT 3.1.1 broker.
//!
//! [`Client::connect`] reads the environment and returns at once; from then on a task of its own dials, renews the
//! token, and dials again whenever the link is lost, with jittered back-off. Its user sees none of that. It sends into
//! a durable outbox, takes [`Event`]s, and accepts what it has dealt with:
//!
//! ```no_run
//! # async fn run(host: isotherm_host::Host) -> Result<(), Box<dyn std::error::Error>> {
//! use isotherm_client::{Client, Event};
//!
//! let mut client = Client::connect(&host).await?;
//! loop {
//!     match client.next().await {
//!         Event::Input { message, delivery, .. } => {
//!             client.send("output1", message, None).await?; // on disk when this returns
//!             client.accept(delivery); // only now may the hub forget it
//!         }
//!         Event::Method(call) => client.respond(call, 200, serde_json::json!({"ok": true})),
//!         Event::Desired(desired) => println!("settings are now {desired}"),
//!         Event::Stop => return Ok(()),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # What holds
//! - **Sent is kept.** [`Client::send`] returns once the message is synced. It is published again after every
//!   reconnect and restart until the hub has acknowledged it: at least once, in the order it was sent. Whoever reads
//!   drops repeats by a number that the sender puts into the message. Only a full outbox lets the oldest go
//!   ([`WhenFull`]), and says how many.
//! - **Taken is not accepted.** The hub delivers an input again until [`Client::accept`] was called for it, and the
//!   acknowledgement waits for all that was sent before it. A module that forwards can thus [`Client::post`] and
//!   accept without waiting for the disk, and nothing is lost.
//! - **The twin is whole.** [`Event::Desired`] always carries the whole desired section; a gap in versions makes the
//!   client fetch it. The last one is kept, and comes first at the next start, hub or no hub. What is reported is
//!   merged while there is no connection, and told again until the hub has it.
//! - **A method's answer is not lost** with the connection that the call came by: it goes out by the next one.
//!
//! # Variables
//! | variable | |
//! | --- | --- |
//! | `EdgeHubConnectionString` | `HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…;GatewayHostName=…`, or with `SharedAccessSignature` or `x509=true` in place of the key. `GatewayHostName` (or `HostName`, without a gateway) may carry the port of MQTT over TLS: `localhost:18883` |
//! | `EdgeModuleCACertificateFile` | whom to trust, PEM; without it the system's roots |
//! | `X509_CERTIFICATE_FILE`, `X509_KEY_FILE` | the certificate (chain) and key that `x509=true` speaks of, PEM |
//! | `IOTEDGE_WORKLOADURI`, `IOTEDGE_DEVICEID`, `IOTEDGE_MODULEID`, `IOTEDGE_MODULEGENERATIONID`, `IOTEDGE_IOTHUBHOSTNAME`, `IOTEDGE_GATEWAYHOSTNAME`, `IOTEDGE_APIVERSION`, `IOTEDGE_AUTHSCHEME` | as edgeAgent sets them; used without a connection string |
//! | `TransportType` | `Mqtt_Tcp_Only` (the default), `Mqtt_WebSocket_Only`, `Amqp_Tcp_Only`, `Amqp_WebSocket_Only`; `Mqtt` and `Amqp`: TCP, and WebSocket after a dial that failed, in turn |
//! | `EdgeHubAmqpsPort` | the port of AMQP over TLS, 5671 |
//! | `EdgeHubHttpsPort` | the port of WebSocket and REST, 443 |
//! | `BROKER_URL`, `INPUT_TOPIC`, `OUTPUT_TOPIC`, `BROKER_CA_FILE`, `MODULE_SETTINGS`, `BROKER_CLIENT_ID` | a plain broker in place of a hub: `mqtts://user:key@host:port`, a topic in, a topic out, whom to trust, the desired properties, the name of the session. Bodies only: there are no properties, and outputs are one |
//! | `OUTBOX_BYTES_MAX`, `OUTBOX_WHEN_FULL` (`drop-oldest`, `refuse`), `OUTBOX` (`disk`, `hand-to-hand`) | see [`Options`] |
//! | `ISOTHERM_STATE` | the folder that has a folder for each identity; `.isotherm` |
//!
//! # The two dialects
//! All of this holds over AMQP as over MQTT; a user cannot tell, but for two things. Over AMQP a fresh token is shown
//! on the connection that stands, where MQTT has to begin a new one. And over AMQP a hub can refuse one message
//! ([`Stats::refused`]), where over MQTT it can only close the connection. Many identities can share one AMQP
//! connection: see [`Trunk`].

mod client;
mod connection;
mod credentials;
mod dialect;
mod event;
mod invoke;
mod keeper;
mod meter;
mod options;
mod outbox;
pub mod setting;
mod shared;
mod sink;
mod twin;
mod url;
mod wiring;

pub use client::Client;
pub use dialect::amqp::Trunk;
pub use event::{Call, ConnectError, Delivery, Event, InvokeError, Progress, SendError, Stats};
pub use options::{
    AMQPS_PORT, Credentials, Custody, HTTPS_PORT, MQTTS_PORT, OUTBOX_BYTES_MAX, Options, TOKEN_LIFE,
    Transport, WhenFull, Workload,
};
pub use sink::Sink;
