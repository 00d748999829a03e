//! CONNECT: who is it, may they come in, and is the seat free.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use isotherm_host::Flow;
use isotherm_iothub::{Identity, Message, ToHub, UserName};
use isotherm_protocol::Session as _;
use isotherm_protocol::mqtt::{Connect, ConnectCode, Server, ServerCommand, Will};

use super::{Client, Connection, Stage};
use tokio::sync::oneshot;

use crate::core::{Authenticated, Credential, Refusal};

/// How long a second connection waits for the first one's socket to close. The first may be stuck in a write to
/// a peer that is gone; its session has ended in any case.
const SEAT_WITHIN: Duration = Duration::from_millis(500);

/// Why somebody is not let in: the code for them, the name for the counters, the sentence for the log.
struct No(ConnectCode, &'static str, String);

impl Connection {
    /// Answers CONNECT, or sees to it that it is answered when the same identity's older socket is closed.
    pub(super) fn greet(&mut self, now: Instant, connect: &Connect, session: &mut Server) -> Flow {
        if let Ok(user_name) = user_name(connect)
            && let Some(flow) = self.struck_at_the_door(now, &user_name.identity, session)
        {
            return flow;
        }
        match self.let_in(connect) {
            Ok(stage) => {
                self.stage = stage;
                tracing::debug!(who = self.name(), "MQTT client let in");
                if matches!(self.stage, Stage::Waiting { older: None, .. }) {
                    self.admit(now, session);
                }
                Flow::Go
            }
            Err(No(code, reason, why)) => {
                self.shared.remark(reason, || {
                    tracing::info!(client = %connect.client_id, why, "MQTT client not let in");
                });
                session.handle_command(now, ServerCommand::Refuse(code));
                self.stage = Stage::Over;
                Flow::End
            }
        }
    }

    fn let_in(&self, connect: &Connect) -> Result<Stage, No> {
        let UserName { identity: who, model_id, auth_chain, .. } = user_name(connect)?;
        let authenticated = self.authenticate(&who, auth_chain.as_deref(), connect)?;
        self.arrival.proven(self.shared.core().is_of_the_site(&who));
        let will = connect.will.as_ref().map(|will| will_message(&who, will)).transpose()?;
        let now = self.shared.now();
        if let Some(model) = &model_id {
            self.shared.core().set_model(&who, model);
        }
        let attached = self
            .shared
            .core()
            .attach(&who, connect.clean, "mqtt", authenticated.until, self.news.ringer(), now)
            .map_err(|refusal| {
                let (code, reason) = match refusal {
                    Refusal::Busy => (ConnectCode::ServerUnavailable, "mqtt_refused_too_many_sessions"),
                    _ => (ConnectCode::NotAuthorized, "mqtt_refused_unknown_identity"),
                };
                No(code, reason, refusal.to_string())
            })?;
        let (open, closed) = oneshot::channel();
        let older = self.shared.sockets.enter(&who, attached.session, closed);
        let client = Client { who, session: attached.session, will, _open: open };
        let patience = Box::pin(tokio::time::sleep(SEAT_WITHIN));
        Ok(Stage::Waiting { client, present: attached.present, older, patience })
    }

    fn authenticate(
        &self,
        who: &Identity,
        chain: Option<&str>,
        connect: &Connect,
    ) -> Result<Authenticated, No> {
        let wall = self.shared.host.wall();
        let certificate; // looked at only where there is no password: that is dear
        let credential = match &connect.password {
            // Bytes that are no text are no token either; said as one that does not parse.
            Some(password) => Credential::Sas(std::str::from_utf8(password).unwrap_or("")),
            None => {
                certificate = self.arrival.judge(&self.shared.device_roots, wall);
                certificate.as_ref().map_or(Credential::None, |certificate| certificate.credential())
            }
        };
        self.shared
            .core()
            .authenticate_through(who, chain, credential, wall)
            .map_err(|why| No(ConnectCode::NotAuthorized, "mqtt_refused_not_authorized", why.to_string()))
    }

    /// Ready once the identity's older socket is closed, or has had its time.
    pub(super) fn poll_seat(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Stage::Waiting { older: Some(older), patience, .. } = &mut self.stage else {
            return Poll::Ready(());
        };
        if Pin::new(older).poll(cx).is_pending() {
            return patience.as_mut().poll(cx);
        }
        Poll::Ready(())
    }

    /// Says CONNACK 0.
    pub(super) fn admit(&mut self, now: Instant, session: &mut Server) {
        if let Stage::Waiting { client, present, .. } = std::mem::replace(&mut self.stage, Stage::Over) {
            self.stage = Stage::Open(client);
            session.handle_command(now, ServerCommand::Accept { session_present: present });
            self.shared.counters.count("mqtt_accepted");
            self.look = true; // messages may have waited for it
        }
    }
}

/// Who a CONNECT says it is.
fn user_name(connect: &Connect) -> Result<UserName, No> {
    let user_name = connect.user_name.as_deref().unwrap_or("");
    let user_name = UserName::parse(user_name).map_err(|refused| {
        No(ConnectCode::ServerUnavailable, "mqtt_refused_user_name", refused.to_string())
    })?;
    if user_name.identity.as_str() != connect.client_id.as_str() {
        let why = format!("the client id must be {}, as in the user name", user_name.identity);
        return Err(No(ConnectCode::NotAuthorized, "mqtt_refused_client_id", why));
    }
    Ok(user_name)
}

/// A will is a message of the client's own, or it is no will.
fn will_message(who: &Identity, will: &Will) -> Result<Message, No> {
    let Ok(ToHub::Telemetry { properties: (system, properties), .. }) = ToHub::parse_from(&will.topic, who)
    else {
        let why = format!("the will's topic must be one of {who}'s own messages/events");
        return Err(No(ConnectCode::NotAuthorized, "mqtt_refused_will_topic", why));
    };
    let mut message = Message { body: Bytes::copy_from_slice(&will.payload), system, properties };
    // IoT Hub and edgeHub mark it under different names.
    let mark = if who.module_id().is_some() { "MessageType" } else { "iothub-MessageType" };
    message.properties.set(mark, "Will");
    if will.retain {
        message.properties.set("mqtt-retain", "true");
    }
    Ok(message)
}
