//! `$management`: what Event Hubs clients ask about the endpoint and its partitions.

use isotherm_protocol::amqp::{Map, Message, Text, Value};

use super::Connection;
use super::events::{last, partition_of};
use crate::core::Core;
use crate::upstream;

impl Connection {
    /// Answers a request.
    pub(super) fn manage(&self, request: &Message) -> Message {
        let asked = |name: &str| request.application_properties.text(name).map_or("", |text| text.as_str());
        let core = self.shared.core();
        let entity = upstream::entity_path(&core.options().host_name);
        let answer = if asked("operation") != "READ" {
            Err((400, "READ is the operation that is understood here", "com.microsoft:argument-error"))
        } else if !asked("name").eq_ignore_ascii_case(entity) {
            Err((404, "there is no event endpoint of that name", "com.microsoft:entity-not-found"))
        } else {
            match asked("type") {
                "com.microsoft:eventhub" => Ok(endpoint(entity)),
                "com.microsoft:partition" => {
                    let named = request.application_properties.get("partition");
                    let named = named.and_then(|value| match value.as_text() {
                        Some(text) => Some(text.to_string()),
                        None => value.as_i64().map(|number| number.to_string()),
                    });
                    let number = named.as_deref().and_then(partition_of);
                    let unknown = (404, "there is no such partition", "com.microsoft:entity-not-found");
                    number.map(|number| partition(&core, entity, number)).ok_or(unknown)
                }
                _ => Err((400, "the type is no entity that can be read", "com.microsoft:argument-error")),
            }
        };
        match answer {
            Ok(map) => Message::reply(&request.properties, 200, "OK", Value::Map(map)),
            Err((status, why, condition)) => {
                let mut reply = Message::reply(&request.properties, status, why, Value::Null);
                let properties = std::mem::take(&mut reply.application_properties);
                let condition = Value::symbol(condition);
                reply.application_properties =
                    properties.with_string(Text::from_static("error-condition"), condition);
                reply
            }
        }
    }
}

fn endpoint(entity: &str) -> Map {
    let ids = (0..Core::PARTITIONS).map(|number| Value::string(number.to_string())).collect();
    Map::new()
        .with_string("name", entity)
        .with_string("type", "com.microsoft:eventhub")
        .with_string("created_at", Value::Timestamp(0))
        .with_string("partition_count", i32::from(Core::PARTITIONS))
        .with_string("partition_ids", Value::Array(ids))
}

fn partition(core: &Core, entity: &str, number: u8) -> Map {
    let partition = core.partition(number);
    let (sequence, offset, at) = last(&partition);
    Map::new()
        .with_string("name", entity)
        .with_string("type", "com.microsoft:partition")
        .with_string("partition", number.to_string().as_str())
        .with_string("begin_sequence_number", partition.first.cast_signed())
        .with_string("last_enqueued_sequence_number", sequence)
        .with_string("last_enqueued_offset", offset.as_str())
        .with_string("last_enqueued_time_utc", at)
        .with_string("is_partition_empty", partition.first == partition.next)
}
