//! What a [`ClientSession`](super::ClientSession) is told, and what it tells.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::mqttbytes::{Protocol, QoS, v4};

use crate::mqtt::{ConnectCode, Fault, Qos, Text};

/// Who connects, and how.
#[derive(Clone)]
pub struct ConnectOptions {
    /// `device` or `device/module`.
    pub client_id: String,
    /// Empty for a broker that wants none.
    pub user_name: String,
    /// A SAS token; none with a certificate.
    pub password: Option<String>,
    /// Counted in whole seconds, at most 65,535 of them; zero for no pings.
    pub keep_alive: Duration,
    /// Forget earlier subscriptions.
    pub clean: bool,
    /// Published by the server should this client vanish.
    pub will: Option<LastWill>,
    /// QoS 1 messages on their way at once, at most 16,384.
    pub window: usize,
}

impl fmt::Debug for ConnectOptions {
    /// The password is a key and stays out of every log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("keep_alive", &self.keep_alive)
            .field("clean", &self.clean)
            .finish_non_exhaustive()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            user_name: String::new(),
            password: None,
            keep_alive: Duration::from_secs(60),
            clean: false,
            will: None,
            window: 1_024,
        }
    }
}

impl ConnectOptions {
    pub(super) fn into_packet(self, keep_alive: u16) -> v4::Connect {
        let password = self.password.unwrap_or_default();
        let fits =
            [&self.client_id, &self.user_name, &password].iter().all(|text| text.len() <= Text::BYTES_MAX);
        assert!(fits, "client id, user name and password have at most 65,535 bytes each");
        let last_will = self.will.map(|will| v4::LastWill {
            topic: will.topic,
            message: will.payload,
            qos: if will.qos == Qos::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            retain: will.retain,
        });
        // Without a user name there may be no password `[MQTT-3.1.2-22]`; the library would send it all the same.
        let login = (!self.user_name.is_empty()).then(|| v4::Login::new(self.user_name, password));
        let (protocol, client_id, clean_session) = (Protocol::V4, self.client_id, self.clean);
        v4::Connect { protocol, keep_alive, client_id, clean_session, last_will, login }
    }
}

/// A message that the server publishes for a client that vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWill {
    /// No wildcards.
    pub topic: String,
    /// At most 65,535 bytes.
    pub payload: Bytes,
    /// 0 or 1.
    pub qos: Qos,
    /// The retain flag.
    pub retain: bool,
}

/// What the server does, in the order it does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// Accepted. Whatever is not acknowledged from earlier connections has to be published again now.
    Connected {
        /// Whether subscriptions of an earlier connection still stand.
        session_present: bool,
    },
    /// Not accepted; the session is over.
    Refused(ConnectCode),
    /// A message. QoS 1 wants [`ClientCommand::Acknowledge`] once it is safe.
    Publish {
        /// Where.
        topic: String,
        /// A slice of what was read; copy it before keeping it for long.
        payload: Bytes,
        /// 0 or 1.
        qos: Qos,
        /// 0 with QoS 0.
        packet_id: u16,
        /// Sent before, perhaps.
        dup: bool,
        /// The retain flag.
        retain: bool,
    },
    /// A QoS 1 message has arrived and is safe there.
    Acknowledged {
        /// The token it was published with.
        token: u64,
    },
    /// The answer to one [`ClientCommand::Subscribe`].
    Subscribed {
        /// Each filter of the command with the QoS granted; none means refused.
        filters: Vec<(String, Option<Qos>)>,
    },
    /// The answer to one [`ClientCommand::Unsubscribe`].
    Unsubscribed {
        /// Those of the command.
        filters: Vec<String>,
    },
    /// The session is over because the server fell silent.
    Closed(Fault),
}

/// What the user of a session can ask of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand {
    /// PUBLISH. With QoS 1 there must be room: [`ClientSession::window`](super::ClientSession::window).
    Publish {
        /// Comes back in [`ClientEvent::Acknowledged`]; means nothing with QoS 0.
        token: u64,
        /// No wildcards, not empty, at most 65,535 bytes.
        topic: String,
        /// At most 262,144 bytes are taken by IoT Hub.
        payload: Bytes,
        /// 0 or 1.
        qos: Qos,
    },
    /// SUBSCRIBE.
    Subscribe {
        /// At least one.
        filters: Vec<(String, Qos)>,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// At least one.
        filters: Vec<String>,
    },
    /// PUBACK.
    Acknowledge {
        /// That of the publish.
        packet_id: u16,
    },
    /// DISCONNECT; the session is over.
    Disconnect,
}
