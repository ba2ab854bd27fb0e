//! The transport of a request: over HTTP, or in a simulation to a vendor in the same process.
//!
//! All decisions about a request and its answer are made above, by the same code for every transport.

use std::error::Error as _;

use async_trait::async_trait;
use reqwest::{Request, Response};

/// Carries one request to Fini.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Hands the request over once, never again, and waits for the head of its answer. Takes the body in one piece at the
    /// moment at which it leaves. A dropped call ends the request, which may still have arrived.
    async fn send(&self, request: Request) -> Result<Response, SendError>;
}

/// The error of a request to which no answer began.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// True if a connection may have carried the request.
    pub connected: bool,
    /// The causes, for operators.
    pub detail: String,
}

#[async_trait]
impl Transport for reqwest::Client {
    async fn send(&self, request: Request) -> Result<Response, SendError> {
        self.execute(request).await.map_err(|error| SendError { connected: connected(&error), detail: chain(&error) })
    }
}

/// Returns false if no connection carried the request: there was none, or the library hands back a request that waited for
/// a connection that had already ended ("canceled").
fn connected(error: &reqwest::Error) -> bool {
    let canceled =
        causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled));
    !(error.is_connect() || error.is_builder() || canceled)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// Returns the causes from the outside in, without the outermost: it names the address, which the operator configured.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error).map(ToString::to_string) {
        if parts.last().is_none_or(|last| !last.contains(&cause)) {
            parts.push(cause);
        }
    }
    if parts.is_empty() { "the request failed".to_owned() } else { parts.join(": ") }
}
