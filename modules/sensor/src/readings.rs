//! What was read, numbered, kept together and made into messages.

use std::{
    mem,
    time::{Duration, Instant},
};

use isotherm_iothub::{Message, SystemProperty};
use isotherm_proto::{CONTENT_TYPE, Celsius, Reading, SCHEMA_READING, SCHEMA_UPLOAD, Upload};
use jiff::Timestamp;

/// How far the sensor came: kept in the outbox with each message, read when the sensor starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    /// The last sequence given away.
    pub sequence: u64,
    /// Which file is replayed, by its fingerprint, and how many of its rows were read.
    pub replay: Option<(u64, u64)>,
}

impl Bookmark {
    /// As bytes: `1 SEQUENCE [FINGERPRINT ROW]`, where 1 is the version of this form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self.replay {
            None => format!("1 {}", self.sequence),
            Some((fingerprint, row)) => format!("1 {} {fingerprint:x} {row}", self.sequence),
        }
        .into_bytes()
    }

    /// From bytes; `None` if they are no bookmark of ours.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let words: Vec<&str> = std::str::from_utf8(bytes).ok()?.split(' ').collect();
        let (sequence, replay) = match words[..] {
            ["1", sequence] => (sequence, None),
            ["1", sequence, fingerprint, row] => {
                (sequence, Some((u64::from_str_radix(fingerprint, 16).ok()?, row.parse().ok()?)))
            }
            _ => return None,
        };
        Some(Self { sequence: sequence.parse().ok()?, replay })
    }

    /// The row to go on with in the file of this fingerprint: another file begins at its first.
    #[must_use]
    pub fn row_of(&self, fingerprint: u64) -> u64 {
        self.replay.filter(|(of, _)| *of == fingerprint).map_or(0, |(_, row)| row)
    }
}

/// Readings on their way to be messages: numbers them and keeps a batch together.
#[derive(Debug)]
pub struct Readings {
    sensor_id: String,
    /// Where the last reading stands.
    latest: Bookmark,
    /// Where the last reading of a closed batch stands: one that still waits is read again after a restart.
    mark: Bookmark,
    batch: Vec<Reading>,
    /// When the oldest of the batch was read.
    opened: Option<Instant>,
}

impl Readings {
    /// Goes on after `mark`.
    #[must_use]
    pub fn of(sensor_id: &str, mark: Bookmark) -> Self {
        Self { sensor_id: sensor_id.to_owned(), latest: mark, mark, batch: Vec::new(), opened: None }
    }

    /// Numbers a reading and adds it to the batch. `replay` says where a replay stands after it.
    pub fn add(
        &mut self,
        celsius: Celsius,
        at: Timestamp,
        now: Instant,
        replay: Option<(u64, u64)>,
    ) -> &Reading {
        self.latest = Bookmark { sequence: self.latest.sequence + 1, replay };
        self.opened.get_or_insert(now);
        let sensor_id = self.sensor_id.clone();
        self.batch.push(Reading { sensor_id, sequence: self.latest.sequence, celsius, at });
        self.batch.last().expect("it was just added")
    }

    /// Closes the batch: one message of all that is in it, none if it is empty. With `size` 1 that is a reading by
    /// itself, with more it is an upload.
    pub fn close(&mut self, size: usize, wall: Timestamp) -> Option<Message> {
        self.opened = None;
        self.mark = self.latest;
        let readings = mem::take(&mut self.batch);
        match (size, readings.as_slice()) {
            (_, []) => None,
            (1, [reading]) => Some(message(reading, SCHEMA_READING, reading.encode(), reading.at)),
            (_, [.., last]) => {
                let last = last.clone();
                let upload = Upload { uploaded_at: wall, readings };
                Some(message(&last, SCHEMA_UPLOAD, upload.encode(), wall))
            }
        }
    }

