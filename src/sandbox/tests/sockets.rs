//! Faults and shutdown over real connections on loopback.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    sandbox: Sandbox,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start() -> Self {
        let sandbox = Sandbox::new(SandboxConfig::instant());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, sandbox.clone(), async move { drop(stopped.await) });
        #[expect(clippy::disallowed_methods, reason = "the test ends the server and waits for it")]
        let server = tokio::spawn(serving);
        Self { sandbox, address, stop, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        drop(self.stop);
        self.server.await.unwrap().unwrap();
    }
}

fn message(text: &str) -> String {
    let body = json!({"botId": DEFAULT_BOT_ID, "content": text}).to_string();
    format!(
        "POST /v2/hc-interactions/events/public HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer fini_sandbox\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a message over a connection of its own and reads to the end of the answer.
async fn say(running: &Running, text: &str) -> (io::Result<usize>, String) {
    let mut stream = running.connect().await;
    stream.write_all(message(text).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    (end, String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn messages_are_served_over_a_connection() {
    let running = Running::start().await;
    let (end, answer) = say(&running, "Hello").await;
    assert!(end.is_ok());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("finibot"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_reset_is_a_reset_whether_or_not_the_message_was_stored() {
    let running = Running::start().await;
    for (kind, times) in [(FaultKind::ResetBefore, 0), (FaultKind::StoreThenReset, 1)] {
        let text = kind.name();
        running.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, kind)).unwrap();
        let (end, answer) = say(&running, text).await;
        assert_eq!(end.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset), "{text}");
        assert_eq!(answer, "");
        assert_eq!(running.sandbox.audit(0, true).times_stored(text), times);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_message_may_arrive_after_its_connection_was_reset() {
    let running = Running::start().await;
    let params = FaultParams { ms: Some(60_000), ..FaultParams::default() };
    running.sandbox.add_fault(Fault::new(FaultRoute::Any, FaultKind::ResetThenStore).with(params)).unwrap();
    assert!(say(&running, "Hello").await.0.is_err());
    assert_eq!(running.sandbox.audit(0, true).times_stored("Hello"), 0);
    running.sandbox.set(|settings| settings.clock_offset_ms = 60_000);
    assert_eq!(running.sandbox.audit(0, true).times_stored("Hello"), 1);
    assert_eq!(running.sandbox.conversation("latest").unwrap().events.len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_cut_body_ends_before_its_end() {
    let running = Running::start().await;
    let params = FaultParams { cut: true, ..FaultParams::default() };
    running.sandbox.add_fault(Fault::new(FaultRoute::Any, FaultKind::TruncatedJson).with(params)).unwrap();
    let (_, answer) = say(&running, "Hello").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The last chunk of a complete chunked body is empty.
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_outlives_its_requests() {
    let running = Running::start().await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        stream.write_all(message("Hello").replace("connection: close\r\n", "").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"]") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
    assert_eq!(running.sandbox.audit(0, true).times_stored("Hello"), 3);
    running.stop().await;
}

#[tokio::test]
async fn ending_waits_neither_for_idle_nor_for_hanging_connections() {
    let running = Running::start().await;
    let idle = running.connect().await;
    running.sandbox.add_fault(Fault::new(FaultRoute::Any, FaultKind::HangBefore)).unwrap();
    let mut hanging = running.connect().await;
    hanging.write_all(message("Hello").as_bytes()).await.unwrap();
    while running.sandbox.audit(0, true).requests == 0 {
        tokio::task::yield_now().await;
    }
    let address = running.address;
    tokio::time::timeout(Duration::from_secs(10), running.stop()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop((idle, hanging));
}
