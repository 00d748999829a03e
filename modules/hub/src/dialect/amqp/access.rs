//! Who is there: SASL, tokens put into `$cbs`, certificates. What counts is what a token says and who signed it, never
//! the name that it was put under.

use std::time::Instant;

use isotherm_iothub::{Identity, Token};
use isotherm_protocol::Session as _;
use isotherm_protocol::amqp::{Body, Error, Message, SaslCode, SaslInit, Server, ServerCommand, Value};
use jiff::{SignedDuration, Timestamp};

use super::Connection;
use super::address::subject;
use crate::core::{Authenticated, Credential, Right, Unauthorized};
use crate::upstream;

/// Tokens that one connection may show at once; one more is refused.
const PROOFS_MAX: usize = 1_024;
/// How long somebody who showed a policy's key itself may stay.
const KEY_LASTS: SignedDuration = SignedDuration::from_hours(24 * 365);

/// A token that was shown and is good for something.
pub(super) struct Proof {
    text: String,
    /// What it is made out for, and by whose key: a newer one takes the place of an older.
    resource: String,
    policy: Option<String>,
    /// Whom alone it is about.
    subject: Option<Identity>,
}

impl Connection {
    /// Answers what a client shows in SASL.
    pub(super) fn sasl(&mut self, now: Instant, init: &SaslInit, session: &mut Server) {
        let good = match &*init.mechanism {
            "MSSBCBS" | "ANONYMOUS" => true, // proves nothing, and opens nothing
            "EXTERNAL" => self.arrival.has_certificate(),
            "PLAIN" => init.plain().is_some_and(|(user, password)| self.plain(user, password)),
            _ => false,
        };
        if !good {
            self.shared.remark("amqp_refused_sasl", || {
                tracing::info!(mechanism = %init.mechanism, "AMQP client not let in");
            });
        }
        let code = if good { SaslCode::Ok } else { SaslCode::Auth };
        session.handle_command(now, ServerCommand::SaslOutcome(code));
    }

    /// A token as a password; or a policy's name and key, as Event Hubs clients have it.
    fn plain(&mut self, user: &str, password: &str) -> bool {
        if Token::parse(password).is_ok() {
            return self.show(password).is_ok();
        }
        let name = user.split_once('@').map_or(user, |(name, _)| name);
        let policies = self.shared.core().policies();
        let Some((name, key)) = policies.into_iter().find(|(policy, _)| policy == name) else { return false };
        let wall = self.shared.host.wall();
        let until = wall.checked_add(KEY_LASTS).map_or(i64::MAX, Timestamp::as_second);
        let host = self.shared.core().options().host_name.clone();
        // Compared by what the two keys sign, so that the time it takes tells nothing of the key.
        let same = isotherm_iothub::Key::from_base64(password).is_ok_and(|shown| {
            Token::parse(&Token::mint(&shown, &host, until, None)).is_ok_and(|it| it.verify(&key))
        });
        same && self.show(&Token::mint(&key, &host, until, Some(&name))).is_ok()
    }

