//! Two ends by one hand could share one misunderstanding. So each packet of ours meets `rumqttc`'s reading of the
//! standard: both write the same bytes, each reads what the other wrote, and whatever we let in they let in too.

use bytes::{Bytes, BytesMut};
use isotherm_protocol::mqtt::codec::{PACKET_BYTES_MAX, Publish, decode, encode};
use isotherm_protocol::mqtt::{Connect, ConnectCode, Packet, Qos, Text, Will};
use proptest::prelude::*;
use rumqttc::mqttbytes::{Error, Protocol, QoS, v4};

fn text(text: &str) -> Text {
    Text::new(text.to_owned()).unwrap()
}

fn theirs(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// The same packet in both words.
type Pair = (Packet, v4::Packet);

fn any_string() -> impl Strategy<Value = String> {
    "[^\0+#]{1,12}"
}

fn any_qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn any_payload() -> impl Strategy<Value = Bytes> {
    // Around the places where the remaining length takes another byte.
    let sizes = prop_oneof![0_usize..200, 16_300_usize..16_500];
    (any::<u8>(), sizes).prop_map(|(byte, size)| Bytes::from(vec![byte; size]))
}

fn connects() -> impl Strategy<Value = Pair> {
    let will = prop::option::of((any_string(), any_payload(), any_qos(), any::<bool>()));
    let login = prop::option::of((any_string(), prop::option::of(any_string())));
    (any_string(), any::<u16>(), any::<bool>(), will, login).prop_map(
        |(client_id, keep_alive, clean, will, login)| {
            let their_will = will.clone().map(|(topic, message, qos, retain)| v4::LastWill {
                topic,
                message,
                qos: theirs(qos),
                retain,
            });
            let their_login =
                login.clone().map(|(name, password)| v4::Login::new(name, password.unwrap_or_default()));
            let (user_name, password) = login.map_or((None, None), |(name, password)| (Some(name), password));
            let ours = Connect {
                client_id: text(&client_id),
                keep_alive,
                clean,
                will: will.map(|(topic, payload, qos, retain)| Will {
                    topic: text(&topic),
                    payload,
                    qos,
                    retain,
                }),
                user_name: user_name.as_deref().map(text),
                password: password.map(Bytes::from),
            };
            let theirs = v4::Connect {
                protocol: Protocol::V4,
                keep_alive,
                client_id,
                clean_session: clean,
                last_will: their_will,
                login: their_login,
            };
            (Packet::Connect(Box::new(ours)), v4::Packet::Connect(theirs))
        },
    )
}

fn messages() -> impl Strategy<Value = Pair> {
    (any::<bool>(), any_qos(), any::<bool>(), any_string(), 1_u16.., any_payload()).prop_map(
        |(dup, qos, retain, topic, id, payload)| {
            let (dup, packet_id) = if qos == Qos::AtMostOnce { (false, 0) } else { (dup, id) };
            let ours = Publish { dup, qos, retain, topic: text(&topic), packet_id, payload: payload.clone() };
            let theirs = v4::Publish { dup, qos: theirs(qos), retain, topic, pkid: packet_id, payload };
            (Packet::Publish(ours), v4::Packet::Publish(theirs))
        },
    )
}

fn subscriptions() -> impl Strategy<Value = Pair> {
    let filters = prop::collection::vec((any_string(), any_qos()), 1..5);
    let names = prop::collection::vec(any_string(), 1..5);
    prop_oneof![
        (1_u16.., filters).prop_map(|(packet_id, filters)| {
            let wanted =
                filters.iter().map(|(path, qos)| v4::SubscribeFilter::new(path.clone(), theirs(*qos)));
            let mut theirs = v4::Subscribe::new_many(wanted);
            theirs.pkid = packet_id;
            let filters = filters.iter().map(|(filter, qos)| (text(filter), *qos)).collect();
            (Packet::Subscribe { packet_id, filters }, v4::Packet::Subscribe(theirs))
        }),
        (1_u16.., names).prop_map(|(pkid, topics)| {
            let filters = topics.iter().map(|topic| text(topic)).collect();
            let ours = Packet::Unsubscribe { packet_id: pkid, filters };
            (ours, v4::Packet::Unsubscribe(v4::Unsubscribe { pkid, topics }))
        }),
    ]
}

fn answers() -> impl Strategy<Value = Pair> {
    let codes = prop::collection::vec(prop_oneof![Just(0), Just(1), Just(2), Just(0x80)], 1..5);
    prop_oneof![
        (1_u16.., codes).prop_map(|(packet_id, codes): (u16, Vec<u8>)| {
            let return_codes = codes.iter().map(|&code| code.try_into().unwrap()).collect();
            let theirs = v4::SubAck::new(packet_id, return_codes);
            (Packet::SubAck { packet_id, codes }, v4::Packet::SubAck(theirs))
        }),
        (1_u16..).prop_map(|id| (Packet::PubAck(id), v4::Packet::PubAck(v4::PubAck::new(id)))),
        (1_u16..).prop_map(|id| (Packet::PubRec(id), v4::Packet::PubRec(v4::PubRec::new(id)))),
        (1_u16..).prop_map(|id| (Packet::PubRel(id), v4::Packet::PubRel(v4::PubRel::new(id)))),
        (1_u16..).prop_map(|id| (Packet::PubComp(id), v4::Packet::PubComp(v4::PubComp::new(id)))),
        (1_u16..).prop_map(|id| (Packet::UnsubAck(id), v4::Packet::UnsubAck(v4::UnsubAck::new(id)))),
        Just((Packet::PingReq, v4::Packet::PingReq)),
        Just((Packet::PingResp, v4::Packet::PingResp)),
        Just((Packet::Disconnect, v4::Packet::Disconnect)),
    ]
}

fn welcomes() -> impl Strategy<Value = Pair> {
    use v4::ConnectReturnCode as Theirs;
    let pair = |session_present, code, theirs| {
        (
            Packet::ConnAck { session_present, code },
            v4::Packet::ConnAck(v4::ConnAck::new(theirs, session_present)),
        )
    };
    prop::sample::select(vec![
        pair(false, ConnectCode::Accepted, Theirs::Success),
        pair(true, ConnectCode::Accepted, Theirs::Success),
        pair(false, ConnectCode::BadProtocolLevel, Theirs::RefusedProtocolVersion),
        pair(false, ConnectCode::IdentifierRejected, Theirs::BadClientId),
        pair(false, ConnectCode::ServerUnavailable, Theirs::ServiceUnavailable),
        pair(false, ConnectCode::BadUserNameOrPassword, Theirs::BadUserNamePassword),
        pair(false, ConnectCode::NotAuthorized, Theirs::NotAuthorized),
    ])
}

fn pairs() -> impl Strategy<Value = Pair> {
    prop_oneof![connects(), messages(), subscriptions(), answers(), welcomes()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn both_write_the_same_bytes_and_read_each_other((ours, theirs) in pairs()) {
        let (mut our_bytes, mut their_bytes) = (BytesMut::new(), BytesMut::new());
        encode(&ours, &mut our_bytes);
        theirs.write(&mut their_bytes, usize::MAX).unwrap();
        prop_assert_eq!(&our_bytes, &their_bytes);
        prop_assert_eq!(decode(&mut their_bytes, PACKET_BYTES_MAX), Ok(Some(ours)));
        prop_assert_eq!(v4::Packet::read(&mut our_bytes, PACKET_BYTES_MAX).unwrap(), theirs);
        prop_assert!(our_bytes.is_empty() && their_bytes.is_empty());
    }

    /// Ours is the stricter one: wherever it finds a packet, theirs finds the same bytes of one.
    #[test]
    fn whatever_we_let_in_they_let_in_too(
        (_, packet) in pairs(), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX).unwrap();
        let at = at.index(bytes.len().min(40));
        bytes[at] = with;
        let mut same = bytes.clone();
        match decode(&mut bytes, PACKET_BYTES_MAX) {
            // They take passwords for strings and other levels for errors.
            Ok(Some(Packet::Connect(_) | Packet::OtherLevel(_))) | Err(_) => {}
            Ok(Some(_)) => {
                prop_assert!(v4::Packet::read(&mut same, PACKET_BYTES_MAX).is_ok());
                prop_assert_eq!(bytes, same);
            }
            Ok(None) => {
                let their_answer = v4::Packet::read(&mut same, PACKET_BYTES_MAX);
                prop_assert!(matches!(their_answer, Err(Error::InsufficientBytes(_))), "{:?}", their_answer);
            }
        }
    }
}
