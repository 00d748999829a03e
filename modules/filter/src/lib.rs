//! The filter: it draws the isotherm. A reading above the threshold goes on as an alert, with the message property
//! `MessageType=Alert` and all else on it as it was; a reading below goes no further.
//!
//! The threshold and what softens it come from the module's twin ([`Settings`]) and rule from the next message on.
//! A message is accepted only once its alert is with the hub or on disk, so nothing is lost whichever process dies; a reading
//! that therefore comes twice is recognised by its sender and number and dropped ([`Filter`]).

mod filter;
mod repeats;
mod rule;
mod sensors;
mod settings;
mod status;
pub mod wiring;

use std::sync::Arc;
use std::time::Duration;

use isotherm_client::{Call, Client, Event, SendError};
use isotherm_host::Host;
use isotherm_host::log::Dial;
use isotherm_host::metrics::Board;
use isotherm_iothub::Message;
use serde_json::{Value, json};
use tokio::time;
use tracing::{debug, info, warn};

pub use filter::{Filter, Verdict};
pub use rule::threshold::Threshold;
pub use rule::{Crossing, Rule};
pub use sensors::SENSORS_MAX;
pub use settings::Settings;
pub use status::Status;

/// How often an outbox that is full and may drop nothing is asked again. Meanwhile nothing else is taken.
const ROOM_RETRY: Duration = Duration::from_millis(100);
/// How long a filter that is to end waits for its last alerts to be delivered. They are on disk in any case.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Forwards what exceeds the threshold until the host says stop.
///
/// # Errors
/// If the wiring is wrong.
pub async fn run(host: Host) -> anyhow::Result<()> {
    serve(host).await.map(drop)
}

/// The same, and what was done meanwhile.
///
/// # Errors
/// If the wiring is wrong.
pub async fn serve(host: Host) -> anyhow::Result<Status> {
    let mut client = Client::connect(&host).await?;
    let mut filter = Filter::new(Settings::remembered(&last_reported(&client)));
    let mut reported = Value::Null;
    let board = Arc::new(Board::default());
    host.metrics.ask(&board);
    loop {
        board.post(filter.status(0)); // what is held is the client's to say
        match client.next().await {
            Event::Input { name, message, delivery } => {
                match filter.judge(&message, host.now()) {
                    Verdict::Forward { alert, readings } => match post(&host, &mut client, &alert).await {
                        Posted::Yes => {}
                        Posted::Never(why) => {
                            filter.not_sent(readings);
                            warn!("an alert cannot be sent: {why}");
                        }
                        Posted::NotYet => break, // not accepted either: it comes again after the restart
                    },
                    Verdict::Nothing => {}
                    Verdict::Refused { why, times } => {
                        warn!(input = name, times, "took no notice of what is no reading: {why}");
                    }
                    Verdict::RefusedQuietly => {}
                }
                client.accept(delivery);
            }
            Event::Desired(desired) => {
                let answer = filter.apply(&desired);
                turn(host.log, filter.settings());
                if answer != reported {
                    info!(settings = %answer, "new settings");
                    client.report(answer.clone());
                    reported = answer;
                }
            }
            Event::Method(call) => respond(&mut client, &filter, call),
            Event::CloudToDevice { delivery, .. } => client.accept(delivery), // nothing is expected that way
            Event::Connected => info!("connected"),
            Event::Disconnected { reason } => debug!(reason, "disconnected"),
            Event::Stop => break,
        }
    }
    client.flush(LAST_WORD).await;
    Ok(filter.status(client.held()))
}

/// Logs as much as the twin says.
fn turn(log: Dial, settings: &Settings) {
    if let Err(why) = log.turn(settings.log_level.as_deref()) {
        warn!(why, "the log level stays"); // it was checked when it was taken
    }
}

/// What this filter last said of its settings, from the twin that the client keeps on disk.
fn last_reported(client: &Client) -> Value {
    client.twin().and_then(|mut twin| twin.get_mut("reported").map(Value::take)).unwrap_or_default()
}

enum Posted {
    Yes,
    /// The host said stop before there was room.
    NotYet,
    Never(SendError),
}

/// Puts an alert into the outbox. The client holds back the acceptance that follows until the alert is with
/// the hub or on disk.
async fn post(host: &Host, client: &mut Client, alert: &Message) -> Posted {
    loop {
        match client.post(wiring::OUTPUT, alert) {
            Ok(()) => return Posted::Yes,
            // With nothing in it, an outbox that is full is smaller than this one alert, and waiting would not help.
            Err(SendError::Full) if client.held() > 0 => tokio::select! {
                biased;
                () = host.stop.stopped() => return Posted::NotYet,
                () = time::sleep(ROOM_RETRY) => {}
            },
            Err(error) => return Posted::Never(error),
        }
    }
}

fn respond(client: &mut Client, filter: &Filter, call: Call) {
    let (status, payload) = match call.name.as_str() {
        "ping" => (200, Value::Null),
        "getStatus" => (200, filter.status(client.held()).to_json()),
        name => {
            let why = format!("there is no method {name:?}; there are ping and getStatus");
            (404, json!({ "error": why }))
        }
    };
    client.respond(call, status, payload);
}
