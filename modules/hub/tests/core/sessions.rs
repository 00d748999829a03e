use std::sync::atomic::Ordering;

use isotherm_hub::core::{Counter, Limits, Outcome, Outgoing, Refusal};
use isotherm_hub::store::Settings;
use isotherm_iothub::{Feed, Message};
use serde_json::json;

use crate::site::{Site, counting, delivery, identity, in_seconds, message, seconds};

#[test]
fn a_second_connection_takes_the_session_over() {
    let mut site = Site::pipeline();
    let (wake, woken) = counting();
    let old = site.attach_waking("edge/filter", true, wake).session;
    let new = site.attach("edge/filter");

    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert!(matches!(site.poll(old), Some(Outgoing::Taken)));
    assert!(site.poll(old).is_none(), "it is told once");
    assert_eq!(site.core.who(old), None);
    assert_eq!(site.core.who(new), Some(identity("edge/filter")));
    assert_eq!(site.counted(Counter::SessionsTakenOver), 1);

    site.core.detach(old, false, None, site.now);
    assert!(site.core.connected(&identity("edge/filter")), "the old one's end is not the new one's");
}

#[test]
fn what_the_old_session_had_not_settled_goes_to_the_new_one() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let old = site.attach_to("edge/filter", Feed::Inputs);
    for body in ["1", "2", "3"] {
        site.publish(sensor, body);
    }
    let (bodies, deliveries) = site.drain(old);
    assert_eq!(bodies, ["1", "2", "3"]);
    site.accept(old, deliveries[0]);

    let new = site.attach_to("edge/filter", Feed::Inputs);
    let Some(Outgoing::Input { redelivered: true, .. }) = site.poll(new) else {
        panic!("a repeat, and marked so")
    };
    assert_eq!(site.bodies(new), ["3"]);
    assert_eq!(site.counted(Counter::MessagesRedelivered), 2);
}

#[test]
fn an_ended_session_takes_and_settles_nothing() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let old = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    let (_, deliveries) = site.drain(old);
    let new = site.attach_to("edge/filter", Feed::Inputs);
    site.accept(old, deliveries[0]);
    assert_eq!(site.bodies(new), ["1"]);

    let refused = site.core.publish(old, &identity("edge/filter"), message("x"), site.now);
    assert_eq!(refused, Err(Refusal::Ended));
}

#[test]
fn subscriptions_of_a_session_that_is_not_clean_are_there_again_even_after_a_power_cut() {
    let mut site = Site::pipeline();
    let first = site.attach_as("edge/filter", false);
    assert!(!first.present);
    site.core.subscribe(first.session, Feed::Inputs, 1, site.now);
    site.core.subscribe(first.session, Feed::Methods, 0, site.now);
    site.core.detach(first.session, true, None, site.now);
    site.commit();
    let mut site = site.power_cut();

    let sensor = site.attach("edge/sensor");
    site.publish(sensor, "while away");
    let second = site.attach_as("edge/filter", false);
    assert!(second.present);
    assert_eq!(site.core.subscribed(second.session, Feed::Inputs), Some(1));
    assert_eq!(site.core.subscribed(second.session, Feed::Methods), Some(0));
    assert_eq!(site.core.subscribed(second.session, Feed::Desired), None);
    assert_eq!(site.bodies(second.session), ["while away"]);
}

#[test]
fn a_clean_session_forgets_those_before_it() {
    let mut site = Site::pipeline();
    let first = site.attach_as("edge/filter", false).session;
    site.core.subscribe(first, Feed::Inputs, 1, site.now);
    let clean = site.attach_as("edge/filter", true);
    assert!(!clean.present);
    assert_eq!(site.core.subscribed(clean.session, Feed::Inputs), None);
    let third = site.attach_as("edge/filter", false);
    assert!(!third.present);
    site.commit();
    let mut site = site.power_cut();
    assert!(!site.attach_as("edge/filter", false).present, "also on disk");
}

#[test]
fn nothing_comes_before_it_is_subscribed_nor_after_it_is_unsubscribed() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach("edge/filter");
    site.publish(sensor, "1");
    assert!(site.poll(filter).is_none());
    site.core.subscribe(filter, Feed::Inputs, 1, site.now);
    assert_eq!(site.bodies(filter), ["1"]);
    site.core.unsubscribe(filter, Feed::Inputs);
    site.publish(sensor, "2");
    assert!(site.poll(filter).is_none());
}

#[test]
fn a_session_without_room_gets_no_messages_but_is_told_of_its_end() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    assert!(site.core.poll(filter, 0, site.now).is_none());
    site.attach("edge/filter");
    assert!(matches!(site.core.poll(filter, 0, site.now), Some(Outgoing::Taken)));
}

#[test]
fn a_session_is_woken_once_until_it_has_polled_to_the_end() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let (wake, woken) = counting();
    let filter = site.attach_waking("edge/filter", true, wake).session;
    site.core.subscribe(filter, Feed::Inputs, 1, site.now);
    site.publish(sensor, "1");
    site.publish(sensor, "2");
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(site.bodies(filter), ["1", "2"]);
    site.publish(sensor, "3");
    assert_eq!(woken.load(Ordering::Relaxed), 2);
}

#[test]
fn a_session_ends_when_its_token_expires() {
    let mut site = Site::pipeline();
    let until = Some(in_seconds(site.now, 60));
    let who = identity("edge/filter");
    let session = site.core.attach(&who, true, "mqtt", until, counting().0, site.now).unwrap().session;
    site.pass(seconds(59));
    assert!(site.poll(session).is_none());
    site.pass(seconds(1));
    assert!(matches!(site.poll(session), Some(Outgoing::Expired)));
    assert_eq!(site.counted(Counter::SessionsExpired), 1);
    assert!(!site.core.connected(&who));
}

