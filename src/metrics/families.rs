//! The declarations: name, help, type, buckets and labels of every metric.
//!
//! Base units and `_total` as the Prometheus naming practice has them. Counters are registered without `_total`, which
//! the encoder adds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::LogCounters;
use super::labels::{
    AttemptClass, Backlog, BudgetClass, Class, DeliveryOutcome, FiniCall, FiniRoute, FiniRouteOnly, Frontend,
    FrontendAttempt, FrontendDelivery, FrontendTurn, HttpCall, HttpRoute, Key, Kind, LeftOut, LeftOutBy, Listener,
    ListenerEnd, LoopName, Operation, OtherClock, PanicPlace, Place, StoreFile, TurnOutcome, Version, WaitingFor,
};
use crate::domain::figures::WaitsFor;
use crate::system::ProcessFacts;

pub(super) type IntGauge = Gauge<i64, AtomicI64>;
type FloatGauge = Gauge<f64, AtomicU64>;
type FloatCounter = Counter<f64, AtomicU64>;

/// One exchange: from a local answer to the longest `Prefer: wait` and reply timeout.
const EXCHANGE: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// A turn: from a quick reply to the end of the late reply window.
const TURN: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// From something happening to our knowing it: from the sweep interval to an outage of hours.
const LAG: &[f64] = &[0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0];
/// From recording to 2xx: from one round trip to the end of the retry schedule.
const DELIVERY: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10800.0, 43200.0, 86400.0];
/// A store operation: from memory to a stuck disk.
const STORE: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Makes the histograms of a family, all with the same buckets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms<L> = Family<L, Histogram, Buckets>;

