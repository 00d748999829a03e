//! The client against a hub that says what each test tells it to say, in virtual time.

mod site;

use std::{pin::pin, sync::atomic::Ordering, time::Duration};

use isotherm_client::{Client, Custody, Delivery, Event, Options, SendError, WhenFull};
use isotherm_iothub::{Message, SystemProperty, Token};
use isotherm_protocol::mqtt::{ConnectCode, Qos, ServerCommand, ServerEvent};
use serde_json::json;
use site::{Peer, Site, twin};
use tokio::time::{self, timeout};

const MOMENT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(600);
const INPUT: &str = "devices/edge/modules/filter/inputs/temperature/";

async fn next(client: &mut Client) -> Event {
    timeout(LONG, client.next()).await.expect("an event comes")
}

/// The next event that is no news of the connection itself.
async fn next_but_tidings(client: &mut Client) -> Event {
    loop {
        match next(client).await {
            Event::Connected | Event::Disconnected { .. } => {}
            event => return event,
        }
    }
}

/// The next message on an input, by what it is accepted with.
async fn input(client: &mut Client) -> Delivery {
    loop {
        if let Event::Input { delivery, .. } = next(client).await {
            return delivery;
        }
    }
}

/// A client with a message on an input that it has not accepted yet; its number is 1.
async fn with_an_input(site: &mut Site) -> (Client, Peer, Delivery) {
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    peer.deliver(INPUT, "31", Qos::AtLeastOnce, 1).await;
    let delivery = input(&mut client).await;
    (client, peer, delivery)
}

