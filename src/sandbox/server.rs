//! The sandbox's own server: an accept loop below axum, so that a fault can break a connection for real.
//!
//! Never answers anything itself, except by its guard, and leaves no task behind when it returns.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::Sandbox;
use super::guard::Guard;

/// Time in which connections may finish once the sandbox is to end. A simulation has nothing to lose.
const GRACE: Duration = Duration::from_secs(1);

/// Pause when the machine has no more sockets.
const BREATHER: Duration = Duration::from_millis(50);

/// A handle on the connection a request came over; found among the request's extensions.
#[derive(Clone, Default)]
pub struct Connection(Arc<Fate>);

#[derive(Default)]
struct Fate {
    reset: AtomicBool,
    wake: Notify,
}

impl Connection {
    /// Ends the connection at once with a TCP reset: no answer, no farewell.
    pub fn reset(&self) {
        self.0.reset.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    /// Waits until [`Self::reset`] is called.
    pub(super) async fn ended(&self) {
        self.0.wake.notified().await;
    }
}

/// Serves `sandbox` on `listener` until `shutdown` is done.
pub async fn serve(listener: TcpListener, sandbox: Sandbox, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let router = sandbox.router();
    let guard = Guard::new(listener.local_addr().ok(), &sandbox.hosts());
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    let (closing, closed) = watch::channel(false);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, router.clone(), guard.clone(), closed.clone()));
            }
            // Out of sockets, or the client left between knocking and entering: neither is the listener's end.
            Err(_) => tokio::time::sleep(BREATHER).await,
        }
    }
    drop(listener);
    closing.send_replace(true);
    let farewell = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, farewell).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, guard: Guard, mut closed: watch::Receiver<bool>) {
    // Only deliberate latency is simulated.
    let _ = stream.set_nodelay(true);
    let handle = Connection::default();
    let io = TokioIo::new(Resettable { stream, fate: Arc::clone(&handle.0) });
    let extension = handle.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(extension.clone());
        let refused = guard.admit(request.uri(), request.headers()).err();
        let router = router.clone();
        async move {
            match refused {
                Some(error) => Ok(error.into_response()),
                None => router.oneshot(request.map(axum::body::Body::new)).await,
            }
        }
    });
    // An idle connection is kept: closing it could cross with the next request, a fault nobody asked for.
    let mut connection = pin!(http1::Builder::new().header_read_timeout(None).serve_connection(io, service));
    let mut told = false;
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = handle.ended() => return,
            _ = closed.wait_for(|closed| *closed), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A stream that can be made to end with a reset instead of an orderly close.
struct Resettable {
    stream: TcpStream,
    fate: Arc<Fate>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.fate.reset.load(Ordering::Acquire) {
            // Without it the close is orderly, which a client still takes for an unanswered request.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
