//! From a message to bytes.

use bytes::BytesMut;

use super::{Body, Header, Message, Properties};
use crate::amqp::codec::{self, compound, described, descriptor};
use crate::amqp::{Map, Text};

impl Message {
    /// Appends the message; sections that say nothing are left away.
    pub fn encode(&self, out: &mut BytesMut) {
        if let Some(header) = &self.header {
            write_header(header, out);
        }
        section(0x71, &self.delivery_annotations, out);
        section(0x72, &self.annotations, out);
        write_properties(&self.properties, out);
        section(0x74, &self.application_properties, out);
        write_body(&self.body, out);
        section(0x78, &self.footer, out);
    }
}

fn section(code: u8, map: &Map, out: &mut BytesMut) {
    if !map.is_empty() {
        descriptor(code, out);
        codec::map(map, out);
    }
}

fn write_header(header: &Header, out: &mut BytesMut) {
    described(0x70, 5, out, |out| {
        codec::boolean(header.durable, out);
        codec::ubyte(header.priority, out);
        codec::optional(header.ttl, out, codec::uint);
        codec::boolean(header.first_acquirer, out);
        codec::uint(header.delivery_count, out);
    });
}

fn write_body(body: &Body, out: &mut BytesMut) {
    match body {
        Body::Nothing => {}
        Body::Data(_) | Body::Pieces(_) => {
            for piece in body.pieces() {
                descriptor(0x75, out);
                codec::binary(piece, out);
            }
        }
        Body::Value(value) => {
            descriptor(0x77, out);
            codec::encode(value, out);
        }
        Body::Sequences(sequences) => {
            for values in sequences {
                descriptor(0x76, out);
                compound(0xc0, values.len(), out, |out| {
                    values.iter().for_each(|value| codec::encode(value, out));
                });
            }
        }
    }
}

/// The properties up to the last one that there is.
fn write_properties(held: &Properties, out: &mut BytesMut) {
    let count = count(held);
    if count == 0 {
        return;
    }
    described(0x73, count, out, |out| {
        let mut fields = Written { left: count, out };
        fields.write(|out| codec::encode(&held.message_id, out));
        fields.write(|out| codec::optional(held.user_id.as_ref(), out, codec::binary));
        fields.write(|out| text(&held.to, out));
        fields.write(|out| text(&held.subject, out));
        fields.write(|out| text(&held.reply_to, out));
        fields.write(|out| codec::encode(&held.correlation_id, out));
        fields.write(|out| symbol(&held.content_type, out));
        fields.write(|out| symbol(&held.content_encoding, out));
        fields.write(|out| codec::optional(held.absolute_expiry_time, out, codec::timestamp));
        fields.write(|out| codec::optional(held.creation_time, out, codec::timestamp));
        fields.write(|out| text(&held.group_id, out));
        fields.write(|out| codec::optional(held.group_sequence, out, codec::uint));
        fields.write(|out| text(&held.reply_to_group_id, out));
    });
}

fn count(held: &Properties) -> usize {
    let there = [
        !held.message_id.is_null(),
        held.user_id.is_some(),
        held.to.is_some(),
        held.subject.is_some(),
        held.reply_to.is_some(),
        !held.correlation_id.is_null(),
        held.content_type.is_some(),
        held.content_encoding.is_some(),
        held.absolute_expiry_time.is_some(),
        held.creation_time.is_some(),
        held.group_id.is_some(),
        held.group_sequence.is_some(),
        held.reply_to_group_id.is_some(),
    ];
    there.iter().rposition(|&there| there).map_or(0, |last| last + 1)
}

/// Writes as many fields as there are to be, and no more.
struct Written<'o> {
    left: usize,
    out: &'o mut BytesMut,
}

impl Written<'_> {
    fn write(&mut self, field: impl FnOnce(&mut BytesMut)) {
        if self.left > 0 {
            self.left -= 1;
            field(self.out);
        }
    }
}

fn text(held: &Option<Text>, out: &mut BytesMut) {
    codec::optional(held.as_ref(), out, |text, out| codec::text(text, out));
}

fn symbol(held: &Option<Text>, out: &mut BytesMut) {
    codec::optional(held.as_ref(), out, |text, out| codec::symbol(text, out));
}
