//! The two ends of a link: where its messages come from and where they go.

use bytes::BytesMut;

use super::codec::{self, Fields, Reader};
use super::state::write_map;
use super::{Fault, Map, Text, Value};

/// Where a link's messages come from. Every field is kept, since an answer to `attach` repeats what was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// A string on the wire; anything else counts as none.
    pub address: Option<Text>,
    /// What survives: 0 nothing, 1 the configuration, 2 unsettled deliveries too.
    pub durable: u32,
    /// When it is forgotten.
    pub expiry_policy: Option<Text>,
    /// Seconds until it is forgotten.
    pub timeout: u32,
    /// The address is to be made up by whoever answers.
    pub dynamic: bool,
    /// Of a dynamic one.
    pub dynamic_node_properties: Map,
    /// `move` or `copy`.
    pub distribution_mode: Option<Text>,
    /// By name; each value is usually described.
    pub filter: Map,
    /// What counts when a delivery is settled without an outcome.
    pub default_outcome: Value,
    /// Those that the receiver may choose from.
    pub outcomes: Value,
    /// Extensions.
    pub capabilities: Value,
}

/// Where a link's messages go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// A string on the wire; anything else counts as none.
    pub address: Option<Text>,
    /// As in [`Source`].
    pub durable: u32,
    /// As in [`Source`].
    pub expiry_policy: Option<Text>,
    /// As in [`Source`].
    pub timeout: u32,
    /// As in [`Source`].
    pub dynamic: bool,
    /// As in [`Source`].
    pub dynamic_node_properties: Map,
    /// Extensions.
    pub capabilities: Value,
    /// It is no address but the coordinator of transactions, which the hub's end refuses by itself. Only ever read.
    pub coordinator: bool,
}

fn optional_text(text: &Option<Text>, out: &mut BytesMut) {
    codec::optional(text.as_ref(), out, |text, out| codec::text(text, out));
}

fn optional_symbol(text: &Option<Text>, out: &mut BytesMut) {
    codec::optional(text.as_ref(), out, |text, out| codec::symbol(text, out));
}

fn address(fields: &mut Fields<'_, '_>) -> Result<Option<Text>, Fault> {
    Ok(fields.value()?.as_text().cloned())
}

impl Source {
    /// One that has nothing but an address.
    pub fn at(address: impl Into<Text>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        codec::described(0x28, 11, out, |out| {
            optional_text(&self.address, out);
            codec::uint(self.durable, out);
            optional_symbol(&self.expiry_policy, out);
            codec::uint(self.timeout, out);
            codec::boolean(self.dynamic, out);
            write_map(&self.dynamic_node_properties, out);
            optional_symbol(&self.distribution_mode, out);
            write_map(&self.filter, out);
            codec::encode(&self.default_outcome, out);
            codec::encode(&self.outcomes, out);
            codec::encode(&self.capabilities, out);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        if reader.descriptor("a source")? != 0x28 {
            return Err(Fault::Descriptor("a source"));
        }
        let mut fields = reader.fields("a source")?;
        let source = Self {
            address: address(&mut fields)?,
            durable: fields.uint()?.unwrap_or_default(),
            expiry_policy: fields.text()?,
            timeout: fields.uint()?.unwrap_or_default(),
            dynamic: fields.boolean()?.unwrap_or_default(),
            dynamic_node_properties: fields.map()?,
            distribution_mode: fields.text()?,
            filter: fields.map()?,
            default_outcome: fields.value()?,
            outcomes: fields.value()?,
            capabilities: fields.value()?,
        };
        fields.skip();
        Ok(source)
    }

    pub(super) fn field(fields: &mut Fields<'_, '_>) -> Result<Option<Self>, Fault> {
        fields.next()?.map(Self::read).transpose()
    }
}

impl Target {
    /// One that has nothing but an address.
    pub fn at(address: impl Into<Text>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        codec::described(0x29, 7, out, |out| {
            optional_text(&self.address, out);
            codec::uint(self.durable, out);
            optional_symbol(&self.expiry_policy, out);
            codec::uint(self.timeout, out);
            codec::boolean(self.dynamic, out);
            write_map(&self.dynamic_node_properties, out);
            codec::encode(&self.capabilities, out);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        match reader.descriptor("a target")? {
            0x29 => {}
            0x30 => {
                reader.fields("a coordinator")?.skip();
                return Ok(Self { coordinator: true, ..Self::default() });
            }
            _ => return Err(Fault::Descriptor("a target")),
        }
        let mut fields = reader.fields("a target")?;
        let target = Self {
            address: address(&mut fields)?,
            durable: fields.uint()?.unwrap_or_default(),
            expiry_policy: fields.text()?,
            timeout: fields.uint()?.unwrap_or_default(),
            dynamic: fields.boolean()?.unwrap_or_default(),
            dynamic_node_properties: fields.map()?,
            capabilities: fields.value()?,
            coordinator: false,
        };
        fields.skip();
        Ok(target)
    }

    pub(super) fn field(fields: &mut Fields<'_, '_>) -> Result<Option<Self>, Fault> {
        fields.next()?.map(Self::read).transpose()
    }
}
