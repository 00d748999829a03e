//! Sockets, WebSocket and HTTP, each between its two ends.

use isotherm_host::{BoxStream, Host, Peer, http, websocket};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, duplex};

#[tokio::test]
async fn a_dialled_stream_reaches_its_listener() {
    let network = Host::real().network;
    let listener = network.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for name in ["127.0.0.1", "localhost"] {
        let (dialled, accepted) = tokio::join!(network.dial(name, port), listener.accept());
        let (mut here, (mut there, peer)) = (dialled.unwrap(), accepted.unwrap());
        assert!(matches!(peer, Peer::Tcp(address) if address.ip().is_loopback()));
        here.write_all(b"21.5").await.unwrap();
        drop(here);
        let mut heard = String::new();
        there.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "21.5");
    }
    drop(listener);
    let error = network.dial("127.0.0.1", port).await.unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_unix_socket_that_nobody_answers_is_replaced_and_a_live_one_is_not() {
    let host = Host::real();
    let path = std::env::temp_dir().join(format!("isotherm-unix-{}.sock", std::process::id()));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // as a killed process leaves it
    let listener = host.network.listen_unix(&path).await.unwrap();
    let error = host.network.listen_unix(&path).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let (dialled, _) = tokio::join!(host.network.dial_unix(&path), listener.accept());
    dialled.unwrap();
    drop(listener);
    assert!(!path.exists());
}

async fn web_socket_pair() -> (BoxStream, BoxStream) {
    let (near, far) = duplex(1 << 20);
    let (accepted, connected) = tokio::join!(
        websocket::accept(Box::new(near), &["mqtt", "AMQPWSB10"]),
        websocket::connect(Box::new(far), "hub.example", "/$iothub/websocket", "mqtt"),
    );
    let (there, agreed) = accepted.unwrap();
    assert_eq!(agreed, "mqtt");
    (connected.unwrap(), there)
}

#[tokio::test]
async fn bytes_pass_over_a_web_socket_however_large() {
    let (mut here, mut there) = web_socket_pair().await;
    let many: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let echo = async {
        let mut bytes = vec![0; many.len()];
        there.read_exact(&mut bytes).await?;
        there.write_all(&bytes).await?;
        there.flush().await?;
        io::Result::Ok(there)
    };
    let talk = async {
        here.write_all(&many).await?;
        here.flush().await?;
        let mut bytes = vec![0; many.len()];
        here.read_exact(&mut bytes).await?;
        io::Result::Ok(bytes)
    };
    let (echoed, talked) = tokio::join!(echo, talk);
    assert_eq!(talked.unwrap(), many);

    let mut there = echoed.unwrap();
    let mut bytes = [0; 8];
    let (closed, heard) = tokio::join!(here.shutdown(), there.read(&mut bytes));
    closed.unwrap();
    assert_eq!(heard.unwrap(), 0, "a close is the end of the stream");
    assert_eq!(here.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_write_is_one_frame_and_a_ping_is_answered() {
    let (near, far) = duplex(4096);
    let mut raw = far;
    let mut there = websocket::upgraded(Box::new(near)).await;
    there.write_all(b"two packets").await.unwrap();
    there.flush().await.unwrap();
    assert_eq!(heard(&mut raw, 13).await, b"\x82\x0btwo packets");

    raw.write_all(b"\x89\x82\0\0\0\0hi").await.unwrap(); // ping, masked with zeros
    raw.write_all(b"\x82\x81\0\0\0\0!").await.unwrap();
    let mut byte = [0];
    there.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"!");
    assert_eq!(heard(&mut raw, 4).await, b"\x8a\x02hi");
}

#[tokio::test]
async fn text_and_frames_too_large_break_a_web_socket() {
    let large: &[u8] = b"\x82\xff\0\0\0\0\0\x08\0\x01\0\0\0\0"; // one byte more than half a mebibyte
    for frame in [b"\x81\x81\0\0\0\0!".as_slice(), large] {
        let (near, mut raw) = duplex(4096);
        let mut there = websocket::upgraded(Box::new(near)).await;
        raw.write_all(frame).await.unwrap();
        assert_eq!(there.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn a_client_with_no_sub_protocol_of_ours_hears_which_there_are() {
    let (near, far) = duplex(4096);
    let (accepted, connected) = tokio::join!(
        websocket::accept(Box::new(near), &["mqtt"]),
        websocket::connect(Box::new(far), "hub.example", "/", "chat"),
    );
    assert!(accepted.is_err());
    let error = connected.unwrap_err().to_string();
    assert!(error.contains("400 Bad Request where a WebSocket was asked for"), "{error}");
}

#[test]
fn the_key_is_answered_as_the_standard_says_and_the_first_known_sub_protocol_wins() {
    assert_eq!(websocket::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455, 1.3
    assert_eq!(websocket::agree("mqttv3.1, MQTT", &["mqtt"]), Some("mqtt"));
    assert_eq!(websocket::agree("chat", &["mqtt"]), None);
}

async fn heard(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// A server that hears one request and says what it is told to.
fn answering(answer: Vec<u8>) -> (BoxStream, tokio::task::JoinHandle<String>) {
    let (mut near, far) = duplex(64 << 10);
    let served = tokio::spawn(async move {
        let mut heard = Vec::new();
        while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
            near.read_buf(&mut heard).await.unwrap();
        }
        let _ = near.write_all(&answer).await; // the client may leave early
        String::from_utf8(heard).unwrap()
    });
    (Box::new(far), served)
}

#[tokio::test]
async fn a_request_gets_its_status_headers_and_body() {
    let (stream, served) =
        answering(b"HTTP/1.1 412 Precondition Failed\r\nETag: \"7\"\r\nContent-Length: 2\r\n\r\n{}".to_vec());
    let headers = [("Authorization", "SharedAccessSignature sr=x")];
    let response =
        http::request(stream, "PATCH", "/twins/edge?api-version=1", &headers, "{\"a\":1}").await.unwrap();
    assert_eq!(
        (response.status, response.header("etag"), &response.body[..]),
        (412, Some("\"7\""), &b"{}"[..])
    );
    let asked = served.await.unwrap();
    assert!(asked.starts_with("PATCH /twins/edge?api-version=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("host: localhost\r\n") && asked.contains("content-length: 7\r\n"), "{asked}");
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused() {
    let size = http::BODY_BYTES_MAX + 1;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + size, b' ');
    let (stream, _served) = answering(answer);
    let error = http::request(stream, "GET", "/", &[], "").await.unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
}

#[tokio::test]
async fn what_is_no_http_is_said_to_be_none() {
    let (stream, _served) = answering(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec());
    let error = http::request(stream, "GET", "/", &[], "").await.unwrap_err();
    assert!(error.to_string().starts_with("HTTP: "), "{error}");
}

#[tokio::test]
async fn an_answer_that_goes_on_is_read_line_by_line() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                  4\r\none\n\r\n3\r\ntwo\r\n6\r\n\r\nthre\r\n1\r\ne\r\n0\r\n\r\n";
    let (stream, _served) = answering(chunks.as_bytes().to_vec());
    let mut lines = http::lines(stream, "GET", "/watch", &[], "").await.unwrap();
    assert_eq!(lines.head.status, 200);
    let mut heard = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        heard.push(line);
    }
    assert_eq!(heard, ["one", "two", "three"]);
    assert_eq!(lines.next().await.unwrap(), None);
}
