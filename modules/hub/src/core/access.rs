//! Who may come in: SAS tokens of identities and policies, X.509 certificates.

use isotherm_iothub::Identity;
use jiff::Timestamp;

use super::Core;

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
        let _ = (who, credential, wall);
        unimplemented!()
    }

    /// Decides whether a token grants `right` over `path` (decoded, such as `/devices/d1/modules/m`, or `/` for all).
    /// Tokens of policies, and of a device or module for its own paths when the right is [`Right::DeviceConnect`].
    ///
    /// # Errors
    /// Why not; counted under `requests_refused_…_total`.
    pub fn authorize_service(
        &self,
        token: &str,
        right: Right,
        path: &str,
        wall: Timestamp,
    ) -> Result<Authorized, Unauthorized> {
        let _ = (token, right, path, wall);
        unimplemented!()
    }
}
