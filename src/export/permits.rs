//! The pace of requests: each waits for a permit.
//!
//! Three sources: the bridge's own budget if its store can be shared ([`Shared`]), one that a caller brings (the budget of a
//! running bridge through its admin listener), or a sliding log of our own ([`OwnLog`]). All of them count a request from
//! the latest moment at which it can have reached Fini.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    domain::Clock,
    fini::{
        Departure,
        budget::{Budget, Taken, WINDOW_MARGIN},
    },
    store::{RequestClass, StoreError},
};

/// Time after a 429 for which the limit is taken to be four fifths.
const SHRUNK_FOR: Duration = Duration::from_mins(5);
/// Pause if the store cannot say how long to wait.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Hands out requests.
#[async_trait]
pub trait Permits: Send + Sync {
    /// Waits until a request may go, takes it, and returns the departure to send it with.
    async fn permit(&self) -> Departure;

    /// Takes note of a 429 from Fini.
    fn throttled(&self);
}

/// A sliding log in memory.
pub struct OwnLog {
    limit: u32,
    window: Duration,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<(u64, Instant)>,
    next: u64,
    shrunk: Option<(u32, Instant)>,
}

impl OwnLog {
    /// Returns a log that allows at most `limit` requests in any `window`.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit: limit.max(1), window: window.saturating_add(WINDOW_MARGIN), log: Arc::default() }
    }

    /// Adds requests of these ages, such as those of an interrupted run.
    #[must_use]
    pub fn with_recent(self, ages: impl IntoIterator<Item = Duration>) -> Self {
        let now = Instant::now();
        {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let mut times: Vec<Instant> = ages.into_iter().filter_map(|age| now.checked_sub(age)).collect();
            times.sort_unstable();
            for time in times {
                log.push(time);
            }
        }
        self
    }

    /// Counts the requests in the window that ends now.
    pub fn used(&self) -> usize {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.forget(Instant::now(), self.window);
        log.entries.len()
    }

    /// Takes a request, or returns how long to wait at least.
    fn take(&self) -> Result<u64, Duration> {
        let now = Instant::now();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.forget(now, self.window);
        let limit = match log.shrunk {
            Some((limit, until)) if now < until => limit,
            _ => self.limit,
        };
        let over = (log.entries.len() + 1).saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        match over.checked_sub(1).and_then(|n| log.entries.get(n)) {
            Some((_, time)) => Err((*time + self.window).saturating_duration_since(now).max(Duration::from_millis(1))),
            None => Ok(log.push(now)),
        }
    }
}

impl Log {
    fn push(&mut self, at: Instant) -> u64 {
        self.next += 1;
        self.entries.push_back((self.next, at));
        self.next
    }

    fn forget(&mut self, now: Instant, window: Duration) {
        while self.entries.front().is_some_and(|(_, at)| *at + window <= now) {
            self.entries.pop_front();
        }
    }

    fn departed(&mut self, id: u64, at: Instant) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.0 == id) {
            entry.1 = at;
            self.entries.make_contiguous().sort_unstable_by_key(|(_, at)| *at);
        }
    }
}

#[async_trait]
impl Permits for OwnLog {
    async fn permit(&self) -> Departure {
        loop {
            match self.take() {
                Ok(id) => {
                    let log = Arc::clone(&self.log);
                    return Departure::new(move || {
                        log.lock().unwrap_or_else(PoisonError::into_inner).departed(id, Instant::now());
                    });
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn throttled(&self) {
        let now = Instant::now();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = match log.shrunk {
            Some((limit, until)) if now < until => limit,
            _ => self.limit,
        };
        log.shrunk = Some(((limit - limit / 5).max(1), now + SHRUNK_FOR));
    }
}

/// The bridge's own budget: the least urgent class, so that customers never wait for an export.
pub struct Shared {
    budget: Arc<Budget>,
    clock: Arc<dyn Clock>,
    /// The log used while the store cannot be asked.
    own: OwnLog,
}

impl Shared {
    /// Takes requests out of `budget`. While its store fails, at most `fallback` requests go per window of the budget.
    pub fn new(budget: Arc<Budget>, clock: Arc<dyn Clock>, fallback: u32) -> Self {
        let own = OwnLog::new(fallback, budget.window());
        Self { budget, clock, own }
    }
}

#[async_trait]
impl Permits for Shared {
    async fn permit(&self) -> Departure {
        loop {
            let pause = match self.budget.take(RequestClass::Get).await {
                Ok(Taken::Permit(permit)) => return self.budget.departure(permit),
                Ok(Taken::NotBefore(at)) => at.since(self.clock.now()).max(Duration::from_millis(5)),
                Err(StoreError::Unavailable(_)) => STORE_PAUSE,
                // Waiting cannot cure this.
                Err(_) => return self.own.permit().await,
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn throttled(&self) {
        self.budget.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_window_holds_more_than_the_limit() {
        let permits = OwnLog::new(3, Duration::from_mins(1));
        let mut times = Vec::new();
        for n in 0..12 {
            permits.permit().await.mark();
            times.push(Instant::now());
            tokio::time::sleep(Duration::from_secs(n)).await;
        }
        for four in times.windows(4) {
            assert!(four[3] - four[0] > Duration::from_mins(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_counts_from_its_departure() {
        let permits = OwnLog::new(1, Duration::from_mins(1));
        let departure = permits.permit().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let left = Instant::now();
        departure.mark();
        permits.permit().await;
        assert!(Instant::now() - left >= Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_an_earlier_run_count() {
        let ages = [Duration::from_secs(10), Duration::from_secs(50)];
        let permits = OwnLog::new(2, Duration::from_mins(1)).with_recent(ages);
        let begun = Instant::now();
        permits.permit().await;
        assert!((10..12).contains(&begun.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_lowers_the_limit_for_a_while() {
        let permits = OwnLog::new(10, Duration::from_mins(1));
        permits.throttled();
        let begun = Instant::now();
        for _ in 0..9 {
            permits.permit().await;
        }
        assert!(begun.elapsed() >= Duration::from_mins(1));
    }
}
