//! Direct methods: a call waits for its target, then for the answer, and its caller hears exactly once.

use isotherm_iothub::{Identity, MethodCall, MethodResult};
use serde_json::Value;

use super::{ApiError, Core, Now, SessionId};

/// Told exactly once how a call ended. Called under the core's lock: it must be cheap and not call back.
pub type Answer = Box<dyn FnOnce(Result<MethodResult, ApiError>) + Send>;

impl Core {
    /// Calls a method. Not connected, or methods not subscribed, within the connect time-out: 404103; no answer
    /// within the response time-out: 504101; nobody of that name: 404001 or 404010.
    pub fn invoke(&mut self, target: &Identity, call: MethodCall, now: Now, answer: Answer) {
        let _ = (target, call, now, answer);
        unimplemented!()
    }

    /// A client's answer. Late ones, and those of a `rid` that was given to somebody else, are counted and ignored.
    pub fn method_response(&mut self, session: SessionId, rid: &str, status: i32, payload: Value, now: Now) {
        let _ = (session, rid, status, payload, now);
        unimplemented!()
    }
}
