//! Records the requests to the sandbox and the messages it stored, so that a test can prove "exactly once" and "never over
//! the limit".
//!
//! Bounded: the oldest details are dropped first (and counted); the counts never forget.

use std::collections::{BTreeMap, VecDeque};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Details kept of requests and of stored messages: an hour at more than 50 a second.
const KEPT: usize = 200_000;

/// One request that reached the sandbox.
#[derive(Clone, Debug, Serialize)]
pub struct RequestRecord {
    /// Number of the request, from 1.
    pub number: u64,
    /// Time of arrival, epoch milliseconds.
    pub at: i64,
    /// The operation.
    pub route: Route,
    /// The answer's status; `None` while it is being served or when the connection ended without one.
    pub status: Option<u16>,
    /// The kind of the fault that struck it.
    pub fault: Option<&'static str>,
    /// The cause that its headers name.
    #[serde(flatten)]
    pub told: Told,
}

/// The headers by which a request names its cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// `x-request-id`
    pub request_id: Option<String>,
    /// `traceparent`
    pub traceparent: Option<String>,
}

/// A message that came in through Generate Answer and was stored.
#[derive(Clone, Debug, Serialize)]
pub struct Inbound {
    /// The conversation it was stored in.
    pub conversation_id: String,
    /// The id of its event.
    pub event_id: String,
    /// The role of its author.
    pub role: String,
    /// Its text.
    pub content: String,
    /// Time of storing, epoch milliseconds.
    pub at: i64,
    /// Time of arrival: a vendor that creates or resolves late stores a message late.
    pub received_at: i64,
    /// The attributes that came with it.
    pub user_attributes: Map<String, Value>,
}

/// The vendor's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `POST /v2/hc-interactions/events/public`
    GenerateAnswer,
    /// `GET /v2/hc-interactions/{id}/public`
    Get,
    /// `GET /v2/hc-interactions/public`
    List,
    /// `GET /v2/bots/public`
    Agents,
    /// `GET /v2/bots/requests/public`
    History,
    /// `DELETE /v2/hc-interactions/{id}/public`
    Delete,
    /// `DELETE /v2/hc-interactions/public`
    BulkDelete,
}

impl Route {
    /// Returns the name used in faults and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::GenerateAnswer => "generate_answer",
            Self::Get => "get",
            Self::List => "list",
            Self::Agents => "agents",
            Self::History => "history",
            Self::Delete => "delete",
            Self::BulkDelete => "bulk_delete",
        }
    }
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The summary of requests and stored messages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditReport {
    /// Requests that arrived, authenticated or not.
    pub requests: u64,
    /// Requests with a known key, which the throttle counts.
    pub authenticated: u64,
    /// Answers per route and status; `none` counts requests that got no complete answer, or not yet.
    pub routes: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// The most authenticated requests that ever fell into one rolling window.
    pub max_in_window: usize,
    /// The length of that window in milliseconds.
    pub window_ms: u64,
    /// Answers with 429, by the throttle or by a fault.
    pub throttled: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages stored through Generate Answer, oldest first, by conversation.
    pub inbound: BTreeMap<String, Vec<Inbound>>,
    /// Stored messages whose details are no longer kept.
    pub inbound_forgotten: u64,
    /// The latest requests, oldest first, as many as the caller wanted.
    pub latest: Vec<RequestRecord>,
}

impl AuditReport {
    /// Returns the number of answers of a route with a status.
    pub fn count(&self, route: Route, status: u16) -> u64 {
        self.routes.get(route.name()).and_then(|statuses| statuses.get(&status.to_string())).copied().unwrap_or(0)
    }

    /// Returns how often a text was stored, over all conversations.
    pub fn times_stored(&self, content: &str) -> usize {
        self.inbound.values().flatten().filter(|inbound| inbound.content == content).count()
    }
}

/// The log itself.
#[derive(Default)]
pub struct Audit {
    /// The number of the last request, counted over resets.
    last: u64,
    /// Requests up to this number belong to the time before the last reset.
    base: u64,
    authenticated: u64,
    counts: BTreeMap<(Route, Option<u16>), u64>,
    faults: BTreeMap<&'static str, u64>,
    window: VecDeque<i64>,
    window_ms: u64,
    max_in_window: usize,
    log: VecDeque<RequestRecord>,
    inbound: VecDeque<Inbound>,
    inbound_forgotten: u64,
}

