//! What happens because time passes.

use std::time::Instant;

use super::{Core, Now};

impl Core {
    /// Ends what has lasted too long: calls, tokens, deliveries nobody acknowledged, messages past their time to live.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
        unimplemented!()
    }

    /// When `handle_timeout` should be called next. May move to earlier after any other call: see [`Core::on_timer`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// `wake` is called whenever the next time-out moves to earlier.
    pub fn on_timer(&mut self, wake: super::Wake) {
        let _ = wake;
        unimplemented!()
    }
}
