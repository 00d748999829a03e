//! What has to be looked at although nobody rings: feedback that may have come, tokens that end.

use std::time::{Duration, Instant};

use isotherm_host::Flow;
use isotherm_protocol::amqp::{Error, Server};
use jiff::Timestamp;

use super::Connection;
use super::address::Node;

/// How often feedback is looked for while somebody waits for it.
const FEEDBACK_EVERY: Duration = Duration::from_millis(200);

impl Connection {
    /// Sets the alarm for whatever comes first.
    pub(super) fn set_alarm(&mut self, _now: Instant) {
        let feedback = self.links.values().any(|link| link.node == Node::Feedback).then_some(FEEDBACK_EVERY);
        let wall = self.shared.host.wall();
        let end = self.links.values().filter_map(|link| link.until).min();
        let end = end.map(|end| Duration::try_from(end.duration_since(wall)).unwrap_or_default());
        let first = feedback.into_iter().chain(end).min();
        self.alarm = first.map(|wait| Box::pin(tokio::time::sleep(wait)));
    }

    /// Takes off the service side's links whose token is over, unless a newer one was shown.
    pub(super) fn end_expired(&mut self, now: Instant, session: &mut Server) -> Flow {
        let wall = self.shared.host.wall();
        if !self.links.values().any(|link| is_over(link.until, wall)) {
            return Flow::Go;
        }
        let (events, service) = (self.serve_events().ok(), self.serve_service("/").ok());
        for link in self.links.values_mut().filter(|link| is_over(link.until, wall)) {
            let newer = match &link.node {
                Node::Management | Node::Partition { .. } => events,
                _ => service,
            };
            link.until = newer.or(link.until);
        }
        let error = Error::new("amqp:unauthorized-access", "the token has expired: put a new one in time");
        self.take_off(now, session, &error, |link| is_over(link.until, wall));
        Flow::Go
    }
}

fn is_over(until: Option<Timestamp>, wall: Timestamp) -> bool {
    until.is_some_and(|until| until <= wall)
}