async fn send(client: &mut Client, body: &str) {
    client.send("out", Message::new(body.to_owned()), None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_connects_says_so_as_the_hub_wants_to_hear_it() {
    let mut site = Site::new();
    let _client = site.client().await;
    let (_, connect) = site.greet().await;
    assert_eq!(connect.client_id, "edge/filter");
    let user = connect.user_name.clone().unwrap();
    assert!(user.starts_with("hub/edge/filter/?api-version=2021-04-12&DeviceClientType=isotherm"), "{user}");
    let token = Token::parse(std::str::from_utf8(&connect.password.clone().unwrap()).unwrap()).unwrap();
    assert_eq!(token.resource, "hub/devices/edge/modules/filter");
    assert!(token.verify(&isotherm_iothub::Key::from_bytes(&[7; 32])));
    assert_eq!(token.expiry - site.host.wall().as_second(), 3600);
}

#[tokio::test(start_paused = true)]
async fn a_message_carries_its_output_and_properties() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let message = Message::new("21.5").with_property("MessageType", "Alert");
    client.send("alert", message, None).await.unwrap();
    let mut peer = site.accept(twin(1)).await;
    let (message, _) = peer.message().await;
    assert_eq!(&message.body[..], b"21.5");
    assert_eq!(message.system.get(SystemProperty::OutputName), Some("alert"));
    assert_eq!(message.properties.get("MessageType"), Some("Alert"));
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_has_not_acknowledged_is_sent_again_in_order() {
    let mut site = Site::new();
    let mut client = site.client().await;
    for body in ["1", "2", "3", "4"] {
        send(&mut client, body).await;
    }
    let mut peer = site.accept(twin(1)).await;
    assert_eq!(peer.body().await, "1");
    peer.message().await;
    let (_, third) = peer.message().await;
    peer.say(ServerCommand::Acknowledge { packet_id: third }).await; // out of order, and no reason to forget 2
    time::sleep(MOMENT).await;
    assert_eq!(client.held(), 3);
    peer.cut();
    let mut peer = site.accept(twin(1)).await;
    for body in ["2", "3", "4"] {
        assert_eq!(peer.body().await, body);
    }
    assert!(client.flush(LONG).await);
    assert_eq!(client.held(), 0);
    assert_eq!(client.stats().reconnects, 1);
    assert_eq!(client.stats().delivered, 5, "3 was delivered twice");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_messages_are_on_their_way_and_one_more_once_the_first_has_arrived() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let messages = (0..210).map(|number: u32| Message::new(number.to_string())).collect();
    client.send_all("out", messages, None).await.expect("the outbox takes all");
    let mut peer = site.accept(twin(1)).await;
    let mut on_their_way = Vec::new();
    while on_their_way.len() < 200 {
        on_their_way.push(peer.message().await);
    }
    while let Some(event) = peer.within(MOMENT).await {
        assert!(!matches!(event, ServerEvent::Publish { .. }), "one more than may be: {event:?}");
    }
    peer.say(ServerCommand::Acknowledge { packet_id: on_their_way[0].1 }).await;
    assert_eq!(peer.body().await, "200");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_still_there_after_a_restart() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let messages = ["1", "2"].map(Message::new).to_vec();
    client.send_all("out", messages, Some(b"row 2")).await.unwrap();
    drop(client);
    let client = site.client().await;
    assert_eq!((client.held(), client.bookmark()), (2, Some(b"row 2".to_vec())));
    let mut peer = site.accept(twin(1)).await;
    assert_eq!((peer.body().await, peer.body().await), ("1".to_owned(), "2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_input_is_acknowledged_only_when_it_is_accepted() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    peer.deliver(INPUT, "1", Qos::AtLeastOnce, 1).await;
    peer.deliver(INPUT, "2", Qos::AtLeastOnce, 2).await;
    let mut deliveries = Vec::new();
    while deliveries.len() < 2 {
        if let Event::Input { name, delivery, .. } = next(&mut client).await {
            assert_eq!(name, "temperature");
            deliveries.push(delivery);
        }
    }
    assert_eq!(peer.within(MOMENT).await, None);
    client.accept(deliveries.pop().unwrap());
    assert_eq!(peer.within(MOMENT).await, Some(ServerEvent::Acknowledged { token: 2 }));
    peer.cut();
    let mut peer = site.accept(twin(1)).await;
    client.accept(deliveries.pop().unwrap()); // by a connection that is gone
    assert_eq!(peer.within(MOMENT).await, None);
}

#[tokio::test(start_paused = true)]
async fn with_hand_to_hand_custody_an_input_is_acknowledged_when_its_answer_is() {
    let mut site = Site::new();
    let options = Options { custody: Custody::HandToHand, ..site.options() };
    let mut client = Client::with(&site.host, options).await.unwrap();
    let mut peer = site.accept(twin(1)).await;
    peer.deliver(INPUT, "31", Qos::AtLeastOnce, 1).await;
    let Event::Input { message, delivery, .. } = ({
        loop {
            let event = next_but_tidings(&mut client).await;
            if matches!(event, Event::Input { .. }) {
                break event;
            }
        }
    }) else {
        unreachable!("just looked")
    };
    client.post("alert", &message).unwrap();
    client.accept(delivery);
    let (_, packet_id) = peer.message().await;
    assert_eq!(peer.within(MOMENT).await, None, "not before the hub has the alert");
    peer.say(ServerCommand::Acknowledge { packet_id }).await;
    assert_eq!(peer.within(MOMENT).await, Some(ServerEvent::Acknowledged { token: 1 }));
}

#[tokio::test(start_paused = true)]
async fn the_token_is_renewed_before_it_ends_by_reconnecting() {
    let mut site = Site::new();
    let options = Options { token_life: Duration::from_secs(100), ..site.options() };
    let mut client = Client::with(&site.host, options).await.unwrap();
    let mut peer = site.accept(twin(1)).await;
    let begun = time::Instant::now();
    send(&mut client, "1").await;
    assert_eq!(peer.body().await, "1");
    let end = loop {
        match peer.event().await {
            Some(ServerEvent::Disconnected) | None => break begun.elapsed(),
            Some(_) => {}
        }
    };
    assert!((80..=90).contains(&end.as_secs()), "after {end:?}");
    peer.cut();
    let (_, connect) = site.greet().await;
    let token = Token::parse(std::str::from_utf8(&connect.password.unwrap()).unwrap()).unwrap();
    assert!(token.expiry - site.host.wall().as_second() >= 99, "a fresh one");
    assert!(begun.elapsed() - end < Duration::from_millis(100), "at once");
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_versions_fetches_the_twin_and_the_user_sees_it_whole() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    let Event::Desired(desired) = next_but_tidings(&mut client).await else { panic!("desired") };
    assert_eq!(desired, json!({"a": 1, "$version": 1}));
    let desired = "$iothub/twin/PATCH/properties/desired/?$version=";
    peer.deliver(&format!("{desired}2"), r#"{"b":2,"$version":2}"#, Qos::AtMostOnce, 0).await;
    let Event::Desired(told) = next_but_tidings(&mut client).await else { panic!("desired") };
    assert_eq!(told, json!({"a": 1, "b": 2, "$version": 2}));
    peer.deliver(&format!("{desired}5"), r#"{"b":5,"$version":5}"#, Qos::AtMostOnce, 0).await;
    let rid = peer.twin_get().await;
    let whole = json!({"desired": {"z": 5, "$version": 5}, "reported": {}});
    peer.deliver(&format!("$iothub/twin/res/200/?$rid={rid}"), &whole.to_string(), Qos::AtMostOnce, 0).await;
    let Event::Desired(told) = next_but_tidings(&mut client).await else { panic!("desired") };
    assert_eq!(told, json!({"z": 5, "$version": 5}));
}

#[tokio::test(start_paused = true)]
async fn the_last_twin_is_told_at_the_next_start_without_a_hub() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let _peer = site.accept(twin(7)).await;
    while !matches!(next(&mut client).await, Event::Desired(_)) {}
    time::sleep(MOMENT).await; // it is kept
    drop(client);
    *site.down.lock().unwrap() = true;
    let mut client = site.client().await;
    assert_eq!(client.twin(), Some(twin(7)));
    let Event::Desired(desired) = next(&mut client).await else { panic!("desired comes first") };
    assert_eq!(desired, json!({"a": 7, "$version": 7}));
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_is_not_answered_is_asked_for_again() {
    let mut site = Site::new();
    let _client = site.client().await;
    let (mut peer, _) = site.greet().await;
    peer.say(ServerCommand::Accept { session_present: false }).await;
    peer.grant().await;
    let first = peer.twin_get().await;
    let second = peer.twin_get().await;
    assert_ne!(first, second);
    peer.deliver(&format!("$iothub/twin/res/429/?$rid={second}"), "", Qos::AtMostOnce, 0).await;
    assert_ne!(peer.twin_get().await, second);
}

#[tokio::test(start_paused = true)]
async fn a_module_that_does_not_know_its_settings_takes_no_inputs_until_it_does() {
    const INPUTS: &str = "devices/edge/modules/filter/inputs/#";
    let mut site = Site::new();
    let mut client = site.client().await;
    let (mut peer, connect) = site.greet().await;
    assert!(connect.clean, "nothing may come by what an earlier process subscribed to");
    peer.say(ServerCommand::Accept { session_present: false }).await;
    assert!(!peer.grant().await.contains(&INPUTS.to_owned()));
    let rid = peer.twin_get().await;
    peer.deliver(&format!("$iothub/twin/res/429/?$rid={rid}"), "", Qos::AtMostOnce, 0).await;
    let rid = peer.twin_get().await;
    peer.deliver(&format!("$iothub/twin/res/200/?$rid={rid}"), &twin(7).to_string(), Qos::AtMostOnce, 0)
        .await;
    assert_eq!(peer.grant().await, [INPUTS]);
    peer.deliver(INPUT, "31", Qos::AtLeastOnce, 1).await;
    let first = next_but_tidings(&mut client).await;
    assert!(matches!(&first, Event::Desired(desired) if desired["a"] == 7), "{first:?}");
    assert!(matches!(next_but_tidings(&mut client).await, Event::Input { .. }));

    peer.cut();
    let (mut peer, connect) = site.greet().await;
    assert!(!connect.clean);
    peer.say(ServerCommand::Accept { session_present: true }).await;
    assert!(peer.grant().await.contains(&INPUTS.to_owned()), "it knows them now");
    drop(client);
    let _client = site.client().await;
    let (mut peer, connect) = site.greet().await;
    assert!(!connect.clean);
    peer.say(ServerCommand::Accept { session_present: true }).await;
    assert!(peer.grant().await.contains(&INPUTS.to_owned()), "it was kept on disk");
}

#[tokio::test(start_paused = true)]
async fn what_is_reported_is_told_until_the_hub_has_it() {
    let mut site = Site::new();
    let mut client = site.client().await;
    client.report(json!({"a": 1}));
    client.report(json!({"b": {"c": 2}}));
    let mut peer = site.accept(twin(1)).await;
    assert_eq!(peer.reported().await.1, json!({"a": 1, "b": {"c": 2}}));
    peer.cut();
    let mut peer = site.accept(twin(1)).await;
    let (rid, patch) = peer.reported().await;
    assert_eq!(patch, json!({"a": 1, "b": {"c": 2}}));
    peer.deliver(&format!("$iothub/twin/res/204/?$rid={rid}&$version=2"), "", Qos::AtMostOnce, 0).await;
    client.report(json!({"d": 3}));
    let (rid, patch) = peer.reported().await;
    assert_eq!(patch, json!({"d": 3}));
    peer.deliver(&format!("$iothub/twin/res/400/?$rid={rid}"), "{}", Qos::AtMostOnce, 0).await;
    time::sleep(MOMENT).await;
    assert_eq!(client.stats().reports_refused, 1);
    assert_eq!(client.twin().unwrap()["reported"]["b"]["c"], 2);
    peer.cut();
    let mut peer = site.accept(twin(1)).await;
    while let Some(event) = peer.within(MOMENT).await {
        assert!(!matches!(event, ServerEvent::Publish { .. }), "neither is told again: {event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_is_answered_once_even_by_another_connection() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    peer.deliver("$iothub/methods/POST/ping/?$rid=1f", "null", Qos::AtMostOnce, 0).await;
    let call = loop {
        if let Event::Method(call) = next(&mut client).await {
            break call;
        }
    };
    assert_eq!((call.name.as_str(), &call.payload), ("ping", &json!(null)));
    peer.cut();
    client.respond(call, 200, json!({"ok": true}));
    let mut peer = site.accept(twin(1)).await;
    let (status, rid, payload, packet_id) = peer.response().await;
    assert_eq!((status, rid.as_str(), payload), (200, "1f", json!({"ok": true})));
    peer.say(ServerCommand::Acknowledge { packet_id }).await;
    time::sleep(MOMENT).await;
    peer.cut();
    let mut peer = site.accept(twin(1)).await;
    assert_eq!(peer.within(MOMENT).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_method_with_nonsense_for_a_payload_is_answered_400() {
    let mut site = Site::new();
    let _client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    peer.deliver("$iothub/methods/POST/ping/?$rid=2", "{", Qos::AtMostOnce, 0).await;
    let (status, rid, ..) = peer.response().await;
    assert_eq!((status, rid.as_str()), (400, "2"));
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_lets_the_oldest_go_and_counts_them() {
    let mut site = Site::new();
    *site.down.lock().unwrap() = true;
    let options = Options { outbox_bytes_max: 4000, ..site.options() };
    let mut client = Client::with(&site.host, options).await.unwrap();
    for number in 0..100 {
        send(&mut client, &format!("{number:0100}")).await;
    }
    let stats = client.stats();
    assert_eq!(stats.sent, 100);
    assert_eq!(stats.dropped + client.held(), 100);
    assert!((15..40).contains(&client.held()), "{} of 100 bytes and some in 4000", client.held());
    *site.down.lock().unwrap() = false;
    let mut peer = site.accept(twin(1)).await;
    for number in stats.dropped..100 {
        assert_eq!(peer.body().await.parse::<u64>(), Ok(number), "the youngest are there, in order");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_refuses_when_told_to_until_there_is_room() {
    let mut site = Site::new();
    *site.down.lock().unwrap() = true;
    let options = Options { outbox_bytes_max: 4000, when_full: WhenFull::Refuse, ..site.options() };
    let mut client = Client::with(&site.host, options).await.unwrap();
    let mut taken = 0;
    let message = || Message::new(vec![b'x'; 100]);
    while client.send("", message(), None).await.is_ok() {
        taken += 1;
    }
    assert_eq!(client.send("", message(), None).await, Err(SendError::Full));
    assert_eq!((client.held(), client.stats().dropped), (taken, 0));
    *site.down.lock().unwrap() = false;
    let mut peer = site.accept(twin(1)).await;
    for _ in 0..taken {
        peer.body().await;
    }
    assert!(client.flush(LONG).await);
    assert_eq!(client.send("", message(), None).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn of_many_messages_a_full_outbox_takes_all_or_none_and_goes_on_when_there_is_room() {
    let mut site = Site::new();
    *site.down.lock().unwrap() = true;
    let options = Options { outbox_bytes_max: 4000, when_full: WhenFull::Refuse, ..site.options() };
    let mut client = Client::with(&site.host, options).await.unwrap();
    let many =
        |from: usize| (from..from + 16).map(|body| Message::new(format!("{body:0100}"))).collect::<Vec<_>>();
    client.send_all("", many(0), Some(b"16")).await.unwrap();
    assert_eq!(client.send_all("", many(16), Some(b"32")).await, Err(SendError::Full));
    assert_eq!(
        (client.held(), client.bookmark()),
        (16, Some(b"16".to_vec())),
        "none of them is there twice later"
    );
    *site.down.lock().unwrap() = false;
    let mut peer = site.accept(twin(1)).await;
    for body in 0..16 {
        assert_eq!(peer.body().await, format!("{body:0100}"));
    }
    assert!(client.flush(LONG).await);
    client.send_all("", many(16), Some(b"32")).await.unwrap();
    for body in 16..32 {
        assert_eq!(peer.body().await, format!("{body:0100}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_hub_takes_is_refused_at_once() {
    let site = Site::new();
    let mut client = site.client().await;
    let large = Message::new(vec![0; 262_145]);
    let error = client.send("", large, None).await.unwrap_err();
    assert_eq!(error, SendError::TooLarge { bytes: 262_145 });
    assert!(error.to_string().contains("262144"), "{error}");
    let odd = Message::new("").with_property("p", " ".repeat(30_000));
    assert!(matches!(client.send("", odd, None).await, Err(SendError::TooManyProperties { .. })));
    assert_eq!(client.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_refuses_is_tried_again_but_not_in_a_hurry() {
    for code in [ConnectCode::ServerUnavailable, ConnectCode::NotAuthorized] {
        let mut site = Site::new();
        let mut client = site.client().await;
        send(&mut client, "1").await;
        let begun = time::Instant::now();
        for _ in 0..12 {
            let (mut peer, _) = site.greet().await;
            peer.say(ServerCommand::Refuse(code)).await;
        }
        assert!(begun.elapsed() > MOMENT, "{code:?}: twelve refusals in {:?}", begun.elapsed());
        let mut peer = site.accept(twin(1)).await;
        assert_eq!(peer.body().await, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_away_is_dialled_with_growing_waits() {
    let site = Site::new();
    *site.down.lock().unwrap() = true;
    let _client = site.client().await;
    time::sleep(Duration::from_secs(3600)).await;
    let dials = site.dials.load(Ordering::Relaxed);
    assert!((100..400).contains(&dials), "{dials} dials in an hour, with waits of up to 30 s");
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_leads_nowhere_is_given_up_after_twenty_seconds() {
    let mut site = Site::new();
    let _client = site.client().await;
    let (_, silent) = site.stream().await; // no TLS comes
    let begun = time::Instant::now();
    let _peer = site.accept(twin(1)).await;
    assert!(begun.elapsed() <= Duration::from_secs(25), "{:?}", begun.elapsed());
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn stop_is_told_and_the_hub_hears_good_bye() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    site.host.stop.stop();
    assert!(matches!(next(&mut client).await, Event::Stop));
    assert!(matches!(next(&mut client).await, Event::Stop));
    drop(client);
    assert_eq!(peer.event().await, Some(ServerEvent::Disconnected));
    time::sleep(LONG).await;
    assert_eq!(site.dials.load(Ordering::Relaxed), 1, "nobody dials any more");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_takes_nothing_holds_the_hub_back() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    let body = "x".repeat(1000);
    let mut delivered = 0;
    while delivered < 900
        && timeout(MOMENT, peer.deliver(INPUT, &body, Qos::AtLeastOnce, delivered)).await.is_ok()
    {
        delivered += 1;
    }
    assert!((256..800).contains(&delivered), "{delivered} got through before reading stopped");
    let mut taken = 0;
    while let Ok(event) = timeout(MOMENT, client.next()).await {
        taken += u64::from(matches!(event, Event::Input { .. }));
    }
    assert!(taken >= delivered, "{taken} of {delivered}");
}

#[tokio::test(start_paused = true)]
async fn a_second_process_on_the_same_state_is_told_so() {
    let site = Site::new();
    let _client = site.client().await;
    let error = Client::with(&site.host, site.options()).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_is_full_what_is_sent_is_held_back_and_counted_and_goes_once_it_is_kept() {
    let mut site = Site::new();
    let mut client = site.client().await;
    let mut peer = site.accept(twin(1)).await;
    site.disk.limit(Some(site.disk.used()));
    {
        let mut sending = pin!(client.send("", Message::new("1"), Some(b"bookmark")));
        let heard = async { peer.within(Duration::from_secs(120)).await };
        tokio::select! {
            biased;
            sent = &mut sending => panic!("nothing has it, and it is promised: {sent:?}"),
            heard = heard => assert_eq!(heard, None, "what is not kept is not published"),
        }
        site.disk.limit(None);
        let (sent, body) = tokio::join!(timeout(LONG, sending), peer.body());
        assert_eq!((sent, body.as_str()), (Ok(Ok(())), "1"));
    }
    assert_eq!(client.held_back(), 0);
    site.disk.limit(Some(0));
    assert!(timeout(LONG, client.send("", Message::new("2"), None)).await.is_err());
    assert_eq!(client.held_back(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_posted_goes_out_before_it_is_on_disk() {
    let mut site = Site::new();
    let (mut client, mut peer, delivery) = with_an_input(&mut site).await;
    site.disk.limit(Some(0)); // nothing gets to disk from here on
    client.post("alert", &Message::new("posted")).unwrap();
    client.accept(delivery);
    let (message, packet_id) = timeout(Duration::from_millis(10), peer.message()).await.expect("at once");
    assert_eq!(&message.body[..], b"posted");
    assert_eq!(peer.within(Duration::from_millis(10)).await, None, "neither on disk nor with the hub");
    peer.say(ServerCommand::Acknowledge { packet_id }).await;
    assert_eq!(peer.within(MOMENT).await, Some(ServerEvent::Acknowledged { token: 1 }));
}

#[tokio::test(start_paused = true)]
async fn what_is_posted_costs_the_disk_nothing_if_the_hub_takes_it_in_a_moment_and_is_kept_if_it_does_not() {
    let mut site = Site::new();
    let (mut client, mut peer, delivery) = with_an_input(&mut site).await;
    assert_eq!(peer.within(MOMENT).await, None); // the twin is kept by now
    let before = site.disk.used();
    for _ in 0..100 {
        client.post("alert", &Message::new("taken")).expect("there is room");
        peer.body().await;
        assert_eq!(peer.within(Duration::from_millis(5)).await, None);
    }
    assert_eq!((client.held(), site.disk.used()), (0, before));
    client.post("alert", &Message::new("not taken")).expect("there is room");
    client.accept(delivery);
    peer.message().await;
    let accepted = peer.within(Duration::from_millis(200)).await;
    assert_eq!(accepted, Some(ServerEvent::Acknowledged { token: 1 }));
    peer.deliver(INPUT, "32", Qos::AtLeastOnce, 2).await;
    let delivery = input(&mut client).await;
    client.post("alert", &Message::new("not taken either")).expect("there is room");
    client.accept(delivery);
    peer.message().await;
    let mut heard = std::mem::take(&mut peer.aside);
    heard.extend(peer.within(Duration::from_millis(10)).await);
    let accepted = heard.contains(&ServerEvent::Acknowledged { token: 2 });
    assert!(accepted, "at once, while the hub takes nothing: {heard:?}");
    drop(client);
    let client = site.client().await;
    assert_eq!(client.held(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_not_sent_again_after_a_kill_though_more_was_posted_all_the_time() {
    let mut site = Site::new();
    let (mut client, mut peer, _) = with_an_input(&mut site).await;
    client.post("alert", &Message::new("kept")).expect("there is room");
    let (_, packet_id) = peer.message().await;
    assert_eq!(peer.within(MOMENT).await, None); // it is on disk by now
    peer.say(ServerCommand::Acknowledge { packet_id }).await;
    for _ in 0..300 {
        client.post("alert", &Message::new("taken")).expect("there is room");
        peer.body().await;
        // Seven do not make up a second, so that none is on its way when the second is over.
        assert_eq!(peer.within(Duration::from_millis(7)).await, None);
    }
    drop(client); // without a stop nothing is written any more, as when it is killed
    assert_eq!(site.client().await.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_stop_a_flush_says_all_there_is_to_say_and_takes_nothing_more_in() {
    let mut site = Site::new();
    let (mut client, mut peer, delivery) = with_an_input(&mut site).await;
    site.host.stop.stop();
    while !matches!(next(&mut client).await, Event::Stop) {}
    client.post("alert", &Message::new("last")).unwrap();
    client.accept(delivery);
    let flooding = async {
        for token in 2..900 {
            peer.deliver(INPUT, &"x".repeat(500), Qos::AtLeastOnce, token).await;
        }
        assert_eq!(peer.body().await, "last");
        peer
    };
    let (flushed, mut peer) = tokio::join!(client.flush(LONG), flooding);
    assert!(flushed);
    drop(client);
    let mut acknowledged = Vec::new();
    while let Some(event) = peer.event().await {
        acknowledged.push(event);
    }
    acknowledged.extend(std::mem::take(&mut peer.aside));
    let first = ServerEvent::Acknowledged { token: 1 };
    assert!(acknowledged.contains(&first) && !acknowledged.contains(&ServerEvent::Acknowledged { token: 2 }));
}
