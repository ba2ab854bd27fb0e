//! A server on a real socket, and the means to watch it.

use axum::extract::rejection::BytesRejection;
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::super::*;
use super::AT_MOST;
use crate::lifecycle::{Ended, Lifecycle, Signals};

pub(super) struct Silence;

impl Signals for Silence {
    async fn next(&mut self) -> &'static str {
        std::future::pending().await
    }
}

/// A server and the means to watch it.
pub(super) struct Bench {
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Metrics,
    pub(super) address: SocketAddr,
    /// One message whenever `/held` has been reached.
    pub(super) reached: mpsc::UnboundedReceiver<()>,
    pub(super) let_go: CancellationToken,
}

impl Bench {
    pub(super) async fn new(limits: Limits) -> Self {
        let metrics = Metrics::new(&[], "0");
        let lifecycle = Lifecycle::new(metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reach, reached) = mpsc::unbounded_channel();
        let let_go = CancellationToken::new();
        let released = let_go.clone();
        let router = Router::new()
            .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
            .route("/echo", any(|body: Result<Bytes, BytesRejection>| async { body }))
            .route("/refuse", any(|| async { axum::http::StatusCode::PAYLOAD_TOO_LARGE }))
            .route(
                "/endless",
                get(|| async {
                    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
                    Body::from_stream(stream::repeat(chunk).map(Ok::<_, Infallible>))
                }),
            )
            .route(
                "/held",
                get(move || async move {
                    reach.send(()).expect("the test listens");
                    released.cancelled().await;
                    "done"
                }),
            )
            .layer(middleware::from_fn(async |request: Request, next: Next| {
                match request.extensions().get::<Unreadable>() {
                    Some(Unreadable(status)) => (*status, "unreadable").into_response(),
                    None => next.run(request).await,
                }
            }));
        let server = Server {
            name: "public",
            limits,
            tasks: lifecycle.tasks(),
            addresses: Arc::default(),
            metrics: metrics.clone(),
            drain: lifecycle.stop().soft().clone(),
        };
        drop(lifecycle.tasks().spawn("server", server.run(listener, router)));
        Self { lifecycle, metrics, address, reached, let_go }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends this on a new connection and reads until the server closes it.
    pub(super) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest(&mut stream).await
    }

    pub(super) fn ended(&self, reason: &str) -> bool {
        let series = format!("fini_bridge_http_connections_ended_total{{listener=\"public\",reason=\"{reason}\"}} 1");
        self.metrics.encode().contains(&series)
    }

    pub(super) async fn shut_down(self, grace: Duration) -> Ended {
        self.lifecycle.stop().request();
        let run = self.lifecycle.run(grace, Silence);
        tokio::time::timeout(AT_MOST, run).await.expect("shutdown ends")
    }
}

/// Reads everything up to the server's closing; a reset ends it too.
pub(super) async fn rest(stream: &mut TcpStream) -> String {
    let mut text = vec![];
    let read = tokio::time::timeout(AT_MOST, stream.read_to_end(&mut text));
    let _ = read.await.expect("the server closes the connection");
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads one response whose body is `ends_with`.
pub(super) async fn response(stream: &mut TcpStream, ends_with: &str) -> String {
    let mut text = vec![];
    let read = async {
        while !text.ends_with(ends_with.as_bytes()) {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0, "closed too early");
        }
    };
    tokio::time::timeout(AT_MOST, read).await.expect("a response");
    String::from_utf8(text).unwrap()
}

pub(super) fn status(text: &str) -> &str {
    text.split(' ').nth(1).unwrap_or_default()
}
