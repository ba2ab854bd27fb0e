//! Every metric the bridge exposes, declared once.
//!
//! Rooms call a method named after what happened; names, units, buckets and labels are decided in `families` alone, so that
//! dashboards and alerts have one page to agree with. Nothing here decides anything, blocks or fails: a metric can be
//! wrong, but it can never stop a message. Series whose labels are known at start exist at 0 from the start, so that a
//! rate over "has never happened" is 0 and not absent.

mod families;
mod labels;
mod text;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;

use self::families::Families;
pub use self::labels::{
    AttemptClass, Backlog, BudgetClass, CallStatus, ClockOf, ConnectionEnd, DeliveryOutcome, FiniRoute, HttpMethod,
    LeftOut, PanicPlace, TurnOutcome,
};
pub use self::text::CONTENT_TYPE;
use crate::domain::figures::{Waiting, WaitsFor};
use crate::system::ProcessFacts;

/// Route templates beyond this many are counted as `other`: a template is code, so more of them is a raw path slipping in.
const MAX_ROUTES: usize = 64;

/// The label of whatever is outside a closed set.
const OTHER: &str = "other";

/// Counters kept by the log writer, which exists before the metrics do and must not wait for them.
#[derive(Debug, Clone, Default)]
pub struct LogCounters {
    dropped: Arc<AtomicU64>,
    suppressed: Arc<AtomicU64>,
}

impl LogCounters {
    /// A line was thrown away because the reader of the log does not keep up.
    pub fn line_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A line was left out because the same one had been repeated too often.
    pub fn line_suppressed(&self) {
        self.suppressed.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines thrown away so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Repeated lines left out so far.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}

/// The name of a frontend's own callback among its destinations.
const MAIN: &str = "main";

/// The metrics of one running bridge. Cheap to clone; all clones count into the same series.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Families,
    frontends: HashMap<String, Arc<str>>,
    /// By `frontend/name`.
    destinations: HashMap<String, Arc<str>>,
    other: Arc<str>,
    routes: Mutex<HashMap<String, Arc<str>>>,
    log: LogCounters,
    /// In milliseconds, and one more; zero where none was observed.
    longest_lag: AtomicU64,
}

impl Metrics {
    /// Declares everything. `frontends` are the configured names, of further destinations as `frontend/name`; any other name is
    /// later counted as `other`.
    pub fn new(frontends: &[String], version: &str) -> Self {
        Self::with_log(frontends, version, LogCounters::default())
    }

