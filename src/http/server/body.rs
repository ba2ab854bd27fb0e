//! Bodies that know their limits: requests that must arrive in time, responses that keep their connection busy.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::io::{Activity, Busy};
use crate::metrics::{ConnectionEnd, Metrics};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body did not arrive within its time. Found among the sources of what an extractor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub struct BodyTimedOut;

/// A request body with a time limit on all of it, so that dripping does not prolong it.
#[derive(Debug)]
pub(super) struct Deadline {
    incoming: Incoming,
    /// None where there is nothing (more) to wait for.
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
        Self { incoming, timer, activity, listener, metrics: metrics.clone() }
    }
}

impl HttpBody for Deadline {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // What has arrived counts, even where it was late in being asked for.
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
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
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if self.timer.is_some() && !self.incoming.is_end_stream() {
            self.activity.left_unread();
        }
    }
}

/// A response body. Its request is in flight until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    body: Body,
    _busy: Busy,
}

impl Held {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