#[test]
fn a_renewed_token_keeps_the_session() {
    let mut site = Site::pipeline();
    let until = Some(in_seconds(site.now, 60));
    let who = identity("edge/filter");
    let session = site.core.attach(&who, true, "amqp", until, counting().0, site.now).unwrap().session;
    site.core.renew(session, Some(in_seconds(site.now, 120)), site.now);
    site.pass(seconds(100));
    assert!(site.core.connected(&who));
    site.pass(seconds(20));
    assert!(!site.core.connected(&who));
}

#[test]
fn a_token_expires_also_when_the_wall_clock_was_set_meanwhile() {
    let mut site = Site::pipeline();
    let until = Some(in_seconds(site.now, 3600));
    let who = identity("edge/filter");
    site.core.attach(&who, true, "mqtt", until, counting().0, site.now).unwrap();
    site.now.wall = in_seconds(site.now, 7200);
    site.pass(seconds(30));
    assert!(!site.core.connected(&who), "noticed within half a minute");
}

#[test]
fn disabling_or_deleting_somebody_ends_their_sessions() {
    let mut site = Site::new();
    let device = site.device("d");
    site.core.put_module("d", "m", &json!({}), None, site.now).unwrap();
    let (own, module) = (site.attach("d"), site.attach("d/m"));
    site.core.put_device("d", &json!({"status": "disabled"}), Some("*"), site.now).unwrap();
    assert!(matches!(site.poll(own), Some(Outgoing::Removed)));
    assert!(matches!(site.poll(module), Some(Outgoing::Removed)));

    let module = site.attach("d/m");
    site.core.delete_device("d", Some("*"), site.now).unwrap();
    assert!(matches!(site.poll(module), Some(Outgoing::Removed)));
    let gone = site.core.attach(&device, true, "mqtt", None, counting().0, site.now);
    assert_eq!(gone, Err(Refusal::Unknown));
}

#[test]
fn nobody_speaks_for_somebody_else() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let refused = site.core.publish(sensor, &identity("edge/filter"), message("x"), site.now);
    assert!(matches!(refused, Err(Refusal::Foreign { .. })));
    assert_eq!(site.counted(Counter::RefusedForeign), 1);
    assert_eq!(site.counted(Counter::MessagesReceived), 0);
}

#[test]
fn nobody_settles_what_was_delivered_to_somebody_else() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    let (_, deliveries) = site.drain(filter);
    site.accept(sensor, deliveries[0]);
    site.accept(sensor, u64::MAX);
    site.accept(sensor, 12_345 << 44);
    assert_eq!(site.core.held(), 1);
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    let mut site = Site::new();
    site.device("d");
    let will = || Some(Message::new("gone"));
    let session = site.attach("d");
    site.core.detach(session, true, will(), site.now);
    let session = site.attach("d");
    site.core.detach(session, false, will(), site.now);
    site.commit();
    let events: Vec<_> = (0..4).flat_map(|it| site.core.events(it, 0, 10).unwrap()).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].message.properties.get("iothub-MessageType"), Some("Will"));
    assert_eq!(events[0].from, identity("d"));
}

#[test]
fn there_are_as_many_sessions_as_there_may_be_and_a_takeover_needs_no_place() {
    let limits = Limits { sessions_max: 2, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    for name in ["a", "b", "c"] {
        site.device(name);
    }
    let first = site.attach("a");
    site.attach("b");
    let refused = site.core.attach(&identity("c"), true, "mqtt", None, counting().0, site.now);
    assert_eq!(refused, Err(Refusal::Busy));
    assert_eq!(site.counted(Counter::SessionsRefused), 1);
    site.attach("b");
    site.core.detach(first, true, None, site.now);
    site.attach("c");
}

#[test]
fn a_released_message_is_sent_again_and_a_rejected_one_is_dropped() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let filter = site.attach_to("edge/filter", Feed::Inputs);
    site.publish(sensor, "1");
    let (_, number) = delivery(site.poll(filter).unwrap());
    site.core.settle(filter, number, Outcome::Released, site.now);
    let (body, number) = delivery(site.poll(filter).unwrap());
    assert_eq!(body, "1");
    site.core.settle(filter, number, Outcome::Rejected, site.now);
    assert!(site.poll(filter).is_none());
    assert_eq!(site.core.held(), 0);
    assert_eq!(site.counted(Counter::DroppedRejected), 1);
}

#[test]
fn a_message_nobody_acknowledges_is_sent_again_and_those_after_it_in_order() {
    let mut site = Site::pipeline();
    let sensor = site.attach("edge/sensor");
    let (wake, woken) = counting();
    let filter = site.attach_waking("edge/filter", true, wake).session;
    site.core.subscribe(filter, Feed::Inputs, 1, site.now);
    for body in ["1", "2", "3"] {
        site.publish(sensor, body);
    }
    let (_, deliveries) = site.drain(filter);
    site.accept(filter, deliveries[0]);
    site.pass(seconds(29));
    assert!(site.bodies(filter).is_empty());
    let before = woken.load(Ordering::Relaxed);
    site.pass(seconds(1));
    assert_eq!(woken.load(Ordering::Relaxed), before + 1);
    assert_eq!(site.bodies(filter), ["2", "3"]);
    site.accept(filter, deliveries[1]);
    assert_eq!(site.core.held(), 1, "a late acknowledgement counts all the same");
}
