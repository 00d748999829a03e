//! What travels inside a message: readings, packed messages, method calls, and the certificates of a handshake.

use bytes::Bytes;
use isotherm_iothub::{Message, MethodCall, MethodResult};
use isotherm_proto::{Body, Reading, Upload};

use super::{readable, text};

/// The body of a message: what is taken can be written and says the same again.
pub(crate) fn bodies(bytes: &[u8]) {
    match Body::decode(bytes) {
        Ok(body) => {
            assert!(body.readings().len() <= Upload::MAX_READINGS);
            let written = body.encode();
            assert_eq!(Body::decode(&written).as_ref(), Ok(&body));
            serde_json::to_string(&body.to_json()).expect("a body can be shown");
        }
        Err(refused) => readable(refused),
    }
    if let Err(refused) = Reading::decode(bytes) {
        readable(refused);
    }
    if let Err(refused) = Upload::decode(bytes) {
        readable(refused);
    }
}

/// A message as it lies in a journal.
pub(crate) fn messages(bytes: &[u8]) {
    match Message::decode(Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            let mut written = Vec::new();
            message.encode(&mut written);
            assert_eq!(Message::decode(written.into()).as_ref(), Ok(&message));
            assert!(message.size() >= message.body.len());
            message.properties.iter().for_each(drop);
            message.system.iter().for_each(drop);
        }
        Err(refused) => readable(refused),
    }
}

/// A direct method's call and answer, as REST and MQTT carry them.
pub(crate) fn methods(bytes: &[u8]) {
    match MethodCall::from_json(bytes) {
        Ok(call) => {
            let written = call.to_json().to_string();
            let again = MethodCall::from_json(written.as_bytes());
            assert_eq!(again.as_ref().map(MethodCall::to_json), Ok(call.to_json()), "{written}");
            call.wire_payload();
        }
        Err(refused) => readable(refused),
    }
    for answer in [MethodResult::from_json(bytes), MethodResult::from_wire(200, bytes)] {
        match answer {
            Ok(answer) => drop(answer.to_json()),
            Err(refused) => readable(refused),
        }
    }
}

/// A chain that a stranger shows in the handshake, and a PEM file.
pub(crate) fn certificates(bytes: &[u8]) {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let _ = isotherm_pki::common_name(bytes);
    let _ = isotherm_pki::public_key(bytes);
    assert_eq!(isotherm_pki::thumbprint(bytes).len(), 40);
    let chain = [bytes.to_vec(), bytes.to_vec()];
    if let Some(pem) = text(bytes) {
        if let Err(refused) = isotherm_pki::certificates(pem) {
            readable(refused);
        }
        let _ = isotherm_pki::not_after(pem);
        assert!(isotherm_pki::chain_trusted(&chain, pem, now).is_err(), "the file trusts itself");
    }
    assert!(isotherm_pki::chain_trusted(&chain, "", now).is_err(), "nobody is trusted, and this was");
}
