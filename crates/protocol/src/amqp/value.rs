//! Any value of AMQP 1.0, with its type.

use bytes::Bytes;

use super::Text;

/// A value together with its type: what came as a ulong goes back as a ulong. Clients compare correlation ids by type
/// and value, so nothing here is ever widened.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// true or false.
    Bool(bool),
    /// Unsigned, 8 bits.
    UByte(u8),
    /// Unsigned, 16 bits.
    UShort(u16),
    /// Unsigned, 32 bits.
    UInt(u32),
    /// Unsigned, 64 bits.
    ULong(u64),
    /// Signed, 8 bits.
    Byte(i8),
    /// Signed, 16 bits.
    Short(i16),
    /// Signed, 32 bits.
    Int(i32),
    /// Signed, 64 bits.
    Long(i64),
    /// 32 bits, binary.
    Float(f32),
    /// 64 bits, binary.
    Double(f64),
    /// IEEE 754 decimal, passed through as it came.
    Decimal32([u8; 4]),
    /// IEEE 754 decimal, passed through as it came.
    Decimal64([u8; 8]),
    /// IEEE 754 decimal, passed through as it came.
    Decimal128([u8; 16]),
    /// One Unicode scalar value.
    Char(char),
    /// Milliseconds since 1970 in UTC.
    Timestamp(i64),
    /// In the order of RFC 4122.
    Uuid([u8; 16]),
    /// Bytes.
    Binary(Bytes),
    /// UTF-8.
    String(Text),
    /// ASCII, from a set of names.
    Symbol(Text),
    /// Any values.
    List(Vec<Value>),
    /// Pairs, in the order in which they were written.
    Map(Map),
    /// Values that share one type. Values of several types are written as a list, since no array could hold them.
    Array(Vec<Value>),
    /// A descriptor and what it describes.
    Described(Box<(Value, Value)>),
}

impl Value {
    /// A string.
    pub fn string(text: impl Into<Text>) -> Self {
        Self::String(text.into())
    }

    /// A symbol that is part of the program.
    pub const fn symbol(text: &'static str) -> Self {
        Self::Symbol(Text::from_static(text))
    }

    /// A described value.
    pub fn described(descriptor: Value, value: Value) -> Self {
        Self::Described(Box::new((descriptor, value)))
    }

    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// A string or a symbol.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// Any whole number that fits, a timestamp in milliseconds included.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::UByte(value) => value.into(),
            Self::UShort(value) => value.into(),
            Self::UInt(value) => value.into(),
            Self::ULong(value) => return i64::try_from(value).ok(),
            Self::Byte(value) => value.into(),
            Self::Short(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Long(value) | Self::Timestamp(value) => value,
            _ => return None,
        })
    }

    /// What is described, or the value itself.
    pub fn undescribed(&self) -> &Value {
        match self {
            Self::Described(pair) => &pair.1,
            other => other,
        }
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::String(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Long(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::ULong(value)
    }
}

/// Pairs in the order in which they were written: annotations, properties, filters. Few enough to be searched by
/// walking them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(pub Vec<(Value, Value)>);

impl Map {
    /// No pairs.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value under a key that is a string or a symbol of this name; clients do not agree on which it should be.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(held, _)| held.as_text().is_some_and(|text| *text == key))
            .map(|(_, value)| value)
    }

    /// The text under a key.
    pub fn text(&self, key: &str) -> Option<&Text> {
        self.get(key)?.as_text()
    }

    /// Adds a pair whose key is a symbol, as in annotations, filters and the properties of links.
    #[must_use]
    pub fn with_symbol(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((Value::symbol(key), value.into()));
        self
    }

    /// Adds a pair whose key is a string, as in application properties.
    #[must_use]
    pub fn with_string(mut self, key: impl Into<Text>, value: impl Into<Value>) -> Self {
        self.0.push((Value::String(key.into()), value.into()));
        self
    }

    /// The pairs whose key is a string or a symbol, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.0.iter().filter_map(|(key, value)| Some((key.as_text()?, value)))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