impl Audit {
    /// Records the arrival of a request. Returns the number under which it is finished.
    pub fn arrived(&mut self, route: Route, at: i64, told: Told) -> u64 {
        self.last += 1;
        *self.counts.entry((route, None)).or_default() += 1;
        self.log.push_back(RequestRecord { number: self.last, at, route, status: None, fault: None, told });
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
        self.last
    }

    /// Forgets everything; requests that are still being served are not counted any more.
    pub fn reset(&mut self) {
        *self = Self { last: self.last, base: self.last, ..Self::default() };
    }

    /// Notes that a request carries a known key.
    pub fn authenticated(&mut self, at: i64, window_ms: u64) {
        self.authenticated += 1;
        if self.window_ms != window_ms {
            self.window_ms = window_ms;
            self.max_in_window = 0;
        }
        let window = i64::try_from(window_ms).unwrap_or(i64::MAX);
        while self.window.front().is_some_and(|&arrival| arrival.saturating_add(window) <= at) {
            self.window.pop_front();
        }
        self.window.push_back(at);
        self.max_in_window = self.max_in_window.max(self.window.len());
    }

    /// Notes that a fault struck a request.
    pub fn struck(&mut self, number: u64, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
        if let Some(record) = self.record(number) {
            record.fault = Some(kind);
        }
    }

    /// Notes the answer to a request.
    pub fn answered(&mut self, number: u64, route: Route, status: u16) {
        if number <= self.base {
            return;
        }
        if let Some(unanswered) = self.counts.get_mut(&(route, None)) {
            *unanswered = unanswered.saturating_sub(1);
        }
        *self.counts.entry((route, Some(status))).or_default() += 1;
        if let Some(record) = self.record(number) {
            record.status = Some(status);
        }
    }

    /// Notes that a message was stored.
    pub fn stored(&mut self, inbound: Inbound) {
        self.inbound.push_back(inbound);
        if self.inbound.len() > KEPT {
            self.inbound.pop_front();
            self.inbound_forgotten += 1;
        }
    }

    /// Returns the summary, with the `latest` newest requests in detail and, if wanted, every message still known.
    pub fn report(&self, latest: usize, with_inbound: bool) -> AuditReport {
        let mut report = AuditReport {
            requests: self.last - self.base,
            authenticated: self.authenticated,
            max_in_window: self.max_in_window,
            window_ms: self.window_ms,
            faults: self.faults.clone(),
            inbound_forgotten: self.inbound_forgotten,
            latest: self.log.iter().skip(self.log.len().saturating_sub(latest)).cloned().collect(),
            ..AuditReport::default()
        };
        for (&(route, status), &count) in self.counts.iter().filter(|(_, count)| **count > 0) {
            let label = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            report.routes.entry(route.name()).or_default().insert(label, count);
            if status == Some(429) {
                report.throttled += count;
            }
        }
        for inbound in self.inbound.iter().filter(|_| with_inbound) {
            report.inbound.entry(inbound.conversation_id.clone()).or_default().push(inbound.clone());
        }
        report
    }

    fn record(&mut self, number: u64) -> Option<&mut RequestRecord> {
        let first = self.log.front()?.number;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        self.log.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_window_is_remembered() {
        let mut audit = Audit::default();
        for at in [0, 10, 20, 99, 100, 500] {
            audit.authenticated(at, 100);
        }
        // 0, 10, 20, 99 fall into one window of 100 ms; 100 no longer shares it with 0.
        assert_eq!(audit.report(0, true).max_in_window, 4);
    }

    #[test]
    fn an_answer_moves_a_request_out_of_the_unanswered() {
        let mut audit = Audit::default();
        let first = audit.arrived(Route::List, 1, Told::default());
        let second = audit.arrived(Route::List, 2, Told::default());
        audit.answered(second, Route::List, 429);
        let report = audit.report(10, true);
        assert_eq!(report.routes["list"]["none"], 1);
        assert_eq!((report.count(Route::List, 429), report.throttled), (1, 1));
        assert_eq!((report.latest[0].number, report.latest[0].status), (first, None));
        assert_eq!(report.latest[1].status, Some(429));
    }

    #[test]
    fn a_reset_forgets_requests_that_are_still_being_served() {
        let mut audit = Audit::default();
        let before = audit.arrived(Route::Get, 1, Told::default());
        audit.reset();
        audit.answered(before, Route::Get, 200);
        let after = audit.arrived(Route::Get, 2, Told::default());
        audit.answered(after, Route::Get, 200);
        let report = audit.report(10, true);
        assert_eq!((report.requests, report.count(Route::Get, 200), report.latest.len()), (1, 1, 1));
    }
}
