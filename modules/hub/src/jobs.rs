//! Scheduled jobs: the same twin change or method call for every device that a condition is true of, at some time.
//! Jobs are kept on disk; one that was under way when the hub ended goes on with the devices it had not come to.

mod document;
mod run;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isotherm_iothub::MethodCall;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use crate::core::query::{Query, Row as _};
use crate::core::{ApiError, ErrorCode, Page};
use crate::shared::Shared;
use crate::store::{StoreError, Table, Ticket};

pub(crate) use document::Wanted;

/// Jobs that are kept; past it the oldest that has ended gives way, and while none has, a new one gets 403003.
const JOBS_MAX: usize = 1_000;

/// How far a job, or a job's part on one device, has come. Names as in IoT Hub's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Status {
    /// Its time has not come.
    Scheduled,
    /// At work.
    Running,
    /// Done, on every device that could be reached or not.
    Completed,
    /// It could not be done.
    Failed,
    /// Somebody called it off.
    Cancelled,
    /// Not yet come to (of a device).
    Pending,
}

/// What is done on each device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Task {
    /// A method call's body, as it came.
    CloudToDeviceMethod(Value),
    /// A twin's tags and desired properties, as they came.
    UpdateTwin(Value),
}

/// A job. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    id: String,
    task: Task,
    condition: String,
    created: Timestamp,
    start: Timestamp,
    end: Option<Timestamp>,
    seconds_max: u64,
    status: Status,
    reason: Option<String>,
    devices: BTreeMap<String, Part>,
}

/// What became of a job on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Part {
    status: Status,
    start: Option<Timestamp>,
    updated: Timestamp,
    end: Option<Timestamp>,
    outcome: Option<Value>,
    error: Option<(String, String)>,
}

/// All jobs, by id.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    all: Mutex<BTreeMap<String, Job>>,
    /// Told when one is called off.
    cancelled: Notify,
}

