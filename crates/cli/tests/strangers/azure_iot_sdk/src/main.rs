//! A device as azure_iot_sdk's documentation has it. Says what comes, a line each, until it is sent `end`.

use azure_iot_sdk::{DeviceKeyTokenSource, DirectMethodResponse, IoTHubClient, Message, MessageType};

#[tokio::main]
async fn main() -> azure_iot_sdk::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let [_, host, device, key] = words.as_slice() else { panic!("wanted: HOST DEVICE KEY") };
    let token_source = DeviceKeyTokenSource::new(host, device, key).expect("a key");
    let mut client = IoTHubClient::new(host, device.clone(), token_source).await?;
    let mut answers = client.clone();
    let mut receiver = client.get_receiver().await;
    client.send_property_update("1", r#"{"colour":"red"}"#).await?;
    let message = Message::builder()
        .set_body(br#"{"n":1}"#.to_vec())
        .set_message_id("m-1".to_owned())
        .set_content_type("application/json".to_owned())
        .set_content_encoding("utf-8".to_owned())
        .add_message_property("kind".to_owned(), "first".to_owned())
        .build();
    client.send_message(message).await?;
    println!("ready");
    while let Some(heard) = receiver.recv().await {
        match heard {
            MessageType::C2DMessage(message) => {
                let text = String::from_utf8_lossy(&message.body).into_owned();
                println!("message {text}");
                if text.contains("end") {
                    break;
                }
            }
            MessageType::DirectMethod(call) => {
                let body = String::from_utf8_lossy(&call.message.body).into_owned();
                println!("method {} {body}", call.method_name);
                answers.respond_to_direct_method(DirectMethodResponse::new(call.request_id, 200, Some(body))).await?;
            }
            MessageType::DesiredPropertyUpdate(patch) => {
                println!("desired {}", String::from_utf8_lossy(&patch.body));
            }
            // (after this it would spin for ever)
            MessageType::ErrorReceive(error) => panic!("the connection was lost: {error}"),
        }
    }
    Ok(())
}
