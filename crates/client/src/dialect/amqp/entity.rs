//! An address of an AMQP 1.0 peer that is no hub: an event hub, a queue or topic of Service Bus, a queue of a broker.
//! Messages go there; there are no inputs, twins and methods.

/// Where messages are sent.
#[derive(Debug, Clone)]
pub(crate) struct Entity {
    /// The entity's path, or whatever the peer calls an address.
    pub(crate) address: String,
    pub(crate) sasl: Sasl,
}

/// What is shown before the connection is opened.
#[derive(Clone)]
pub(crate) enum Sasl {
    /// SASL is left out.
    None,
    /// Nobody in particular: a token comes later.
    Anonymous,
    Plain {
        user: String,
        key: String,
    },
}

impl std::fmt::Debug for Sasl {
    /// By kind only: the key is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Anonymous => "Anonymous",
            Self::Plain { .. } => "Plain",
        })
    }
}
