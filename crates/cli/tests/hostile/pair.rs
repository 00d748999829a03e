//! The two who behave: one publishes a message each millisecond, the other takes them in. Latency counts from when
//! a message was due, so that a stalled sender cannot hide it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use isotherm_iothub::{ConnectionString, Identity, Key};
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, Publish, decode, encode};
use isotherm_protocol::mqtt::{Packet, Qos};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::wire::{Site, text};

/// Messages a second.
pub(crate) const RATE: u64 = 1_000;
/// How long what was published may take to arrive after the last one.
const STRAGGLERS: Duration = Duration::from_secs(30);

/// What became of the messages of one while.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) arrived: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    /// From due to delivered, sorted.
    latencies: Vec<Duration>,
}

impl Outcome {
    /// How late the message is than which that share is faster.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
        let place = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len() - 1);
        self.latencies[place]
    }

    /// Panics unless each was acknowledged and each arrived, once and in order.
    pub(crate) fn assert_whole(&self, when: &str) {
        let Self { published, acknowledged, arrived, doubled, disordered, .. } = self;
        assert_eq!(
            (acknowledged, arrived),
            (published, published),
            "{when}: acknowledged, arrived, published"
        );
        assert_eq!((doubled, disordered), (&0, &0), "{when}: doubled, out of order");
    }
}

/// Who they are: the hub's own two modules.
pub(crate) struct Pair {
    site: Site,
    sensor: (Identity, Key),
    filter: (Identity, Key),
}

impl Pair {
    pub(crate) fn of(site: &Site, ready: &Value) -> Self {
        let module = |name: &str| {
            let text = ready["modules"][name].as_str().expect("a connection string");
            let parsed: ConnectionString = text.parse().expect("a connection string");
            (parsed.identity.expect("an identity"), parsed.key.expect("a key"))
        };
        Self { site: site.clone(), sensor: module("sensor"), filter: module("filter") }
    }

    /// Publishes for a while and counts.
    pub(crate) async fn go_on(&self, lasting: Duration) -> io::Result<Outcome> {
        let mut taker = self.site.enter_at_last(&self.filter.0, &self.filter.1).await?;
        let inputs = text(&format!("devices/{}/modules/filter/inputs/#", self.filter.0.device_id()));
        let filters = vec![(inputs, Qos::AtLeastOnce)];
        taker.say(&Packet::Subscribe { packet_id: 1, filters }).await?;
        assert!(matches!(taker.hear().await?, Packet::SubAck { .. }));
        let giver = self.site.enter_at_last(&self.sensor.0, &self.sensor.1).await?;

        let begun = Instant::now() + Duration::from_millis(50);
        let count = lasting.as_secs() * RATE;
        let taking = tokio::spawn(take(taker, begun, count));
        let acknowledged = self.give(giver, begun, count).await?;
        let mut outcome = taking.await.expect("the taker does not panic")?;
        (outcome.published, outcome.acknowledged) = (count, acknowledged);
        Ok(outcome)
    }

    async fn give(&self, giver: super::wire::Wire, begun: Instant, count: u64) -> io::Result<u64> {
        let topic = format!(
            "devices/{}/modules/sensor/messages/events/%24.on=temperature",
            self.sensor.0.device_id()
        );
        let topic = text(&topic);
        let (mut hearing, mut saying) = tokio::io::split(giver.stream);
        let publishing = async {
            let mut bytes = BytesMut::new();
            let mut sequence = 0;
            while sequence < count {
                let due = begun + Duration::from_micros(sequence * 1_000_000 / RATE);
                sleep_until(due).await;
                bytes.clear();
                // All that is due by now goes in one write, each with its own time.
                let now = Instant::now();
                while sequence < count && begun + Duration::from_micros(sequence * 1_000_000 / RATE) <= now {
                    let packet_id = u16::try_from(sequence % 60_000 + 1).expect("it is small");
                    let payload = Bytes::copy_from_slice(&sequence.to_le_bytes());
                    let (dup, qos, retain, topic) = (false, Qos::AtLeastOnce, false, topic.clone());
                    encode(
                        &Packet::Publish(Publish { dup, qos, retain, topic, packet_id, payload }),
                        &mut bytes,
                    );
                    sequence += 1;
                }
                saying.write_all(&bytes).await?;
                saying.flush().await?;
            }
            io::Result::Ok(())
        };
        let acknowledging = async {
            let (mut bytes, mut acknowledged) = (BytesMut::new(), 0);
            while acknowledged < count {
                while let Ok(Some(packet)) = decode(&mut bytes, PACKET_BYTES_MAX) {
                    acknowledged += u64::from(matches!(packet, Packet::PubAck(_)));
                }
                if acknowledged < count && hearing.read_buf(&mut bytes).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            io::Result::Ok(acknowledged)
        };
        let (published, acknowledged) = tokio::join!(publishing, acknowledging);
        published?;
        acknowledged
    }
}

async fn take(mut taker: super::wire::Wire, begun: Instant, count: u64) -> io::Result<Outcome> {
    let mut outcome = Outcome {
        published: 0,
        acknowledged: 0,
        arrived: 0,
        doubled: 0,
        disordered: 0,
        latencies: Vec::new(),
    };
    let deadline = begun + Duration::from_millis(count * 1_000 / RATE) + STRAGGLERS;
    let mut expected = 0;
    while outcome.arrived < count && Instant::now() < deadline {
        let Ok(heard) = timeout(STRAGGLERS, taker.hear_when_it_comes()).await else { break };
        let Packet::Publish(message) = heard? else { continue };
        taker.say(&Packet::PubAck(message.packet_id)).await?;
        let sequence = u64::from_le_bytes(message.payload[..8].try_into().expect("eight bytes"));
        let due = begun + Duration::from_micros(sequence * 1_000_000 / RATE);
        outcome.latencies.push(Instant::now().saturating_duration_since(due));
        if sequence < expected {
            outcome.doubled += 1;
            continue;
        }
        outcome.disordered += u64::from(sequence > expected);
        outcome.arrived += 1;
        expected = sequence + 1;
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}
