//! Decides when a connection has to close.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use super::io::Activity;
use super::{Limits, Server};
use crate::lifecycle::LAST_CALL;

/// The next step of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Finish the requests in flight, take no more, close.
    Close,
    /// Its time to close is up.
    Drop,
}

/// Says when a connection has to close: when the server drains, when it was idle for too long, or when a response had to be
/// over; and when one that was told to close has nothing in flight and is still open.
pub(super) struct Watch<'a> {
    limits: Limits,
    activity: &'a Activity,
    drain: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    draining: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    closing: Option<Instant>,
    /// Running while a response is under way that has an end.
    end: Option<Pin<Box<Sleep>>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(server: &'a Server, activity: &'a Activity) -> Self {
        Self {
            limits: server.limits,
            activity,
            drain: Box::pin(server.drain.cancelled()),
            draining: None,
            timer: Box::pin(tokio::time::sleep(server.limits.idle_timeout)),
            closing: None,
            end: None,
        }
    }

    fn close(&mut self) -> Poll<Turn> {
        let now = Instant::now();
        self.closing = Some(now);
        self.timer.as_mut().reset(now + self.limits.header_timeout);
        Poll::Ready(Turn::Close)
    }

    /// Returns ready once the response under way had to be over.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.activity.end() else {
            self.end = None;
            return Poll::Pending;
        };
        let timer = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }

    pub(super) fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.poll_end(cx).is_ready() {
            return Poll::Ready(Turn::Drop);
        }
        if self.closing.is_none() && self.draining.is_none() && self.drain.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.draining = Some(now);
            self.timer.as_mut().reset(now + LAST_CALL);
        }
        if self.closing.is_none() && self.draining.is_some() && self.activity.idle_since().is_none() {
            return self.close();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let (allowed, since) = match (self.closing, self.draining) {
                (Some(closing), _) => (self.limits.header_timeout, Some(closing)),
                (None, Some(draining)) => (LAST_CALL, Some(draining)),
                (None, None) => (self.limits.idle_timeout, None),
            };
            let now = Instant::now();
            // While a request is in flight, the decision is only put off.
            let idle = self.activity.idle_since().map_or(now, |idle| since.map_or(idle, |since| idle.max(since)));
            if idle + allowed > now {
                self.timer.as_mut().reset(idle + allowed);
            } else if self.closing.is_none() {
                return self.close();
            } else {
                return Poll::Ready(Turn::Drop);
            }
        }
        Poll::Pending
    }
}
