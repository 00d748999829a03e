//! How the hub says no over HTTP: exactly as IoT Hub does, since the SDKs take these texts apart.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isotherm_host::Host;
use isotherm_iothub::Refused;
use jiff::Timestamp;
use serde_json::json;

use crate::core::{ApiError, ErrorCode, Unauthorized};

/// A request that was not granted.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ApiError,
    tracking_id: String,
    at: Timestamp,
    /// Said as modules' and configurations' own paths say it.
    structured: bool,
}

/// What a handler returns.
pub(crate) type Answer<T> = Result<T, Failure>;

impl Failure {
    /// Says `error` to the caller.
    pub(crate) fn new(host: &Host, error: ApiError) -> Self {
        let mut id = [0; 16];
        host.chance.bytes(&mut id);
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { error, tracking_id: hex, at: host.wall(), structured: false }
    }

    /// The caller has shown nothing that grants this.
    pub(crate) fn unauthorized(host: &Host, why: Unauthorized) -> Self {
        Self::new(host, ApiError::new(ErrorCode::IotHubUnauthorizedAccess, format!("Unauthorized: {why}")))
    }

    /// What was sent makes no sense.
    pub(crate) fn refused(host: &Host, refused: &Refused) -> Self {
        Self::argument(host, refused.to_string())
    }

    /// What was sent makes no sense, in other words.
    pub(crate) fn argument(host: &Host, message: impl Into<String>) -> Self {
        Self::new(host, ApiError::new(ErrorCode::ArgumentInvalid, message))
    }

    /// The same in the form that the paths of modules and configurations have.
    pub(crate) fn structured(self) -> Self {
        Self { structured: true, ..self }
    }

    /// The usual form: the code's name and the text in `Message`, where Node splits them again.
    fn usual(&self) -> serde_json::Value {
        json!({
            "Message": format!("ErrorCode:{};{}", self.error.code.name(), self.error.message),
            "ExceptionMessage": format!(
                "Tracking ID:{}-G:0-TimeStamp:{}",
                self.tracking_id,
                self.at.strftime("%m/%d/%Y %H:%M:%S")
            ),
        })
    }

    /// The newer form: each thing under a name of its own.
    fn by_name(&self, info: serde_json::Value) -> serde_json::Value {
        let at = self.at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string();
        json!({
            "errorCode": self.error.code.number(),
            "trackingId": format!("{}-G:0-TimeStamp:{at}", self.tracking_id),
            "message": self.error.message,
            "info": info,
            "timestampUtc": at,
        })
    }

    /// The form in which IoT Hub says that a method's target is not there: JSON in a JSON string.
    fn offline(&self) -> serde_json::Value {
        let inner = self.by_name(json!({"timeout": "00:00:00"}));
        json!({"Message": inner.to_string(), "ExceptionMessage": ""})
    }
}

/// The JSON that goes to a client whose twin request was refused over MQTT: Node sees a failure only by it.
pub(crate) fn twin_error(host: &Host, code: ErrorCode, message: &str) -> String {
    let failure = Failure::new(host, ApiError::new(code, message));
    json!({
        "errorCode": code.number(),
        "trackingId": failure.tracking_id,
        "message": message,
        "timestampUtc": failure.at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string(),
    })
    .to_string()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.code.http_status())
            .expect("every code begins with three digits that are an HTTP status");
        let body = match self.error.code {
            ErrorCode::DeviceNotOnline => self.offline(),
            _ if self.structured => self.by_name(json!({})),
            _ => self.usual(),
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert("iothub-errorcode", HeaderValue::from_static(self.error.code.name()));
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_error_has_what_node_looks_for() {
        let text = twin_error(&Host::real(), ErrorCode::ArgumentInvalid, "bad doc");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["errorCode"], 400_004);
        assert_eq!(value["message"], "bad doc");
        assert!(value["timestampUtc"].as_str().unwrap().ends_with('Z'));
    }
}
