//! Who may come in: SAS tokens of identities and policies, X.509 certificates.

use isotherm_iothub::{Identity, Key, Token};
use jiff::{SignedDuration, Timestamp};

use super::people::{AuthKind, Person};
use super::{Core, Counter};

/// How far a client's clock may be off: a token is good for this much longer than it says.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What a peer showed to prove who it is.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// A shared access signature, the whole text beginning with `SharedAccessSignature`.
    Sas(&'a str),
    /// A client certificate; possession of its key was proven in the handshake.
    Certificate {
        /// Its SHA-1 and SHA-256 thumbprints, in hexadecimal of any case.
        thumbprints: &'a [String],
        /// Whether its chain ends at an authority trusted for devices.
        chain_trusted: bool,
        /// The subject's common name.
        common_name: &'a str,
    },
    /// Nothing at all.
    None,
}

/// Somebody who is who they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authenticated {
    /// When that ends, the five minutes of clock skew included: the token's expiry. `None`: a certificate, no end.
    pub until: Option<Timestamp>,
}

/// Somebody who may use the service side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized {
    /// The policy, or the identity whose own key signed.
    pub by: String,
    /// When that ends, clock skew included.
    pub until: Timestamp,
}

/// A right that a shared access policy grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read the registry.
    RegistryRead,
    /// Change the registry.
    RegistryWrite,
    /// Service side: twins, methods, cloud-to-device, events.
    ServiceConnect,
    /// Device side, for any device.
    DeviceConnect,
}

/// Why somebody was not let in. To the peer all are the same; the log and the counters tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// Neither token nor certificate.
    #[error("neither a token nor a certificate was shown")]
    NoCredential,
    /// The token does not read as one.
    #[error("the token is malformed: expected `SharedAccessSignature sr=…&sig=…&se=…`")]
    Malformed,
    /// The token's time is over, by more than five minutes.
    #[error("the token has expired")]
    Expired,
    /// The token is made out for another resource or hub.
    #[error("the token is made out for another resource (its `sr`)")]
    Audience,
    /// Neither of the keys made this signature.
    #[error("the signature fits neither key")]
    Signature,
    /// No such device or module.
    #[error("no such identity")]
    Unknown,
    /// The identity is disabled.
    #[error("the identity is disabled")]
    Disabled,
    /// The certificate is not the one registered, or its chain is not trusted.
    #[error("the certificate is neither registered nor issued by a trusted authority for this identity")]
    Certificate,
    /// The chain of gateways does not lead to the one whose credential was shown.
    #[error(
        "the auth-chain does not lead from this identity, parent by parent, to a gateway that is enabled"
    )]
    Chain,
    /// No policy of that name.
    #[error("no policy of that name")]
    Policy,
    /// The policy lacks the right.
    #[error("the policy does not grant this right")]
    Right,
}

impl Core {
    /// Decides whether a peer may be `who`.
    ///
    /// # Errors
    /// Why not; counted under `connections_refused_…_total`.
    pub fn authenticate(
        &self,
        who: &Identity,
        credential: Credential<'_>,
        wall: Timestamp,
    ) -> Result<Authenticated, Unauthorized> {
        let decided = self.decide(who, credential, wall);
        if let Err(refused) = decided {
            self.counters.count(refused.counter());
        }
        decided
    }

    /// Decides whether a token grants `right` over `path` (decoded, such as `/devices/d1/modules/m`, or `/` for all).
    /// Tokens of policies, and of a device or module for its own paths when the right is [`Right::DeviceConnect`].
    ///
    /// # Errors
    /// Why not; counted under `requests_refused_unauthorized_total`.
    pub fn authorize_service(
        &self,
        token: &str,
        right: Right,
        path: &str,
        wall: Timestamp,
    ) -> Result<Authorized, Unauthorized> {
        let decided = self.decide_service(token, right, path, wall);
        if decided.is_err() {
            self.counters.count(Counter::RequestsUnauthorized);
        }
        decided
    }

    /// Decides whether a token opens the event endpoint named `entity` to readers: one of a policy that may use the
    /// service side, made out for the hub, the endpoint or a part of it (`sb://host/entity/consumergroups/…`).
    ///
    /// # Errors
    /// Why not; counted under `requests_refused_unauthorized_total`.
    pub fn authorize_events(
        &self,
        token: &str,
        entity: &str,
        wall: Timestamp,
    ) -> Result<Authorized, Unauthorized> {
        let decided = self.decide_events(token, entity, wall);
        if decided.is_err() {
            self.counters.count(Counter::RequestsUnauthorized);
        }
        decided
    }
}