#[derive(Debug)]
pub(super) struct Families {
    pub(super) messages_accepted: Family<Frontend, Counter>,
    pub(super) messages_repeated: Family<Frontend, Counter>,
    pub(super) turns: Family<FrontendTurn, Counter>,
    pub(super) turn_duration: Histogram,
    pub(super) fini_requests: Family<FiniCall, Counter>,
    pub(super) fini_duration: Histograms<FiniRouteOnly>,
    pub(super) budget_used: IntGauge,
    pub(super) budget_limit: IntGauge,
    pub(super) budget_used_by: Family<Class, IntGauge>,
    pub(super) sweep_age: FloatGauge,
    pub(super) clock_offset: Family<OtherClock, FloatGauge>,
    pub(super) budget_waiting: Family<Class, IntGauge>,
    pub(super) fini_key_refused: Family<Key, IntGauge>,
    pub(super) rows_left_out: Family<LeftOutBy, Counter>,
    pub(super) events_withheld: Family<Frontend, Counter>,
    pub(super) event_lag: Histogram,
    pub(super) deliveries: Family<FrontendDelivery, Counter>,
    pub(super) attempts: Family<FrontendAttempt, Counter>,
    pub(super) attempt_duration: Histogram,
    pub(super) delivery_latency: Histogram,
    pub(super) backlog: Family<Kind, IntGauge>,
    pub(super) oldest_due: Family<Kind, FloatGauge>,
    pub(super) waiting: Family<WaitingFor, IntGauge>,
    pub(super) oldest_waiting: Family<WaitingFor, FloatGauge>,
    pub(super) store_bytes: Family<StoreFile, IntGauge>,
    pub(super) oldest_snapshot: FloatGauge,
    pub(super) watched: IntGauge,
    pub(super) cache_hits: Counter,
    pub(super) cache_misses: Counter,
    pub(super) store_duration: Histograms<Operation>,
    pub(super) http_requests: Family<HttpCall, Counter>,
    pub(super) http_duration: Histograms<HttpRoute>,
    pub(super) connections: Family<Listener, IntGauge>,
    pub(super) connections_ended: Family<ListenerEnd, Counter>,
    pub(super) accept_errors: Family<Listener, Counter>,
    pub(super) panics: Family<Place, Counter>,
    pub(super) loop_errors: Family<LoopName, Counter>,
    log_dropped: Counter,
    log_suppressed: Counter,
    build_info: Family<Version, IntGauge>,
    resident_memory: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    start_time: FloatGauge,
    cpu_seconds: FloatCounter,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut add = Adder(registry);
        Self {
            messages_accepted: add.bridge("messages_accepted", "Messages stored for the first time and answered 202"),
            messages_repeated: add
                .bridge("messages_repeated", "Repeats of a stored message, answered without sending anything"),
            turns: add.bridge("turns", "Turns that reached their end, by outcome"),
            turn_duration: add.histogram(
                "turn_duration_seconds",
                "From acceptance of a message to the end of its turn",
                TURN,
            ),
            fini_requests: add.bridge("fini_requests", "Requests sent to Fini, by route and status or kind of failure"),
            fini_duration: add.histograms("fini_request_duration_seconds", "Duration of requests to Fini", EXCHANGE),
            budget_used: add
                .bridge("fini_budget_used", "Fini requests counted in the present window, over all replicas"),
            budget_limit: add.bridge("fini_budget_limit", "Fini requests allowed per window"),
            budget_used_by: add
                .bridge("fini_budget_used_by_class", "Fini requests counted in the present window, by priority class"),
            sweep_age: add.bridge(
                "sweep_age_seconds",
                "Since Fini was last read, or since something first needed reading; else 0",
            ),
            clock_offset: add
                .bridge("clock_offset_seconds", "By how much this machine's clock is ahead of another one"),
            budget_waiting: add.bridge("fini_budget_waiting", "Requests waiting for a permit, by priority class"),
            fini_key_refused: add.bridge("fini_key_refused", "1 while Fini itself refuses the key for this side"),
            rows_left_out: add.bridge(
                "list_rows_left_out",
                "Conversations of List pages that were passed over, each time, by reason",
            ),
            events_withheld: add.bridge(
                "events_withheld",
                "Events shown to nobody, since nothing tells which of two conversations they belong to",
            ),
            event_lag: add.histogram(
                "event_lag_seconds",
                "From an event's createdAt at Fini to its being recorded",
                LAG,
            ),
            deliveries: add.bridge("deliveries", "Callback deliveries, by what the attempt meant for them"),
            attempts: add.bridge("delivery_attempts", "Callback attempts, by who is at fault"),
            attempt_duration: add.histogram(
                "delivery_attempt_duration_seconds",
                "Duration of callback attempts",
                EXCHANGE,
            ),
            delivery_latency: add.histogram(
                "delivery_latency_seconds",
                "From an event's being recorded to the receiver's 2xx",
                DELIVERY,
            ),
            backlog: add.bridge("backlog", "Work waiting, by kind"),
            oldest_due: add.bridge("oldest_due_seconds", "How long the oldest due work of a kind has been due"),
            waiting: add.bridge("waiting", "What waits for something that is not the bridge's own work, by kind"),
            oldest_waiting: add.bridge("oldest_waiting_seconds", "How long the oldest of a kind has been waiting"),
            store_bytes: add
                .bridge("store_bytes", "Size of the database: its file and its log, or on PostgreSQL the whole of it"),
            oldest_snapshot: add.bridge(
                "postgres_oldest_snapshot_seconds",
                "Age of the oldest transaction whose snapshot keeps rows from being vacuumed; 0 with SQLite",
            ),
            watched: add.bridge("watched_conversations", "Conversations watched for what happens at Fini"),
            cache_hits: add.bridge("cache_hits", "Bindings found in memory"),
            cache_misses: add.bridge("cache_misses", "Bindings read from the store"),
            store_duration: add.histograms("store_operation_duration_seconds", "Duration of store operations", STORE),
            http_requests: add.bridge("http_requests", "Requests answered, by route template"),
            http_duration: add.histograms(
                "http_request_duration_seconds",
                "Duration of requests, to the response's head",
                EXCHANGE,
            ),
            connections: add.bridge("http_connections", "Open connections"),
            connections_ended: add
                .bridge("http_connections_ended", "Connections the server ended of its own accord, by reason"),
            accept_errors: add.bridge("http_accept_errors", "Failures to accept a connection"),
            panics: add.bridge("panics", "Panics contained, by place"),
            loop_errors: add.bridge("loop_errors", "Failed steps of the background loops"),
            log_dropped: add.bridge("log_lines_dropped", "Log lines thrown away because their reader did not keep up"),
            log_suppressed: add
                .bridge("log_lines_suppressed", "Log lines left out because the same one kept repeating"),
            build_info: add.bridge("build_info", "The running version; always 1"),
            resident_memory: add.plain("process_resident_memory_bytes", "Resident memory size"),
            open_fds: add.plain("process_open_fds", "Open file descriptors"),
            max_fds: add.plain("process_max_fds", "Most file descriptors that may be open"),
            start_time: add.plain("process_start_time_seconds", "Start time of the process since the Unix epoch"),
            cpu_seconds: add.plain("process_cpu_seconds", "User and system CPU time spent"),
        }
    }

    /// Creates, at 0, every series whose labels are known before anything happens.
    pub(super) fn create_known<'a>(
        &self,
        frontends: impl Iterator<Item = &'a Arc<str>>,
        destinations: impl Iterator<Item = &'a String>,
        version: &str,
    ) {
        for (frontend, destination) in destinations.filter_map(|whole| whole.split_once('/')) {
            for outcome in DeliveryOutcome::KNOWN.iter().copied() {
                let (frontend, destination) = (Arc::from(frontend), Arc::from(destination));
                let _ = self.deliveries.get_or_create(&FrontendDelivery { frontend, destination, outcome });
            }
        }
        for frontend in frontends {
            let only = Frontend { frontend: frontend.clone() };
            let _ = self.messages_accepted.get_or_create(&only);
            let _ = self.messages_repeated.get_or_create(&only);
            let _ = self.events_withheld.get_or_create(&only);
            for outcome in TurnOutcome::KNOWN.iter().copied() {
                let labels = FrontendTurn { frontend: frontend.clone(), outcome };
                let _ = self.turns.get_or_create(&labels);
            }
            for class in AttemptClass::KNOWN.iter().copied() {
                let labels = FrontendAttempt { frontend: frontend.clone(), class };
                let _ = self.attempts.get_or_create(&labels);
            }
        }
        for route in FiniRoute::KNOWN.iter().copied() {
            let _ = self.fini_duration.get_or_create(&FiniRouteOnly { route });
            // A counter whose growth an alert asks for has to exist before its first event.
            for status in [200_u16, 429] {
                let _ = self.fini_requests.get_or_create(&FiniCall { route, status: status.into() });
            }
        }
        for kind in Backlog::KNOWN.iter().copied() {
            let _ = self.backlog.get_or_create(&Kind { kind });
        }
        // The other kinds are not due at a time: they wait for somebody.
        for kind in [Backlog::Turns, Backlog::Deliveries] {
            let _ = self.oldest_due.get_or_create(&Kind { kind });
        }
        for kind in WaitsFor::ALL.map(WaitsFor::as_str) {
            let _ = self.waiting.get_or_create(&WaitingFor { kind });
            let _ = self.oldest_waiting.get_or_create(&WaitingFor { kind });
        }
        for class in BudgetClass::KNOWN.iter().copied() {
            let _ = self.budget_waiting.get_or_create(&Class { class });
            let _ = self.budget_used_by.get_or_create(&Class { class });
        }
        for reason in LeftOut::KNOWN.iter().copied() {
            let _ = self.rows_left_out.get_or_create(&LeftOutBy { reason });
        }
        for key in ["read", "write"] {
            let _ = self.fini_key_refused.get_or_create(&Key { key });
        }
        for place in PanicPlace::KNOWN.iter().copied() {
            let _ = self.panics.get_or_create(&Place { place });
        }
        self.build_info.get_or_create(&Version { version: version.to_owned() }).set(1);
    }

    /// Takes over what is counted elsewhere, just before the series are read.
    pub(super) fn refresh(&self, process: &ProcessFacts, log: &LogCounters) {
        self.log_dropped.inner().store(log.dropped(), Ordering::Relaxed);
        self.log_suppressed.inner().store(log.suppressed(), Ordering::Relaxed);
        self.resident_memory.set(super::clamp(process.resident_bytes));
        self.open_fds.set(super::clamp(process.open_fds));
        self.max_fds.set(super::clamp(process.max_fds));
        self.start_time.set(process.start_time_seconds);
        self.cpu_seconds.inner().store(process.cpu_seconds.to_bits(), Ordering::Relaxed);
    }
}

/// Registers metrics and hands them back, so that a declaration is one line.
struct Adder<'a>(&'a mut Registry);

impl Adder<'_> {
    fn bridge<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(format!("fini_bridge_{name}"), help, M::default())
    }

    /// A metric whose name is a convention of all Prometheus clients.
    fn plain<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name.to_owned(), help, M::default())
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &'static [f64]) -> Histogram {
        self.add(format!("fini_bridge_{name}"), help, Buckets(buckets).new_metric())
    }

    fn histograms<L>(&mut self, name: &str, help: &str, buckets: &'static [f64]) -> Histograms<L>
    where
        L: Clone + std::hash::Hash + Eq,
        Histograms<L>: Metric,
    {
        let family = Histograms::new_with_constructor(Buckets(buckets));
        self.add(format!("fini_bridge_{name}"), help, family)
    }

    fn add<M: Metric + Clone>(&mut self, name: String, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}
