//! A message and its sections, part 3.2 of the standard.

mod read;
mod write;

use bytes::Bytes;

use super::{Map, Text, Value};

/// The message format of a batch: each data section is a whole encoded message, to be read with
/// [`Message::decode`]; one outcome counts for all of them.
pub const BATCH_FORMAT: u32 = 0x8001_3700;

/// A message. An empty map and a section that was left away are the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// How it is to be handled on its way.
    pub header: Option<Header>,
    /// For the next hop only.
    pub delivery_annotations: Map,
    /// For every hop: `x-opt-…`, `iothub-…`.
    pub annotations: Map,
    /// Those that the standard names. Boxed: a reading in a hurry has none.
    pub properties: Box<Properties>,
    /// Those that applications name.
    pub application_properties: Map,
    /// What it is about.
    pub body: Body,
    /// After the body. Nobody is known to use it.
    pub footer: Map,
}

/// The header of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// It is to survive.
    pub durable: bool,
    /// 4 unless said otherwise.
    pub priority: u8,
    /// Time to live in milliseconds.
    pub ttl: Option<u32>,
    /// Nobody had it before.
    pub first_acquirer: bool,
    /// How often it was delivered in vain.
    pub delivery_count: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self { durable: false, priority: 4, ttl: None, first_acquirer: false, delivery_count: 0 }
    }
}

/// The properties that the standard names. Ids keep their type: an answer has to repeat it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// A ulong, a uuid, a binary or a string.
    pub message_id: Value,
    /// Who sent it.
    pub user_id: Option<Bytes>,
    /// Where it goes.
    pub to: Option<Text>,
    /// What it is about.
    pub subject: Option<Text>,
    /// Where an answer goes.
    pub reply_to: Option<Text>,
    /// The id of the message that this one answers, with its type.
    pub correlation_id: Value,
    /// A MIME type.
    pub content_type: Option<Text>,
    /// A MIME encoding.
    pub content_encoding: Option<Text>,
    /// Milliseconds since 1970 in UTC.
    pub absolute_expiry_time: Option<i64>,
    /// Milliseconds since 1970 in UTC.
    pub creation_time: Option<i64>,
    /// The group it belongs to.
    pub group_id: Option<Text>,
    /// Its place in the group.
    pub group_sequence: Option<u32>,
    /// The group that an answer belongs to.
    pub reply_to_group_id: Option<Text>,
}

/// What a message is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Body {
    /// There is none. The standard wants one; some clients forget it.
    #[default]
    Nothing,
    /// One data section, as nearly always.
    Data(Bytes),
    /// Several data sections: a batch, or one body in pieces.
    Pieces(Vec<Bytes>),
    /// One value.
    Value(Value),
    /// One or more sequences of values.
    Sequences(Vec<Vec<Value>>),
}

impl Body {
    /// The data sections; none for values and sequences.
    pub fn pieces(&self) -> &[Bytes] {
        match self {
            Self::Data(bytes) => std::slice::from_ref(bytes),
            Self::Pieces(pieces) => pieces,
            _ => &[],
        }
    }

    /// All data as one, copied only where there are several pieces; the bytes of a string or binary value too, since
    /// some clients send their payload so. `None` if there are no bytes in it.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Data(bytes) | Self::Value(Value::Binary(bytes)) => Some(bytes.clone()),
            Self::Pieces(pieces) => Some(pieces.concat().into()),
            Self::Value(Value::String(text)) => Some(text.as_bytes().clone()),
            Self::Nothing => Some(Bytes::new()),
            Self::Value(_) | Self::Sequences(_) => None,
        }
    }
}

impl Message {
    /// One with a single data section.
    pub fn data(bytes: impl Into<Bytes>) -> Self {
        Self { body: Body::Data(bytes.into()), ..Self::default() }
    }

    /// The answer of `$cbs` or `$management` to a request: its message-id as the correlation-id, with the same type,
    /// `status-code` as an int and `status-description`. `body` is null for `$cbs`.
    pub fn reply(request: &Properties, status: i32, description: &str, body: Value) -> Self {
        let properties = Properties { correlation_id: request.message_id.clone(), ..Properties::default() };
        Self {
            properties: Box::new(properties),
            application_properties: Map::new()
                .with_string(Text::from_static("status-code"), status)
                .with_string(Text::from_static("status-description"), description),
            body: Body::Value(body),
            ..Self::default()
        }
    }
}
