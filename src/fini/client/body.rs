//! A request body that knows when it is taken, and that can be withheld.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::fini::Departure;

/// The whole body in one piece: the connection has it all or nothing, and never half of it.
///
/// HTTP/1 writes head and body into one buffer and asks for the body before it flushes, so that a body that was not
/// asked for means that not even the head was sent. Were a head sent alone, its `Content-Length` would tell Fini that
/// the request never arrived whole.
pub(super) struct DepartingBody {
    bytes: Option<Bytes>,
    departure: Departure,
}

/// The request was given up before its body was taken.
#[derive(Debug, thiserror::Error)]
#[error("the request was given up before it left")]
pub(super) struct Withheld;

impl DepartingBody {
    pub(super) fn new(bytes: Bytes, departure: Departure) -> Self {
        Self { bytes: Some(bytes), departure }
    }
}

impl Body for DepartingBody {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        Poll::Ready(self.bytes.take().map(|bytes| {
            if self.departure.may_leave() && self.departure.mark() { Ok(Frame::data(bytes)) } else { Err(Withheld) }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
