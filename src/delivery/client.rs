//! The HTTP client that makes callbacks: one attempt in, one result out.
//!
//! One client serves every endpoint, so that connections are kept and reused. It never follows a redirect, never asks the
//! environment for a proxy, never reads more of an answer than an operator wants to see, and never outlives the one
//! deadline that spans name resolution to the last byte. It neither logs nor returns what it sent, and returns failures as
//! values: [`super::verdict`] decides whether to try again. Two exceptions: a request that provably was not processed goes
//! out once more at once, on a fresh connection, as part of the same attempt; and no part of the address that may be a
//! secret comes back, whoever repeats it.

mod connects;
mod failure;
mod mask;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};
use url::Url;

pub use self::failure::{AttemptError, ErrorKind};
use self::{connects::NoteConnects, mask::Mask};
use super::ReceiverApi;
use super::guard::Guard;
use super::resolver::{Transport, VettedResolver};
use crate::domain::correlation::Onward;
use crate::outbound::{
    LARGEST_AGE, Renewed, client_builder,
    network::{Network, NetworkError},
};
use crate::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};

/// Bytes of an answer's body that are read and kept.
pub const MAX_EXCERPT: usize = 16 * 1024;
/// Bytes of a header that are kept.
const MAX_HEADER: usize = 2048;

/// Time in which a 2xx answer may finish its body. The callback has been acknowledged already, and the conversation's next
/// one waits behind it.
const ACKNOWLEDGED_BODY: Duration = Duration::from_secs(1);

/// Time for which an idle connection is kept. Common servers close theirs after five seconds (Node, uvicorn), and a
/// callback that meets a closing connection costs a retry, which is dearer than a handshake.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_PER_HOST: usize = 64;

/// A kept connection that ends so soon after a request was put on it was being closed meanwhile; later, the receiver may have
/// failed over the request itself.
const CLOSING: Duration = Duration::from_secs(2);

/// The longest escape of one character in an excerpt, in bytes.
const LONGEST_ESCAPE: usize = 10;

/// Time between two probes of an HTTP/2 connection with a request on it, and limit for the echo: a path that swallows
/// packets must not cost every attempt its whole timeout.
const PROBE: Duration = Duration::from_secs(5);

/// Longest timeout that is meant seriously; keeps the arithmetic of deadlines from overflowing.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// One attempt at one callback. The signature is made by the caller for this attempt's own timestamp.
#[derive(Clone)]
pub struct Attempt {
    /// The receiver's address.
    pub url: Url,
    /// `webhook-id`: the event's id.
    pub id: String,
    /// `webhook-timestamp`: Unix seconds.
    pub timestamp: i64,
    /// `webhook-signature`
    pub signature: String,
    /// The signed bytes, sent as they are.
    pub body: Bytes,
    /// Further headers of this receiver; their values may be secrets.
    pub headers: Vec<(String, SecretString)>,
    /// The request that caused it; further headers, which are not signed.
    pub onward: Onward,
    /// The time for everything: resolving, connecting, sending, waiting, reading.
    pub timeout: Duration,
}

/// The result of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptResult {
    /// The answer's status; `None` if no answer came.
    pub status: Option<u16>,
    /// `Retry-After` as it came.
    pub retry_after: Option<String>,
    /// Target of a redirect, for the operator to see: scheme, host and port, and what else differs.
    pub location: Option<String>,
    /// The beginning of the answer's body as text, control characters escaped.
    pub body_excerpt: String,
    /// True if the body was longer than the excerpt, or did not come to an end.
    pub truncated: bool,
    /// Time from the start to the last byte that was waited for.
    pub duration: Duration,
    /// The failure; `None` when a complete answer came, whatever its status, and with any 2xx.
    pub error: Option<AttemptError>,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No usable TLS roots on this system, for one.
    #[error("the callback client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// The configured way over the network cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// The shared client. Cloning it shares the connections.
#[derive(Debug, Clone)]
pub struct CallbackClient {
    guard: Arc<Guard>,
    secure: Arc<Connections>,
    /// A client apart, because names have to be vetted by stricter rules for unencrypted connections.
    plain: Option<Arc<Connections>>,
}

