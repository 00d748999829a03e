//! What makes the hub hear a client later, or not at all: quotas and faults on request.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use isotherm_host::Flow;
use isotherm_iothub::Identity;
use isotherm_protocol::Session as _;
use isotherm_protocol::mqtt::{ConnectCode, Server, ServerCommand};

use super::{Connection, Stage};
use crate::faults::Blow;
use crate::quotas::Operation;

/// How long a client that a fault throttles is not heard.
const SLOWED: Duration = Duration::from_secs(1);

impl Connection {
    /// What happens to a client that says something: `None` if it is heard.
    pub(super) fn struck(&mut self, now: Instant, who: &Identity, session: &mut Server) -> Option<Flow> {
        match self.shared.faults.strike(who.as_str(), now, &self.shared.host.chance)? {
            Blow::Drop => Some(Flow::Go),
            Blow::Disconnect => {
                self.flush(now, session); // what it said before stands
                Some(self.close(session, now, "mqtt_ended_by_fault"))
            }
            Blow::Delay(delay) => {
                self.rest(delay);
                None
            }
            Blow::Throttle => {
                self.rest(SLOWED);
                None
            }
        }
    }

    /// What happens to a client that knocks: `None` if it may go on to show who it is.
    pub(super) fn struck_at_the_door(
        &mut self,
        now: Instant,
        who: &Identity,
        session: &mut Server,
    ) -> Option<Flow> {
        let blow = self.shared.faults.strike(who.as_str(), now, &self.shared.host.chance);
        let quota = self.shared.throttles.take(Operation::Connection, now).is_err();
        match blow {
            Some(Blow::Drop | Blow::Disconnect) => {
                self.shared.counters.count("mqtt_ended_by_fault");
                session.handle_command(now, ServerCommand::Close);
            }
            Some(Blow::Throttle) => self.refuse_for_now(now, session),
            Some(Blow::Delay(_)) | None if quota => self.refuse_for_now(now, session),
            Some(Blow::Delay(_)) | None => return None,
        }
        self.stage = Stage::Over;
        Some(Flow::End)
    }

    fn refuse_for_now(&self, now: Instant, session: &mut Server) {
        self.shared.counters.count("mqtt_refused_throttled");
        session.handle_command(now, ServerCommand::Refuse(ConnectCode::ServerUnavailable));
    }

    /// Hears nothing more for this long; what was heard already waits too.
    pub(super) fn rest(&mut self, how_long: Duration) {
        self.resting = Some(Box::pin(tokio::time::sleep(how_long)));
    }

    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) {
        let over = self.resting.as_mut().is_some_and(|rest| rest.as_mut().poll(cx) == Poll::Ready(()));
        if over {
            self.resting = None;
            self.due = true;
        }
    }
}
