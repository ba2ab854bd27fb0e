//! Tells an attempt that opened a connection from one that was given a kept one.
//!
//! A receiver closes a connection that was idle for a while, and a callback may just be leaving on it: only then does the
//! end of the connection mean "not processed". The HTTP library does not say which connection a failed request was on, but
//! it connects in the task of the request that needs it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tower::{Layer, Service};

tokio::task_local! {
    static CONNECTS: Arc<AtomicBool>;
}

/// Runs a request. Also returns true if it began to connect.
pub(super) async fn noting<T>(request: impl Future<Output = T>) -> (T, bool) {
    let connects = Arc::new(AtomicBool::new(false));
    let done = CONNECTS.scope(Arc::clone(&connects), request).await;
    (done, connects.load(Ordering::Relaxed))
}

/// The layer around the connector of a client.
#[derive(Clone, Copy)]
pub(super) struct NoteConnects;

/// A connector that notes each attempt to connect.
#[derive(Clone)]
pub(super) struct Noting<S>(S);

impl<S> Layer<S> for NoteConnects {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting(inner)
    }
}

impl<S: Service<R>, R> Service<R> for Noting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        // Outside of an attempt nothing is noted.
        let _ = CONNECTS.try_with(|connects| connects.store(true, Ordering::Relaxed));
        self.0.call(request)
    }
}
