//! The hub's end of AMQP, frame by frame: what it says, what it tells, and what it does with a hostile peer.

mod client;
mod greeting;
mod hostile;
mod links;
mod receiving;
mod sending;
