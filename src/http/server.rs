//! Serves a router on a TCP listener, with a limit on everything a peer may use up.
//!
//! `axum::serve` leaves the limits to a proxy in front: one half-sent request keeps it from ever shutting down, and slow
//! or silent peers can hold every file descriptor. Here a connection has a time to send its head, its body and to take its
//! response, and a time it may idle; there is a number of connections, and of header bytes. HTTP/1.1 and HTTP/2 with
//! prior knowledge share the port. Nothing here knows a route.

mod addresses;
mod body;
mod io;
mod pace;
mod unreadable;
mod watch;

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

pub use self::addresses::Addresses;
use self::addresses::Place;
pub use self::body::BodyTimedOut;
use self::body::{Deadline, Held};
use self::io::{Activity, Guarded};
pub use self::pace::EndsAt;
use self::pace::Progress;
pub use self::unreadable::Unreadable;
use self::watch::{Turn, Watch};
use crate::lifecycle::{LAST_CALL, Tasks};
use crate::metrics::{ConnectionEnd, Metrics};

/// The first bytes of an HTTP/2 client (RFC 9113 §3.4); no HTTP/1 request begins like it.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Time for which the server listens to a peer that is still sending after its last response. Closing at once would make
/// the kernel answer it with a reset, and a reset takes the response (a 413, say) away from it.
const LINGER: Duration = Duration::from_secs(5);

/// The server reads the rest of a body whose request was answered early, if it is no more than this and comes within this
/// time: then the connection goes on. Else the answer says that the connection ends.
const DRAINED: u64 = 64 * 1024;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// The kernel's send buffer per connection. By default the kernel holds megabytes, and reports progress in steps so large
/// that a slow reader looks like a stalled one.
const SEND_BUFFER: usize = 64 * 1024;

tokio::task_local! {
    /// The progress of the HTTP/2 response that the present task carries.
    static PROGRESS: Progress;
}

/// Pause after a failed accept. Without file descriptors to spare, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// The resources that peers may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Time for a request head, from its first byte; and for the first byte of a connection.
    pub header_timeout: Duration,
    /// Time for a request body, from the end of the head.
    pub body_timeout: Duration,
    /// Time that a portion of a response may wait for its reader in all. A reader that drips is no better than a stalled
    /// one.
    pub write_timeout: Duration,
    /// Time between requests on one connection. Longer than that of the proxy in front, which otherwise reuses a
    /// connection just as it is being closed.
    pub idle_timeout: Duration,
    /// Bytes of a request head; more is 431. At least 8192.
    pub max_header_bytes: usize,
    /// Requests at one time on one HTTP/2 connection.
    pub max_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            max_header_bytes: 16 * 1024,
            max_streams: 128,
        }
    }
}

/// The settings of one listener's server.
#[derive(Debug, Clone)]
pub struct Server {
    /// The listener's name in logs and metrics.
    pub name: &'static str,
    /// The resources that its peers may use up.
    pub limits: Limits,
    /// Counts the connections of each address.
    pub addresses: Arc<Addresses>,
    /// Runs the connections, and cuts them when the grace is over.
    pub tasks: Tasks,
    /// Counts connections and their ends.
    pub metrics: Metrics,
    /// Once cancelled, the server accepts no more, finishes requests in flight or on their way, and closes. Handlers of endless
    /// responses must heed it themselves.
    pub drain: CancellationToken,
}

