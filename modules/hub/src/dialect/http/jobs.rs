//! Jobs: scheduled ones as a whole; import and export, which want a storage account, are refused politely.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::Value;

use super::Door;
use super::devices::document;
use super::events::pairs;
use super::failure::{Answer, Failure};
use super::query::{Paged, asked, paged};
use crate::core::{ApiError, ErrorCode, Right};
use crate::jobs::{self, Wanted};

/// What a job's paths are compared with in tokens.
const PATH: &str = "/jobs";

pub(crate) async fn put(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, PATH)?;
    let wanted = Wanted::read(&id, &document(&door, &body)?);
    let wanted = wanted.map_err(|refused| Failure::refused(&door.shared.host, &refused))?;
    let (job, ticket) = jobs::schedule(&door.shared, wanted).map_err(|error| door.failure(error))?;
    door.shared.durable(ticket).await;
    Ok(Json(job))
}

pub(crate) async fn get(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, PATH)?;
    jobs::get(&door.shared, &id).map(Json).map_err(|error| door.failure(error))
}

pub(crate) async fn cancel(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, PATH)?;
    let (job, ticket) = jobs::cancel(&door.shared, &id).map_err(|error| door.failure(error))?;
    door.shared.durable(ticket).await;
    Ok(Json(job))
}

pub(crate) async fn list(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer<Paged> {
    door.authorize(&headers, Right::ServiceConnect, PATH)?;
    let (mut kind, mut status) = (None, None);
    for (name, value) in pairs(query.as_deref().unwrap_or("")) {
        match name.as_str() {
            "jobType" => kind = Some(value),
            "jobStatus" => status = Some(value),
            _ => {}
        }
    }
    let (after, count) = asked(&headers);
    let page = jobs::list(&door.shared, kind.as_deref(), status.as_deref(), after, count);
    Ok(paged(page, "JobResponse"))
}

/// `POST /jobs/create`: import and export.
pub(crate) async fn create(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryWrite, PATH)?;
    let message = "import and export read and write a storage account, which this hub does not have; \
                   POST /devices takes 100 devices at once";
    Err(door.failure(ApiError::new(ErrorCode::InvalidOperation, message)))
}

/// `GET /jobs`: imports and exports, of which there are none.
pub(crate) async fn imports(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Vec<Value>>> {
    door.authorize(&headers, Right::RegistryRead, PATH)?;
    Ok(Json(Vec::new()))
}

/// `GET` and `DELETE /jobs/{id}`: one of these.
pub(crate) async fn import(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::RegistryRead, PATH)?;
    let message = format!("there is no import or export job {id}");
    Err(door.failure(ApiError::new(ErrorCode::JobNotFound, message)))
}
