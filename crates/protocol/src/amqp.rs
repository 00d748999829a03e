//! AMQP 1.0, the hub's end: [`Server`]. [`codec`] has the type system, [`Message`] the sections of a message,
//! [`performative`] what stands in frames.
//!
//! <https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-overview-v1.0-os.html>
//!
//! The session knows links, credit and deliveries, and nothing of addresses or tokens: whether someone may attach
//! where, and what an address means, is asked in events and answered in commands.

pub mod codec;
mod fault;
pub mod frame;
mod message;
pub mod performative;
mod sasl;
mod server;
mod state;
mod terminus;
mod text;
mod value;

pub use fault::Fault;
pub use message::{BATCH_FORMAT, Body, Header, Message, Properties};
pub use performative::{Attach, Open, Role};
pub use sasl::{SASL_FRAME_BYTES_MAX, SaslCode, SaslInit};
pub use server::{LinkId, Options, Server, ServerCommand, ServerEvent};
pub use state::{DeliveryState, Error};
pub use terminus::{Source, Target};
pub use text::Text;
pub use value::{Map, Value};
