//! Bodies that know their limits: requests that must arrive in time, responses that keep their connection busy.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::io::{Activity, Busy};
use super::pace::Progress;
use crate::metrics::{ConnectionEnd, Metrics};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body did not arrive within its time. Found among the sources of what an extractor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub struct BodyTimedOut;

/// The unread rest of a body whose request was answered early.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    /// Returns true if anything is left.
    pub(super) fn is_left(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Reads the rest, if it is small and comes soon. Returns true if the connection is then at the next request.
    pub(super) async fn is_drained(&self, most: u64, within: Duration) -> bool {
        let Some(mut incoming) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        if incoming.size_hint().lower() > most {
            return false;
        }
        let draining = async {
            let mut read = 0;
            while let Some(frame) = incoming.frame().await {
                let Ok(frame) = frame else { return false };
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > most {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(within, draining).await.unwrap_or(false)
    }
}

/// A request body with a time limit on all of it, so that dripping does not prolong it.
#[derive(Debug)]
pub(super) struct Deadline {
    /// There until it is dropped.
    incoming: Option<Incoming>,
    rest: Rest,
    /// `None` if there is nothing (more) to wait for.
    timer: Option<Pin<Box<Sleep>>>,
    activity: Activity,
    listener: &'static str,
    metrics: Metrics,
}

impl Deadline {
    pub(super) fn new(
        incoming: Incoming,
        limit: Duration,
        activity: Activity,
        listener: &'static str,
        metrics: &Metrics,
    ) -> Self {
        let timer = (!incoming.is_end_stream()).then(|| Box::pin(tokio::time::sleep(limit)));
        let rest = Rest::default();
        Self { incoming: Some(incoming), rest, timer, activity, listener, metrics: metrics.clone() }
    }

    /// Returns the place that holds the rest of the body once the body was dropped.
    pub(super) fn rest(&self) -> Rest {
        self.rest.clone()
    }
}

impl HttpBody for Deadline {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Bytes that have arrived count, even if they were asked for late.
        let Some(incoming) = self.incoming.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            if frame.is_none() {
                self.timer = None;
            }
            return Poll::Ready(frame.map(|result| result.map_err(BoxError::from)));
        }
        match self.timer.as_mut().map(|timer| timer.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => {
                self.timer = None;
                self.activity.left_unread();
                self.metrics.connection_ended(self.listener, ConnectionEnd::BodyTimeout);
                Poll::Ready(Some(Err(Box::new(BodyTimedOut))))
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) {
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(incoming);
        }
    }
}

/// A response is given out in pieces of at most so many bytes: no limit sees the bytes that are given out and not yet taken.
const PIECE: usize = 16 * 1024;

/// A response body. Its request is in flight until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    body: Body,
    /// The rest of a frame that was larger than a piece.
    rest: Bytes,
    /// Bytes of the last piece.
    given: usize,
    /// The progress of a response that shares its connection.
    progress: Option<Progress>,
    _busy: Busy,
}

impl Held {
    pub(super) fn new(body: Body, busy: Busy, progress: Option<Progress>) -> Self {
        if let Some(progress) = &progress {
            progress.waits();
        }
        Self { body, rest: Bytes::new(), given: 0, progress, _busy: busy }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.given = piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let given = std::mem::take(&mut self.given);
        if let Some(progress) = &self.progress {
            progress.took(given);
        }
        let polled = self.poll_piece(cx);
        if let (Some(progress), Poll::Ready(Some(_))) = (&self.progress, &polled) {
            progress.waits();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + left);
        }
        hint.set_lower(hint.lower() + left);
        hint
    }
}
