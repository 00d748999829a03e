//! The Event Hubs-compatible endpoint: readers of the upstream log.

use std::time::Instant;

use isotherm_protocol::amqp::{Attach, Error, LinkId, Map, Message, Server, Value};

use super::Connection;
use super::convert;
use super::filter;
use super::links::Going;
use super::readers::Place;
use super::speaking::with_sender;
use crate::core::{Core, Event, EventSource, Partition};

/// Events read for one link in one go.
const EVENTS_MAX: usize = 64;
/// While more than this many bytes wait to be written, no more events are read.
const UNSENT_MAX: usize = 256 << 10;
/// The only consumer group there is.
const GROUP: &str = "$Default";

/// Where a link reads.
pub(super) struct Reading {
    partition: u8,
    next: u64,
    /// The client wants to hear how far the partition has come.
    metrics: bool,
    place: Place,
}

impl Connection {
    /// Begins to read a partition.
    pub(super) fn read(&self, group: &str, partition: &str, attach: &Attach) -> Result<Reading, Error> {
        if !group.eq_ignore_ascii_case(GROUP) {
            return Err(Error::new(
                "amqp:not-found",
                format!("there is no consumer group {group:?}, only {GROUP}"),
            ));
        }
        let partition = partition_of(partition).ok_or_else(|| {
            let why = format!("there is no partition {partition:?}, only 0 to {}", Core::PARTITIONS - 1);
            Error::new("amqp:not-found", why)
        })?;
        let none = Map::new();
        let filters = attach.source.as_ref().map_or(&none, |source| &source.filter);
        let position = filter::position(filters)?;
        let next = self.shared.core().event_position(partition, position);
        let next = next.map_err(|error| Error::new("amqp:internal-error", error.to_string()))?;
        let epoch = attach.properties.get("com.microsoft:epoch").and_then(Value::as_i64);
        let place = Place::take(&self.shared, group, partition, epoch, &self.news)?;
        let metrics = names(&attach.desired_capabilities, "com.microsoft:enable-receiver-runtime-metric");
        Ok(Reading { partition, next, metrics, place })
    }

    /// Reads on, for every link that has room.
    pub(super) fn fetch_events(&mut self, now: Instant, session: &mut Server) {
        if self.links.values().all(|link| link.reading.is_none()) {
            return;
        }
        let stolen = Error::new("amqp:link:stolen", "a reader with a higher epoch took over");
        let is_stolen = |reading: &Reading| reading.place.is_stolen();
        self.take_off(now, session, &stolen, |link| link.reading.as_ref().is_some_and(is_stolen));
        if !std::mem::replace(&mut self.log_watched, true) {
            self.shared.store.on_events(self.log.ringer()); // first ask, then read
        }
        let ids: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.reading.is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            self.fetch(id, session);
        }
    }

    fn fetch(&mut self, id: LinkId, session: &Server) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let room = session.room(id).saturating_sub(link.waiting.len()).min(EVENTS_MAX);
        let Some(reading) = link.reading.as_mut().filter(|_| room > 0) else { return };
        if session.unsent() > UNSENT_MAX {
            self.due = true;
            self.look = true;
            return;
        }
        let core = self.shared.core();
        let read = core.events(reading.partition, reading.next, room);
        let partition = reading.metrics.then(|| core.partition(reading.partition));
        drop(core);
        let Ok(events) = read else {
            return self.shared.counters.count("amqp_events_unreadable");
        };
        if events.len() == room {
            self.due = true;
            self.look = true;
        }
        for event in events {
            reading.next = event.sequence + 1;
            let mut message = as_amqp(&event);
            if let Some(partition) = partition {
                message.delivery_annotations = metrics(&partition, self.shared.host.wall());
            }
            link.waiting.push_back(Going { message: Box::new(message), delivery: None });
        }
    }
}

/// The number of a partition, written as it should be.
pub(super) fn partition_of(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number: &u8| *number < Core::PARTITIONS && number.to_string() == text)
}

fn names(capabilities: &Value, name: &str) -> bool {
    match capabilities {
        Value::Array(values) | Value::List(values) => values.iter().any(|value| names(value, name)),
        value => value.as_text().is_some_and(|text| *text == name),
    }
}

fn as_amqp(event: &Event) -> Message {
    let mut message = convert::to_amqp(&event.message);
    let enqueued = Value::Timestamp(event.enqueued.as_millisecond());
    let scope = if event.from.module_id().is_some() { "module" } else { "device" };
    let method =
        format!(r#"{{"scope":"{scope}","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}}"#);
    let source = match event.source {
        EventSource::Telemetry => "Telemetry",
        EventSource::TwinChange => "twinChangeEvents",
    };
    let own = Map::new()
        .with_symbol("x-opt-sequence-number", event.sequence.cast_signed())
        .with_symbol("x-opt-offset", event.offset().as_str())
        .with_symbol("x-opt-enqueued-time", enqueued.clone());
    let mut annotations = with_sender(own, &event.message)
        .with_symbol("iothub-connection-auth-generation-id", event.generation.as_str())
        .with_symbol("iothub-connection-auth-method", method.as_str())
        .with_symbol("iothub-enqueuedtime", enqueued)
        .with_symbol("iothub-message-source", source);
    annotations.0.extend(convert::annotations(&event.message).0);
    message.annotations = annotations;
    if let Some(output) = event.message.system.get(isotherm_iothub::SystemProperty::OutputName) {
        message.application_properties =
            message.application_properties.with_string("iothub-outputname", output);
    }
    message
}

fn metrics(partition: &Partition, wall: jiff::Timestamp) -> Map {
    let (number, offset, at) = last(partition);
    Map::new()
        .with_symbol("last_enqueued_sequence_number", number)
        .with_symbol("last_enqueued_offset", offset.as_str())
        .with_symbol("last_enqueued_time_utc", at)
        .with_symbol("runtime_info_retrieval_time_utc", Value::Timestamp(wall.as_millisecond()))
}

/// Number, offset and time of a partition's last event; -1 and the year 1 if there is none, as Event Hubs has it.
pub(super) fn last(partition: &Partition) -> (i64, String, Value) {
    /// The first moment of .NET's calendar, in milliseconds since 1970.
    const YEAR_ONE: i64 = -62_135_596_800_000;
    let number = partition.next.cast_signed() - 1;
    let at = partition.last_enqueued.map_or(YEAR_ONE, jiff::Timestamp::as_millisecond);
    (number, number.to_string(), Value::Timestamp(at))
}
