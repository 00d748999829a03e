//! The hub's service side, as every verb uses it: REST in the cloud's own shape, over TLS, with a policy's token.

use std::io;
use std::path::Path;

use isotherm_host::tls::ClientTls;
use isotherm_host::{BoxStream, Host, http};
use isotherm_hub::{READY_FILE, Ready};
use isotherm_iothub::{ConnectionString, Identity, Key, Token};
use serde_json::Value;

use crate::args::HubAddress;
use crate::context::{Context, read_text};
use crate::output::Failure;

/// The version of the service API that these calls are written against.
const API_VERSION: &str = "2021-04-12";
/// A token lives this long: one call, or the opening of one watch.
const TOKEN_SECONDS: i64 = 3600;
/// IoT Hub's HTTPS port.
const HTTPS: u16 = 443;

/// A hub and a policy that lets us in.
#[derive(Clone)]
pub(crate) struct Service {
    host: Host,
    tls: ClientTls,
    /// The name in tokens, and the one its certificate must have.
    host_name: String,
    address: (String, u16),
    policy: String,
    key: Key,
    /// The edge device whose modules are called by their bare name.
    device_id: Option<String>,
}

/// One call, before it is sent.
#[derive(Debug)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self { method: "DELETE", ..Self::get(path) }
    }

    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self::with_json("POST", path, body)
    }

    pub(crate) fn put(path: &str, body: Value) -> Self {
        Self::with_json("PUT", path, body)
    }

    pub(crate) fn patch(path: &str, body: Value) -> Self {
        Self::with_json("PATCH", path, body)
    }

    pub(crate) fn post_bytes(path: &str, body: Vec<u8>) -> Self {
        Self { method: "POST", path: path.to_owned(), headers: Vec::new(), body }
    }

    fn with_json(method: &'static str, path: &str, body: Value) -> Self {
        let mut request = Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
        request.header("content-type".to_owned(), "application/json; charset=utf-8".to_owned());
        request.body = body.to_string().into_bytes();
        request
    }

    pub(crate) fn header(&mut self, name: String, value: String) {
        self.headers.push((name, value));
    }
}

impl Service {
    /// By `--hub`, else by what the hub on this state folder left there.
    pub(crate) fn find(context: &Context, address: &HubAddress) -> Result<Self, Failure> {
        let ready = ready(&context.state)?;
        let given = address.hub.clone().or_else(|| context.host.env.get("ISOTHERM_HUB").map(str::to_owned));
        let ca = address.ca.clone().or_else(|| context.host.env.get("ISOTHERM_CA").map(Into::into));
        let roots = ca.as_deref().map(read_text).transpose()?;
        match (given, ready) {
            (Some(text), ready) => {
                let string = parse(&text)?;
                let here = ready.filter(|ready| ready.host_name == string.host_name);
                Self::of(context.host.clone(), &string, here.as_ref(), roots)
            }
            (None, Some(ready)) => Self::of_ready(context.host.clone(), &ready),
            (None, None) => Err(Failure::Nobody(format!(
                "no hub runs on {}; start one with `isotherm up` or `isotherm hub`, or name one with --hub",
                context.state.display()
            ))),
        }
    }

    /// The hub that said it is ready.
    pub(crate) fn of_ready(host: Host, ready: &Ready) -> Result<Self, Failure> {
        let owner = ready.policies.get("iothubowner").or_else(|| ready.policies.values().next());
        let owner =
            owner.ok_or_else(|| Failure::Configuration("the hub has no policy to come in by".into()))?;
        Self::of(host, &parse(owner)?, Some(ready), None)
    }

    fn of(
        host: Host,
        string: &ConnectionString,
        here: Option<&Ready>,
        roots: Option<String>,
    ) -> Result<Self, Failure> {
        let (Some(policy), Some(key)) = (string.key_name.clone(), string.key.clone()) else {
            return Err(Failure::Configuration(
                "--hub: a policy's connection string is wanted: HostName=…;SharedAccessKeyName=…;SharedAccessKey=…"
                    .to_owned(),
            ));
        };
        let address = match here {
            Some(ready) => (ready.address.clone(), ready.ports.https),
            None => split_port(string.gateway_host_name.as_ref().unwrap_or(&string.host_name)),
        };
        let roots = match (roots, here) {
            (None, Some(ready)) => Some(read_text(Path::new(&ready.ca))?),
            (roots, _) => roots,
        };
        let tls = ClientTls::new(&host, roots.as_deref(), None)
            .map_err(|wrong| Failure::Configuration(wrong.to_string()))?;
        let device_id = here.map(|ready| ready.device_id.clone());
        Ok(Self { host, tls, host_name: string.host_name.clone(), address, policy, key, device_id })
    }

    /// `filter` is a module of the hub's own edge device if there is one of that name, else a device;
    /// `device/module` speaks for itself.
    pub(crate) async fn identity(&self, text: &str) -> Result<Identity, Failure> {
        let refused = |wrong: isotherm_iothub::Refused| Failure::Usage(wrong.to_string());
        if let Some(device) = text.strip_suffix('/') {
            return Identity::device(device).map_err(refused); // said so, hence no module of this edge
        }
        let identity: Identity = text.parse().map_err(refused)?;
        let Some(device) = self.device_id.as_ref().filter(|device| *device != text) else {
            return Ok(identity);
        };
        if identity.module_id().is_some() {
            return Ok(identity);
        }
        let module = Identity::module(device, text).map_err(refused)?;
        match self.json(Request::get(&address("/devices", &module))).await {
            Ok(_) => Ok(module),
            Err(Failure::No(_)) if self.json(Request::get(&address("/devices", &identity))).await.is_ok() => {
                Ok(identity)
            }
            Err(Failure::No(_)) => {
                Err(Failure::No(format!("the hub knows no module {module} and no device {text}")))
            }
            Err(failure) => Err(failure),
        }
    }