    /// Like [`Metrics::new`], also exposing what the log writer counts.
    pub fn with_log(frontends: &[String], version: &str, log: LogCounters) -> Self {
        let (further, frontends): (Vec<&String>, Vec<&String>) = frontends.iter().partition(|name| name.contains('/'));
        let frontends: HashMap<String, Arc<str>> =
            frontends.into_iter().map(|name| (name.clone(), Arc::from(name.as_str()))).collect();
        let name = |whole: &str| Arc::from(whole.rsplit('/').next().unwrap_or_default());
        let destinations: HashMap<String, Arc<str>> = frontends
            .keys()
            .map(|frontend| format!("{frontend}/{MAIN}"))
            .chain(further.into_iter().cloned())
            .map(|whole| (whole.clone(), name(&whole)))
            .collect();
        let mut registry = Registry::default();
        let families = Families::register(&mut registry);
        families.create_known(frontends.values(), destinations.keys(), version);
        let inner = Inner {
            registry,
            families,
            frontends,
            destinations,
            other: Arc::from(OTHER),
            routes: Mutex::default(),
            log,
            longest_lag: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A message was stored and answered 202 for the first time.
    pub fn message_accepted(&self, frontend: &str) {
        self.inner.families.messages_accepted.get_or_create(&self.frontend(frontend)).inc();
    }

    /// A repeat of a message already stored was answered.
    pub fn message_repeated(&self, frontend: &str) {
        self.inner.families.messages_repeated.get_or_create(&self.frontend(frontend)).inc();
    }

    /// A turn reached its end; `took` runs from acceptance to settlement.
    pub fn turn_finished(&self, frontend: &str, outcome: impl Into<TurnOutcome>, took: Duration) {
        let labels = labels::FrontendTurn { frontend: self.known(frontend), outcome: outcome.into() };
        self.inner.families.turns.get_or_create(&labels).inc();
        self.inner.families.turn_duration.observe(took.as_secs_f64());
    }

    /// A request to Fini ended, in whatever way.
    pub fn fini_request(&self, route: impl Into<FiniRoute>, status: impl Into<CallStatus>, took: Duration) {
        let route = route.into();
        let labels = labels::FiniCall { route, status: status.into() };
        self.inner.families.fini_requests.get_or_create(&labels).inc();
        self.inner.families.fini_duration.get_or_create(&labels::FiniRouteOnly { route }).observe(took.as_secs_f64());
    }

    /// Requests used in the present window, and the limit they count against.
    pub fn budget(&self, used: u32, limit: u32) {
        self.inner.families.budget_used.set(i64::from(used));
        self.inner.families.budget_limit.set(i64::from(limit));
    }

    /// Requests of one priority class in the present window.
    pub fn budget_used_by(&self, class: impl Into<BudgetClass>, used: u32) {
        let labels = labels::Class { class: class.into() };
        self.inner.families.budget_used_by.get_or_create(&labels).set(i64::from(used));
    }

    /// So long Fini has not been read although something needs it; zero where nothing does, or another process reads.
    pub fn sweep_age(&self, age: Duration) {
        self.inner.families.sweep_age.set(age.as_secs_f64());
    }

    /// By how much this machine's clock is ahead of another one; negative where it is behind.
    pub fn clock_offset(&self, to: ClockOf, ahead_ms: i64) {
        let ahead = Duration::from_millis(ahead_ms.unsigned_abs()).as_secs_f64();
        let labels = labels::OtherClock { to };
        self.inner.families.clock_offset.get_or_create(&labels).set(if ahead_ms < 0 { -ahead } else { ahead });
    }

    /// 1 if Fini itself refuses the key for `read` or `write`.
    pub fn fini_key_refused(&self, key: &'static str, refused: bool) {
        self.inner.families.fini_key_refused.get_or_create(&labels::Key { key }).set(i64::from(refused));
    }

    /// Requests of one priority class waiting for a permit.
    pub fn budget_waiting(&self, class: impl Into<BudgetClass>, waiting: u64) {
        let labels = labels::Class { class: class.into() };
        self.inner.families.budget_waiting.get_or_create(&labels).set(clamp(waiting));
    }

    /// A Fini event was recorded this long after its `createdAt`.
    pub fn event_lag(&self, lag: Duration) {
        self.inner.families.event_lag.observe(lag.as_secs_f64());
        self.inner.longest_lag.fetch_max(millis(lag).saturating_add(1), Ordering::Relaxed);
    }

    /// The longest lag since this was last asked; `None` where nothing was recorded.
    pub fn take_longest_lag(&self) -> Option<Duration> {
        let longest = self.inner.longest_lag.swap(0, Ordering::Relaxed);
        longest.checked_sub(1).map(Duration::from_millis)
    }

    /// So many attempts (or decisions to make none) changed the state of a delivery to a destination.
    pub fn deliveries(&self, frontend: &str, destination: &str, outcome: impl Into<DeliveryOutcome>, count: u64) {
        let destination = self.destination(frontend, destination);
        let labels = labels::FrontendDelivery { frontend: self.known(frontend), destination, outcome: outcome.into() };
        self.inner.families.deliveries.get_or_create(&labels).inc_by(count);
    }

    /// One callback attempt by who is at fault, and how long it took.
    pub fn delivery_attempt(&self, frontend: &str, class: impl Into<AttemptClass>, took: Duration) {
        let labels = labels::FrontendAttempt { frontend: self.known(frontend), class: class.into() };
        self.inner.families.attempts.get_or_create(&labels).inc();
        self.inner.families.attempt_duration.observe(took.as_secs_f64());
    }

    /// A callback was answered 2xx this long after its event was recorded.
    pub fn delivery_latency(&self, latency: Duration) {
        self.inner.families.delivery_latency.observe(latency.as_secs_f64());
    }

    /// Amount of waiting work of one kind.
    pub fn backlog(&self, kind: impl Into<Backlog>, waiting: u64) {
        let labels = labels::Kind { kind: kind.into() };
        self.inner.families.backlog.get_or_create(&labels).set(clamp(waiting));
    }

    /// Age of the oldest piece of due work of one kind; zero when there is none.
    pub fn oldest_due(&self, kind: impl Into<Backlog>, age: Duration) {
        let labels = labels::Kind { kind: kind.into() };
        self.inner.families.oldest_due.get_or_create(&labels).set(age.as_secs_f64());
    }

    /// Sets the number of things that wait for something other than the bridge's own work, and the age of the oldest.
    pub fn waiting(&self, kind: WaitsFor, waiting: Waiting) {
        let labels = labels::WaitingFor { kind: kind.as_str() };
        self.inner.families.waiting.get_or_create(&labels).set(clamp(waiting.count));
        self.inner.families.oldest_waiting.get_or_create(&labels).set(waiting.oldest.as_secs_f64());
    }

    /// The size of one of the database's files, in bytes.
    pub fn store_bytes(&self, file: &'static str, bytes: u64) {
        self.inner.families.store_bytes.get_or_create(&labels::StoreFile { file }).set(clamp(bytes));
    }

    /// Sets the age of the oldest snapshot in the database.
    pub fn oldest_snapshot(&self, age: Duration) {
        self.inner.families.oldest_snapshot.set(age.as_secs_f64());
    }

    /// Number of conversations that are watched for news from Fini.
    pub fn watched(&self, conversations: u64) {
        self.inner.families.watched.set(clamp(conversations));
    }

    /// A binding was found in memory.
    pub fn cache_hit(&self) {
        self.inner.families.cache_hits.inc();
    }

    /// A binding had to be read from the store.
    pub fn cache_miss(&self) {
        self.inner.families.cache_misses.inc();
    }

    /// The store answered one operation; `operation` is a name in the code, never made up at run time.
    pub fn store_operation(&self, operation: &'static str, took: Duration) {
        let labels = labels::Operation { operation };
        self.inner.families.store_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A request was answered. `route` is the matched template, `None` when nothing matched.
    pub fn http_request(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = self.route(route);
        let labels = labels::HttpCall { route: route.clone(), method: method.into(), status: status.into() };
        self.inner.families.http_requests.get_or_create(&labels).inc();
        // The alert asks the growth of these, which has to be seen from the first on.
        let failed = labels::HttpCall { status: 500_u16.into(), ..labels };
        let _ = self.inner.families.http_requests.get_or_create(&failed);
        self.inner.families.http_duration.get_or_create(&labels::HttpRoute { route }).observe(took.as_secs_f64());
    }

    /// A connection was opened on a listener; it counts as open until the guard is dropped.
    #[must_use = "the connection counts as open while this is held"]
    pub fn connection_opened(&self, listener: &'static str) -> OpenConnection {
        let gauge = self.inner.families.connections.get_or_create_owned(&labels::Listener { listener });
        gauge.inc();
        OpenConnection(gauge)
    }

    /// The server ended a connection of its own accord.
    pub fn connection_ended(&self, listener: &'static str, reason: ConnectionEnd) {
        let labels = labels::ListenerEnd { listener, reason };
        self.inner.families.connections_ended.get_or_create(&labels).inc();
    }

    /// Accepting a connection failed (out of file descriptors, say).
    pub fn accept_failed(&self, listener: &'static str) {
        self.inner.families.accept_errors.get_or_create(&labels::Listener { listener }).inc();
    }

    /// So many conversations of a List page were passed over.
    pub fn rows_left_out(&self, reason: LeftOut, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.inner.families.rows_left_out.get_or_create(&labels::LeftOutBy { reason }).inc_by(count);
    }

    /// So many events were shown to nobody.
    pub fn events_withheld(&self, frontend: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.inner.families.events_withheld.get_or_create(&self.frontend(frontend)).inc_by(count);
    }

    /// A panic was contained.
    pub fn panicked(&self, place: PanicPlace) {
        self.inner.families.panics.get_or_create(&labels::Place { place }).inc();
    }

    /// A step of a supervised loop failed.
    pub fn loop_failed(&self, name: &'static str) {
        self.inner.families.loop_errors.get_or_create(&labels::LoopName { r#loop: name }).inc();
    }

    /// Everything, as classic Prometheus text; serve it as [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        self.inner.families.refresh(&ProcessFacts::read(), &self.inner.log);
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail; were it to, what was written so far is still worth showing.
        let _ = prometheus_client::encoding::text::encode(&mut out, &self.inner.registry);
        text::classic(&out)
    }

    fn known(&self, frontend: &str) -> Arc<str> {
        self.inner.frontends.get(frontend).unwrap_or(&self.inner.other).clone()
    }

    fn destination(&self, frontend: &str, name: &str) -> Arc<str> {
        self.inner.destinations.get(&format!("{frontend}/{name}")).unwrap_or(&self.inner.other).clone()
    }

    fn frontend(&self, frontend: &str) -> labels::Frontend {
        labels::Frontend { frontend: self.known(frontend) }
    }

    fn route(&self, route: Option<&str>) -> Arc<str> {
        let Some(route) = route else {
            return self.inner.other.clone();
        };
        // A panic while this lock is held leaves the map whole, so a poisoned one is as good as any.
        let mut routes = self.inner.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(route) {
            return known.clone();
        }
        if routes.len() >= MAX_ROUTES {
            return self.inner.other.clone();
        }
        let label: Arc<str> = Arc::from(route);
        routes.insert(route.to_owned(), label.clone());
        label
    }
}

/// An open connection, counted in `fini_bridge_http_connections` until dropped.
#[derive(Debug)]
pub struct OpenConnection(families::IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