#[derive(Debug)]
struct Connections {
    kept: Renewed<ClientError>,
    /// Opens a connection for each request.
    fresh: reqwest::Client,
}

#[async_trait]
impl ReceiverApi for CallbackClient {
    async fn attempt(&self, attempt: &Attempt) -> AttemptResult {
        let started = Instant::now();
        let deadline = started + attempt.timeout.min(MAX_TIMEOUT);
        let mut result = AttemptResult::default();
        result.error = self.exchange(attempt, deadline, &mut result).await.err();
        result.duration = started.elapsed();
        let mask = Mask::of(&attempt.url);
        let was_cut = result.truncated || result.body_excerpt.len() + LONGEST_ESCAPE > MAX_EXCERPT;
        result.body_excerpt = mask.apply(&result.body_excerpt, was_cut);
        result.location = result.location.map(|location| mask.apply(&location, false));
        if let Some(error) = &mut result.error {
            error.detail = mask.apply(&error.detail, true);
        }
        result
    }
}

impl CallbackClient {
    /// Creates a client that reaches the addresses that `guard` allows, spending at most `connect_timeout` on resolving,
    /// connecting and the TLS handshake together.
    pub fn new(guard: Guard, connect_timeout: Duration) -> Result<Self, ClientError> {
        Self::with_roots(guard, connect_timeout, &[], LARGEST_AGE)
    }

    /// As [`CallbackClient::new`], over a configured way through the network. A proxy resolves names itself: only addresses
    /// that are written as such are vetted here.
    pub fn over(guard: Guard, connect_timeout: Duration, network: Network) -> Result<Self, ClientError> {
        Self::build(guard, connect_timeout, &[], LARGEST_AGE, network)
    }

    /// As [`CallbackClient::new`], trusting `roots` besides the system's, with connections that are kept no longer than `age`.
    fn with_roots(
        guard: Guard,
        connect_timeout: Duration,
        roots: &[reqwest::Certificate],
        age: Duration,
    ) -> Result<Self, ClientError> {
        Self::build(guard, connect_timeout, roots, age, Network::default())
    }

    fn build(
        guard: Guard,
        connect_timeout: Duration,
        roots: &[reqwest::Certificate],
        age: Duration,
        network: Network,
    ) -> Result<Self, ClientError> {
        let guard = Arc::new(guard);
        let (vetted_by, roots) = (Arc::clone(&guard), roots.to_vec());
        let client = move |transport, idle| -> Result<reqwest::Client, ClientError> {
            let builder = network.apply(client_builder())?;
            let builder = if network.proxy.is_some() {
                builder
            } else {
                builder.dns_resolver(VettedResolver::new(Arc::clone(&vetted_by), transport))
            };
            builder
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(idle)
                .connector_layer(NoteConnects)
                .http2_keep_alive_interval(PROBE)
                .http2_keep_alive_timeout(PROBE)
                .https_only(transport == Transport::Tls)
                .tls_certs_merge(roots.iter().cloned())
                .build()
                .map_err(ClientError::Setup)
        };
        let build = |transport| -> Result<Arc<Connections>, ClientError> {
            let (fresh, client) = (client(transport, 0)?, client.clone());
            let kept = Renewed::new(age, move || client(transport, POOL_PER_HOST))?;
            Ok(Arc::new(Connections { kept, fresh }))
        };
        let secure = build(Transport::Tls)?;
        let plain = if guard.allow_http { Some(build(Transport::Plain)?) } else { None };
        Ok(Self { guard, secure, plain })
    }