    /// Answers a request to `$cbs`.
    pub(super) fn claim(&mut self, request: &Message) -> Message {
        let operation = request.application_properties.text("operation");
        let token = match &request.body {
            Body::Value(Value::String(text)) => Some(text.as_str().to_owned()),
            body => body.bytes().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()),
        };
        let (status, description) = match (operation.map(|it| it.as_str()), token) {
            (Some("put-token"), Some(token)) => match self.show(&token) {
                Ok(()) => (200, "OK".to_owned()),
                Err(Unauthorized::Malformed) => (400, Unauthorized::Malformed.to_string()),
                Err(why) => {
                    self.shared.remark("amqp_refused_token", || tracing::info!(%why, "AMQP token refused"));
                    (401, why.to_string())
                }
            },
            (Some("delete-token"), _) => (200, "OK".to_owned()),
            _ => (400, "put-token with a token as the body is what is understood here".to_owned()),
        };
        Message::reply(&request.properties, status, &description, Value::Null)
    }

    /// Takes a token that is good for something.
    fn show(&mut self, text: &str) -> Result<(), Unauthorized> {
        let token = Token::parse(text).map_err(|_| Unauthorized::Malformed)?;
        let wall = self.shared.host.wall();
        let about = subject(&token.resource);
        let core = self.shared.core();
        let good = match &about {
            Some(who) => core.authenticate(who, Credential::Sas(text), wall).map(drop),
            None => {
                let entity = upstream::entity_path(&core.options().host_name);
                let events = core.authorize_events(text, entity, wall).map(drop);
                events.or_else(|why| {
                    let device = core.authorize_service(text, Right::DeviceConnect, "/", wall);
                    device.map(drop).map_err(|_| why)
                })
            }
        };
        drop(core);
        good?;
        let proof = Proof {
            text: text.to_owned(),
            resource: token.resource,
            policy: token.policy,
            subject: about.clone(),
        };
        let same = |it: &Proof| it.resource == proof.resource && it.policy == proof.policy;
        let many = self.proofs.len() >= PROOFS_MAX;
        match self.proofs.iter_mut().find(|it| same(it)) {
            Some(older) => *older = proof,
            None if many => return Err(Unauthorized::Right),
            None => self.proofs.push(proof),
        }
        self.renew();
        Ok(())
    }

    /// Sessions last as long as the newest token.
    fn renew(&mut self) {
        for (who, seat) in &self.seats {
            if let Ok(proven) = self.prove(who, seat.chain.as_deref()) {
                self.shared.core().renew(seat.session, proven.until, self.shared.now());
            }
        }
        self.look = true; // the alarm is set anew
    }

    /// Whether somebody may attach as `who`: by a token that was shown, or by the certificate; their own, or that of the
    /// gateway at the end of the chain.
    pub(super) fn prove(&self, who: &Identity, chain: Option<&str>) -> Result<Authenticated, Unauthorized> {
        let proven = self.find_proof(who, chain)?;
        self.arrival.proven(self.shared.core().is_of_the_site(who));
        Ok(proven)
    }

    fn find_proof(&self, who: &Identity, chain: Option<&str>) -> Result<Authenticated, Unauthorized> {
        let wall = self.shared.host.wall();
        let owner = who.owner();
        let gateway = chain.and_then(|chain| self.shared.core().gateway(who, chain));
        let mut why = Unauthorized::NoCredential;
        let may_be = |proof: &&Proof| {
            let stands_in = |it: &Identity| it == who || *it == owner || Some(it) == gateway.as_ref();
            proof.subject.as_ref().is_none_or(stands_in)
        };
        for proof in self.proofs.iter().filter(may_be) {
            match self.shared.core().authenticate_through(who, chain, Credential::Sas(&proof.text), wall) {
                Ok(proven) => return Ok(proven),
                Err(reason) => why = reason,
            }
        }
        match self.arrival.judge(&self.shared.device_roots, wall) {
            Some(shown) => self.shared.core().authenticate_through(who, chain, shown.credential(), wall),
            None => Err(why),
        }
    }

    /// Whether somebody may use the service side at `path`, and until when.
    pub(super) fn serve_service(&self, path: &str) -> Result<Timestamp, Unauthorized> {
        let wall = self.shared.host.wall();
        let core = self.shared.core();
        let ask = |proof: &Proof| core.authorize_service(&proof.text, Right::ServiceConnect, path, wall);
        self.latest(ask)
    }

    /// Whether somebody may read the event endpoint, and until when.
    pub(super) fn serve_events(&self) -> Result<Timestamp, Unauthorized> {
        let wall = self.shared.host.wall();
        let core = self.shared.core();
        let entity = upstream::entity_path(&core.options().host_name);
        self.latest(|proof| core.authorize_events(&proof.text, entity, wall))
    }

    fn latest(
        &self,
        mut ask: impl FnMut(&Proof) -> Result<crate::core::Authorized, Unauthorized>,
    ) -> Result<Timestamp, Unauthorized> {
        let mut best = Err(Unauthorized::NoCredential);
        for proof in self.proofs.iter().filter(|proof| proof.subject.is_none()) {
            best = match (best, ask(proof).map(|authorized| authorized.until)) {
                (Ok(best), Ok(until)) => Ok(until.max(best)),
                (Ok(best), Err(_)) => Ok(best),
                (Err(_), other) => other,
            };
        }
        best
    }
}

/// What somebody is told who may not.
pub(super) fn unauthorized(why: Unauthorized) -> Error {
    Error::new("amqp:unauthorized-access", why.to_string())
}
