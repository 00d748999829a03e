//! Messages as they lie in journals: a short header, then the message, encoded once for all its endpoints.

use bytes::{Buf, Bytes};
use isotherm_iothub::Message;
use jiff::Timestamp;

use super::EventSource;

/// Room left before the message for the longest header.
const HEADROOM: usize = 1 + 8 + 8; // the kind and two moments
const FOR_EVER: u8 = 1;
const EXPIRES: u8 = 2;
const TELEMETRY: u8 = 3;
const TWIN_CHANGE: u8 = 4;
/// Says when it was put there, for queues where what is fresh goes first; it may expire.
const DATED: u8 = 5;
/// The first two of the upstream log, where what is fresh goes first.
const FRESH_TELEMETRY: u8 = 6;
const FRESH_TWIN_CHANGE: u8 = 7;
/// In place of a moment: never.
const NEVER: i64 = i64::MAX;

/// A message being written: encoded once, with a header of its own for each journal.
#[derive(Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// Above this the buffer is given back after use, so that one large message does not stay in memory.
    const KEPT_BYTES_MAX: usize = 64 << 10;

    pub(super) fn encode(&mut self, message: &Message) {
        if self.0.capacity() > Self::KEPT_BYTES_MAX {
            self.0 = Vec::new();
        }
        self.0.clear();
        self.0.resize(HEADROOM, 0);
        message.encode(&mut self.0);
    }

    /// As a record of a queue; `since` is when it was put there, where that will be asked.
    pub(super) fn for_queue(&mut self, expires: Option<Timestamp>, since: Option<Timestamp>) -> &[u8] {
        if let Some(since) = since {
            let mut header = [DATED; HEADROOM];
            header[1..9].copy_from_slice(&since.as_microsecond().to_le_bytes());
            header[9..].copy_from_slice(&expires.map_or(NEVER, Timestamp::as_microsecond).to_le_bytes());
            return self.with_header(&header);
        }
        match expires {
            None => self.with_header(&[FOR_EVER]),
            Some(at) => {
                let mut header = [EXPIRES; 9];
                header[1..].copy_from_slice(&at.as_microsecond().to_le_bytes());
                self.with_header(&header)
            }
        }
    }

    /// As a record of the upstream log: what it is and whether it goes first while it is fresh, the sender's
    /// generation, and when it came.
    pub(super) fn for_events(
        &mut self,
        kind: (EventSource, bool),
        generation: u64,
        enqueued: Timestamp,
    ) -> &[u8] {
        let kind = match kind {
            (EventSource::Telemetry, false) => TELEMETRY,
            (EventSource::TwinChange, false) => TWIN_CHANGE,
            (EventSource::Telemetry, true) => FRESH_TELEMETRY,
            (EventSource::TwinChange, true) => FRESH_TWIN_CHANGE,
        };
        let mut header = [kind; HEADROOM];
        header[1..9].copy_from_slice(&enqueued.as_microsecond().to_le_bytes());
        header[9..].copy_from_slice(&generation.to_le_bytes());
        self.with_header(&header)
    }

    fn with_header(&mut self, header: &[u8]) -> &[u8] {
        let start = HEADROOM - header.len();
        self.0[start..HEADROOM].copy_from_slice(header);
        &self.0[start..]
    }
}

/// A queue's record, read back.
#[derive(Debug, PartialEq)]
pub(super) struct Queued {
    pub(super) message: Message,
    pub(super) expires: Option<Timestamp>,
    /// When it was put there, if that was written down.
    pub(super) since: Option<Timestamp>,
}

/// Reads a queue's record.
pub(super) fn read_queued(mut record: Bytes) -> Option<Queued> {
    let kind = record.try_get_u8().ok()?;
    let mut moment = || match record.try_get_i64_le().ok()? {
        NEVER => Some(None),
        at => Timestamp::from_microsecond(at).ok().map(Some),
    };
    let (since, expires) = match kind {
        FOR_EVER => (None, None),
        EXPIRES => (None, moment()?),
        DATED => (moment()?, moment()?),
        _ => return None,
    };
    Some(Queued { message: Message::decode(record).ok()?, expires, since })
}

/// A record of the upstream log, read back.
pub(super) struct EventRecord {
    pub(super) source: EventSource,
    pub(super) fresh: bool,
    pub(super) enqueued: Timestamp,
    pub(super) generation: u64,
    /// The message, not decoded.
    pub(super) message: Bytes,
}

impl EventRecord {
    pub(super) fn read(mut record: Bytes) -> Option<Self> {
        let (source, fresh) = match record.try_get_u8().ok()? {
            TELEMETRY => (EventSource::Telemetry, false),
            TWIN_CHANGE => (EventSource::TwinChange, false),
            FRESH_TELEMETRY => (EventSource::Telemetry, true),
            FRESH_TWIN_CHANGE => (EventSource::TwinChange, true),
            _ => return None,
        };
        let enqueued = Timestamp::from_microsecond(record.try_get_i64_le().ok()?).ok()?;
        let generation = record.try_get_u64_le().ok()?;
        Some(Self { source, fresh, enqueued, generation, message: record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn one_encoding_serves_queues_and_the_upstream_log() {
        let message = Message::new("21.5").with_property("unit", "c");
        let mut scratch = Scratch::default();
        scratch.encode(&message);

        let for_ever = Bytes::copy_from_slice(scratch.for_queue(None, None));
        let expiring = Bytes::copy_from_slice(scratch.for_queue(Some(at(77)), None));
        let dated = Bytes::copy_from_slice(scratch.for_queue(None, Some(at(5))));
        let both = Bytes::copy_from_slice(scratch.for_queue(Some(at(77)), Some(at(5))));
        let event = Bytes::copy_from_slice(scratch.for_events((EventSource::TwinChange, false), 7, at(5)));

        let queued = |expires, since| Some(Queued { message: message.clone(), expires, since });
        assert_eq!(read_queued(for_ever), queued(None, None));
        assert_eq!(read_queued(expiring), queued(Some(at(77)), None));
        assert_eq!(read_queued(dated), queued(None, Some(at(5))));
        assert_eq!(read_queued(both), queued(Some(at(77)), Some(at(5))));
        let event = EventRecord::read(event).unwrap();
        assert_eq!((event.source, event.generation, event.enqueued), (EventSource::TwinChange, 7, at(5)));
        assert_eq!(Message::decode(event.message).unwrap(), message);
    }

    #[test]
    fn a_record_of_another_kind_is_not_taken_for_a_message() {
        let mut scratch = Scratch::default();
        scratch.encode(&Message::new("x"));
        let event = Bytes::copy_from_slice(scratch.for_events((EventSource::Telemetry, true), 1, at(1)));
        assert_eq!(read_queued(event), None);
        assert_eq!(read_queued(Bytes::new()), None);
        assert!(EventRecord::read(Bytes::copy_from_slice(scratch.for_queue(None, None))).is_none());
    }
}
