use isotherm_hub::core::{Counter, ErrorCode, Limits, Outcome, Outgoing};
use isotherm_hub::store::Settings;
use isotherm_iothub::{Feed, Message, SystemProperty};

use crate::site::{Site, delivery, identity, in_seconds, seconds, text};

fn site() -> Site {
    let mut site = Site::new();
    site.device("d");
    site
}

fn asking(body: &str, ack: &str) -> Message {
    Message::new(body.to_owned())
        .with_system(SystemProperty::MessageId, body)
        .with_system(SystemProperty::Ack, ack)
}

fn send(site: &mut Site, message: Message) {
    site.core.send_cloud_to_device("d", message, site.now).unwrap();
}

fn feedback(site: &mut Site) -> Vec<(String, String)> {
    let Some(batch) = site.core.receive_feedback(site.now) else { return Vec::new() };
    site.core.settle_feedback(&batch.lock_token, true).unwrap();
    batch.records.into_iter().map(|it| (it.original_message_id, it.status_code)).collect()
}

#[test]
fn a_message_waits_for_its_device_also_through_a_power_cut() {
    let mut site = site();
    let ticket = site.core.send_cloud_to_device("d", asking("1", "none"), site.now).unwrap();
    assert!(!site.is_durable(ticket));
    send(&mut site, asking("2", "none"));
    site.commit();
    let mut site = site.power_cut();
    let session = site.attach_to("d", Feed::CloudToDevice);
    let Some(Outgoing::CloudToDevice { message, delivery_count, .. }) = site.poll(session) else {
        panic!("there")
    };
    assert_eq!((text(&message).as_str(), delivery_count), ("1", 1));
    assert_eq!(message.system.get(SystemProperty::To), Some("/devices/d/messages/devicebound"));
    assert_eq!(site.bodies(session), ["2"]);
}

#[test]
fn a_completed_message_is_gone_and_its_sender_told_if_it_asked() {
    let mut site = site();
    for (body, ack) in
        [("none", "none"), ("positive", "positive"), ("negative", "negative"), ("full", "full")]
    {
        send(&mut site, asking(body, ack));
    }
    let session = site.attach_to("d", Feed::CloudToDevice);
    let (_, deliveries) = site.drain(session);
    deliveries.into_iter().for_each(|delivery| site.accept(session, delivery));
    assert_eq!(
        feedback(&mut site),
        [("positive", "Success"), ("full", "Success")].map(|(a, b)| (a.into(), b.into()))
    );
    assert!(feedback(&mut site).is_empty(), "fetched once");
    site.commit();
    let mut site = site.power_cut();
    let session = site.attach_to("d", Feed::CloudToDevice);
    assert!(site.poll(session).is_none());
    assert!(feedback(&mut site).is_empty());
}

#[test]
fn a_message_that_was_not_settled_comes_again_until_it_was_tried_ten_times() {
    let mut site = site();
    send(&mut site, asking("m", "full"));
    for count in 1..=10 {
        let session = site.attach_to("d", Feed::CloudToDevice);
        let Some(Outgoing::CloudToDevice { delivery_count, .. }) = site.poll(session) else {
            panic!("{count}")
        };
        assert_eq!(delivery_count, count);
        site.core.detach(session, false, None, site.now);
    }
    let session = site.attach_to("d", Feed::CloudToDevice);
    assert!(site.poll(session).is_none());
    assert_eq!(feedback(&mut site), [("m".into(), "DeliveryCountExceeded".into())]);
    assert_eq!(site.counted(Counter::DeviceboundGivenUp), 1);
}

#[test]
fn a_lock_lasts_a_minute() {
    let mut site = site();
    send(&mut site, asking("m", "none"));
    let session = site.attach_to("d", Feed::CloudToDevice);
    let (_, first) = delivery(site.poll(session).unwrap());
    site.pass(seconds(59));
    assert!(site.poll(session).is_none());
    site.pass(seconds(1));
    let Some(Outgoing::CloudToDevice { delivery, delivery_count: 2, .. }) = site.poll(session) else {
        panic!("it is tried again")
    };
    assert_eq!(first, delivery);
}

#[test]
fn a_message_ends_with_its_time_to_live() {
    let mut site = site();
    send(&mut site, asking("default", "negative"));
    let expiry = in_seconds(site.now, 60).to_string();
    send(&mut site, asking("own", "negative").with_system(SystemProperty::Expiry, &expiry));
    site.pass(seconds(61));
    assert_eq!(feedback(&mut site), [("own".into(), "Expired".into())]);
    site.pass(seconds(3600));
    assert_eq!(feedback(&mut site), [("default".into(), "Expired".into())]);
    let session = site.attach_to("d", Feed::CloudToDevice);
    assert!(site.poll(session).is_none());
    assert_eq!(site.counted(Counter::DeviceboundExpired), 2);
    let nonsense = asking("x", "none").with_system(SystemProperty::Expiry, "tomorrow");
    let refused = site.core.send_cloud_to_device("d", nonsense, site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::ArgumentInvalid);
}

