//! The client against raw sockets on loopback, where every way to go wrong can be played exactly.

mod failures;
mod network;
mod requests;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::{domain::message::Role, fini::Target};

const READ_KEY: &str = "test-read-key";
const WRITE_KEY: &str = "test-write-key";

/// A server that plays a part on each connection; gone when dropped.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

/// A request as it stood on the wire.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

impl Server {
    async fn start<F>(part: F) -> Self
    where
        F: Fn(TcpStream, Arc<Mutex<Vec<Seen>>>) -> BoxFuture<'static, ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(part(stream, Arc::clone(&shared)));
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// Reads each request, answers with these bytes and closes.
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream, seen| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                if let Some(request) = read_request(&mut stream).await {
                    seen.lock().expect("no test panics here").push(request);
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                }
            })
        })
        .await
    }

    /// Reads each request, sends these bytes and then nothing more, without closing.
    async fn stalling_after(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream, seen| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                if let Some(request) = read_request(&mut stream).await {
                    seen.lock().expect("no test panics here").push(request);
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.read(&mut [0; 1]).await;
                }
            })
        })
        .await
    }

    /// Accepts, and says nothing, like the far end of a black hole during a TLS handshake.
    async fn silent() -> Self {
        Self::start(|mut stream, _| {
            Box::pin(async move { while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} })
        })
        .await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics here").clone()
    }

    fn url(&self, scheme: &str) -> Url {
        format!("{scheme}://{}", self.address).parse().expect("a URL")
    }

    fn client(&self) -> FiniClient {
        client(settings(self.url("http")))
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).expect("an ASCII head");
            let line = head.lines().next().unwrap_or_default().to_owned();
            let mut seen = Seen { line, head, body: bytes.split_off(end + 4) };
            let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            while seen.body.len() < length {
                if stream.read_buf(&mut seen.body).await.ok()? == 0 {
                    return None;
                }
            }
            return Some(seen);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn settings(base_url: Url) -> ClientSettings {
    ClientSettings {
        base_url,
        read_key: READ_KEY.into(),
        write_key: WRITE_KEY.into(),
        reply_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        network: Network::default(),
    }
}

fn client(settings: ClientSettings) -> FiniClient {
    FiniClient::new(settings, Box::new(|_| ())).expect("a client")
}

fn send() -> GenerateAnswer {
    GenerateAnswer {
        text: "Where is my order 4711?".to_owned(),
        role: Role::User,
        target: Target::Bot("bot-1".to_owned()),
        attributes: Map::new(),
        channel: None,
        metadata: Map::new(),
    }
}

fn ok(body: &str) -> String {
    answer("200 OK", "application/json", body)
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn id(id: &str) -> InteractionId {
    InteractionId::trusted(id)
}
