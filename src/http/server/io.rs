//! A connection's bytes, with a time limit on a request's head and on a stalled response.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Server;
use super::pace::Pace;
use super::unreadable::{BareAnswer, bare_answer};
use crate::metrics::{ConnectionEnd, Metrics};

/// The requests in flight on one connection, and the time since which there are none. Shared between its bytes and its
/// requests.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Requests>>);

#[derive(Debug)]
struct Requests {
    active: usize,
    begun: u64,
    idle_since: Instant,
    unread: bool,
    ends_at: Option<Instant>,
    bare_answer: Option<BareAnswer>,
}

impl Activity {
    pub(super) fn new() -> Self {
        let idle_since = Instant::now();
        let requests = Requests { active: 0, begun: 0, idle_since, unread: false, ends_at: None, bare_answer: None };
        Self(Arc::new(Mutex::new(requests)))
    }

    /// Notes that a request's head is complete. The request is in flight until the guard is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.with(|requests| {
            requests.active += 1;
            requests.begun += 1;
        });
        Busy(self.clone())
    }

    /// Returns since when no request has been in flight; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.with(|requests| (requests.active == 0).then_some(requests.idle_since))
    }

    /// Notes that a request's body was left unread, so its sender may still be sending.
    pub(super) fn left_unread(&self) {
        self.with(|requests| requests.unread = true);
    }

    /// Returns true if that ever happened; the connection ends with that request.
    pub(super) fn is_unread(&self) -> bool {
        self.with(|requests| requests.unread)
    }

    /// Sets when the response under way is over, whatever it waits for.
    pub(super) fn ends_at(&self, at: Option<Instant>) {
        self.with(|requests| requests.ends_at = at);
    }

    /// Returns when the connection has to end because its response has.
    pub(super) fn end(&self) -> Option<Instant> {
        self.with(|requests| requests.ends_at.filter(|_| requests.active > 0))
    }

    /// Takes the library's own answer to a request that it could not read, if it was kept from the wire.
    pub(super) fn take_bare_answer(&self) -> Option<BareAnswer> {
        self.with(|requests| requests.bare_answer.take())
    }

    fn begun(&self) -> u64 {
        self.with(|requests| requests.begun)
    }

    /// Locks the counts. Each change leaves them whole, so those left behind by a panic are as good as any.
    fn with<T>(&self, use_it: impl FnOnce(&mut Requests) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|requests| {
            requests.active -= 1;
            requests.idle_since = Instant::now();
        });
    }
}

/// The socket. Reading fails once a head that has begun is not complete in time; writing fails once it had to wait for too
/// long for too little.
#[derive(Debug)]
pub(super) struct Guarded {
    stream: TcpStream,
    /// The bytes that told the protocol; they are read again.
    prefix: Vec<u8>,
    replayed: usize,
    activity: Activity,
    /// Running while a head is incomplete, with the number of requests there were before it.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    header_timeout: Duration,
    limits_heads: bool,
    /// The pace at which the peer takes what is written.
    pace: Pace,
    /// Running while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    listener: &'static str,
    metrics: Metrics,
}

impl Guarded {
    /// Wraps the socket. `head_deadline` is that of the first head, already begun. Without one heads are not limited:
    /// between the requests of HTTP/2 there are bytes that belong to none.
    pub(super) fn new(
        stream: TcpStream,
        prefix: Vec<u8>,
        server: &Server,
        activity: Activity,
        head_deadline: Option<Instant>,
    ) -> Self {
        Self {
            stream,
            prefix,
            replayed: 0,
            activity,
            head: head_deadline.map(|at| (0, Box::pin(tokio::time::sleep_until(at)))),
            limits_heads: head_deadline.is_some(),
            header_timeout: server.limits.header_timeout,
            pace: Pace::new(server.limits.write_timeout),
            stalled: None,
            listener: server.name,
            metrics: server.metrics.clone(),
        }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Notes that bytes have come. Between requests they begin a head; within one they are its body.
    fn bytes_came(&mut self) {
        if self.limits_heads && self.head.is_none() && self.activity.idle_since().is_some() {
            let timer = Box::pin(tokio::time::sleep(self.header_timeout));
            self.head = Some((self.activity.begun(), timer));
        }
    }

    fn head_is_complete(&self) -> bool {
        self.head.as_ref().is_some_and(|(before, _)| self.activity.begun() > *before)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((_, timer)) = &mut self.head else {
            return Poll::Pending;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.metrics.connection_ended(self.listener, ConnectionEnd::HeaderTimeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request head did not arrive in time")))
    }

    /// Returns how much of `bytes` is to be written. Nothing, if they are the library's own answer, which is kept here: the
    /// router answers in its place. The library writes one only between requests, as its last.
    fn ours(&self, bytes: &[u8]) -> usize {
        if self.activity.idle_since().is_none() {
            return bytes.len();
        }
        match bare_answer(bytes) {
            Some((0, bare_answer)) => {
                self.activity.with(|requests| requests.bare_answer = Some(bare_answer));
                0
            }
            Some((begin, _)) => begin,
            None => bytes.len(),
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        if let Poll::Ready(taken) = &written {
            self.stalled = None;
            self.pace.took(*taken.as_ref().unwrap_or(&0), now);
            return written;
        }
        let deadline = self.pace.wait(now);
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.metrics.connection_ended(self.listener, ConnectionEnd::WriteTimeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the response is not being read")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head_is_complete() {
            self.head = None;
        }
        if self.replayed < self.prefix.len() {
            let rest = &self.prefix[self.replayed..];
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            self.replayed += n;
            if self.replayed == self.prefix.len() {
                self.prefix = Vec::new();
                self.replayed = 0;
                if buf.remaining() > 0 {
                    // Bytes that have come meanwhile go along: given a few bytes alone, the reader doubles its buffer for
                    // the rest, and keeps it as long as the connection lives. The next call reports its end or failure.
                    let _ = Pin::new(&mut self.stream).poll_read(cx, buf);
                }
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() {
            // Only if nothing has come: bytes that are here in time must not fail because nobody looked in time.
            return self.poll_head(cx);
        }
        if buf.filled().len() > before {
            self.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let ours = self.ours(buf);
        if ours == 0 {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..ours]);
        self.poll_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Heads are written first.
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        let ours = self.ours(first);
        if ours < first.len() {
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.poll_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