impl Unauthorized {
    pub(super) fn counter(self) -> Counter {
        match self {
            Self::NoCredential => Counter::ConnectionsNoCredential,
            Self::Malformed => Counter::ConnectionsMalformedToken,
            Self::Expired => Counter::ConnectionsExpiredToken,
            Self::Audience | Self::Chain => Counter::ConnectionsAudience,
            Self::Signature => Counter::ConnectionsSignature,
            Self::Unknown => Counter::ConnectionsUnknown,
            Self::Disabled => Counter::ConnectionsDisabled,
            Self::Certificate => Counter::ConnectionsCertificate,
            Self::Policy | Self::Right => Counter::ConnectionsPolicy,
        }
    }
}

impl Core {
    pub(super) fn decide(
        &self,
        who: &Identity,
        credential: Credential<'_>,
        wall: Timestamp,
    ) -> Result<Authenticated, Unauthorized> {
        let person = self.people.get(who).ok_or(Unauthorized::Unknown)?;
        let owner = self.people.get(&who.owner()).ok_or(Unauthorized::Unknown)?;
        if !person.record.enabled || !owner.record.enabled {
            return Err(Unauthorized::Disabled);
        }
        match credential {
            Credential::None => Err(Unauthorized::NoCredential),
            Credential::Sas(text) => {
                let token = read_token(text, wall)?;
                match &token.policy {
                    Some(policy) => {
                        let path = format!("/{}", who.path());
                        self.check_policy(&token, policy, Right::DeviceConnect, &path)?;
                    }
                    None => self.check_own_token(&token, person, owner)?,
                }
                Ok(Authenticated { until: Some(end_of(&token)?) })
            }
            Credential::Certificate { thumbprints, chain_trusted, common_name } => {
                let fits = match person.record.auth.kind {
                    AuthKind::SelfSigned => is_registered(person, thumbprints),
                    AuthKind::CertificateAuthority => chain_trusted && common_name == who.as_str(),
                    AuthKind::Sas | AuthKind::None => false,
                };
                fits.then_some(Authenticated { until: None }).ok_or(Unauthorized::Certificate)
            }
        }
    }

    /// A token signed with the identity's own key, or where that is allowed its device's.
    fn check_own_token(&self, token: &Token, person: &Person, owner: &Person) -> Result<(), Unauthorized> {
        let hosts = self.host_names();
        if token.is_for(&hosts, &person.who) {
            return signed_by(token, person);
        }
        if self.options.device_token_for_modules && token.is_for(&hosts, &owner.who) {
            return signed_by(token, owner);
        }
        Err(Unauthorized::Audience)
    }

    fn host_names(&self) -> Vec<&str> {
        let others = self.options.other_names.iter().map(String::as_str);
        std::iter::once(self.options.host_name.as_str()).chain(others).collect()
    }

    fn check_policy(&self, token: &Token, name: &str, right: Right, path: &str) -> Result<(), Unauthorized> {
        let policy = self.policies.iter().find(|(policy, _)| policy == name);
        let (_, key) = policy.ok_or(Unauthorized::Policy)?;
        if !self.covers(&token.resource, path) {
            return Err(Unauthorized::Audience);
        }
        if !token.verify(key) {
            return Err(Unauthorized::Signature);
        }
        if rights_of(name).contains(&right) { Ok(()) } else { Err(Unauthorized::Right) }
    }

