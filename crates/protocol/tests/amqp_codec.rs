//! Values and messages meet a stranger's reading of the standard, serde_amqp and fe2o3-amqp-types: each reads what
//! the other wrote. And what no honest peer would write is refused, cheaply.

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp_types::messaging::{Body as TheirBody, Message as TheirMessage};
use isotherm_protocol::amqp::codec::{DEPTH_MAX, VALUES_MAX, decode, encode};
use isotherm_protocol::amqp::{Body, Fault, Header, Map, Message, Properties, Text, Value};
use proptest::prelude::*;
use serde_amqp::Value as Theirs;

fn written(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    out.freeze()
}

fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof![4 => "[a-zA-Z0-9$/:ü°]{0,12}", 1 => "[a-z]{250,260}"].prop_map(Text::from)
}

fn any_symbol() -> impl Strategy<Value = Text> {
    prop_oneof![4 => "[a-z:-]{1,12}", 1 => "[a-z]{250,260}"].prop_map(Text::from)
}

fn any_binary() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => 0_usize..20, 1 => 250_usize..260].prop_map(|size| vec![7; size].into())
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::UByte),
        any::<u16>().prop_map(Value::UShort),
        prop_oneof![Just(0), 0_u32..300, any::<u32>()].prop_map(Value::UInt),
        prop_oneof![Just(0), 0_u64..300, any::<u64>()].prop_map(Value::ULong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        prop_oneof![-200_i32..200, any::<i32>()].prop_map(Value::Int),
        prop_oneof![-200_i64..200, any::<i64>()].prop_map(Value::Long),
        any::<f32>().prop_map(Value::Float),
        any::<f64>().prop_map(Value::Double),
        any::<[u8; 4]>().prop_map(Value::Decimal32),
        any::<[u8; 8]>().prop_map(Value::Decimal64),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any_binary().prop_map(Value::Binary),
        any_text().prop_map(Value::String),
        any_symbol().prop_map(Value::Symbol),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 64, 8, |inner| {
        let descriptor =
            prop_oneof![any::<u64>().prop_map(Value::ULong), any_symbol().prop_map(Value::Symbol)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec((leaf(), inner.clone()), 0..5).prop_map(|pairs| Value::Map(Map(pairs))),
            (inner.clone(), 1_usize..5).prop_map(|(value, count)| Value::Array(vec![value; count])),
            (descriptor, inner).prop_map(|(descriptor, value)| Value::described(descriptor, value)),
        ]
    })
}

/// Values that the stranger can hold: its maps are without doubles and its descriptors are of fewer kinds.
fn shared_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..5).prop_map(|pairs| {
                let pairs = pairs.into_iter().map(|(key, value)| (Value::string(key), value)).collect();
                Value::Map(Map(pairs))
            }),
            (array_leaf(), 1_usize..5).prop_map(|(value, count)| Value::Array(vec![value; count])),
        ]
    })
}

/// In arrays the stranger repeats the constructor for every null, and counts characters where the standard counts bytes.
fn array_leaf() -> impl Strategy<Value = Value> {
    leaf().prop_filter("the stranger writes these wrongly in arrays", |value| match value {
        Value::Null => false,
        Value::String(text) => text.is_ascii(),
        _ => true,
    })
}

fn is_nan(value: &Value) -> bool {
    format!("{value:?}").contains("NaN")
}

