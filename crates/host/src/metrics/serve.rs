//! Answers `GET /metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Metrics;
use crate::{BoxListener, BoxStream, Host, WiringError};

/// Connections at once; one more waits for its turn in the system's queue.
const CONNECTIONS_MAX: usize = 4;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a whole connection may last: a scraper that keeps one dials again.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// What the text is.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the host's metrics on `METRICS_ADDRESS` from a task of its own, until the host stops. Says where; nothing is
/// served if the variable is not set. An address that cannot be had is told of and costs nothing else: readings are
/// worth more than their number.
///
/// # Errors
/// When the variable is no address.
pub async fn serve(host: &Host) -> Result<Option<SocketAddr>, WiringError> {
    let Some(text) = host.env.get("METRICS_ADDRESS") else { return Ok(None) };
    let address: SocketAddr = text.parse().map_err(|_| {
        WiringError::new(
            "METRICS_ADDRESS",
            format!("{text:?} is no address and port, such as 127.0.0.1:9600"),
        )
    })?;
    let listener = match host.network.listen(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "METRICS_ADDRESS cannot be listened on; no metrics are served");
            return Ok(None);
        }
    };
    let bound = listener.local_addr().ok();
    tracing::info!(address = %bound.unwrap_or(address), "metrics are served");
    let (metrics, stop) = (host.metrics.clone(), host.stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.stopped() => {}
            () = listen(listener, metrics) => {}
        }
    });
    Ok(bound)
}

async fn listen(listener: BoxListener, metrics: Metrics) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let seat = Arc::clone(&room).acquire_owned().await.expect("nobody closes the room");
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION_LIFE, answer(stream, metrics)).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn answer(stream: BoxStream, metrics: Metrics) {
    let service = service_fn(move |request| {
        let metrics = metrics.clone();
        async move { Ok::<_, Infallible>(response(&request, &metrics)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a reader of metrics was cut off");
    }
}

fn response<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, CONTENT_TYPE, metrics.text()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET is understood\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, http};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn served() -> (Host, SocketAddr) {
        let host = Host::real().with_env(Env::of([("METRICS_ADDRESS", "127.0.0.1:0")]));
        let address = serve(&host).await.unwrap().expect("it is served");
        (host, address)
    }

    async fn ask(host: &Host, address: SocketAddr, method: &str, path: &str) -> http::Response {
        let stream = host.network.dial(&address.ip().to_string(), address.port()).await.unwrap();
        http::request(stream, method, path, &[], Bytes::new()).await.unwrap()
    }

    #[tokio::test]
    async fn metrics_are_read_with_get_and_nothing_else_is_there() {
        let (host, address) = served().await;
        let answer = ask(&host, address, "GET", "/metrics").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"# EOF\n"[..]));
        assert_eq!(answer.header("content-type"), Some(CONTENT_TYPE));
        assert_eq!(ask(&host, address, "POST", "/metrics").await.status, 405);
        assert_eq!(ask(&host, address, "GET", "/").await.status, 404);
    }

    #[tokio::test]
    async fn without_an_address_nothing_is_served_and_a_wrong_one_is_named() {
        assert_eq!(serve(&Host::real().with_env(Env::default())).await.unwrap(), None);
        let host = Host::real().with_env(Env::of([("METRICS_ADDRESS", "9600")]));
        let wrong = "METRICS_ADDRESS: \"9600\" is no address and port, such as 127.0.0.1:9600";
        assert_eq!(serve(&host).await.unwrap_err().to_string(), wrong);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_costs_the_metrics_and_nothing_else() {
        let (_host, address) = served().await;
        let second = Host::real().with_env(Env::of([("METRICS_ADDRESS", address.to_string())]));
        assert_eq!(serve(&second).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_head_past_the_limit_is_cut_off_and_the_next_reader_is_answered() {
        let (host, address) = served().await;
        let mut stream = host.network.dial(&address.ip().to_string(), address.port()).await.unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nhost: a\r\nx: {}\r\n", "y".repeat(2 * HEAD_BYTES_MAX));
        let _ = stream.write_all(head.as_bytes()).await; // it may be cut off before all of it is written
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await; // a reset is an answer too
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        assert_eq!(ask(&host, address, "GET", "/metrics").await.status, 200);
    }

    #[tokio::test]
    async fn as_many_readers_as_may_be_are_served_and_one_more_waits_for_its_turn() {
        let (host, address) = served().await;
        let dial = async || host.network.dial(&address.ip().to_string(), address.port()).await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = dial().await;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'H', "it has a seat");
            silent.push(stream);
        }
        let mut waiting = dial().await;
        waiting.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut byte = [0];
        tokio::select! {
            biased;
            _ = waiting.read_exact(&mut byte) => panic!("one more than {CONNECTIONS_MAX} was served"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        drop(silent);
        waiting.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte[0], b'H');
    }
}