    /// Whether a resource (`host/devices/d`) is the path or above it, segment by segment.
    fn covers(&self, resource: &str, path: &str) -> bool {
        let resource = resource.trim_end_matches('/');
        let (host, rest) = resource.split_once('/').unwrap_or((resource, ""));
        // A client that was told `HostName=localhost:8443` signs for that.
        let host = host
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok())
            .map_or(host, |(name, _)| name);
        let known = self.host_names().iter().any(|name| name.eq_ignore_ascii_case(host));
        let mut wanted = path.split('/').filter(|it| !it.is_empty());
        known && rest.split('/').filter(|it| !it.is_empty()).all(|it| wanted.next() == Some(it))
    }

    fn decide_events(&self, text: &str, entity: &str, wall: Timestamp) -> Result<Authorized, Unauthorized> {
        let token = read_token(text, wall)?;
        let name = token.policy.clone().ok_or(Unauthorized::Policy)?;
        let (_, key) =
            self.policies.iter().find(|(policy, _)| *policy == name).ok_or(Unauthorized::Policy)?;
        let bare = token.resource.split_once("://").map_or(token.resource.as_str(), |(_, rest)| rest);
        let mut parts = bare.splitn(2, '/');
        let (host, rest) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let first = rest.split('/').next().unwrap_or("");
        let ours = ["", "messages", entity].iter().any(|it| it.eq_ignore_ascii_case(first));
        if !ours || !self.covers(host, "/") {
            return Err(Unauthorized::Audience);
        }
        // Event Hubs' clients sign with the key's text as it stands, IoT Hub's with the bytes that it encodes.
        let as_it_stands = Key::from_bytes(key.to_base64().as_bytes());
        if !token.verify(key) && !token.verify(&as_it_stands) {
            return Err(Unauthorized::Signature);
        }
        if !rights_of(&name).contains(&Right::ServiceConnect) {
            return Err(Unauthorized::Right);
        }
        Ok(Authorized { by: name, until: end_of(&token)? })
    }

    fn decide_service(
        &self,
        text: &str,
        right: Right,
        path: &str,
        wall: Timestamp,
    ) -> Result<Authorized, Unauthorized> {
        let token = read_token(text, wall)?;
        let until = end_of(&token)?;
        if let Some(policy) = &token.policy {
            self.check_policy(&token, policy, right, path)?;
            return Ok(Authorized { by: policy.clone(), until });
        }
        let who = resource_identity(&token.resource).ok_or(Unauthorized::Audience)?;
        let person = self.people.get(&who).ok_or(Unauthorized::Unknown)?;
        if !person.record.enabled {
            return Err(Unauthorized::Disabled);
        }
        if !token.is_for(&self.host_names(), &who) || !self.covers(&token.resource, path) {
            return Err(Unauthorized::Audience);
        }
        signed_by(&token, person)?;
        // An edge device looks after its own modules' registry.
        let own_modules = path.strip_prefix(&format!("/{}/modules", who.path())).is_some();
        let registry = matches!(right, Right::RegistryRead | Right::RegistryWrite);
        if right == Right::DeviceConnect || (registry && own_modules && person.record.edge) {
            return Ok(Authorized { by: who.to_string(), until });
        }
        Err(Unauthorized::Right)
    }

    /// The standard policies, in IoT Hub's order.
    pub(super) fn policy_names() -> [&'static str; 5] {
        ["iothubowner", "service", "device", "registryRead", "registryReadWrite"]
    }
}

fn read_token(text: &str, wall: Timestamp) -> Result<Token, Unauthorized> {
    let token = Token::parse(text).map_err(|_| Unauthorized::Malformed)?;
    if token.expired(wall) { Err(Unauthorized::Expired) } else { Ok(token) }
}

fn end_of(token: &Token) -> Result<Timestamp, Unauthorized> {
    // A token for longer than time lasts is one for as long as time lasts.
    let expiry = Timestamp::from_second(token.expiry).unwrap_or(Timestamp::MAX);
    Ok(expiry.checked_add(SKEW).unwrap_or(Timestamp::MAX))
}

fn signed_by(token: &Token, person: &Person) -> Result<(), Unauthorized> {
    let keys = person.record.auth.keys.as_ref().ok_or(Unauthorized::Signature)?;
    let fits = |key: &String| Key::from_base64(key).is_ok_and(|key| token.verify(&key));
    if fits(&keys.0) || fits(&keys.1) { Ok(()) } else { Err(Unauthorized::Signature) }
}

fn is_registered(person: &Person, shown: &[String]) -> bool {
    let (primary, secondary) = &person.record.auth.thumbprints;
    let mut registered = [primary, secondary].into_iter().flatten();
    registered.any(|known| shown.iter().any(|it| it.eq_ignore_ascii_case(known)))
}

/// Whom `host/devices/d[/modules/m]` is about.
fn resource_identity(resource: &str) -> Option<Identity> {
    let mut parts = resource.split('/').skip(1);
    let (devices, device) = (parts.next()?, parts.next()?);
    match (devices, parts.next(), parts.next(), parts.next()) {
        ("devices", None, None, None) => Identity::device(device).ok(),
        ("devices", Some("modules"), Some(module), None) => Identity::module(device, module).ok(),
        _ => None,
    }
}

fn rights_of(policy: &str) -> &'static [Right] {
    use Right::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
    match policy {
        "iothubowner" => &[RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect],
        "service" => &[ServiceConnect],
        "device" => &[DeviceConnect],
        "registryRead" => &[RegistryRead],
        "registryReadWrite" => &[RegistryRead, RegistryWrite],
        _ => &[],
    }
}