proptest! {
    #[test]
    fn a_value_is_read_as_it_was_written(value in any_value()) {
        prop_assume!(!is_nan(&value));
        prop_assert_eq!(decode(&written(&value)), Ok(value));
    }

    #[test]
    fn a_stranger_reads_our_values_and_we_read_the_same_ones_of_its_writing(value in shared_value()) {
        prop_assume!(!is_nan(&value));
        let theirs: Theirs = serde_amqp::from_slice(&written(&value)).unwrap();
        let rewritten = serde_amqp::to_vec(&theirs).unwrap();
        prop_assert_eq!(decode(&rewritten.into()), Ok(value));
    }

    #[test]
    fn no_bytes_at_all_do_any_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = Message::decode(&bytes);
        let _ = isotherm_protocol::amqp::performative::Performative::decode(&bytes);
        if let Ok(value) = decode(&bytes) {
            prop_assume!(!is_nan(&value));
            prop_assert_eq!(decode(&written(&value)), Ok(value));
        }
    }

    #[test]
    fn a_cut_value_is_refused(value in any_value(), part in 0.0..1.0) {
        let whole = written(&value);
        let cut = whole.slice(..(whole.len() as f64 * part) as usize);
        prop_assert!(decode(&cut).is_err());
    }

    #[test]
    fn a_message_is_read_as_it_was_written(message in any_message()) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        prop_assert_eq!(Message::decode(&out.freeze()), Ok(message));
    }

    #[test]
    fn a_stranger_reads_our_messages_and_we_read_the_same_ones_of_its_writing(message in any_message()) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        let theirs: Deserializable<TheirMessage<TheirBody<Theirs>>> = serde_amqp::from_slice(&out).unwrap();
        let rewritten = serde_amqp::to_vec(&Serializable(theirs.0)).unwrap();
        prop_assert_eq!(Message::decode(&rewritten.into()), Ok(message));
    }
}

fn any_id() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<u64>().prop_map(Value::ULong),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any_binary().prop_map(Value::Binary),
        any_text().prop_map(Value::String),
    ]
}

fn any_properties() -> impl Strategy<Value = Properties> {
    let texts = prop::collection::vec(prop::option::of(any_text()), 5);
    let symbols = prop::collection::vec(prop::option::of(any_symbol()), 2);
    let times = prop::collection::vec(prop::option::of(any::<i64>()), 2);
    (any_id(), prop::option::of(any_binary()), texts, any_id(), symbols, times, any::<Option<u32>>())
        .prop_map(|(message_id, user_id, texts, correlation_id, symbols, times, group_sequence)| Properties {
            message_id,
            user_id,
            to: texts[0].clone(),
            subject: texts[1].clone(),
            reply_to: texts[2].clone(),
            correlation_id,
            content_type: symbols[0].clone(),
            content_encoding: symbols[1].clone(),
            absolute_expiry_time: times[0],
            creation_time: times[1],
            group_id: texts[3].clone(),
            group_sequence,
            reply_to_group_id: texts[4].clone(),
        })
}

