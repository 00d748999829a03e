//! Protocols as values: bytes and the time go in, bytes and events come out.
//!
//! Nothing here opens a socket, reads a clock or draws chance. [`Session`] is the shape that all of them share, so
//! one loop in `isotherm-host` moves the bytes for every one of them, and in a test two ends are simply introduced
//! to each other. [`mqtt`] holds MQTT 3.1.1: the hub's end, which is ours and strict, and the client's end, which
//! speaks with the packets of `rumqttc`, so that in every test two strangers meet. [`amqp`] holds the hub's end of
//! AMQP 1.0; its stranger is `fe2o3-amqp`.

pub mod amqp;
mod backoff;
pub mod mqtt;
mod session;
mod text;
mod transmit;
mod window;

pub use backoff::Backoff;
pub use session::{Malformed, Session};
pub use window::Window;
