//! Who may ask: the `Authorization` header and the right it grants.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};
use isotherm_iothub::{Identity, Token};

use super::Door;
use super::failure::{Answer, Failure};
use crate::core::{Authenticated, Credential, Right, Unauthorized};

impl Door {
    /// Lets a request pass that has `right` over `path` (decoded).
    pub(crate) fn authorize(&self, headers: &HeaderMap, right: Right, path: &str) -> Answer<()> {
        let wall = self.shared.host.wall();
        let authorized = self.shared.core().authorize_service(token(headers), right, path, wall);
        authorized.map(drop).map_err(|why| self.unauthorized(path, why))
    }

    /// The same for the modules of a device, which the device itself may administer with its own token.
    pub(crate) fn authorize_modules(&self, headers: &HeaderMap, right: Right, path: &str) -> Answer<()> {
        let own = Token::parse(token(headers)).is_ok_and(|token| token.policy.is_none());
        self.authorize(headers, if own { Right::DeviceConnect } else { right }, path)
    }

    /// Lets a request pass that comes from `who`, by its token or its certificate, or from a policy that may
    /// speak for every device.
    pub(crate) fn authorize_client(&self, headers: &HeaderMap, who: &Identity) -> Answer<()> {
        self.authenticate(headers, who).map(drop).map_err(|why| self.unauthorized(who.as_str(), why))
    }

    /// Whether a request comes from `who`.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        who: &Identity,
    ) -> Result<Authenticated, Unauthorized> {
        let wall = self.shared.host.wall();
        let certificate = self.arrival.judge(&self.shared.device_roots, wall);
        let credential = match token(headers) {
            "" => certificate.as_ref().map_or(Credential::None, |certificate| certificate.credential()),
            token => Credential::Sas(token),
        };
        self.shared.core().authenticate(who, credential, wall)
    }

    fn unauthorized(&self, path: &str, why: Unauthorized) -> Failure {
        self.shared.remark("http_refused_unauthorized", || tracing::info!(path, %why, "request refused"));
        Failure::unauthorized(&self.shared.host, why)
    }

    /// A failure of the usual kind.
    pub(crate) fn failure(&self, error: crate::core::ApiError) -> Failure {
        Failure::new(&self.shared.host, error)
    }

    /// The identity of a path's ids.
    pub(crate) fn identity(&self, device: &str, module: Option<&str>) -> Answer<Identity> {
        Identity::of(device, module).map_err(|refused| Failure::refused(&self.shared.host, &refused))
    }
}

fn token(headers: &HeaderMap) -> &str {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// `If-Match`, with or without quotes; the hub's mind takes both.
pub(crate) fn if_match(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok())
}

/// `/devices/{device}[/modules/{module}]`, decoded: what a token's resource is compared with.
pub(crate) fn path_of(device: &str, module: Option<&str>) -> String {
    let mut path = format!("/devices/{device}");
    if let Some(module) = module {
        let _ = write!(path, "/modules/{module}"); // writing to a string cannot fail
    }
    path
}
