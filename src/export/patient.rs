//! Requests with patience: each waits for its permit, and a failure that may pass by itself is retried.
//!
//! A page that cannot be had is asked for at a smaller size ([`PageSize`]): its rows may be too large for an answer or a
//! deadline.
//!
//! Reading changes nothing at Fini, so every failed read may be repeated. A failure that would repeat itself (a refused
//! key, a rejected parameter) is returned at once.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Counts, Permits, Watcher};
use crate::{
    domain::{
        Entropy, Timestamp,
        ids::InteractionId,
        page_size::{PAGE, PageSize},
    },
    fini::{ConversationPage, Departure, Failure, FiniApi, HistoryPage, HistoryQuery, ListQuery},
};

/// Failures in a row after which a page may be too large; a single failure can have any cause.
const FAILURES_OF_A_SIZE: u32 = 2;

/// The pauses after failures, and their sum.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first pause after a failure; doubled each time.
    pub first: Duration,
    /// The first pause after a 429, if Fini asks for none.
    pub throttled: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// All pauses of one request together.
    pub total: Duration,
}

impl Default for Patience {
    /// Bears an outage of a quarter of an hour.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            throttled: Duration::from_secs(5),
            longest: Duration::from_mins(1),
            total: Duration::from_mins(15),
        }
    }
}

/// One export's access to Fini, with permits and retries.
pub struct Patient<'a> {
    api: &'a dyn FiniApi,
    permits: &'a dyn Permits,
    watcher: &'a dyn Watcher,
    entropy: &'a dyn Entropy,
    patience: Patience,
    counts: Mutex<Counts>,
    size: Mutex<(PageSize, u32)>,
    begun: Instant,
}

impl<'a> Patient<'a> {
    /// Sends requests to `api` as `permits` allow.
    pub fn new(
        api: &'a dyn FiniApi,
        permits: &'a dyn Permits,
        watcher: &'a dyn Watcher,
        entropy: &'a dyn Entropy,
        patience: Patience,
    ) -> Self {
        Self {
            api,
            permits,
            watcher,
            entropy,
            patience,
            counts: Mutex::default(),
            size: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// Returns the watcher that progress is reported to.
    pub fn watcher(&self) -> &'a dyn Watcher {
        self.watcher
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the counts; an interrupted export begins with those it had.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads a page of conversations. Returns an unclear failure after `unclear` repetitions: a cursor may be the cause.
    pub async fn list(&self, query: &ListQuery, unclear: Option<u32>) -> Result<ConversationPage, Failure> {
        let request = async |departure: &Departure| {
            let limit = self.limit(query.limit);
            let asked = ListQuery { limit: Some(limit), ..query.clone() };
            let answer = self.api.list_conversations(&asked, departure).await;
            if answer.is_ok() || unclear.is_none() {
                self.learn(limit, answer.as_ref().map(|page| (page.conversations.len(), page.has_more)));
            }
            answer
        };
        let page = self.ask(unclear, request).await?;
        self.count(|counts| {
            counts.pages += 1;
            counts.rows += page.conversations.len() as u64;
            counts.malformed += page.malformed as u64;
        });
        Ok(page)
    }

    /// Reads a page of the chat history.
    pub async fn history(&self, query: &HistoryQuery) -> Result<HistoryPage, Failure> {
        let request = async |departure: &Departure| {
            let limit = self.limit(query.limit);
            let asked = HistoryQuery { limit: Some(limit), ..query.clone() };
            let answer = self.api.chat_history(&asked, departure).await;
            self.learn(limit, answer.as_ref().map(|page| (page.conversations.len(), page.has_more)));
            answer
        };
        let page = self.ask(None, request).await?;
        self.count(|counts| {
            counts.pages += 1;
            counts.rows += page.conversations.len() as u64;
            counts.malformed += page.malformed as u64;
        });
        Ok(page)
    }

    /// Returns true if the key sees this conversation. Fini answers 500 for one that it does not.
    pub async fn sees(&self, id: &str) -> Result<bool, Failure> {
        let id = InteractionId::trusted(id);
        match self.ask(Some(1), async |departure| self.api.get_conversation(&id, departure).await).await {
            Ok(_) => Ok(true),
            Err(Failure::Missing { .. } | Failure::Unclear { .. } | Failure::Rejected { .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn limit(&self, wanted: Option<u32>) -> u32 {
        let size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.0.limit().min(wanted.unwrap_or(PAGE))
    }

    /// Asks for fewer from now on: no cursor brought a page, and its size may be the reason.
    pub fn ask_for_fewer(&self) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = size.0.limit();
        size.0.failed(limit, self.now());
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Learns from a page of `limit` entries: the number that came and whether there are more, or the failure.
    fn learn(&self, limit: u32, answer: Result<(usize, bool), &Failure>) {
        let now = self.now();
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, failures) = &mut *size;
        match answer {
            Ok((rows, has_more)) => {
                *failures = 0;
                size.came(limit, rows, has_more, now);
            }
            Err(Failure::Unclear { .. }) => {
                *failures += 1;
                if *failures >= FAILURES_OF_A_SIZE {
                    size.failed(limit, now);
                }
            }
            Err(_) => {}
        }
    }

    /// Sends any other request that may be repeated. `unclear` limits the repetitions after an unclear failure.
    pub async fn ask<T>(
        &self,
        unclear: Option<u32>,
        request: impl AsyncFn(&Departure) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut waited = Duration::ZERO;
        let (mut failures, mut unclear_left) = (0, unclear);
        loop {
            let departure = self.permits.permit().await;
            self.count(|counts| counts.requests += 1);
            let failure = match request(&departure).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let (why, pause) = match &failure {
                Failure::Throttled { retry_after, .. } => {
                    self.permits.throttled();
                    self.count(|counts| counts.throttled += 1);
                    ("Fini throttles", retry_after.unwrap_or_else(|| self.backoff(self.patience.throttled, failures)))
                }
                Failure::NeverLeft { .. } => ("Fini cannot be reached", self.backoff(self.patience.first, failures)),
                Failure::Unclear { retry_after, .. } => {
                    match &mut unclear_left {
                        Some(0) => return Err(failure),
                        Some(left) => *left -= 1,
                        None => {}
                    }
                    ("Fini fails", retry_after.unwrap_or_else(|| self.backoff(self.patience.first, failures)))
                }
                Failure::Rejected { .. } | Failure::Unauthorised { .. } | Failure::Missing { .. } => {
                    return Err(failure);
                }
            };
            if !matches!(failure, Failure::Throttled { .. }) {
                self.count(|counts| counts.failed += 1);
            }
            // A `Retry-After` longer than the longest pause is not waited for longer.
            let pause = pause.min(self.patience.longest);
            waited += pause;
            if waited > self.patience.total {
                return Err(failure);
            }
            failures += 1;
            self.watcher.waiting(&format!("{why}: {}", failure.detail()), pause);
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits a moment and reports why.
    pub async fn pause(&self, why: &str, round: u32) {
        let pause = self.backoff(self.patience.throttled, round);
        self.watcher.waiting(why, pause);
        tokio::time::sleep(pause).await;
    }

    fn backoff(&self, first: Duration, failures: u32) -> Duration {
        let pause = first.saturating_mul(1 << failures.min(10)).min(self.patience.longest);
        pause.mul_f64(1.0 - 0.2 * self.entropy.fraction())
    }
}
