//! Direct methods: called by services with a policy's token, and by modules of the edge device with their own.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use isotherm_iothub::{Identity, MethodCall, MethodResult};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Door;
use super::access::path_of;
use super::failure::{Answer, Failure};
use crate::core::{ApiError, ErrorCode, Right};

/// The header by which a module says who it is: `device/module`.
const CALLER: &str = "x-ms-edge-moduleId";

pub(crate) async fn device(
    State(door): State<Door>,
    Path(device): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    call(&door, &device, None, &headers, &body).await
}

pub(crate) async fn module(
    State(door): State<Door>,
    Path((device, module)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    call(&door, &device, Some(&module), &headers, &body).await
}

async fn call(door: &Door, device: &str, module: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Response {
    if headers.contains_key(CALLER) {
        return from_module(door, device, module, headers, body).await.into_response();
    }
    from_service(door, device, module, headers, body).await.into_response()
}

async fn from_service(
    door: &Door,
    device: &str,
    module: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer<Json<Value>> {
    door.authorize(headers, Right::ServiceConnect, &path_of(device, module))?;
    let target = door.identity(device, module)?;
    let call =
        MethodCall::from_json(body).map_err(|refused| Failure::refused(&door.shared.host, &refused))?;
    let result = invoke(door, &target, call).await.map_err(|error| door.failure(error))?;
    Ok(Json(result.to_json()))
}

/// edgeHub's copy of the call has its own way of saying no: `{"message":…}`.
async fn from_module(
    door: &Door,
    device: &str,
    module: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let no = |status, message: String| (status, Json(json!({ "message": message })));
    let caller = headers.get(CALLER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let caller: Identity =
        caller.filter(|caller: &Identity| caller.module_id().is_some()).ok_or_else(|| {
            no(StatusCode::BAD_REQUEST, format!("{CALLER} is device/module, the caller's own ids"))
        })?;
    if caller.device_id() != door.shared.core().options().device_id {
        let message = "Only modules on the same device can invoke DirectMethods";
        return Err(no(StatusCode::UNAUTHORIZED, message.to_owned()));
    }
    door.authenticate(headers, &caller).map_err(|why| {
        door.shared.counters.count("http_refused_unauthorized");
        no(StatusCode::UNAUTHORIZED, why.to_string())
    })?;
    let bad = |refused: isotherm_iothub::Refused| no(StatusCode::BAD_REQUEST, refused.to_string());
    let target = Identity::of(device, module).map_err(bad)?;
    let call = MethodCall::from_json(body).map_err(bad)?;
    match invoke(door, &target, call).await {
        Ok(result) => Ok(Json(result.to_json())),
        Err(error) => {
            let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::BAD_GATEWAY);
            Err(no(status, error.message))
        }
    }
}

/// Calls and waits for the answer.
pub(crate) async fn invoke(
    door: &Door,
    target: &Identity,
    call: MethodCall,
) -> Result<MethodResult, ApiError> {
    let (answer, answered) = oneshot::channel();
    let now = door.shared.now();
    door.shared.core().invoke(
        target,
        call,
        now,
        Box::new(move |result| {
            let _ = answer.send(result); // the caller may have gone away
        }),
    );
    answered.await.unwrap_or_else(|_| Err(ApiError::new(ErrorCode::ServiceUnavailable, "the hub is ending")))
}
