//! What goes into CONNECT, and when it has to be renewed.

use std::{io, path::Path, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use isotherm_host::{
    BoxStream, Host,
    http::{self, Response},
};
use isotherm_iothub::{Identity, Token};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{Credentials, options::Workload};

/// A token is renewed somewhere in this part of its life, so that many modules do not all come at once.
const RENEW_AFTER: std::ops::Range<f64> = 0.8..0.9;

/// A password for CONNECT or REST.
#[derive(Debug, Clone, Default)]
pub(crate) struct Password {
    /// `None` with a certificate.
    pub(crate) token: Option<String>,
    /// After this long another one is needed.
    pub(crate) renew_after: Option<Duration>,
}

/// Makes a fresh password that opens `resource`, for `who` if it is for somebody.
pub(crate) async fn password(
    host: &Host,
    credentials: &Credentials,
    resource: &str,
    who: Option<&Identity>,
    life: Duration,
) -> io::Result<Password> {
    let now = host.wall();
    let expiry = now.as_second().saturating_add_unsigned(life.as_secs());
    let token = match credentials {
        Credentials::Certificate(_) => return Ok(Password::default()),
        Credentials::Token(token) => return Ok(Password { token: Some(token.clone()), renew_after: None }),
        Credentials::Key(key) => Token::mint(key, resource, expiry, None),
        Credentials::Policy { name, key } => Token::mint(key, resource, expiry, Some(name)),
        Credentials::Workload(workload) => {
            let signature = sign(host, workload, who, &Token::string_to_sign(resource, expiry)).await?;
            Token::assemble(resource, &signature, expiry, None)
        }
    };
    let part = RENEW_AFTER.start + (RENEW_AFTER.end - RENEW_AFTER.start) * host.chance.f64();
    // A token ends at a whole second: up to one less than its life.
    let left =
        life.saturating_sub(Duration::from_nanos(now.subsec_nanosecond().max(0).unsigned_abs().into()));
    Ok(Password { token: Some(token), renew_after: Some(left.mul_f64(part)) })
}

async fn sign(host: &Host, workload: &Workload, who: Option<&Identity>, text: &str) -> io::Result<String> {
    let module = who
        .and_then(Identity::module_id)
        .ok_or_else(|| io::Error::other("the workload API signs for modules only"))?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let path = format!("/modules/{}/genid/{}/sign", encode(module), encode(&workload.generation_id));
    let body = json!({"keyId": "primary", "algo": "HMACSHA256", "data": BASE64_STANDARD.encode(text)});
    let answer = ask(host, workload, "POST", &path, body.to_string()).await?;
    text_of(&answer, "digest")
}

/// The certificates that the workload API says to trust, PEM.
pub(crate) async fn trust_bundle(host: &Host, workload: &Workload) -> io::Result<String> {
    text_of(&ask(host, workload, "GET", "/trust-bundle", Bytes::new()).await?, "certificate")
}

async fn ask(
    host: &Host,
    workload: &Workload,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> io::Result<Response> {
    let path = format!("{path}?api-version={}", workload.api_version);
    let stream = dial(host, &workload.uri).await?;
    let headers = [("host", "localhost"), ("content-type", "application/json")];
    let answer = http::request(stream, method, &path, &headers, body).await?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let said = String::from_utf8_lossy(&answer.body);
    Err(io::Error::other(format!("the workload API answered {} to {method} {path}: {said}", answer.status)))
}

async fn dial(host: &Host, uri: &str) -> io::Result<BoxStream> {
    if let Some(path) = uri.strip_prefix("unix://") {
        return host.network.dial_unix(Path::new(path)).await.map_err(|error| {
            let help = match error.kind() {
                io::ErrorKind::PermissionDenied => "it must belong to the user whom this runs as",
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    "does the hub, or IoT Edge, run, and does IOTEDGE_WORKLOADURI name its socket?"
                }
                _ => return error,
            };
            io::Error::new(error.kind(), format!("the workload socket {error}; {help}"))
        });
    }
    let address = uri.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or(rest));
    let Some(address) = address else {
        return Err(io::Error::other(format!(
            "the workload API's address {uri:?} is neither unix:// nor http://"
        )));
    };
    let (name, port) = crate::wiring::split_port(address, 80);
    host.network.dial(name, port).await
}

fn text_of(answer: &Response, field: &str) -> io::Result<String> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    let text = body[field].as_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::other(format!("the workload API's answer has no {field:?}")))
}
