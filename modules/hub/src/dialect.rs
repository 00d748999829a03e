//! How the hub speaks with whoever comes in. A new dialect is a file here and a port in `listen`.

pub(crate) mod amqp;
pub(crate) mod http;
pub(crate) mod mqtt;