    /// `/twins/edge/modules/filter` for `filter`.
    pub(crate) async fn path(&self, collection: &str, identity: &str) -> Result<String, Failure> {
        Ok(address(collection, &self.identity(identity).await?))
    }

    /// A call whose answer is JSON.
    pub(crate) async fn json(&self, request: Request) -> Result<Value, Failure> {
        let body = self.call(request).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Failure::No(format!("the hub's answer is no JSON: {error}")))
    }

    /// A call; the body of its answer.
    pub(crate) async fn call(&self, request: Request) -> Result<bytes::Bytes, Failure> {
        let stream = self.dial().await?;
        let (path, headers) = self.dressed(&request);
        let headers = borrowed(&headers);
        let answer = http::request(stream, request.method, &path, &headers, request.body)
            .await
            .map_err(|error| self.nobody(&error))?;
        match answer.status {
            200..300 => Ok(answer.body),
            status => Err(Failure::No(refusal(status, &answer.body))),
        }
    }

    /// A call whose answer goes on, line by line.
    pub(crate) async fn lines(&self, request: Request) -> Result<http::Lines, Failure> {
        let stream = self.dial().await?;
        let (path, headers) = self.dressed(&request);
        let headers = borrowed(&headers);
        let lines = http::lines(stream, request.method, &path, &headers, request.body)
            .await
            .map_err(|error| self.nobody(&error))?;
        match lines.head.status {
            200 => Ok(lines),
            status => Err(Failure::No(refusal(status, &lines.head.body))),
        }
    }

    async fn dial(&self) -> Result<BoxStream, Failure> {
        let (name, port) = &self.address;
        let stream = self.host.network.dial(name, *port).await.map_err(|error| self.nobody(&error))?;
        self.tls.connect(stream, &self.host_name).await.map_err(|error| self.nobody(&error))
    }

    fn nobody(&self, error: &io::Error) -> Failure {
        Failure::Nobody(format!("{}:{}: {error}", self.address.0, self.address.1))
    }

    fn dressed(&self, request: &Request) -> (String, Vec<(String, String)>) {
        let expiry = self.host.wall().as_second().saturating_add(TOKEN_SECONDS);
        let token = Token::mint(&self.key, &self.host_name, expiry, Some(&self.policy));
        let mut headers =
            vec![("host".to_owned(), self.host_name.clone()), ("authorization".to_owned(), token)];
        headers.extend(request.headers.iter().cloned());
        let joint = if request.path.contains('?') { '&' } else { '?' };
        (format!("{}{joint}api-version={API_VERSION}", request.path), headers)
    }
}

/// Where an identity stands in a collection of the service API.
fn address(collection: &str, identity: &Identity) -> String {
    let device = encoded(identity.device_id());
    match identity.module_id() {
        Some(module) => format!("{collection}/{device}/modules/{}", encoded(module)),
        None => format!("{collection}/{device}"),
    }
}

/// What the hub that runs on this state folder said when it was ready; none if none runs.
fn ready(state: &Path) -> Result<Option<Ready>, Failure> {
    let path = state.join(READY_FILE);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Failure::Configuration(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Configuration(format!("{}: {error}", path.display()))),
    }
}

fn parse(text: &str) -> Result<ConnectionString, Failure> {
    text.parse().map_err(|wrong: isotherm_iothub::Refused| Failure::Configuration(format!("--hub: {wrong}")))
}

fn split_port(name: &str) -> (String, u16) {
    match name.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name.to_owned(), port),
        _ => (name.to_owned(), HTTPS),
    }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Percent-encodes a name for a path or a query.
pub(crate) fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The hub's own sentence out of an error body.
fn refusal(status: u16, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body).ok().and_then(|body| {
        let message = ["Message", "message"]
            .into_iter()
            .find_map(|name| body.get(name)?.as_str().map(str::to_owned))?;
        let inner = serde_json::from_str::<Value>(&message).ok();
        Some(inner.and_then(|inner| inner.get("message")?.as_str().map(str::to_owned)).unwrap_or(message))
    });
    match said {
        Some(sentence) => format!("the hub says {status}: {sentence}"),
        None => format!("the hub says {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_once() {
        assert_eq!(encoded("$edge Hub"), "%24edge%20Hub");
    }

    #[test]
    fn the_sentence_comes_out_of_every_form_of_error_body() {
        let plain = br#"{"Message":"ErrorCode:DeviceNotFound;E2: nobody","ExceptionMessage":""}"#;
        assert_eq!(refusal(404, plain), "the hub says 404: ErrorCode:DeviceNotFound;E2: nobody");
        let nested =
            br#"{"Message":"{\"errorCode\":404103,\"message\":\"not online\"}","ExceptionMessage":""}"#;
        assert_eq!(refusal(404, nested), "the hub says 404: not online");
        assert_eq!(refusal(500, b"oops"), "the hub says 500");
    }

    #[test]
    fn a_port_in_the_name_is_used() {
        assert_eq!(split_port("localhost:8443"), ("localhost".to_owned(), 8443));
        assert_eq!(split_port("contoso.azure-devices.net"), ("contoso.azure-devices.net".to_owned(), 443));
    }
}
