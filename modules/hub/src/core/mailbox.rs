//! What is on its way to a session: posted calls and twin changes, and messages taken from its inputs' queues.

use std::sync::Arc;

use isotherm_iothub::Feed;

use super::queues::delivery_of;
use super::timers::Timer;
use super::{Core, Counter, Now, Outgoing, SessionId, Wake};
use crate::store::{Table, Ticket};

impl Core {
    /// Something for a session's client, once the ticket is durable.
    pub(super) fn post(&mut self, session: SessionId, ticket: Ticket, outgoing: Outgoing, now: Now) {
        let Some(live) = self.sessions.live_mut(session) else { return };
        if live.mailbox.len() >= self.options.limits.mailbox_max {
            return self.end(session, Outgoing::TooSlow, now);
        }
        live.mailbox.push_back((ticket, outgoing));
        if ticket <= self.store.durable() {
            live.wake(&mut self.held_wakes);
        } else {
            self.store.on_durable(ticket, Arc::clone(&live.wake));
        }
    }

    pub(super) fn wake_inputs(&mut self, place: usize) {
        self.wake_for(place, Feed::Inputs);
    }

    pub(super) fn wake_for(&mut self, place: usize, feed: Feed) {
        let session = self.people.at(place).and_then(|person| person.session);
        if let Some(live) = session.and_then(|session| self.sessions.live_mut(session))
            && live.feeds.of(feed).is_some()
        {
            live.wake(&mut self.held_wakes);
        }
    }

    /// From now on, whoever has something to take is not woken at once: whoever locks the core does it, with
    /// [`Core::take_wakes`], once others can have the lock.
    pub(crate) fn hold_wakes(&mut self) {
        self.held_wakes = Some(Vec::new());
    }

    /// Those who are to be woken.
    pub(crate) fn take_wakes(&mut self) -> Vec<Wake> {
        self.held_wakes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The inputs take turns; within one, the smallest priority number comes first.
    pub(super) fn take_input(&mut self, place: usize, qos: u8, now: Now) -> Option<Outgoing> {
        let person = &mut self.people[place];
        let inputs = person.endpoints.len();
        for step in 0..inputs {
            let turn = (person.turn + step) % inputs;
            let endpoint = &self.queues.endpoints[person.endpoints[turn]];
            for &index in &endpoint.queues {
                let Some(queue) = self.queues.queues[index].as_mut() else { continue };
                let Some(taken) = queue.take(now, &self.options.limits, &self.counters) else { continue };
                queue.silent = qos == 0;
                if !std::mem::replace(&mut queue.timed, true) {
                    self.timers.set(now.instant + self.options.limits.ack_timeout, Timer::Ack(index));
                }
                person.turn = (turn + 1) % inputs;
                self.counters.count(Counter::MessagesSent);
                self.counters.add(Counter::MessagesRedelivered, u64::from(taken.redelivered));
                return Some(Outgoing::Input {
                    delivery: delivery_of(index, taken.offset),
                    input: Arc::clone(&endpoint.input),
                    message: taken.message,
                    qos,
                    redelivered: taken.redelivered,
                });
            }
        }
        None
    }

    /// Subscriptions of a session that is not clean outlive it, and the hub.
    pub(super) fn keep_feeds(&mut self, session: SessionId) {
        let Some(live) = self.sessions.live(session).filter(|live| !live.clean) else { return };
        let kept = &mut self.people[live.place].kept;
        if *kept != Some(live.feeds) {
            *kept = Some(live.feeds);
            self.store.put(Table::Subscriptions, live.who.as_str(), live.feeds.written());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use isotherm_host::{Chance, Host, MemoryDisk};
    use isotherm_iothub::{Identity, Message};
    use serde_json::json;

    use super::*;
    use crate::core::Options;
    use crate::store::{Settings, Store};

    #[test]
    fn whoever_locks_the_core_wakes_those_who_have_something_to_take_when_it_likes() {
        let (disk, host) = (Arc::new(MemoryDisk::new()), Host::real());
        let (store, _) = Store::open(disk, Path::new("/s"), Settings::default()).unwrap();
        let now = Now { instant: host.now(), wall: host.wall() };
        let mut core = Core::open(Options::new("hub", "edge"), store, Chance::seeded(7), now).unwrap();
        let route = "FROM /messages/modules/a/* INTO BrokeredEndpoint(\"/modules/b/inputs/in\")";
        let content = json!({"modulesContent": {
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"r": route}}},
            "a": {"properties.desired": {}},
            "b": {"properties.desired": {}},
        }});
        core.apply_configuration("edge", &content, now).unwrap();
        let (a, b): (Identity, Identity) = ("edge/a".parse().unwrap(), "edge/b".parse().unwrap());
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&woken);
        let wake: Wake = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let from = core.attach(&a, true, "mqtt", None, Arc::new(|| {}), now).unwrap().session;
        let to = core.attach(&b, true, "mqtt", None, wake, now).unwrap().session;
        core.subscribe(to, Feed::Inputs, 1, now);

        core.hold_wakes();
        for _ in 0..3 {
            core.publish(from, &a, Message::new("1"), now).unwrap();
        }
        assert_eq!(woken.load(Ordering::Relaxed), 0);
        core.take_wakes().into_iter().for_each(|wake| wake());
        assert_eq!(woken.load(Ordering::Relaxed), 1, "once for all three");
        assert!(core.take_wakes().is_empty());
    }
}
