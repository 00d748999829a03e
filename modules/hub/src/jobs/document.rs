//! Jobs as IoT Hub writes them, and as its clients do.

use isotherm_iothub::time::dotnet;
use isotherm_iothub::{MethodCall, Refused};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Job, Part, Status, Task};
use crate::core::query::{Collection, Query};

/// Longest id of a job, in characters.
const ID_CHARS_MAX: usize = 64;
/// How long a job may take if it does not say: an hour.
const SECONDS_DEFAULT: u64 = 3_600;

/// A job that somebody wants, checked.
#[derive(Debug)]
pub(crate) struct Wanted {
    id: String,
    task: Task,
    condition: String,
    start: Option<Timestamp>,
    seconds_max: u64,
}

impl Wanted {
    /// Reads the body of `PUT /jobs/v2/{id}`.
    pub(crate) fn read(id: &str, body: &Value) -> Result<Self, Refused> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
        if id.is_empty() || id.chars().count() > ID_CHARS_MAX || !id.chars().all(fits) {
            return Err(Refused::new("jobId", "wants 1 to 64 letters, digits, `-`, `_`, `.` or `:`"));
        }
        let condition = match body.get("queryCondition") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(Refused::new("queryCondition", "wants a text, such as `tags.site = 'a'`")),
        };
        Query::of_condition(&condition, Collection::Devices)?;
        Ok(Self {
            id: id.to_owned(),
            task: task(body)?,
            condition,
            start: start(body)?,
            seconds_max: seconds(body)?,
        })
    }

    pub(super) fn into_job(self, now: Timestamp) -> Job {
        Job {
            id: self.id,
            task: self.task,
            condition: self.condition,
            created: now,
            start: self.start.unwrap_or(now),
            end: None,
            seconds_max: self.seconds_max,
            status: Status::Scheduled,
            reason: None,
            devices: std::collections::BTreeMap::new(),
        }
    }
}

fn task(body: &Value) -> Result<Task, Refused> {
    match body.get("type").and_then(Value::as_str) {
        Some("scheduleDeviceMethod") => {
            let method = body.get("cloudToDeviceMethod").filter(|it| it.is_object());
            let method = method.ok_or_else(|| Refused::new("cloudToDeviceMethod", "is missing"))?;
            MethodCall::from_json(without_nulls(method).to_string().as_bytes())?;
            Ok(Task::CloudToDeviceMethod(without_nulls(method)))
        }
        Some("scheduleUpdateTwin") => {
            let twin = body.get("updateTwin").filter(|it| it.is_object());
            let twin = twin.ok_or_else(|| Refused::new("updateTwin", "is missing"))?;
            let wish = twin.get("tags").or_else(|| twin.pointer("/properties/desired"));
            if wish.is_none() {
                return Err(Refused::new("updateTwin", "wants `tags` or `properties.desired`"));
            }
            Ok(Task::UpdateTwin(twin.clone()))
        }
        _ => Err(Refused::new("type", "wants scheduleDeviceMethod or scheduleUpdateTwin")),
    }
}

/// Fields that say nothing: some clients write null for what they do not mean to say. A payload may be null.
fn without_nulls(of: &Value) -> Value {
    let fields = of.as_object().into_iter().flatten();
    let said = fields.filter(|(name, value)| !value.is_null() || *name == "payload");
    Value::Object(said.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn start(body: &Value) -> Result<Option<Timestamp>, Refused> {
    match body.get("startTime") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => time(text).map(Some),
        Some(_) => Err(Refused::new("startTime", "wants a time such as 2026-01-31T12:00:00Z")),
    }
}

/// A time; one without a zone is UTC, as .NET's serialiser has it.
fn time(text: &str) -> Result<Timestamp, Refused> {
    let read = text.parse::<Timestamp>().or_else(|_| format!("{text}Z").parse());
    read.map_err(|_| Refused::new("startTime", format!("{text:?} is no time such as 2026-01-31T12:00:00Z")))
}

fn seconds(body: &Value) -> Result<u64, Refused> {
    match body.get("maxExecutionTimeInSeconds") {
        None | Some(Value::Null) => Ok(SECONDS_DEFAULT),
        Some(value) => {
            let seconds = value.as_u64().filter(|seconds| *seconds > 0);
            seconds.ok_or_else(|| {
                Refused::new("maxExecutionTimeInSeconds", "wants a number of seconds from 1 on")
            })
        }
    }
}

impl Task {
    /// IoT Hub's name for a job that does this.
    fn kind(&self) -> &'static str {
        match self {
            Self::CloudToDeviceMethod(_) => "scheduleDeviceMethod",
            Self::UpdateTwin(_) => "scheduleUpdateTwin",
        }
    }
}

