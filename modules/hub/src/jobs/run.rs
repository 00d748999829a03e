//! A job at work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use isotherm_iothub::{Identity, MethodResult};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Job, Part, Status, Task, keep};
use crate::core::query::{Collection, Query};
use crate::core::{ApiError, Change, ErrorCode};
use crate::shared::Shared;

/// Devices that one job has in hand at once.
const AT_ONCE: usize = 10;

/// Waits for a job's time, then does it.
pub(super) async fn run(shared: Arc<Shared>, id: String) {
    let cancelled = wait_until_cancelled(&shared, &id);
    let stop = shared.host.stop.clone();
    tokio::select! {
        biased;
        () = stop.stopped() => {} // it goes on when the hub is back
        () = cancelled => {}
        () = work(&shared, &id) => {}
    }
}

async fn wait_until_cancelled(shared: &Shared, id: &str) {
    loop {
        let told = shared.jobs.cancelled.notified();
        tokio::pin!(told);
        told.as_mut().enable(); // before looking, so that nothing is missed
        if shared.jobs.lock().get(id).is_none_or(|job| job.end.is_some()) {
            return;
        }
        told.await;
    }
}

async fn work(shared: &Arc<Shared>, id: &str) {
    let Some(start) = shared.jobs.lock().get(id).map(|job| job.start) else { return };
    let wait = start.duration_since(shared.host.wall());
    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
    let Some(job) = begin(shared, id) else { return };
    let limit = Duration::from_secs(job.seconds_max);
    let left: Vec<String> =
        job.devices.iter().filter(|(_, part)| part.end.is_none()).map(|(device, _)| device.clone()).collect();
    let all = stream::iter(left).for_each_concurrent(AT_ONCE, |device| one(shared, &job, device));
    let done = tokio::time::timeout(limit, all).await;
    change(shared, id, |job, now| match done {
        Ok(()) => job.finish(Status::Completed, None, now),
        Err(_) => {
            let reason = format!("it took longer than {} s", job.seconds_max);
            job.finish(Status::Failed, Some(reason), now);
        }
    });
}

/// Finds the devices, unless that was done before the hub was last ended.
fn begin(shared: &Shared, id: &str) -> Option<Job> {
    let job = shared.jobs.lock().get(id).cloned()?;
    let found = if job.status == Status::Running {
        Vec::new()
    } else {
        let query = Query::of_condition(&job.condition, Collection::Devices).ok()?;
        shared.core().identities_where(&query)
    };
    change(shared, id, |job, now| {
        job.status = Status::Running;
        for who in found {
            job.devices.entry(who.device_id().to_owned()).or_insert_with(|| Part::new(now));
        }
    });
    shared.jobs.lock().get(id).cloned()
}

async fn one(shared: &Arc<Shared>, job: &Job, device: String) {
    let update = |change_part: &dyn Fn(&mut Part, Timestamp)| {
        change_quietly(shared, &job.id, |job, now| {
            if let Some(part) = job.devices.get_mut(&device) {
                part.updated = now;
                change_part(part, now);
            }
        });
    };
    update(&|part, now| {
        part.status = Status::Running;
        part.start = Some(now);
    });
    let result = match &job.task {
        Task::CloudToDeviceMethod(_) => {
            call(shared, job, &device).await.map(|result| json!({"deviceMethodResponse": result.to_json()}))
        }
        Task::UpdateTwin(twin) => update_twin(shared, twin, &device).await.map(|()| Value::Null),
    };
    update(&|part, now| {
        part.end = Some(now);
        match &result {
            Ok(outcome) => {
                part.status = Status::Completed;
                part.outcome = Some(outcome.clone()).filter(|it| !it.is_null());
            }
            Err(error) => {
                part.status = Status::Failed;
                part.error = Some((error.code.number().to_string(), error.message.clone()));
            }
        }
    });
}

async fn call(shared: &Shared, job: &Job, device: &str) -> Result<MethodResult, ApiError> {
    let who = identity(device)?;
    let call =
        job.call().ok_or_else(|| ApiError::new(ErrorCode::ArgumentInvalid, "the call cannot be read"))?;
    let (answer, answered) = oneshot::channel();
    let now = shared.now();
    let answer = Box::new(move |result| drop(answer.send(result)));
    shared.core().invoke(&who, call, now, answer);
    answered.await.unwrap_or_else(|_| Err(ApiError::new(ErrorCode::ServiceUnavailable, "the hub is ending")))
}

async fn update_twin(shared: &Shared, twin: &Value, device: &str) -> Result<(), ApiError> {
    let who = identity(device)?;
    let tags = twin.get("tags").filter(|tags| !tags.is_null()).cloned();
    let desired = twin.pointer("/properties/desired").filter(|it| !it.is_null()).cloned();
    let etag = twin.get("etag").and_then(Value::as_str);
    let now = shared.now();
    let changed = shared.core().desired(&who, Change::Patch { tags, desired }, etag, now);
    let (_, ticket) = changed?;
    shared.durable(ticket).await;
    Ok(())
}

fn identity(device: &str) -> Result<Identity, ApiError> {
    Identity::device(device).map_err(|refused| ApiError::new(ErrorCode::ArgumentInvalid, refused.to_string()))
}

/// Changes a job that has not ended, and keeps it.
fn change(shared: &Shared, id: &str, how: impl FnOnce(&mut Job, Timestamp)) {
    change_quietly(shared, id, how);
    if let Some(job) = shared.jobs.lock().get(id) {
        keep(shared, job);
    }
}

/// Changes a job in memory only: what a device did is kept with the job's next step.
fn change_quietly(shared: &Shared, id: &str, how: impl FnOnce(&mut Job, Timestamp)) {
    let now = shared.host.wall();
    if let Some(job) = shared.jobs.lock().get_mut(id).filter(|job| job.end.is_none()) {
        how(job, now);
    }
}

impl Part {
    fn new(now: Timestamp) -> Self {
        Self { status: Status::Pending, start: None, updated: now, end: None, outcome: None, error: None }
    }
}
