//! Topics as unmodified clients were seen to write them.

use isotherm_iothub::SystemProperty::{self, *};
use isotherm_iothub::{
    Feed, FilterMeaning, Identity, Message, ToClient, ToHub, UserName, input_topic, telemetry_topic,
};

type Pairs<T> = Vec<(T, String)>;

/// Who, the system properties and the application properties of a message topic.
fn telemetry(topic: &str) -> (String, Pairs<SystemProperty>, Pairs<String>) {
    let ToHub::Telemetry { identity, properties: (system, properties) } = ToHub::parse(topic).unwrap() else {
        panic!("{topic} is no message topic");
    };
    let system = system.iter().map(|(property, value)| (property, value.to_owned())).collect();
    let named = |(name, value): (&str, Option<&str>)| (name.to_owned(), value.unwrap_or("(null)").to_owned());
    (identity.to_string(), system, properties.iter().map(named).collect())
}

fn system(pairs: &[(SystemProperty, &str)]) -> Pairs<SystemProperty> {
    pairs.iter().map(|(property, value)| (*property, (*value).to_owned())).collect()
}

fn named(pairs: &[(&str, &str)]) -> Pairs<String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn python_sends_system_properties_first_and_its_own_sorted() {
    let topic = "devices/dev1/messages/events/%24.mid=m%201&%24.cid=c%2F1&%24.ct=application%2Fjson&%24.ce=utf-8\
                 &empty=&prop%20a=v%26b%3D%C3%BC";
    let known = [
        (MessageId, "m 1"),
        (CorrelationId, "c/1"),
        (ContentType, "application/json"),
        (ContentEncoding, "utf-8"),
    ];
    let own = [("empty", ""), ("prop a", "v&b=ü")];
    assert_eq!(telemetry(topic), ("dev1".to_owned(), system(&known), named(&own)));
}

#[test]
fn node_ends_an_outputs_topic_with_a_slash_that_belongs_to_no_value() {
    let topic = "devices/edge1/modules/mod1/messages/events/%24.on=out1&%24.mid=m%201&prop%20a=v%26b%3D%C3%BC&empty=/";
    let known = [(OutputName, "out1"), (MessageId, "m 1")];
    let own = [("prop a", "v&b=ü"), ("empty", "")];
    assert_eq!(telemetry(topic), ("edge1/mod1".to_owned(), system(&known), named(&own)));
}

#[test]
fn the_rust_crate_mixes_system_properties_among_its_own() {
    let topic =
        "devices/dev1/messages/events/%24.mid=m1&propa=v%26b%3D%C3%BC&%24.ce=utf-8&%24.ct=application%2Fjson";
    let known = [(MessageId, "m1"), (ContentEncoding, "utf-8"), (ContentType, "application/json")];
    assert_eq!(telemetry(topic), ("dev1".to_owned(), system(&known), named(&[("propa", "v&b=ü")])));
}

#[test]
fn our_own_topic_is_the_one_that_the_sdks_write() {
    let message = Message::default()
        .with_property("empty", "")
        .with_property("prop a", "v&b=ü")
        .with_system(ContentType, "application/json")
        .with_system(MessageId, "m 1")
        .with_system(OutputName, "out1");
    assert_eq!(
        telemetry_topic(&"edge1/mod1".parse().unwrap(), &message),
        "devices/edge1/modules/mod1/messages/events/%24.on=out1&%24.mid=m%201&%24.ct=application%2Fjson\
         &empty=&prop%20a=v%26b%3D%C3%BC"
    );
    let nothing = telemetry_topic(&"dev1".parse().unwrap(), &Message::default());
    assert_eq!(nothing, "devices/dev1/messages/events/");
}

