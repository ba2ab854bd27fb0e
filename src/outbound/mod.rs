//! The base on which every HTTP client towards the outside is built: Fini's, and the receivers'.
//!
//! As liberal as curl in what it reads, since proxies, content networks and bot protections add to an answer what does not
//! concern us: many header fields, folded ones, unreadable ones. As strict as before about the end of a message:
//! contradicting lengths are an error, and if the length cannot be read, the message ends with the connection. The size of
//! a head stays capped by the HTTP library (about 400 KiB).
//!
//! It never follows a redirect, never asks the environment for a proxy, never names where it came from, never asks for a
//! compressed answer, and never sends anything a second time by itself: each caller adds what it needs of that.

pub mod network;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, ClientBuilder, redirect::Policy, retry};
use tokio::time::Instant;

/// The largest age of a kept connection that is not in use.
pub const LARGEST_AGE: Duration = Duration::from_secs(60);
/// The most header fields in one answer; curl's limit too.
const MAX_FIELDS: usize = 5_000;
/// The largest head of one answer in HTTP/2, in bytes, where the library's own limit is 16 KiB.
const MAX_HEAD: u32 = 384 * 1024;

/// Makes ring the process's TLS implementation, unless one is chosen already. Every `reqwest` client of the program
/// needs it before it is built; calling it again does nothing.
pub fn install_crypto() {
    // The error means that there is one already, which is the goal.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns a builder with all that both clients have in common.
pub fn client_builder() -> ClientBuilder {
    install_crypto();
    reqwest::Client::builder()
        .user_agent(concat!("fini-bridge/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .no_brotli()
        .no_deflate()
        .no_gzip()
        .no_zstd()
        .http1_max_headers(MAX_FIELDS)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http2_max_header_list_size(MAX_HEAD)
}

/// A client whose pool of connections does not outlive a change of the other side's address.
///
/// A kept connection that is used all the time would be kept for ever, and a changed DNS record never be followed. So the
/// pool is replaced by a new one in time; requests in flight end on the old one. If no new one can be made, the old one
/// stays.
pub struct Renewed<E> {
    build: Box<dyn Fn() -> Result<Client, E> + Send + Sync>,
    age: Duration,
    current: Mutex<(Instant, Client)>,
}

impl<E> Renewed<E> {
    /// Creates a client that is replaced as soon as it is that old.
    pub fn new(age: Duration, build: impl Fn() -> Result<Client, E> + Send + Sync + 'static) -> Result<Self, E> {
        let first = build()?;
        Ok(Self { build: Box::new(build), age, current: Mutex::new((Instant::now(), first)) })
    }

    /// Returns the client for the next request; `failed` takes the error if no new one could be made.
    pub fn get(&self, failed: impl FnOnce(E)) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() >= self.age {
            match (self.build)() {
                Ok(client) => current.1 = client,
                Err(error) => failed(error),
            }
            current.0 = Instant::now();
        }
        current.1.clone()
    }
}

impl<E> fmt::Debug for Renewed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").field("age", &self.age).finish_non_exhaustive()
    }
}
