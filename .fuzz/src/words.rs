//! Lines of text: topics, filters, user names, tokens, connection strings, routes.

use isotherm_iothub::{
    ConnectionString, Feed, FilterMeaning, Identity, Message, Route, Source, SystemProperty, ToClient, ToHub,
    Token, UserName, input_topic, telemetry_topic,
};

use super::{readable, text};

/// What a client publishes to: nobody speaks for another, and what was read is written the same way.
pub(crate) fn topics_up(bytes: &[u8]) {
    let Some(topic) = text(bytes) else { return };
    let me = Identity::module("edge", "filter").expect("two good names");
    let parsed = match ToHub::parse_from(topic, &me) {
        Ok(parsed) => parsed,
        Err(refused) => return readable(refused),
    };
    let ToHub::Telemetry { identity, properties: (system, properties) } = parsed else { return };
    assert_eq!(identity, me, "{topic:?} speaks for another");
    let message = Message { system, properties, ..Message::default() };
    let written = telemetry_topic(&me, &message);
    let again = ToHub::parse_from(&written, &me).unwrap_or_else(|refused| panic!("{written:?}: {refused}"));
    let ToHub::Telemetry { properties: (system, properties), .. } = again else { panic!("{written:?}") };
    assert_eq!(properties, message.properties, "{written:?}");
    // A time is written in one form only, whatever form it came in.
    let again = Message { system, properties, ..Message::default() };
    assert_eq!(telemetry_topic(&me, &again), written);
    gathered(&me, &message);
    delivered(&me, &message);
}

/// What the hub keeps of a message is what was read, and says who sent it.
fn gathered(me: &Identity, message: &Message) {
    let kept = Message::gathered(me, b"body", &message.system, &message.properties);
    let mut stamped = Message { body: kept.body.clone(), ..message.clone() };
    stamped.stamp(me);
    assert_eq!((kept.size(), &kept), (stamped.size(), &stamped));
    let mut record = Vec::new();
    kept.encode(&mut record);
    assert_eq!(Message::decode(record.into()).as_ref(), Ok(&kept));
    assert_eq!(kept.system.get(SystemProperty::ConnectionDeviceId), Some(me.device_id()));
}

/// What is delivered to an input is read there as it was sent.
fn delivered(me: &Identity, message: &Message) {
    let written = input_topic(me, "in", message);
    let Ok(ToClient::Input { properties, .. }) = ToClient::parse(&written) else { panic!("{written:?}") };
    for (name, value) in message.properties.iter() {
        if !name.starts_with('$') {
            assert_eq!(properties.get(name).unwrap_or(""), value.unwrap_or(""), "{written:?}");
        }
    }
}

/// What a hub publishes to, as our client reads it.
pub(crate) fn topics_down(bytes: &[u8]) {
    // The protocol lets no other through: wildcards are for filters.
    let Some(topic) = text(bytes).filter(|topic| !topic.contains(['+', '#', '\0'])) else { return };
    match ToClient::parse(topic) {
        Ok(parsed) => {
            let written = parsed.to_topic();
            // A property without a value is delivered as one whose value is empty; nothing else changes.
            let again = ToClient::parse(&written).map(|again| again.to_topic());
            assert_eq!(again.as_ref(), Ok(&written), "{topic:?}");
        }
        Err(refused) => readable(refused),
    }
}

/// A filter is one of the client's own feeds, or it is granted to nobody.
pub(crate) fn filters(bytes: &[u8]) {
    let Some(filter) = text(bytes) else { return };
    let me = Identity::module("edge", "filter").expect("two good names");
    if let FilterMeaning::Feed(feed) = Feed::of_filter(filter, &me) {
        let canonical = feed.filter(&me);
        assert!(matches!(Feed::of_filter(&canonical, &me), FilterMeaning::Feed(again) if again == feed));
        assert!(filter.starts_with('$') || filter.contains("edge") || filter.contains('%'), "{filter:?}");
    }
}

/// The user name of a CONNECT.
pub(crate) fn user_names(bytes: &[u8]) {
    let Some(given) = text(bytes) else { return };
    match UserName::parse(given) {
        Ok(user) => {
            let written = user.to_string();
            assert_eq!(UserName::parse(&written).as_ref(), Ok(&user), "{given:?} written as {written:?}");
        }
        Err(refused) => readable(refused),
    }
}

/// Tokens: what does not verify under a key that signed nothing, and what is minted, does.
pub(crate) fn tokens(bytes: &[u8]) {
    let Some(given) = text(bytes) else { return };
    let key = isotherm_iothub::Key::from_bytes(b"a key that signed nothing");
    match Token::parse(given) {
        Ok(token) => {
            assert!(!token.verify(&key), "{given:?} is signed with a key that signed nothing");
            let _ = token.expired(jiff::Timestamp::UNIX_EPOCH);
            let minted = Token::mint(&key, &token.resource, token.expiry, token.policy.as_deref());
            let again = Token::parse(&minted);
            assert!(minted.len() > 4096 || again.is_ok_and(|again| again.verify(&key)), "{minted:?}");
        }
        Err(refused) => readable(refused),
    }
}

/// Connection strings.
pub(crate) fn connection_strings(bytes: &[u8]) {
    let Some(given) = text(bytes) else { return };
    match given.parse::<ConnectionString>() {
        Ok(parsed) => {
            let written = parsed.to_string();
            let again = written.parse::<ConnectionString>();
            assert!(again.is_ok_and(|again| again == parsed), "{given:?} written as {written:?}");
        }
        Err(refused) => readable(refused),
    }
}

/// A route is a route or its fault lies at one of its characters; a route decides about every message.
pub(crate) fn routes(bytes: &[u8]) {
    let Some(given) = text(bytes) else { return };
    let route = match Route::parse(given) {
        Ok(route) => route,
        Err(error) => {
            assert!(error.column() >= 1 && error.column() <= given.chars().count() + 1, "{given:?}: {error}");
            return;
        }
    };
    let message = Message::new(r#"{"t":21.5,"a":[1,{"b":null}],"s":"x"}"#)
        .with_property("k", "v")
        .with_property("n", "12")
        .with_system(SystemProperty::ContentType, "application/json")
        .with_system(SystemProperty::ContentEncoding, "utf-8");
    for message in [&message, &Message::default()] {
        for source in [
            Source::Device,
            Source::TwinChange,
            Source::Module { module: "sensor", output: Some("temperature") },
            Source::Module { module: "sensor", output: None },
        ] {
            let _ = route.matches(&source, message);
        }
    }
    assert!(Route::parse(route.text()).is_ok());
}
