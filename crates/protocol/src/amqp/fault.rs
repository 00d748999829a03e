//! Everything that ends an AMQP connection.

use crate::Malformed;

/// Why an AMQP session ended. Each has a sentence that says what would have been right, a name to count it under,
/// and the condition that the peer is told in `close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The first eight bytes are no header of ours.
    #[error(
        "the stream does not begin with an AMQP 1.0 header; 'AMQP' 0 1 0 0 and 'AMQP' 3 1 0 0 are spoken here"
    )]
    ProtocolHeader,
    /// A frame shorter than its own header.
    #[error("a frame of {0} bytes; its header alone has 8")]
    FrameShort(u32),
    /// A data offset outside the frame.
    #[error(
        "data offset {doff} in a frame of {size} bytes; it counts words of 4 bytes, at least 2 and within the frame"
    )]
    FrameOffset {
        /// The offset in words of four bytes.
        doff: u8,
        /// The frame's size in bytes.
        size: u32,
    },
    /// Neither an AMQP frame nor a SASL frame, or not the one that is due.
    #[error("frame type {0}; type 1 is for SASL, type 0 for everything after it")]
    FrameType(u8),
    /// A frame above the limit.
    #[error("a frame of {size} bytes; at most {limit} are taken here, as said in open")]
    FrameTooLarge {
        /// The frame's size in bytes.
        size: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// A value reaches past the end of what holds it.
    #[error("a value ends outside of what holds it; sizes and counts must agree with the bytes")]
    Truncated,
    /// A type code that does not exist.
    #[error("type code {0:#04x} does not exist in AMQP 1.0")]
    TypeCode(u8),
    /// A field of the wrong type.
    #[error("a field of type code {found:#04x} where {wanted} has to be")]
    WrongType {
        /// The type code as it came.
        found: u8,
        /// What would be right.
        wanted: &'static str,
    },
    /// Not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// Not ASCII.
    #[error("a symbol is not ASCII")]
    Ascii,
    /// A char that is no Unicode scalar value.
    #[error("a char is no Unicode scalar value")]
    Char,
    /// A boolean that is neither.
    #[error("a boolean of {0:#04x}; 0 and 1 are all there is")]
    Boolean(u8),
    /// Values within values, too many levels of them.
    #[error("values are nested deeper than {0} levels")]
    Depth(usize),
    /// Too many values in one frame or message.
    #[error("more than {0} values in one frame or message")]
    TooManyValues(usize),
    /// A map with a key that has no value.
    #[error("a map of {0} items; keys and values come in pairs")]
    MapOdd(usize),
    /// A field that must be there is not.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field whose value does not exist.
    #[error("the field {0} has a value that does not exist")]
    Field(&'static str),
    /// A descriptor that has no place where it stands.
    #[error("a descriptor that has no place here; {0} is due")]
    Descriptor(&'static str),
    /// Message sections out of order, or twice.
    #[error("message sections are out of order or repeated")]
    SectionOrder,
    /// Something else came before open.
    #[error("open has to come first")]
    NotOpen,
    /// A second open.
    #[error("a second open on one connection")]
    SecondOpen,
    /// The peer wants smaller frames than AMQP allows.
    #[error("a max-frame-size of {0}; it is at least 512")]
    MaxFrameSize(u32),
    /// The peer wants to be sent something too often.
    #[error("an idle-time-out of {0} ms; at least 1000 are served here")]
    IdleTimeOut(u32),
    /// A channel above the limit.
    #[error("channel {channel}; {limit} is the highest here, as said in open")]
    ChannelTooHigh {
        /// The channel.
        channel: u16,
        /// The highest.
        limit: u16,
    },
    /// begin on a channel that has begun.
    #[error("begin on a channel that is in use")]
    ChannelInUse,
    /// Anything but begin on a channel that has not begun.
    #[error("a frame on channel {0}, where no session has begun")]
    ChannelUnknown(u16),
    /// A handle above the limit.
    #[error("handle {handle}; {limit} is the highest here, as said in begin")]
    HandleTooHigh {
        /// The handle.
        handle: u32,
        /// The highest.
        limit: u32,
    },
    /// attach with a handle that is attached.
    #[error("attach with a handle that is in use")]
    HandleInUse,
    /// A frame for a handle that is not attached.
    #[error("handle {0} is not attached")]
    HandleUnknown(u32),
    /// Too many links on one connection.
    #[error("more than {0} links on one connection")]
    TooManyLinks(usize),
    /// An attach that asks for too much memory.
    #[error("an attach of {0} bytes; names, addresses, filters and properties have to fit into fewer")]
    AttachTooLarge(usize),
    /// More transfers than the session's window.
    #[error("more transfers than the session's incoming-window allows; wait for flow")]
    Window,
    /// More messages than the link's credit.
    #[error("more messages than the link has credit for; wait for flow")]
    Credit,
    /// A transfer on a link that goes the other way.
    #[error("a transfer on a link whose sender is the other end")]
    WrongDirection,
    /// A delivery id that is missing, repeated or going backwards.
    #[error("delivery-ids have to be there on the first transfer, and to grow")]
    DeliveryId,
    /// A delivery tag longer than AMQP allows.
    #[error("a delivery-tag of {0} bytes; at most 32 are allowed")]
    DeliveryTag(usize),
    /// Unfinished messages that take too much memory together.
    #[error("unfinished messages of more than {0} bytes together")]
    Buffered(usize),
    /// A mechanism that was not offered.
    #[error("a SASL mechanism that was not offered")]
    Mechanism,
    /// A SASL frame that is not due.
    #[error("a SASL frame out of turn; sasl-init is due, once")]
    SaslTurn,
    /// The hub said no.
    #[error("the hub did not accept the SASL credentials")]
    SaslRefused,
    /// Too much was sent before the SASL outcome.
    #[error("more than {0} bytes before the SASL outcome; wait for it")]
    Impatient(usize),
    /// No open in time.
    #[error("no open came in time; it has to come right after the stream is open")]
    OpenLate,
    /// Silence for too long.
    #[error("no frame within the idle-time-out; empty frames keep an idle connection")]
    Silence,
}

impl Fault {
    /// The label under which this is counted; it never carries the peer's bytes.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProtocolHeader => "protocol_header",
            Self::FrameShort(_) => "frame_short",
            Self::FrameOffset { .. } => "frame_offset",
            Self::FrameType(_) => "frame_type",
            Self::FrameTooLarge { .. } => "frame_too_large",
            Self::Truncated => "truncated",
            Self::TypeCode(_) => "type_code",
            Self::WrongType { .. } => "wrong_type",
            Self::Utf8 => "utf8",
            Self::Ascii => "ascii",
            Self::Char => "char",
            Self::Boolean(_) => "boolean",
            Self::Depth(_) => "depth",
            Self::TooManyValues(_) => "too_many_values",
            Self::MapOdd(_) => "map_odd",
            Self::Missing(_) => "missing",
            Self::Field(_) => "field",
            Self::Descriptor(_) => "descriptor",
            Self::SectionOrder => "section_order",
            Self::NotOpen => "not_open",
            Self::SecondOpen => "second_open",
            Self::MaxFrameSize(_) => "max_frame_size",
            Self::IdleTimeOut(_) => "idle_time_out",
            Self::ChannelTooHigh { .. } => "channel_too_high",
            Self::ChannelInUse => "channel_in_use",
            Self::ChannelUnknown(_) => "channel_unknown",
            Self::HandleTooHigh { .. } => "handle_too_high",
            Self::HandleInUse => "handle_in_use",
            Self::HandleUnknown(_) => "handle_unknown",
            Self::TooManyLinks(_) => "too_many_links",
            Self::AttachTooLarge(_) => "attach_too_large",
            Self::Window => "window",
            Self::Credit => "credit",
            Self::WrongDirection => "wrong_direction",
            Self::DeliveryId => "delivery_id",
            Self::DeliveryTag(_) => "delivery_tag",
            Self::Buffered(_) => "buffered",
            Self::Mechanism => "mechanism",
            Self::SaslTurn => "sasl_turn",
            Self::SaslRefused => "sasl_refused",
            Self::Impatient(_) => "impatient",
            Self::OpenLate => "open_late",
            Self::Silence => "silence",
        }
    }

    /// The condition that stands in `close`.
    pub fn condition(self) -> &'static str {
        match self {
            Self::FrameShort(_)
            | Self::FrameOffset { .. }
            | Self::FrameType(_)
            | Self::FrameTooLarge { .. } => "amqp:connection:framing-error",
            Self::Truncated
            | Self::TypeCode(_)
            | Self::WrongType { .. }
            | Self::Utf8
            | Self::Ascii
            | Self::Char
            | Self::Boolean(_)
            | Self::MapOdd(_)
            | Self::Missing(_)
            | Self::Descriptor(_)
            | Self::SectionOrder => "amqp:decode-error",
            Self::Depth(_)
            | Self::TooManyValues(_)
            | Self::TooManyLinks(_)
            | Self::AttachTooLarge(_)
            | Self::Buffered(_)
            | Self::Impatient(_)
            | Self::OpenLate
            | Self::Silence => "amqp:resource-limit-exceeded",
            Self::Window => "amqp:session:window-violation",
            Self::Credit => "amqp:link:transfer-limit-exceeded",
            Self::HandleInUse => "amqp:session:handle-in-use",
            Self::HandleUnknown(_) => "amqp:session:unattached-handle",
            Self::Field(_) | Self::MaxFrameSize(_) | Self::IdleTimeOut(_) | Self::DeliveryTag(_) => {
                "amqp:invalid-field"
            }
            Self::SaslRefused | Self::Mechanism => "amqp:unauthorized-access",
            _ => "amqp:not-allowed",
        }
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        Self::new(fault.name(), fault.to_string())
    }
}