impl Job {
    /// The job's document.
    pub(super) fn document(&self) -> Value {
        let count =
            |wanted: &[Status]| self.devices.values().filter(|part| wanted.contains(&part.status)).count();
        let mut document = json!({
            "jobId": self.id,
            "type": self.task.kind(),
            "status": self.status,
            "queryCondition": self.condition,
            "createdTime": dotnet(self.created),
            "startTime": dotnet(self.start),
            "maxExecutionTimeInSeconds": self.seconds_max,
            "deviceJobStatistics": {
                "deviceCount": self.devices.len(),
                "failedCount": count(&[Status::Failed]),
                "succeededCount": count(&[Status::Completed]),
                "runningCount": count(&[Status::Running]),
                "pendingCount": count(&[Status::Pending, Status::Scheduled]),
            },
        });
        if let Some(more) = document.as_object_mut() {
            let (name, task) = match &self.task {
                Task::CloudToDeviceMethod(body) => ("cloudToDeviceMethod", body),
                Task::UpdateTwin(body) => ("updateTwin", body),
            };
            more.insert(name.to_owned(), task.clone());
            put(more, "endTime", self.end.map(|at| dotnet(at).into()));
            put(more, "failureReason", self.reason.clone().map(Value::from));
        }
        document
    }

    /// A document for each device, as `devices.jobs` has them.
    pub(super) fn device_documents(&self) -> impl Iterator<Item = Value> {
        self.devices.iter().map(|(device, part)| self.device_document(device, part))
    }

    fn device_document(&self, device: &str, part: &Part) -> Value {
        let mut document = json!({
            "deviceId": device,
            "jobId": self.id,
            "jobType": self.task.kind(),
            "status": part.status,
            "createdDateTimeUtc": dotnet(self.created),
            "lastUpdatedDateTimeUtc": dotnet(part.updated),
        });
        if let Some(more) = document.as_object_mut() {
            put(more, "startTimeUtc", part.start.map(|at| dotnet(at).into()));
            put(more, "endTimeUtc", part.end.map(|at| dotnet(at).into()));
            put(more, "outcome", part.outcome.clone());
            let error = part.error.as_ref();
            put(more, "error", error.map(|(code, text)| json!({"code": code, "description": text})));
        }
        document
    }
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: &str, body: &Value) -> String {
        Wanted::read(id, body).unwrap_err().to_string()
    }

    #[test]
    fn a_job_is_read_as_the_sdks_write_it() {
        let node = json!({
            "jobId": "j", "type": "scheduleDeviceMethod", "queryCondition": "deviceId = 'a'",
            "cloudToDeviceMethod": {"methodName": "m", "payload": null, "responseTimeoutInSeconds": 30},
            "startTime": "2026-01-31T12:00:00.000Z", "maxExecutionTimeInSeconds": 60,
        });
        let job = Wanted::read("j", &node).unwrap().into_job(Timestamp::UNIX_EPOCH);
        let document = job.document();
        assert_eq!(document["type"], "scheduleDeviceMethod");
        assert_eq!(document["status"], "scheduled");
        assert_eq!(document["startTime"], "2026-01-31T12:00:00.0000000Z");
        assert_eq!(document["cloudToDeviceMethod"]["methodName"], "m");
        assert!(job.call().is_some());
    }

    #[test]
    fn what_is_wrong_with_a_job_is_named() {
        let twin = json!({"type": "scheduleUpdateTwin", "updateTwin": {"tags": {"a": 1}}});
        assert!(Wanted::read("j", &twin).is_ok());
        assert!(refused("", &twin).contains("jobId"));
        assert!(refused("j", &json!({"type": "frob"})).contains("scheduleUpdateTwin"));
        assert!(refused("j", &json!({"type": "scheduleUpdateTwin"})).contains("updateTwin"));
        let with = |name: &str, value: Value| {
            let mut job = twin.clone();
            job[name] = value;
            refused("j", &job)
        };
        assert!(with("queryCondition", json!("a = ")).contains("character"));
        assert!(with("startTime", json!("tomorrow")).contains("tomorrow"));
        assert!(with("maxExecutionTimeInSeconds", json!(-1)).contains("maxExecutionTimeInSeconds"));
    }
}
