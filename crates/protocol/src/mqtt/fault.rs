//! Everything that ends an MQTT connection.

use crate::Malformed;

/// Why an MQTT session ended. Each has a sentence that says what would have been right, and a name to count it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A packet type of 0 or 15.
    #[error("packet type {0} does not exist; MQTT 3.1.1 has types 1 to 14")]
    PacketType(u8),
    /// Flags in the first byte that must be other than they were.
    #[error("the flags of packet type {packet_type} are {flags:#06b}; right would be {right:#06b}")]
    Flags {
        /// The packet's type, 1 to 14.
        packet_type: u8,
        /// The low four bits as they came.
        flags: u8,
        /// The low four bits as they must be.
        right: u8,
    },
    /// More than four bytes of remaining length.
    #[error("the remaining length goes on after four bytes; four are the most")]
    RemainingLength,
    /// A packet that is longer than the limit.
    #[error("a packet of {length} bytes; at most {limit} are taken here")]
    TooLarge {
        /// Remaining length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field reaches past the end of its packet.
    #[error("the packet ends in the middle of a field; its remaining length must cover all of them")]
    Truncated,
    /// Something follows the last field.
    #[error("{0} bytes follow the packet's last field; nothing may")]
    Trailing(usize),
    /// Not UTF-8.
    #[error("a string is not UTF-8; MQTT strings are UTF-8 without surrogates")]
    Utf8,
    /// U+0000 in a string.
    #[error("a string holds U+0000; MQTT strings may hold any character but that")]
    Nul,
    /// A string of more than 65,535 bytes.
    #[error("a string of {0} bytes; MQTT strings have at most 65535")]
    TextTooLong(usize),
    /// An empty topic name or filter.
    #[error("an empty topic; a topic has at least one character")]
    EmptyTopic,
    /// `+` or `#` in a topic name.
    #[error("a wildcard in the topic of a message; wildcards are for filters only")]
    Wildcard,
    /// `+` or `#` in the wrong place of a filter.
    #[error("a misplaced wildcard; '+' fills a whole level, '#' the last one")]
    Filter,
    /// Packet identifier 0.
    #[error("packet identifier 0; identifiers begin at 1")]
    PacketId,
    /// Both QoS bits set.
    #[error("QoS 3 does not exist; 0 and 1 are served here")]
    Qos,
    /// DUP on QoS 0.
    #[error("DUP is set on a QoS 0 message; only messages with an identifier are ever repeated")]
    Dup,
    /// Reserved bits of a requested QoS.
    #[error("the requested QoS is {0:#04x}; 0, 1 and 2 can be requested")]
    RequestedQos(u8),
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    #[error("no filter in it; SUBSCRIBE and UNSUBSCRIBE name at least one")]
    NoFilter,
    /// SUBSCRIBE or UNSUBSCRIBE with too many.
    #[error("more than {0} filters in one packet; send several packets")]
    TooManyFilters(usize),
    /// The protocol name is no MQTT.
    #[error("the protocol name is not \"MQTT\"")]
    ProtocolName,
    /// The level is not 4.
    #[error("protocol level {0}; level 4, MQTT 3.1.1, is spoken here")]
    ProtocolLevel(u8),
    /// Bit 0 of the connect flags.
    #[error("the reserved connect flag is set; it must be 0")]
    ConnectFlags,
    /// Will flags that contradict each other.
    #[error("the will's QoS or retain flag is set without a will, or its QoS is 3")]
    WillFlags,
    /// A password without a user name.
    #[error("a password without a user name; MQTT 3.1.1 wants the name too")]
    PasswordWithoutName,
    /// An acknowledgement's code that does not exist.
    #[error("code {0:#04x} does not exist in this packet")]
    Code(u8),
    /// The client id is empty.
    #[error("an empty client id; here it is the device's name, or device/module")]
    EmptyClientId,
    /// Something else came before CONNECT.
    #[error("packet type {0} came first; CONNECT has to")]
    NotConnect(u8),
    /// A second CONNECT, or a second CONNACK.
    #[error("a second introduction on one connection; one CONNECT and one CONNACK are all there is")]
    SecondConnect,
    /// A packet that only the other end sends.
    #[error("packet type {0} comes from the other end only")]
    WrongDirection(u8),
    /// QoS 2.
    #[error("QoS 2 is not served here; publish with QoS 0 or 1")]
    QosTwo,
    /// Too much was sent before CONNACK.
    #[error("more than {0} bytes before CONNACK; wait for it")]
    Impatient(usize),
    /// No CONNECT in time.
    #[error("no CONNECT came in time; it has to come right after the stream is open")]
    ConnectLate,
    /// Silence for one and a half keep-alives.
    #[error("no packet within the keep-alive; PINGREQ keeps an idle connection")]
    KeepAlive,
    /// No CONNACK in time.
    #[error("the server did not answer CONNECT in time")]
    ConnackLate,
    /// No PINGRESP in time.
    #[error("the server did not answer PINGREQ in time")]
    PingLate,
    /// Something else came before CONNACK.
    #[error("the server said something before CONNACK; CONNACK has to come first")]
    NotConnack,
    /// What the packet library refused, on the client's end.
    #[error("the server sent a packet that cannot be read")]
    Unreadable,
}

impl Fault {
    /// The label under which this is counted; it never carries the peer's bytes.
    pub fn name(self) -> &'static str {
        match self {
            Self::PacketType(_) => "packet_type",
            Self::Flags { .. } => "flags",
            Self::RemainingLength => "remaining_length",
            Self::TooLarge { .. } => "too_large",
            Self::Truncated => "truncated",
            Self::Trailing(_) => "trailing",
            Self::Utf8 => "utf8",
            Self::Nul => "nul",
            Self::TextTooLong(_) => "text_too_long",
            Self::EmptyTopic => "empty_topic",
            Self::Wildcard => "wildcard",
            Self::Filter => "filter",
            Self::PacketId => "packet_id",
            Self::Qos => "qos",
            Self::Dup => "dup",
            Self::RequestedQos(_) => "requested_qos",
            Self::NoFilter => "no_filter",
            Self::TooManyFilters(_) => "too_many_filters",
            Self::ProtocolName => "protocol_name",
            Self::ProtocolLevel(_) => "protocol_level",
            Self::ConnectFlags => "connect_flags",
            Self::WillFlags => "will_flags",
            Self::PasswordWithoutName => "password_without_name",
            Self::Code(_) => "code",
            Self::EmptyClientId => "empty_client_id",
            Self::NotConnect(_) => "not_connect",
            Self::SecondConnect => "second_connect",
            Self::WrongDirection(_) => "wrong_direction",
            Self::QosTwo => "qos_two",
            Self::Impatient(_) => "impatient",
            Self::ConnectLate => "connect_late",
            Self::KeepAlive => "keep_alive",
            Self::ConnackLate => "connack_late",
            Self::PingLate => "ping_late",
            Self::NotConnack => "not_connack",
            Self::Unreadable => "unreadable",
        }
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        Self::new(fault.name(), fault.to_string())
    }
}
