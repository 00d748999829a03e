//! Direct methods: a call waits for its target, then for the answer, and its caller hears exactly once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use isotherm_iothub::{Feed, Identity, MethodCall, MethodResult};
use serde_json::Value;

use super::timers::Timer;
use super::{ApiError, Core, Counter, ErrorCode, Now, Outgoing, SessionId, What};
use crate::store::Ticket;

/// Told exactly once how a call ended. Called under the core's lock: it must be cheap and not call back.
pub type Answer = Box<dyn FnOnce(Result<MethodResult, ApiError>) + Send>;

impl Core {
    /// Calls a method. Not connected, or methods not subscribed, within the connect time-out: 404103; no answer
    /// within the response time-out: 504101; nobody of that name: 404001 or 404010.
    pub fn invoke(&mut self, target: &Identity, call: MethodCall, now: Now, answer: Answer) {
        self.counters.count(Counter::MethodsCalled);
        let MethodCall { name, payload, response_timeout, connect_timeout } = call;
        self.show(target, now, || What::Called { name: name.clone(), payload: payload.clone() });
        let Some(place) = self.people.find(target) else {
            return answer(Err(ApiError::not_found(target)));
        };
        if self.people[place].calls >= self.options.limits.calls_max {
            let message = format!("{} calls to {target} are waiting already", self.people[place].calls);
            return answer(Err(ApiError::new(ErrorCode::ThrottlingException, message)));
        }
        self.people[place].calls += 1;
        let rid = self.calls.next;
        self.calls.next += 1;
        let due = now.instant + connect_timeout;
        let call = Call {
            target: target.clone(),
            name,
            payload,
            response_timeout,
            connect_timeout,
            sent: false,
            due,
            answer,
        };
        self.calls.open.insert(rid, call);
        if self.is_ready_for_calls(place) {
            self.send_call(rid, now);
        } else if connect_timeout.is_zero() {
            self.finish_call(rid, Err(not_online(target, connect_timeout)), now);
        } else {
            self.people[place].callers.push(rid);
            self.timers.set(due, Timer::Call(rid));
        }
    }

    /// A client's answer. Late ones, and those of a `rid` that was given to somebody else, are counted and ignored.
    pub fn method_response(&mut self, session: SessionId, rid: &str, status: i32, payload: Value, now: Now) {
        let known = u64::from_str_radix(rid, 16).ok().filter(|number| format!("{number:x}") == rid);
        let target = known.and_then(|rid| self.calls.open.get(&rid)).filter(|call| call.sent);
        match (known, target, self.who(session)) {
            (Some(rid), Some(call), Some(who)) if call.target == who => {
                self.finish_call(rid, Ok(MethodResult { status, payload }), now);
            }
            _ => self.counters.count(Counter::MethodAnswersLate),
        }
    }
}

/// A call on its way.
pub(super) struct Call {
    target: Identity,
    name: String,
    payload: Value,
    response_timeout: Duration,
    connect_timeout: Duration,
    /// Whether the target was told; before that the call waits for it to come.
    sent: bool,
    due: Instant,
    answer: Answer,
}

/// All calls on their way, by request id.
pub(super) struct Calls {
    next: u64,
    open: BTreeMap<u64, Call>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { next: 1, open: BTreeMap::new() }
    }
}

impl Core {
    fn is_ready_for_calls(&self, place: usize) -> bool {
        self.people[place].session.is_some_and(|session| self.subscribed(session, Feed::Methods).is_some())
    }

    /// Tells the target.
    fn send_call(&mut self, rid: u64, now: Now) {
        let Some(call) = self.calls.open.get_mut(&rid) else { return };
        self.timers.cancel(call.due, Timer::Call(rid));
        call.sent = true;
        call.due = now.instant + call.response_timeout;
        self.timers.set(call.due, Timer::Call(rid));
        let outgoing = Outgoing::Method {
            rid: format!("{rid:x}"),
            name: call.name.clone(),
            payload: std::mem::take(&mut call.payload),
        };
        let session = self.people.get(&call.target).and_then(|person| person.session);
        if let Some(session) = session {
            self.post(session, Ticket::DURABLE, outgoing, now);
        }
    }

    /// Somebody is ready for calls now.
    pub(super) fn send_waiting_calls(&mut self, place: usize, now: Now) {
        for rid in std::mem::take(&mut self.people[place].callers) {
            self.send_call(rid, now);
        }
    }

    /// Calls that were posted to a session and never read: their target is not there any more.
    pub(super) fn return_calls(&mut self, unread: impl Iterator<Item = Outgoing>, now: Now) {
        for outgoing in unread {
            if let Outgoing::Method { rid, .. } = outgoing
                && let Ok(rid) = u64::from_str_radix(&rid, 16)
                && let Some(call) = self.calls.open.get(&rid)
            {
                let error = not_online(&call.target, call.connect_timeout);
                self.finish_call(rid, Err(error), now);
            }
        }
    }

    pub(super) fn call_timeout(&mut self, rid: u64, now: Now) {
        let Some(call) = self.calls.open.get(&rid) else { return };
        let error = if call.sent {
            let seconds = call.response_timeout.as_secs_f64();
            let message = format!("{} did not answer {} within {seconds} s", call.target, call.name);
            ApiError::new(ErrorCode::GatewayTimeout, message)
        } else {
            not_online(&call.target, call.connect_timeout)
        };
        self.finish_call(rid, Err(error), now);
    }

    /// Whoever is deleted answers no more.
    pub(super) fn fail_calls_of(&mut self, who: &Identity, now: Now) {
        let theirs = self.calls.open.iter().filter(|(_, call)| call.target == *who);
        let theirs: Vec<u64> = theirs.map(|(&rid, _)| rid).collect();
        for rid in theirs {
            self.finish_call(rid, Err(ApiError::not_found(who)), now);
        }
    }

    fn finish_call(&mut self, rid: u64, result: Result<MethodResult, ApiError>, now: Now) {
        let Some(call) = self.calls.open.remove(&rid) else { return };
        self.timers.cancel(call.due, Timer::Call(rid));
        if let Some(place) = self.people.find(&call.target) {
            let person = &mut self.people[place];
            person.calls -= 1;
            person.callers.retain(|waiting| *waiting != rid);
        }
        let (counter, status, payload) = match &result {
            Ok(result) => (Counter::MethodsAnswered, result.status, result.payload.clone()),
            Err(error) => {
                let timed_out = error.code == ErrorCode::GatewayTimeout;
                let counter = if timed_out { Counter::MethodsTimedOut } else { Counter::MethodsNotOnline };
                (counter, i32::from(error.code.http_status()), Value::from(error.message.clone()))
            }
        };
        self.counters.count(counter);
        self.show(&call.target, now, || What::Answered { name: call.name, status, payload });
        (call.answer)(result);
    }
}

fn not_online(target: &Identity, waited: Duration) -> ApiError {
    let message = format!(
        "{target} is not connected, or has not subscribed to methods; waited {} s for it",
        waited.as_secs_f64()
    );
    ApiError::new(ErrorCode::DeviceNotOnline, message)
}