impl Server {
    /// Serves until drained; returns when the last connection has ended. Handlers find the peer's address as
    /// [`ConnectInfo<SocketAddr>`].
    pub async fn run(self, listener: TcpListener, router: Router) {
        let Ok(most) = u32::try_from(self.limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)) else {
            tracing::error!(listener = self.name, "max_connections is beyond what can be counted");
            return;
        };
        let permits = Arc::new(Semaphore::new(most as usize));
        let server = Arc::new(self);
        // The permit comes first: a connection accepted without one would hold a descriptor and get no answer.
        while let Some(permit) = server.permit(&permits).await {
            let accepted = tokio::select! {
                () = server.drain.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => server.clone().admit(stream, peer, permit, &router),
                Err(error) => server.accept_failed(&error).await,
            }
        }
        server.accept_queued(listener, &permits, &router);
        // All permits are back when all connections have ended. The semaphore is never closed, so this cannot fail.
        let _ = permits.acquire_many(most).await;
    }

    /// Serves the connections that the kernel has made already: closing the listener would reset them, with the requests
    /// that were sent on them.
    fn accept_queued(self: &Arc<Self>, listener: TcpListener, permits: &Arc<Semaphore>, router: &Router) {
        // Asks the kernel itself: the runtime answers from its last notification.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok(permit) = permits.clone().try_acquire_owned() {
            let Ok((stream, peer)) = listener.accept() else { return };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.clone().admit(stream, peer, permit, router);
            }
        }
    }

    fn admit(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit, router: &Router) {
        match self.addresses.admit(peer.ip()) {
            Some(place) => self.start(stream, peer, (permit, place), router.clone()),
            None => self.metrics.connection_ended(self.name, ConnectionEnd::AddressLimit),
        }
    }

    async fn permit(&self, permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        tracing::warn!(listener = self.name, "all connections are in use; new ones wait");
        tokio::select! {
            () = self.drain.cancelled() => None,
            permit = permits.clone().acquire_owned() => permit.ok(),
        }
    }

    async fn accept_failed(&self, error: &std::io::Error) {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            // The peer went away while it was queued (accept(2)): nothing of ours is wrong.
            return;
        }
        self.metrics.accept_failed(self.name);
        tracing::error!(listener = self.name, %error, "accepting a connection failed");
        tokio::select! {
            () = self.drain.cancelled() => {}
            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
        }
    }

    fn start(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        held: (OwnedSemaphorePermit, Place),
        router: Router,
    ) {
        let tasks = self.tasks.clone();
        // The handle is not needed: the permit says when the connection has ended.
        drop(tasks.spawn("connection", async move {
            let _held = held;
            let _open = self.metrics.connection_opened(self.name);
            // Answers are small and written whole; waiting to fill a segment would only delay them.
            let _ = stream.set_nodelay(true);
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
            self.connection(stream, peer, router).await;
        }));
    }

    async fn connection(&self, mut stream: TcpStream, peer: SocketAddr, router: Router) {
        let deadline = Instant::now() + self.limits.header_timeout;
        let sniffed = tokio::select! {
            sniffed = tokio::time::timeout_at(deadline, sniff(&mut stream)) => sniffed,
            // A peer that has not even begun a request by then has asked nothing.
            () = self.last_call() => return,
        };
        let (protocol, prefix) = match sniffed {
            Ok(Some(sniffed)) => sniffed,
            Ok(None) => return,
            Err(_elapsed) => {
                return self.metrics.connection_ended(self.name, ConnectionEnd::HeaderTimeout);
            }
        };
        let activity = Activity::new();
        let guarded = |deadline| Guarded::new(stream, prefix, self, activity.clone(), deadline);
        match protocol {
            Protocol::Http1 => {
                let io = guarded(Some(deadline));
                self.http1(io, peer, router, activity.clone()).await;
            }
            Protocol::Http2 => {
                let io = guarded(None);
                self.http2(io, peer, router, activity.clone()).await;
            }
        }
    }

    /// Waits until the server has drained for as long as connections may stay quiet then.
    async fn last_call(&self) {
        self.drain.cancelled().await;
        tokio::time::sleep(LAST_CALL).await;
    }

    async fn http1(&self, io: Guarded, peer: SocketAddr, router: Router, activity: Activity) {
        let service = service_fn(|request| Box::pin(self.call(request, peer, &router, &activity)));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Kept by `Guarded`, which tells an idle connection from a slow head.
            .header_read_timeout(None)
            .max_header_size(self.limits.max_header_bytes)
            .max_buf_size(self.limits.max_header_bytes.max(8 * 1024) + 64 * 1024)
            .serve_connection(TokioIo::new(io), service);
        let mut watch = pin!(Watch::new(self, &activity));
        let ended = poll_fn(|cx| {
            if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
                return Poll::Ready(Some(result));
            }
            loop {
                match watch.as_mut().poll_next(cx) {
                    Poll::Ready(Turn::Close) => Pin::new(&mut connection).graceful_shutdown(),
                    Poll::Ready(Turn::Drop) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
                if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
                    return Poll::Ready(Some(result));
                }
            }
        })
        .await;
        let refused = match &ended {
            Some(Ok(())) => activity.is_unread(),
            Some(Err(error)) => {
                self.failed(error);
                error.is_parse()
            }
            None => return,
        };
        let mut stream = connection.into_parts().io.into_inner().into_stream();
        if let Some(bare_answer) = activity.take_bare_answer() {
            let Ok(response) = router.clone().call(Unreadable(bare_answer.status).request(peer)).await;
            let answer = bare_answer.replaced_by(response).await;
            let written = tokio::time::timeout(self.limits.write_timeout, stream.write_all(&answer)).await;
            if !matches!(written, Ok(Ok(()))) {
                return;
            }
        }
        close(stream, refused).await;
    }

    async fn http2(&self, io: Guarded, peer: SocketAddr, router: Router, activity: Activity) {
        let server = Arc::new(self.clone());
        let (called, streams) = (server.clone(), activity.clone());
        // HTTP/2 requests are tasks of their own, so what they need is owned.
        let service = service_fn(move |request| {
            let (server, router, activity) = (called.clone(), router.clone(), streams.clone());
            async move { server.call(request, peer, &router, &activity).await }
        });
        let mut connection = pin!(
            http2::Builder::new(Streams(server))
                .timer(TokioTimer::new())
                // Up to twice the limit it is refused in our own words; beyond it the library has none.
                .max_header_list_size(u32::try_from(self.limits.max_header_bytes * 2).unwrap_or(u32::MAX))
                .max_concurrent_streams(self.limits.max_streams)
                .keep_alive_interval(self.limits.header_timeout)
                .keep_alive_timeout(self.limits.header_timeout)
                .serve_connection(TokioIo::new(io), service)
        );
        let mut watch = pin!(Watch::new(self, &activity));
        let ended = poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Some(result));
                }
                match watch.as_mut().poll_next(cx) {
                    Poll::Ready(Turn::Close) => connection.as_mut().graceful_shutdown(),
                    Poll::Ready(Turn::Drop) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        if let Some(Err(error)) = ended {
            self.failed(&error);
        }
    }

    async fn call(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        router: &Router,
        activity: &Activity,
    ) -> Result<Response<Held>, Infallible> {
        let busy = activity.begin();
        let is_http1 = request.version() < Version::HTTP_2;
        if let Some(unreadable) = self.unreadable(&request) {
            let mut refusal = router.clone().call(unreadable.request(peer)).await?;
            if is_http1 {
                self.metrics.connection_ended(self.name, ConnectionEnd::Protocol);
                activity.left_unread();
                refusal.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let progress = PROGRESS.try_with(Clone::clone).ok();
            return Ok(refusal.map(|body| Held::new(body, busy, progress)));
        }
        // The sender waits to be asked for the body: reading it now would ask.
        let is_held_back = request.headers().contains_key(header::EXPECT);
        let (mut parts, incoming) = request.into_parts();
        let body = Deadline::new(incoming, self.limits.body_timeout, activity.clone(), self.name, &self.metrics);
        let rest = body.rest();
        parts.extensions.insert(ConnectInfo(peer));
        let mut response = router.clone().call(Request::from_parts(parts, Body::new(body))).await?;
        let goes_on = !rest.is_left() || (!is_held_back && rest.is_drained(DRAINED, DRAINED_WITHIN).await);
        if !goes_on {
            activity.left_unread();
        }
        if is_http1 && (!goes_on || self.drain.is_cancelled()) {
            // Else the next request on this connection, perhaps another customer's behind a proxy, would meet its end.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let ends_at = response.extensions_mut().remove::<EndsAt>().map(|EndsAt(at)| at);
        let progress = PROGRESS.try_with(Clone::clone).ok();
        match &progress {
            Some(progress) => progress.ends_at(ends_at),
            None => activity.ends_at(ends_at),
        }
        Ok(response.map(|body| Held::new(body, busy, progress)))
    }

    /// Finds what the library lets pass although it cannot be served.
    fn unreadable<B>(&self, request: &hyper::Request<B>) -> Option<Unreadable> {
        if !names_one_host(request) {
            // RFC 9112 §3.2: with two hosts, or none, it is undefined which one is meant.
            return Some(Unreadable(StatusCode::BAD_REQUEST));
        }
        let is_too_large = request.version() >= Version::HTTP_2 && list_size(request) > self.limits.max_header_bytes;
        is_too_large.then_some(Unreadable(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
    }

    /// Peers that vanish or send nonsense are the internet, not a fault of ours: counted, and logged at debug level only.
    fn failed(&self, error: &hyper::Error) {
        if error.is_parse() {
            self.metrics.connection_ended(self.name, ConnectionEnd::Protocol);
        }
        tracing::debug!(listener = self.name, %error, "connection ended early");
    }
}

/// Runs HTTP/2 requests as tasks that shutdown knows, each until its response is over, or is not being taken.
#[derive(Debug, Clone)]
struct Streams(Arc<Server>);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        let server = self.0.clone();
        drop(self.0.tasks.spawn("request", async move {
            let progress = Progress::new(server.limits.write_timeout);
            // Dropping it resets its stream alone: the connection may be a proxy's, with other customers on it.
            if carried(Box::pin(PROGRESS.scope(progress.clone(), future)), &progress).await.is_none()
                && progress.is_stalled()
            {
                server.metrics.connection_ended(server.name, ConnectionEnd::WriteTimeout);
            }
        }));
    }
}

/// Runs the future that carries a response until it ends, or until the response has had its time.
async fn carried<T>(mut future: Pin<Box<impl Future<Output = T>>>, progress: &Progress) -> Option<T> {
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let Some(deadline) = progress.deadline() else { return Poll::Pending };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Reads until it is clear which protocol the peer speaks; `None` if it went away before.
async fn sniff(stream: &mut TcpStream) -> Option<(Protocol, Vec<u8>)> {
    let mut seen = Vec::with_capacity(PREFACE.len());
    loop {
        let mut rest = (&mut *stream).take((PREFACE.len() - seen.len()) as u64);
        if rest.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
        if !PREFACE.starts_with(&seen) {
            return Some((Protocol::Http1, seen));
        }
        if seen.len() == PREFACE.len() {
            return Some((Protocol::Http2, seen));
        }
    }
}

/// Returns the size of a request's header list (RFC 9113 §6.5.2).
fn list_size<B>(request: &hyper::Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    fields.sum::<usize>() + request.uri().path_and_query().map_or(0, |path| path.as_str().len())
}

/// Accepts a request that names its host once. HTTP/1.0 need not name one, HTTP/2 names it elsewhere.
fn names_one_host<B>(request: &hyper::Request<B>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() != Version::HTTP_11,
        1 => true,
        _ => false,
    }
}

/// Ends our side. A peer that was refused before it had sent everything is then listened to until it ends its own, or
/// has had its time.
async fn close(mut stream: TcpStream, refused: bool) {
    if stream.shutdown().await.is_err() || !refused {
        return;
    }
    let mut waste = vec![0; 16 * 1024];
    let drained = async { while matches!(stream.read(&mut waste).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, drained).await;
}

#[cfg(test)]
mod tests;