    async fn exchange(
        &self,
        attempt: &Attempt,
        deadline: Instant,
        result: &mut AttemptResult,
    ) -> Result<(), AttemptError> {
        let connections = self.connections_to(&attempt.url)?;
        // If no new client can be made, the old one goes on: its connections are as good as they were.
        let kept = connections.kept.get(drop);
        let response = match send(&kept, attempt, deadline).await {
            // The receiver never had it, so sending again costs neither an attempt nor a wait.
            Err(Unsent { was_processed: false, .. }) => send(&connections.fresh, attempt, deadline).await,
            sent => sent,
        };
        let response = response.map_err(|unsent| unsent.error)?;

        let status = response.status();
        result.status = Some(status.as_u16());
        result.retry_after = header(response.headers(), &RETRY_AFTER);
        result.location = header(response.headers(), &LOCATION).map(|location| mask::redirect(&attempt.url, &location));

        if !status.is_success() {
            return read_excerpt(response, deadline, result).await;
        }
        // Reading on only serves the reuse of the connection; the answer is in.
        let courtesy = deadline.min(Instant::now() + ACKNOWLEDGED_BODY);
        if read_excerpt(response, courtesy, result).await.is_err() {
            result.truncated = true;
        }
        Ok(())
    }

    fn connections_to(&self, url: &Url) -> Result<&Connections, AttemptError> {
        self.guard.check_url(url).map_err(|refused| AttemptError::new(ErrorKind::Guard, &refused))?;
        if url.scheme() == "https" {
            return Ok(&self.secure);
        }
        self.plain.as_deref().ok_or_else(|| AttemptError::new(ErrorKind::Internal, &"no client for this scheme"))
    }
}

/// A request that got no answer.
struct Unsent {
    error: AttemptError,
    /// True if the receiver may have processed it.
    was_processed: bool,
}

/// Sends the request and waits for the head of its answer.
async fn send(client: &reqwest::Client, attempt: &Attempt, deadline: Instant) -> Result<reqwest::Response, Unsent> {
    let started = Instant::now();
    let mut request = client
        .post(attempt.url.clone())
        .header(CONTENT_TYPE, "application/json")
        .header(HEADER_ID, &attempt.id)
        .header(HEADER_TIMESTAMP, attempt.timestamp)
        .header(HEADER_SIGNATURE, &attempt.signature)
        .body(attempt.body.clone());
    for (name, value) in &attempt.headers {
        request = request.header(name, value.expose_secret());
    }
    for (name, value) in attempt.onward.headers() {
        request = request.header(name, value);
    }
    match timeout_at(deadline, connects::noting(request.send())).await {
        Ok((Ok(response), _)) => Ok(response),
        Ok((Err(error), has_connected)) => {
            let was_kept = !has_connected && started.elapsed() < CLOSING;
            Err(Unsent {
                error: failure::of_request(&error),
                was_processed: !failure::is_unprocessed(&error, was_kept),
            })
        }
        Err(_) => Err(Unsent { error: AttemptError::timeout("no answer in time"), was_processed: true }),
    }
}

impl std::fmt::Debug for Attempt {
    /// Leaves out content, signature and headers, and all of the URL but its host: some endpoints expect a token in the
    /// query.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("host", &self.url.host_str())
            .field("timestamp", &self.timestamp)
            .field("bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Keeps the first [`MAX_EXCERPT`] bytes. Dropping the response with more to come closes its connection (or resets its
/// stream), which is cheaper than reading on and cannot be drawn out by the other side.
async fn read_excerpt(
    mut response: reqwest::Response,
    deadline: Instant,
    result: &mut AttemptResult,
) -> Result<(), AttemptError> {
    let mut kept = Vec::new();
    let outcome = loop {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(None)) => break Ok(()),
            Ok(Ok(Some(chunk))) => {
                let room = MAX_EXCERPT - kept.len();
                kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    result.truncated = true;
                    break Ok(());
                }
            }
            Ok(Err(error)) => break Err(failure::of_body(&error)),
            Err(_) => {
                break Err(AttemptError::timeout("the answer's body did not end in time"));
            }
        }
    };
    result.truncated |= outcome.is_err();
    result.body_excerpt = failure::printable(&String::from_utf8_lossy(&kept), MAX_EXCERPT);
    outcome
}

fn header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes());
    Some(failure::printable(&value, MAX_HEADER))
}

#[cfg(test)]
mod tests;