#[test]
fn a_whole_conversation_of_a_module_is_understood() {
    let module: Identity = "edge1/mod1".parse().unwrap();
    let name = UserName::parse("h.example/edge1/mod1/?api-version=2021-04-12&DeviceClientType=x").unwrap();
    assert_eq!(name.identity, module);
    for (filter, feed) in [
        ("devices/edge1/modules/mod1/inputs/#", Feed::Inputs),
        ("$iothub/twin/res/#", Feed::TwinResults),
        ("$iothub/twin/PATCH/properties/desired/#", Feed::Desired),
        ("$iothub/methods/POST/#", Feed::Methods),
    ] {
        assert_eq!(Feed::of_filter(filter, &module), FilterMeaning::Feed(feed), "{filter}");
    }
    assert_eq!(ToHub::parse("$iothub/twin/GET/?$rid=1"), Ok(ToHub::TwinGet { rid: "1".into() }));
    let known = [(OutputName, "out1"), (ContentType, "application/json"), (ContentEncoding, "utf-8")];
    assert_eq!(
        telemetry(
            "devices/edge1/modules/mod1/messages/events/%24.on=out1&%24.ct=application%2Fjson&%24.ce=utf-8"
        ),
        ("edge1/mod1".to_owned(), system(&known), vec![])
    );
    assert_eq!(
        ToHub::parse("$iothub/methods/res/200/?$rid=1"),
        Ok(ToHub::MethodResponse { status: 200, rid: "1".into() })
    );
}

#[test]
fn what_the_hub_says_in_it_is_written_to_the_letter() {
    let module: Identity = "edge1/mod1".parse().unwrap();
    let message = Message::default()
        .with_property("k", "v")
        .with_system(ConnectionModuleId, "src")
        .with_system(ConnectionDeviceId, "edge1");
    assert_eq!(
        input_topic(&module, "input1", &message),
        "devices/edge1/modules/mod1/inputs/input1/k=v&%24.cdid=edge1&%24.cmid=src"
    );
    for (said, topic) in [
        (
            ToClient::TwinResult { status: 200, rid: "1".into(), version: None },
            "$iothub/twin/res/200/?$rid=1",
        ),
        (
            ToClient::TwinResult { status: 204, rid: "ac03".into(), version: Some(6) },
            "$iothub/twin/res/204/?$rid=ac03&$version=6",
        ),
        (ToClient::Method { name: "ping".into(), rid: "1".into() }, "$iothub/methods/POST/ping/?$rid=1"),
        (ToClient::Desired { version: 4 }, "$iothub/twin/PATCH/properties/desired/?$version=4"),
    ] {
        assert_eq!(said.to_topic(), topic);
        assert_eq!(ToClient::parse(topic), Ok(said));
    }
}

#[test]
fn a_cloud_to_device_message_is_read_and_written_as_it_was_seen() {
    let topic = "devices/dev1/messages/devicebound/%24.mid=c1&%24.to=%2Fdevices%2Fdev1%2Fmessages%2Fdevicebound\
                 &iothub-ack=full&prop%20a=v%26b";
    let said = ToClient::parse(topic).unwrap();
    let ToClient::CloudToDevice { identity, system, properties } = &said else { panic!("{said:?}") };
    assert_eq!(identity.as_str(), "dev1");
    assert_eq!(system.get(To), Some("/devices/dev1/messages/devicebound"));
    assert_eq!(system.get(Ack), Some("full"));
    assert_eq!(properties.get("prop a"), Some("v&b"));
    assert_eq!(said.to_topic(), topic);
}

#[test]
fn the_tails_that_the_sdks_were_tried_with_are_read() {
    for (tail, own) in
        [("", vec![]), ("/", vec![]), ("/k=v", named(&[("k", "v")])), ("/k=", named(&[("k", "")]))]
    {
        let topic = format!("devices/edge1/modules/mod1/inputs/in1{tail}");
        let ToClient::Input { input, properties, .. } = ToClient::parse(&topic).unwrap() else {
            panic!("{topic} is no input's");
        };
        let read: Pairs<String> = properties
            .iter()
            .map(|(name, value)| (name.to_owned(), value.unwrap_or("(null)").to_owned()))
            .collect();
        assert_eq!((input.as_str(), read), ("in1", own), "{topic}");
    }
}