#[test]
fn a_rejected_message_is_told_and_a_released_one_comes_again() {
    let mut site = site();
    send(&mut site, asking("1", "full"));
    let session = site.attach_to("d", Feed::CloudToDevice);
    let (_, number) = delivery(site.poll(session).unwrap());
    site.core.settle(session, number, Outcome::Released, site.now);
    let (_, number) = delivery(site.poll(session).unwrap());
    site.core.settle(session, number, Outcome::Rejected, site.now);
    assert_eq!(feedback(&mut site), [("1".into(), "Rejected".into())]);
    assert!(site.poll(session).is_none());
}

#[test]
fn the_fifty_first_message_is_refused_and_so_are_large_ones_and_strangers() {
    let mut site = site();
    for _ in 0..50 {
        send(&mut site, asking("m", "none"));
    }
    let refused = |site: &mut Site, device: &str, message: Message| {
        site.core.send_cloud_to_device(device, message, site.now).unwrap_err().code
    };
    assert_eq!(refused(&mut site, "d", asking("m", "none")), ErrorCode::DeviceMaximumQueueDepthExceeded);
    assert_eq!(site.counted(Counter::DeviceboundQueueFull), 1);
    assert_eq!(site.core.device("d").unwrap()["cloudToDeviceMessageCount"], 50);
    site.device("e");
    assert_eq!(refused(&mut site, "e", Message::new(vec![0; 65_537])), ErrorCode::MessageTooLarge);
    assert_eq!(refused(&mut site, "f", asking("m", "none")), ErrorCode::DeviceNotFound);
}

#[test]
fn the_hub_holds_as_many_bytes_as_it_may() {
    let limits = Limits { devicebound_bytes_max: 1_000, ..Limits::default() };
    let mut site = Site::with(Settings::default(), limits);
    site.device("d");
    send(&mut site, Message::new(vec![0; 900]));
    let refused = site.core.send_cloud_to_device("d", Message::new(vec![0; 200]), site.now).unwrap_err();
    assert_eq!(refused.code, ErrorCode::IotHubQuotaExceeded);
    assert_eq!(site.core.purge_cloud_to_device("d", site.now), Ok(1));
    send(&mut site, Message::new(vec![0; 200]));
}

#[test]
fn a_purged_queue_is_empty_and_its_senders_are_told() {
    let mut site = site();
    send(&mut site, asking("1", "full"));
    send(&mut site, asking("2", "positive"));
    assert_eq!(site.core.purge_cloud_to_device("d", site.now), Ok(2));
    assert_eq!(feedback(&mut site), [("1".into(), "Purged".into())]);
}

#[test]
fn a_message_fetched_without_a_session_is_settled_by_its_lock() {
    let mut site = site();
    let device = identity("d");
    send(&mut site, asking("1", "full"));
    let locked = site.core.receive_cloud_to_device(&device, site.now).unwrap();
    assert_eq!((text(&locked.message).as_str(), locked.delivery_count), ("1", 1));
    assert!(site.core.receive_cloud_to_device(&device, site.now).is_none());
    site.pass(seconds(60));
    let again = site.core.receive_cloud_to_device(&device, site.now).unwrap();
    let lost = site.core.settle_locked(&device, &locked.lock_token, Outcome::Accepted, site.now);
    assert_eq!(lost.unwrap_err().code, ErrorCode::DeviceMessageLockLost);
    site.core.settle_locked(&device, &again.lock_token, Outcome::Accepted, site.now).unwrap();
    assert_eq!(feedback(&mut site), [("1".into(), "Success".into())]);
}

#[test]
fn feedback_that_is_given_back_or_not_settled_comes_again_and_survives_a_power_cut() {
    let mut site = site();
    send(&mut site, asking("1", "full"));
    site.core.purge_cloud_to_device("d", site.now).unwrap();
    let batch = site.core.receive_feedback(site.now).unwrap();
    assert!(site.core.receive_feedback(site.now).is_none(), "locked");
    site.core.settle_feedback(&batch.lock_token, false).unwrap();
    assert!(site.core.receive_feedback(site.now).is_some());
    site.pass(seconds(60));
    site.commit();
    let mut site = site.power_cut();
    assert_eq!(feedback(&mut site), [("1".into(), "Purged".into())]);
    assert!(site.core.settle_feedback("0", true).is_err());
}
