//! Real sockets on loopback: what the client does when the other side behaves, and when it does not.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::domain::correlation::Onward;

mod faults;
mod tls;

const PATIENT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(400);

fn local() -> Guard {
    Guard { allow_networks: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true }
}

fn client() -> CallbackClient {
    CallbackClient::new(local(), PATIENT).unwrap()
}

fn attempt(url: &str, timeout: Duration) -> Attempt {
    Attempt {
        url: Url::parse(url).unwrap(),
        id: "evt_1".to_owned(),
        timestamp: 1_800_000_000,
        signature: "v1,c2lnbmF0dXJl".to_owned(),
        body: Bytes::from_static(br#"{"n": 1,  "text":"as it is"}"#),
        headers: Vec::new(),
        onward: Onward::default(),
        timeout,
    }
}

fn kind(result: &AttemptResult) -> Option<ErrorKind> {
    result.error.as_ref().map(|error| error.kind)
}

/// A server of one behaviour; ends with the test.
struct Receiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Receiver {
    async fn start<F, Fut>(behave: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                open.spawn(behave(stream));
            }
        });
        Self { address, connections, _task: task }
    }

    /// Answers every request with these bytes and keeps the connection.
    async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            while read_request(&mut stream).await.is_some() {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://{}/callback?key=abc", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request with its body, or nothing if the connection ended.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => seen.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}

#[tokio::test]
async fn the_request_is_the_promised_one_to_the_byte() {
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let receiver = Receiver::start(move |mut stream| {
        let keep = Arc::clone(&keep);
        async move {
            *keep.lock().unwrap() = read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
    assert_eq!((result.status, &result.error, result.body_excerpt.as_str()), (Some(204), &None, ""));

    let seen = seen.lock().unwrap().clone();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /callback?key=abc HTTP/1.1"));
    let mut headers: Vec<&str> = lines.filter(|line| !line.starts_with("host:")).collect();
    headers.sort_unstable();
    let agent = concat!("user-agent: fini-bridge/", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        headers,
        [
            "accept: */*",
            "content-length: 28",
            "content-type: application/json",
            agent,
            "webhook-id: evt_1",
            "webhook-signature: v1,c2lnbmF0dXJl",
            "webhook-timestamp: 1800000000",
        ]
    );
    assert_eq!(body, r#"{"n": 1,  "text":"as it is"}"#);
}

#[tokio::test]
async fn connections_are_reused() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = client();
    for _ in 0..5 {
        let result = client.attempt(&attempt(&receiver.url(), PATIENT)).await;
        assert_eq!((result.status, result.body_excerpt.as_str()), (Some(200), "ok"));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_is_always_in_use_is_not_kept_for_ever() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = CallbackClient::with_roots(local(), PATIENT, &[], Duration::ZERO).unwrap();
    for _ in 0..3 {
        assert_eq!(client.attempt(&attempt(&receiver.url(), PATIENT)).await.status, Some(200));
    }
    assert_eq!(receiver.connections(), 3, "each resolves the receiver's name anew");
}

#[tokio::test]
async fn what_the_receiver_says_is_kept_and_made_harmless() {
    let receiver =
        Receiver::answering("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 12\r\n\r\nno\x1b[31m\n\u{e9} x")
            .await;
    let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
    assert_eq!(result.status, Some(503));
    assert_eq!(result.retry_after.as_deref(), Some("7"));
    assert_eq!(result.body_excerpt, "no\\u{1b}[31m\\n\u{e9} x");
    assert!(!result.truncated && result.error.is_none());
}

#[tokio::test]
async fn redirects_are_reported_and_not_followed() {
    let target = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = format!("http://{}/elsewhere", target.address);
    let answer = format!("HTTP/1.1 307 Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let receiver = Receiver::answering(answer.leak()).await;
    let result = client().attempt(&attempt(&receiver.url(), PATIENT)).await;
    assert_eq!((result.status, result.location), (Some(307), Some(format!("http://{}", target.address))));
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let result = client().attempt(&attempt(&format!("http://{address}/?key=abc"), PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Refused)));
    assert!(!result.error.unwrap().detail.contains("key"), "URLs may carry tokens");
}

#[tokio::test]
async fn refused_destinations_are_never_connected_to() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = receiver.address.port();
    let strict = CallbackClient::new(Guard::default(), PATIENT).unwrap();
    let elsewhere = Guard { allow_networks: vec!["10.0.0.0/8".parse().unwrap()], allow_http: true };
    let elsewhere = CallbackClient::new(elsewhere, PATIENT).unwrap();
    for (client, url) in [
        (&strict, format!("https://127.0.0.1:{port}/")),
        (&strict, format!("https://[::ffff:127.0.0.1]:{port}/")),
        (&strict, format!("https://localhost:{port}/")),
        (&strict, format!("http://localhost:{port}/")),
        (&elsewhere, format!("http://127.0.0.1:{port}/")),
        (&elsewhere, format!("http://localhost:{port}/")),
        (&elsewhere, format!("https://localhost:{port}/")),
    ] {
        let result = client.attempt(&attempt(&url, PATIENT)).await;
        assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Guard)), "{url}: {result:?}");
    }
    assert_eq!(receiver.connections(), 0);

    let by_name = format!("http://localhost:{port}/");
    assert_eq!(client().attempt(&attempt(&by_name, PATIENT)).await.status, Some(200));
}

#[tokio::test]
async fn a_name_that_cannot_exist_is_a_dns_failure() {
    // Longer than a label may be (RFC 1035 §2.3.4), so that the resolver fails without asking anybody.
    let url = format!("http://{}.invalid/", "a".repeat(70));
    let result = client().attempt(&attempt(&url, PATIENT)).await;
    assert_eq!((result.status, kind(&result)), (None, Some(ErrorKind::Dns)), "{result:?}");
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_our_fault() {
    let broken = Attempt { id: "evt\n1".to_owned(), ..attempt("http://127.0.0.1:9/", PATIENT) };
    let result = client().attempt(&broken).await;
    assert_eq!(kind(&result), Some(ErrorKind::Internal));
    assert!(!format!("{broken:?}").contains("as it is"));
}

#[tokio::test]
async fn no_part_of_the_address_comes_back_whoever_repeats_it() {
    let receiver = Receiver::start(|mut stream| async move {
        while let Some(request) = read_request(&mut stream).await {
            let target = request.split_whitespace().nth(1).unwrap();
            let body = format!("Cannot POST {target}");
            let answer = format!(
                "HTTP/1.1 308 Go\r\nlocation: {}\r\ncontent-length: {}\r\n\r\n{body}",
                target.replace("/callback", "/callback/"),
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let url = format!("http://{}/callback/h00k-s3cret?token=t0k3n-s3cret", receiver.address);
    let result = client().attempt(&attempt(&url, PATIENT)).await;
    let origin = format!("http://{}", receiver.address);
    assert_eq!(result.location, Some(format!("{origin}, where only the path differs")));
    assert_eq!(result.body_excerpt, "Cannot POST …");
    assert!(!format!("{result:?}").contains("s3cret"));
}