fn any_body() -> impl Strategy<Value = Body> {
    let sequence = || prop::collection::vec(any::<i32>().prop_map(Value::Int), 0..4);
    prop_oneof![
        any_binary().prop_map(Body::Data),
        prop::collection::vec(any_binary(), 2..5).prop_map(Body::Pieces),
        any_text().prop_map(|text| Body::Value(Value::String(text))),
        prop::collection::vec(sequence(), 1..3).prop_map(Body::Sequences),
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    (any::<bool>(), any::<u8>(), any::<Option<u32>>(), any::<bool>(), any::<u32>()).prop_map(
        |(durable, priority, ttl, first_acquirer, delivery_count)| Header {
            durable,
            priority,
            ttl,
            first_acquirer,
            delivery_count,
        },
    )
}

fn any_map(symbols: bool) -> impl Strategy<Value = Map> {
    let simple = prop_oneof![
        any::<i32>().prop_map(Value::Int),
        any::<i64>().prop_map(Value::Timestamp),
        any_text().prop_map(Value::String)
    ];
    prop::collection::btree_map("[a-z-]{1,9}", simple, 0..6).prop_map(move |pairs| {
        let key = |key: String| if symbols { Value::Symbol(key.into()) } else { Value::String(key.into()) };
        Map(pairs.into_iter().map(|(name, value)| (key(name), value)).collect())
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    (
        prop::option::of(any_header()),
        any_map(true),
        any_map(true),
        any_properties(),
        any_map(false),
        any_body(),
    )
        .prop_map(
            |(header, delivery_annotations, annotations, properties, application_properties, body)| Message {
                header,
                delivery_annotations,
                annotations,
                properties: Box::new(properties),
                application_properties,
                body,
                footer: Map::new(),
            },
        )
}

#[test]
fn nesting_ends_at_the_bound_whatever_it_is_made_of() {
    let shells: [fn(Value) -> Value; 4] = [
        |value| Value::List(vec![value]),
        |value| Value::Map(Map(vec![(Value::Null, value)])),
        |value| Value::Array(vec![value]),
        |value| Value::described(Value::ULong(0x77), value),
    ];
    for shell in shells {
        let nested = |depth| (0..depth).fold(Value::Null, |value, _| shell(value));
        assert!(decode(&written(&nested(DEPTH_MAX))).is_ok());
        assert_eq!(decode(&written(&nested(DEPTH_MAX + 1))), Err(Fault::Depth(DEPTH_MAX)));
    }
    // Far deeper than any stack, and larger than what aborted other codecs.
    for code in [
        &[0x00][..],
        &[0x00, 0x00],
        &[0xc0, 0xff, 0x01],
        &[0xe0, 0xff, 0x01],
        &[0xf0, 0, 4, 0, 0, 0, 0, 0, 1],
    ] {
        let hostile = Bytes::from(code.repeat(80_000));
        assert!(decode(&hostile).is_err());
        let in_a_body = Bytes::from([&[0x00, 0x53, 0x77][..], &hostile].concat());
        assert!(Message::decode(&in_a_body).is_err());
    }
    // Sizes that agree with one another all the way down.
    let mut lists = Vec::new();
    for left in (0..20_000_u32).rev() {
        lists.push(0xd0);
        lists.extend((left * 9 + 4).to_be_bytes());
        lists.extend(u32::from(left > 0).to_be_bytes());
    }
    assert_eq!(decode(&lists.into()), Err(Fault::Depth(DEPTH_MAX)));
}

#[test]
fn a_count_costs_nothing_before_its_values_are_there() {
    for code in [0xd0, 0xd1] {
        let bytes = [&[code][..], &4_u32.to_be_bytes(), &u32::MAX.to_be_bytes()].concat();
        assert_eq!(decode(&bytes.into()), Err(Fault::Truncated));
    }
    // Four billion nulls in nine bytes.
    let nulls = [&[0xf0][..], &5_u32.to_be_bytes(), &u32::MAX.to_be_bytes(), &[0x40]].concat();
    assert_eq!(decode(&nulls.into()), Err(Fault::TooManyValues(VALUES_MAX)));
    let many = written(&Value::List(vec![Value::Null; VALUES_MAX - 1]));
    assert!(decode(&many).is_ok());
    let too_many = written(&Value::List(vec![Value::Null; VALUES_MAX]));
    assert_eq!(decode(&too_many), Err(Fault::TooManyValues(VALUES_MAX)));
}

#[test]
fn a_large_descriptor_is_not_copied_for_every_element() {
    let mut bytes = BytesMut::new();
    encode(&Value::Binary(vec![1; 200].into()), &mut bytes);
    let array = [&[0xe0, 5 + bytes.len() as u8, 200, 0x00][..], &bytes, &[0x40]].concat();
    assert!(decode(&array.into()).is_err());
}

#[test]
fn data_sections_without_end_are_refused() {
    let sections = Bytes::from([0x00, 0x53, 0x75, 0xa0, 0x00].repeat(VALUES_MAX + 1));
    assert_eq!(Message::decode(&sections), Err(Fault::TooManyValues(VALUES_MAX)));
}

#[test]
fn sections_have_their_order_and_stand_once() {
    let (data, value) = ([0x00, 0x53, 0x75, 0xa0, 0x00], [0x00, 0x53, 0x77, 0x40, 0x40]);
    let (header, annotations) = ([0x00, 0x53, 0x70, 0x45], [0x00, 0x53, 0x72, 0xc1, 0x01, 0x00]);
    for (sections, fault) in [
        (vec![&header[..], &annotations, &data], None),
        (vec![&data[..], &data], None),
        (vec![&annotations[..], &header], Some(Fault::SectionOrder)),
        (vec![&header[..], &header], Some(Fault::SectionOrder)),
        (vec![&data[..], &value[..4]], Some(Fault::SectionOrder)),
    ] {
        let bytes = Bytes::from(sections.concat());
        assert_eq!(Message::decode(&bytes).err(), fault, "{bytes:?}");
    }
}

#[test]
fn every_malformation_has_its_own_name() {
    for (bytes, fault) in [
        (&b""[..], Fault::Truncated),
        (b"\x39", Fault::TypeCode(0x39)),
        (b"\x56\x02", Fault::Boolean(2)),
        (b"\x73\x00\x00\xd8\x00", Fault::Char),
        (b"\xa1\x02\xc0\x80", Fault::Utf8),
        (b"\xa3\x02\xc3\xbc", Fault::Ascii),
        (b"\xc1\x03\x01\x40\x40", Fault::MapOdd(1)),
        (b"\xc0\x03\x01\x40\x40", Fault::Truncated), // more than was counted
        (b"\xc0\x00\x00", Fault::Truncated),         // too small for its own count
        (b"\x40\x40", Fault::Truncated),
    ] {
        assert_eq!(decode(&Bytes::copy_from_slice(bytes)).err(), Some(fault), "{bytes:02x?}");
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn a_content_type_is_ascii_on_the_wire_wherever_it_came_from() {
    let mut message = Message::data("x");
    message.properties.content_type = Some("größe/λ".into());
    let mut out = BytesMut::new();
    message.encode(&mut out);
    let read = Message::decode(&out.freeze()).expect("we read what we write");
    assert_eq!(read.properties.content_type, Some("gr??e/?".into()));
    let text = b"\0\x53\x73\xc0\x0b\x07\x40\x40\x40\x40\x40\x40\xa1\x02\xc3\xb6\0\x53\x75\xa0\x01x"; // "ö", a string
    assert_eq!(Message::decode(&Bytes::from_static(text)), Err(Fault::Ascii));
}

#[test]
fn an_answer_repeats_the_id_with_its_type() {
    let request = Properties { message_id: Value::ULong(0), ..Properties::default() };
    let reply = Message::reply(&request, 401, "no", Value::Null);
    assert_eq!(reply.properties.correlation_id, Value::ULong(0));
    assert_eq!(reply.application_properties.get("status-code"), Some(&Value::Int(401)));
    let mut out = BytesMut::new();
    reply.encode(&mut out);
    let wire = b"\x00\x53\x73\xc0\x07\x06\x40\x40\x40\x40\x40\x44";
    assert_eq!(out[..wire.len()], wire[..]);
    assert!(out.windows(5).any(|bytes| bytes == [0x71, 0, 0, 1, 0x91]), "an int of 401");
}

#[test]
fn symbolic_descriptors_are_understood() {
    let bytes = b"\x00\xa3\x10amqp:data:binary\xa0\x02hi";
    assert_eq!(Message::decode(&Bytes::from_static(bytes)), Ok(Message::data(&b"hi"[..])));
}

#[test]
fn a_body_has_its_bytes_in_whatever_form_it_came() {
    let bytes = |body: Body| body.bytes();
    assert_eq!(bytes(Body::Data("a".into())), Some("a".into()));
    assert_eq!(bytes(Body::Pieces(vec!["a".into(), "b".into()])), Some("ab".into()));
    assert_eq!(bytes(Body::Value("a".into())), Some("a".into()));
    assert_eq!(bytes(Body::Value(Value::Int(1))), None);
    assert_eq!(bytes(Body::Nothing), Some(Bytes::new()));
}
