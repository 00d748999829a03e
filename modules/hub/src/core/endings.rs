//! How sessions end: taken over, expired, removed, too slow, or closed by their client.

use isotherm_iothub::Identity;
use isotherm_iothub::time::dotnet;
use jiff::Timestamp;
use serde_json::json;

use super::timers::Timer;
use super::{Core, Counter, Now, Outgoing, SessionId, What};

impl Core {
    /// Ends somebody's session, if there is one, as a cut cable would.
    pub fn cut(&mut self, who: &Identity, now: Now) {
        if let Some(session) = self.people.get(who).and_then(|person| person.session) {
            self.end(session, Outgoing::Cut, now);
        }
    }

    /// Ends a session from our side; its client is told at its next poll.
    pub(super) fn end(&mut self, session: SessionId, end: Outgoing, now: Now) {
        let (counter, reason) = match end {
            Outgoing::Taken => (Counter::SessionsTakenOver, "taken over"),
            Outgoing::Expired => (Counter::SessionsExpired, "token expired"),
            Outgoing::TooSlow => (Counter::SessionsTooSlow, "too slow"),
            Outgoing::Cut => (Counter::SessionsCut, "cut on request"),
            _ => (Counter::SessionsRemoved, "removed"),
        };
        if self.close(session, reason, now) {
            self.counters.count(counter);
            if let Some(held) = self.sessions.get_mut(session) {
                held.end = Some(end);
                held.wake(&mut self.held_wakes);
            }
        }
    }

    /// The session is no more; what it had not settled waits for the next. Says whether it was still alive.
    pub(super) fn close(&mut self, session: SessionId, reason: &'static str, now: Now) -> bool {
        let Some(live) = self.sessions.live_mut(session) else { return false };
        live.alive = false;
        let (place, who) = (live.place, live.who.clone());
        let unread = std::mem::take(&mut live.mailbox);
        self.sessions.living -= 1;
        let person = &mut self.people[place];
        person.session = None;
        person.record.connection_updated = Some(now.wall.as_microsecond());
        for endpoint in person.endpoints.clone() {
            for &queue in &self.queues.endpoints[endpoint].queues {
                if let Some(queue) = self.queues.queues[queue].as_mut() {
                    queue.release_all();
                }
            }
        }
        self.return_mail(place, session, now);
        self.return_calls(unread.into_iter().map(|(_, outgoing)| outgoing), now);
        self.show(&who, now, || What::Disconnected { reason });
        self.report_client(place, now);
        true
    }

    pub(super) fn time_expiry(&mut self, session: SessionId, until: Option<Timestamp>, now: Now) {
        if let Some(until) = until {
            let left = std::time::Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
            if let Some(at) = now.instant.checked_add(left) {
                self.timers.set(at, Timer::Expiry(session));
            }
        }
    }

    /// A token's time may be over; it may also have been renewed, or the wall clock set.
    pub(super) fn expire(&mut self, session: SessionId, now: Now) {
        let until = self.sessions.live(session).and_then(|live| live.until);
        match until {
            Some(until) if until <= now.wall => self.end(session, Outgoing::Expired, now),
            until => self.time_expiry(session, until, now),
        }
    }

    pub(super) fn expire_tokens(&mut self, now: Now) {
        for session in self.sessions.expired(now.wall) {
            self.end(session, Outgoing::Expired, now);
        }
    }

    /// `$edgeHub` reports which modules are connected.
    pub(super) fn report_client(&mut self, place: usize, now: Now) {
        let person = &self.people[place];
        let hub = Identity::module(&self.options.device_id, "$edgeHub").ok();
        let Some(hub) = hub.filter(|_| person.ours).and_then(|hub| self.people.find(&hub)) else { return };
        let key = person.who.as_str().replace('.', "%2E").replace('$', "%24").replace(' ', "%20");
        let report = match person.session {
            Some(_) => json!({"status": "Connected", "lastConnectedTimeUtc": dotnet(now.wall)}),
            None => json!({"status": "Disconnected", "lastDisconnectedTimeUtc": dotnet(now.wall)}),
        };
        let twin = &mut self.people[hub].twin;
        if twin.reported.patch(&json!({"clients": {key: report}}), now.wall).is_ok_and(|changed| changed) {
            twin.version += 1;
            self.keep_twin(hub);
        }
    }
}
