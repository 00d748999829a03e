//! AMQP 1.0, the hub's end: [`Server`]. [`codec`] has the type system, [`Message`] the sections of a message,
//! [`performative`] what stands in frames.
//!
//! <https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-overview-v1.0-os.html>
//!
//! The session knows links, credit and deliveries, and nothing of addresses or tokens: whether someone may attach
//! where, and what an address means, is asked in events and answered in commands. What is asked of a hub:
//!
//! ```
//! use isotherm_protocol::Session;
//! use isotherm_protocol::amqp::{Error, Role, SaslCode, Server, ServerCommand, ServerEvent};
//!
//! fn answer(event: ServerEvent) -> Option<ServerCommand> {
//!     Some(match event {
//!         // Nothing is proven yet; `$cbs` comes later.
//!         ServerEvent::Sasl(init) if init.plain().is_none() => ServerCommand::SaslOutcome(SaslCode::Ok),
//!         ServerEvent::Sasl(_) => ServerCommand::SaslOutcome(SaslCode::Auth),
//!         ServerEvent::Attached { link, attach } => match (attach.role, &attach.target) {
//!             // The client sends: a hundred messages may wait for us to settle them.
//!             (Role::Sender, Some(target)) if target.address.as_deref() == Some("$cbs") => {
//!                 ServerCommand::accept(link, 100)
//!             }
//!             // The client receives: its credit comes as an event, and `Server::room` says how much there is.
//!             (Role::Receiver, _) => ServerCommand::accept(link, 0),
//!             _ => ServerCommand::Refuse { link, error: Error::new("amqp:not-found", "no such address") },
//!         },
//!         // Once it is safe.
//!         ServerEvent::Message { link, delivery, settled: false, .. } => ServerCommand::accepted(link, delivery),
//!         _ => return None,
//!     })
//! }
//! ```

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
