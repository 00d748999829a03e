//! The sensor: reads a TMP102 and hands what it read to the hub.
//!
//! A reading begins as two bytes on an I2C bus ([`bus`]), becomes a temperature by way of a driver ([`chip`]), gets
//! a number and a time ([`readings`]) and goes into the outbox as a message, by itself or in a batch. The chip is a
//! real one, one that the kernel's driver owns, or an emulated one that the very same driver reads, in an emulated
//! room or fed by a file ([`replay`]). The environment says which ([`wiring`]); the twin says how often and in which
//! mode ([`settings`]). Direct methods: `ping`, `readNow`, `getStatus`.

pub mod bus;
pub mod chip;
mod methods;
mod pace;
mod reader;
pub mod readings;
pub mod replay;
mod sensor;
pub mod settings;
mod status;
pub mod wiring;

use isotherm_client::Client;
use isotherm_host::Host;
use tracing::{info, warn};

use reader::Reader;
use readings::Bookmark;
use sensor::Sensor;
use wiring::Wiring;

/// The output that messages leave by.
pub const OUTPUT: &str = "temperature";

/// Reads the chip whenever a reading is due and hands what it read to the hub, until told to stop.
///
/// # Errors
/// If a variable is missing or makes no sense; it is named, with what would be right.
pub async fn run(host: Host) -> anyhow::Result<()> {
    serve(host).await.map(drop)
}

/// The same, and what was done meanwhile.
///
/// # Errors
/// As [`run`].
pub async fn serve(host: Host) -> anyhow::Result<Totals> {
    let wiring = Wiring::from_env(&host.env)?;
    let client = Client::connect(&host).await?;
    let bookmark = bookmark_of(&client);
    let chip = wiring.open_chip(&host, &bookmark)?;
    info!(sensor_id = wiring.sensor_id, chip = chip.name(), after = bookmark.sequence, "the sensor begins");
    let reader = Reader::new(host.clone(), &wiring, chip, bookmark, client.twin().as_ref());
    Ok(Sensor::new(&host, client, reader).run().await)
}

/// What a sensor did from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Readings taken.
    pub sensed: u64,
    /// Answers of the chip that no chip can have measured.
    pub refused: u64,
    /// Messages that the hub had not acknowledged at the end; they are on disk.
    pub held: u64,
}

/// How far the sensor came before it was last ended.
fn bookmark_of(client: &Client) -> Bookmark {
    let Some(bytes) = client.bookmark() else { return Bookmark::default() };
    Bookmark::decode(&bytes).unwrap_or_else(|| {
        warn!("the outbox's bookmark is not the sensor's; counting begins anew");
        Bookmark::default()
    })
}