impl Jobs {
    /// Recalls the jobs that are kept.
    pub(crate) fn recall(store: &crate::store::Store) -> Result<Self, StoreError> {
        let mut all = BTreeMap::new();
        for (id, bytes) in store.load(Table::Jobs)? {
            match serde_json::from_slice::<Job>(&bytes) {
                Ok(job) => drop(all.insert(id, job)),
                Err(error) => tracing::warn!(id, %error, "a job that cannot be read is left out"),
            }
        }
        Ok(Self { all: Mutex::new(all), cancelled: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on with what had not ended.
pub(crate) fn resume(shared: &Arc<Shared>) {
    let unfinished: Vec<String> =
        shared.jobs.lock().values().filter(|job| job.end.is_none()).map(|job| job.id.clone()).collect();
    for id in unfinished {
        tokio::spawn(run::run(Arc::clone(shared), id));
    }
}

/// Schedules a job; says its document and when it is durable.
///
/// # Errors
/// 400004 the document, 409 one of that id has not ended, 403003 too many.
pub(crate) fn schedule(shared: &Arc<Shared>, wanted: Wanted) -> Result<(Value, Ticket), ApiError> {
    let job = wanted.into_job(shared.host.wall());
    let (id, document) = (job.id.clone(), job.document());
    let ticket = {
        let mut all = shared.jobs.lock();
        if all.contains_key(&id) {
            let message = format!("a job {id} is known already; take another id");
            return Err(ApiError::new(ErrorCode::DeviceAlreadyExists, message));
        }
        if all.len() >= JOBS_MAX {
            let ended = all.values().filter(|job| job.end.is_some()).min_by_key(|job| job.end);
            let Some(oldest) = ended.map(|job| job.id.clone()) else {
                let message = format!("{JOBS_MAX} jobs are scheduled or running, as many as there may be");
                return Err(ApiError::new(ErrorCode::JobQuotaExceeded, message));
            };
            all.remove(&oldest);
            shared.store.delete(Table::Jobs, &oldest);
        }
        let ticket = keep(shared, &job);
        all.insert(id.clone(), job);
        ticket
    };
    tokio::spawn(run::run(Arc::clone(shared), id));
    Ok((document, ticket))
}

/// A job's document.
///
/// # Errors
/// 404002.
pub(crate) fn get(shared: &Shared, id: &str) -> Result<Value, ApiError> {
    shared.jobs.lock().get(id).map(Job::document).ok_or_else(|| not_found(id))
}

/// Calls a job off; devices that it has come to already stay as they are.
///
/// # Errors
/// 404002, 400003 it has ended.
pub(crate) fn cancel(shared: &Shared, id: &str) -> Result<(Value, Ticket), ApiError> {
    let now = shared.host.wall();
    let mut all = shared.jobs.lock();
    let job = all.get_mut(id).ok_or_else(|| not_found(id))?;
    if job.end.is_some() {
        return Err(ApiError::new(ErrorCode::InvalidOperation, format!("job {id} has ended already")));
    }
    job.finish(Status::Cancelled, None, now);
    let (document, ticket) = (job.document(), keep(shared, job));
    drop(all);
    shared.jobs.cancelled.notify_waiters();
    Ok((document, ticket))
}

/// The documents of jobs of a type and a status, where these are asked for, by id; up to `count` after the place that
/// the page before said.
pub(crate) fn list(
    shared: &Shared,
    kind: Option<&str>,
    status: Option<&str>,
    after: Option<&str>,
    count: usize,
) -> Page {
    let is = |wanted: Option<&str>, value: &Value| {
        wanted.is_none_or(|wanted| value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(wanted)))
    };
    let all = shared.jobs.lock();
    let documents = all.values().map(Job::document);
    let wanted = documents.filter(|job| is(kind, &job["type"]) && is(status, &job["status"]));
    page(wanted, after, count)
}

/// Answers a query over `devices.jobs`.
pub(crate) fn query(shared: &Shared, query: &Query, after: Option<&str>, count: usize) -> Page {
    let all = shared.jobs.lock();
    let rows: Vec<Value> = all.values().flat_map(Job::device_documents).collect();
    drop(all);
    if query.is_grouped() {
        let rows = query.group(rows.iter().map(|row| row as &dyn crate::core::query::Row));
        return Page { rows, next: None };
    }
    let taken = rows.iter().filter(|row| query.takes(*row)).take(query.top().unwrap_or(usize::MAX));
    page(taken.map(|row| if query.is_whole() { row.whole() } else { query.project(row) }), after, count)
}

/// A page of rows in a fixed order: where it begins is a number.
fn page(rows: impl Iterator<Item = Value>, after: Option<&str>, count: usize) -> Page {
    let first = after.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut rows = rows.skip(first).peekable();
    let taken: Vec<Value> = rows.by_ref().take(count).collect();
    let next = rows.peek().is_some().then(|| (first + count).to_string());
    Page { rows: taken, next }
}

fn keep(shared: &Shared, job: &Job) -> Ticket {
    let bytes = serde_json::to_vec(job).expect("a job is JSON");
    shared.store.put(Table::Jobs, &job.id, bytes)
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(ErrorCode::JobNotFound, format!("there is no job {id}"))
}

impl Job {
    fn finish(&mut self, status: Status, reason: Option<String>, now: Timestamp) {
        self.status = status;
        self.reason = reason;
        self.end = Some(now);
        for part in self.devices.values_mut().filter(|part| part.end.is_none()) {
            part.status = status;
            part.updated = now;
            part.end = Some(now);
        }
    }

    /// The call that this job makes, if it is one that calls.
    fn call(&self) -> Option<MethodCall> {
        match &self.task {
            Task::CloudToDeviceMethod(body) => MethodCall::from_json(body.to_string().as_bytes()).ok(),
            Task::UpdateTwin(_) => None,
        }
    }
}
