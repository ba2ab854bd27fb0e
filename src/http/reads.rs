//! Limits how much may be read at once and in a minute: by one person, by one frontend, by an address of an unknown caller.
//!
//! The store answers few reads at a time. Without a bound the caller that asks most is answered most, and all others wait
//! behind it. So one frontend has few reads in the store at once, its others wait in a row of their own; one person has few
//! answers under way, and so many a minute. Counted in memory, for this process alone.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    auth::Caller,
    problem::{Code, Problem},
};
use crate::domain::{
    Clock,
    ids::FrontendName,
    window::{MINUTE, Window},
};

/// Answers under way at one time for one reader, until it has taken them.
const ANSWERS: usize = 16;
/// Reads of one frontend in the store at one time.
const IN_STORE: usize = 4;
/// Longest time for which a read waits for the others of its frontend.
const PATIENCE: Duration = Duration::from_secs(5);
/// Number of remembered readers from which on inactive ones are looked for.
const REMEMBERED: usize = 1024;

/// A reader, for the purpose of limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reader {
    /// The person that a browser's token names, or the conversation if it names none.
    Person(FrontendName, String),
    /// A caller without credentials.
    Address(IpAddr),
}

/// The reads under way and those of the last minute.
pub struct Reads {
    per_minute: usize,
    clock: Arc<dyn Clock>,
    readers: Mutex<Readers>,
    frontends: Mutex<HashMap<FrontendName, Arc<Semaphore>>>,
}

#[derive(Default)]
struct Readers {
    all: HashMap<Reader, Usage>,
    /// Number of readers from which on inactive ones are forgotten.
    sweep_at: usize,
}

#[derive(Default)]
struct Usage {
    window: Window,
    under_way: usize,
}

impl Reads {
    /// Allows each reader so many reads a minute; 0 is no limit.
    pub fn new(per_minute: usize, clock: Arc<dyn Clock>) -> Self {
        Self { per_minute, clock, readers: Mutex::default(), frontends: Mutex::default() }
    }

    /// Lets a caller read, or says when it may. Only the bounds of its frontend apply to a frontend's server.
    pub(super) fn admit(self: &Arc<Self>, caller: &Caller) -> Result<Admitted, Problem> {
        match caller {
            Caller::Server(_) => Ok(Admitted(None)),
            Caller::Browser { frontend, claims } => {
                self.admit_reader(Reader::Person(frontend.clone(), claims.person()))
            }
        }
    }

    /// Lets a caller without credentials read.
    pub(super) fn admit_address(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Problem> {
        address.map_or(Ok(Admitted(None)), |address| self.admit_reader(Reader::Address(address)))
    }

    fn admit_reader(self: &Arc<Self>, reader: Reader) -> Result<Admitted, Problem> {
        let now = self.clock.now();
        let mut readers = self.readers();
        if readers.all.len() > readers.sweep_at.max(REMEMBERED) {
            readers.all.retain(|_, usage| usage.under_way > 0 || !usage.window.is_quiet(now, MINUTE));
            readers.sweep_at = readers.all.len() * 2;
        }
        let usage = readers.all.entry(reader.clone()).or_default();
        if usage.under_way >= ANSWERS {
            let detail = "too many answers are under way at once";
            return Err(Problem::new(Code::RateLimited).detail(detail).retry_after(Duration::from_secs(1)));
        }
        usage.window.admit(now, self.per_minute, MINUTE).map_err(|wait| {
            let detail = format!("at most {} reads a minute", self.per_minute);
            Problem::new(Code::RateLimited).detail(detail).retry_after(wait)
        })?;
        usage.under_way += 1;
        Ok(Admitted(Some((Arc::clone(self), reader))))
    }

    /// Waits until the frontend may read in the store; it may for as long as the permit is held.
    pub(super) async fn turn(&self, frontend: &FrontendName) -> Result<OwnedSemaphorePermit, Problem> {
        let row = {
            let mut frontends = self.frontends.lock().unwrap_or_else(PoisonError::into_inner);
            let row = frontends.entry(frontend.clone()).or_insert_with(|| Arc::new(Semaphore::new(IN_STORE)));
            Arc::clone(row)
        };
        let busy = || {
            let detail = "too many reads of this frontend wait";
            Problem::new(Code::StoreUnavailable).detail(detail).retry_after(Duration::from_secs(1))
        };
        tokio::time::timeout(PATIENCE, row.acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(busy)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer under way, until it is dropped.
pub(super) struct Admitted(Option<(Arc<Reads>, Reader)>);

impl Admitted {
    /// Counts the answer as under way until its reader has taken it.
    pub(super) fn until_taken(self, response: Response) -> Response {
        if self.0.is_none() {
            return response;
        }
        response.map(|body| Body::new(Counted { body, _admitted: self }))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some((reads, reader)) = &self.0 else { return };
        if let Some(usage) = reads.readers().all.get_mut(reader) {
            usage.under_way -= 1;
        }
    }
}

/// A body that counts against its reader's limit until it is dropped.
struct Counted {
    body: Body,
    _admitted: Admitted,
}

impl HttpBody for Counted {
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