    /// How many readings wait for the batch to be closed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.batch.len()
    }

    /// When the batch is as old as it may get; `None` if it is empty.
    #[must_use]
    pub fn due(&self, age: Duration) -> Option<Instant> {
        self.opened.map(|opened| opened + age)
    }

    /// The last sequence that was given away.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.latest.sequence
    }

    /// Where the last reading of a closed batch stands.
    #[must_use]
    pub fn mark(&self) -> Bookmark {
        self.mark
    }
}

/// A message named after the last reading in it, so that the same reading sent twice has the same name.
fn message(last: &Reading, schema: &str, body: impl Into<bytes::Bytes>, created: Timestamp) -> Message {
    Message::new(body)
        .with_system(SystemProperty::MessageId, format!("{}-{}", last.sensor_id, last.sequence))
        .with_system(SystemProperty::ContentType, CONTENT_TYPE)
        .with_system(SystemProperty::Schema, schema)
        .with_system(SystemProperty::CreationTime, created.to_string())
}

#[cfg(test)]
mod tests {
    use isotherm_proto::Body;

    use super::*;

    fn readings_after(mark: Bookmark) -> (Readings, Instant) {
        (Readings::of("attic", mark), tokio::time::Instant::now().into_std())
    }

    fn at() -> Timestamp {
        "2026-03-01T06:30:00.125Z".parse().unwrap()
    }

    #[test]
    fn a_bookmark_comes_back_from_its_bytes_and_nothing_else_is_one() {
        for mark in [
            Bookmark::default(),
            Bookmark { sequence: u64::MAX, replay: None },
            Bookmark { sequence: 17, replay: Some((0xDEAD_BEEF, 20)) },
        ] {
            assert_eq!(Bookmark::decode(&mark.encode()), Some(mark));
        }
        for bytes in [&b""[..], b"2 17", b"1", b"1 x", b"1 1 z 1", b"1 1 1", b"\xff"] {
            assert_eq!(Bookmark::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_replay_goes_on_after_its_last_row_and_another_file_begins_at_its_first() {
        let mark = Bookmark { sequence: 17, replay: Some((7, 20)) };
        assert_eq!((mark.row_of(7), mark.row_of(8), Bookmark::default().row_of(7)), (20, 0, 0));
    }

    #[test]
    fn numbers_go_on_after_the_bookmark_and_a_single_reading_is_a_message() {
        let (mut readings, now) = readings_after(Bookmark { sequence: 16, replay: None });
        let reading = readings.add(Celsius::measured(21.5), at(), now, None).clone();
        assert_eq!(reading.sequence, 17);
        let message = readings.close(1, at()).unwrap();
        assert_eq!(Body::decode(&message.body), Ok(Body::Reading(reading)));
        assert_eq!(message.system.get(SystemProperty::MessageId), Some("attic-17"));
        assert_eq!(message.system.get(SystemProperty::Schema), Some("isotherm.v1.TemperatureReading"));
        assert_eq!(message.system.get(SystemProperty::CreationTime), Some("2026-03-01T06:30:00.125Z"));
    }

    #[test]
    fn a_batch_is_an_upload_named_after_its_last_reading_and_due_by_its_oldest() {
        let (mut readings, now) = readings_after(Bookmark::default());
        assert_eq!(readings.due(Duration::from_secs(10)), None);
        for n in 0..3 {
            readings.add(Celsius::measured(20.0), at(), now + Duration::from_secs(n), None);
        }
        assert_eq!(readings.due(Duration::from_secs(10)), Some(now + Duration::from_secs(10)));
        assert_eq!((readings.sequence(), readings.mark().sequence), (3, 0));
        let message = readings.close(16, at()).unwrap();
        let Ok(Body::Upload(upload)) = Body::decode(&message.body) else { panic!("{message:?}") };
        assert_eq!(upload.readings.iter().map(|reading| reading.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(message.system.get(SystemProperty::MessageId), Some("attic-3"));
        assert_eq!((readings.waiting(), readings.close(16, at())), (0, None));
        assert_eq!(readings.mark().sequence, 3);
    }
}
