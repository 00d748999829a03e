//! Direct methods of others, by REST through the gateway.

use std::{io, time::Duration};

use isotherm_host::{Host, http};
use isotherm_iothub::{Identity, MethodCall, MethodResult};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    InvokeError,
    connection::Target,
    dialect::{Dialect, Hub},
};

/// The version of the REST API that is spoken.
const API_VERSION: &str = "2021-04-12";
/// What the way there and back may take besides what the call allows itself.
const TRAVEL: Duration = Duration::from_secs(20);

pub(crate) async fn invoke(
    host: &Host,
    target: &Target,
    whom: &Identity,
    call: &MethodCall,
) -> Result<MethodResult, InvokeError> {
    let Dialect::Hub(hub) = &target.dialect else { return Err(InvokeError::NoHub) };
    let limit = call.response_timeout + call.connect_timeout + TRAVEL;
    match timeout(limit, ask(host, target, hub, whom, call)).await {
        Ok(Ok(response)) => result(&response),
        Ok(Err(error)) => Err(InvokeError::Unreachable(error.to_string())),
        Err(_) => Err(InvokeError::Unreachable(format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn ask(
    host: &Host,
    target: &Target,
    hub: &Hub,
    whom: &Identity,
    call: &MethodCall,
) -> io::Result<http::Response> {
    let password = target.password(host).await?;
    let tls = target.trust(host).await?;
    let stream = host.network.dial(&target.peer, target.https_port).await?;
    let stream = tls.connect(stream, &target.peer).await?;
    let caller = hub.identity.as_str();
    let mut headers = vec![
        ("host", hub.name.as_str()),
        ("content-type", "application/json"),
        ("x-ms-edge-moduleId", caller),
    ];
    if let Some(token) = &password.token {
        headers.push(("authorization", token));
    }
    http::request(stream, "POST", &path(whom), &headers, call.to_json().to_string()).await
}

fn path(whom: &Identity) -> String {
    let encode = |id: &str| utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
    let module = whom.module_id().map(|id| format!("/modules/{}", encode(id))).unwrap_or_default();
    format!("/twins/{}{module}/methods?api-version={API_VERSION}", encode(whom.device_id()))
}

fn result(response: &http::Response) -> Result<MethodResult, InvokeError> {
    let refused = |reason: String| InvokeError::Refused { status: response.status, reason };
    if response.status >= 300 {
        let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        let said = ["Message", "message"].iter().find_map(|name| body[name].as_str());
        let text = || String::from_utf8_lossy(&response.body).into_owned();
        return Err(refused(said.map_or_else(text, str::to_owned)));
    }
    MethodResult::from_json(&response.body).map_err(|wrong| refused(wrong.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_encoded_in_the_path() {
        let whom = Identity::module("edge", "$edgeHub").unwrap();
        assert_eq!(path(&whom), "/twins/edge/modules/%24edgeHub/methods?api-version=2021-04-12");
        assert_eq!(path(&Identity::device("d").unwrap()), "/twins/d/methods?api-version=2021-04-12");
    }
}
