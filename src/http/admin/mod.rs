//! The operators' API on the admin listener: health, readiness, metrics and `/admin/v1`. Never behind the ingress.

mod audit;
mod bind;
mod budget;
mod conversations;
mod deliveries;
mod figures;
mod frontends;
mod handoffs;
mod lanes;
pub mod operators;
mod part;
mod probes;
mod quarantines;
mod replays;
mod report;
mod search;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, header, uri::Authority},
    middleware,
    routing::{get, post},
};
use serde_json::Value;
use tokio::sync::watch;

pub use operators::Operators;

use super::{
    console, context,
    form::Form,
    problem::{Code, Problem},
    refused::Refused,
};
use crate::{
    delivery::{Endpoint, ReceiverApi},
    domain::{Clock, ClockOffsets, Entropy, WallClock, figures::Figures, ids::FrontendName},
    fini::budget::Budget,
    lifecycle::{Health, Wake},
    metrics::Metrics,
    service::{breakers::Breakers, inspector::Inspector, reader::Reader},
    store::{Bindings, LeftAlone, Store},
    telemetry::spans::Spans,
};

/// The services and state of the operators' handlers.
#[derive(Clone)]
pub struct Admin {
    /// Holds everything that is kept.
    pub store: Arc<dyn Store>,
    /// Forgets the binding of a conversation that is bound anew.
    pub bindings: Bindings,
    /// Knows whether loops make progress.
    pub health: Health,
    /// Know whether Fini accepts the keys.
    pub breakers: Arc<Breakers>,
    /// Knows how much of the budget was used.
    pub budget: Arc<Budget>,
    /// Knows how far reading has come.
    pub reader: Arc<Reader>,
    /// The figures.
    pub metrics: Metrics,
    /// Takes the spans of finished requests.
    pub spans: Spans,
    /// Sends pings.
    pub receivers: Arc<dyn ReceiverApi>,
    /// The destinations' callback addresses.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Reads at Fini what an operator asks for.
    pub inspector: Arc<Inspector>,
    /// Returns who is left alone for a while, as far as this process knows.
    pub left_alone: Arc<dyn Fn() -> LeftAlone + Send + Sync>,
    /// The load of this process over the last day.
    pub figures: Arc<Mutex<Figures>>,
    /// The configuration, without secrets.
    pub configuration: Arc<Value>,
    /// This process by name.
    pub replica: Arc<str>,
    /// Every frontend's name.
    pub frontends: Vec<FrontendName>,
    /// Wakes the replayer.
    pub replayer: Wake,
    /// The operators and their tokens.
    pub operators: watch::Receiver<Arc<Operators>>,
    /// Wakes the eraser, which deletes at Fini.
    pub eraser: Wake,
    /// The clock for waits.
    pub clock: Arc<dyn Clock>,
    /// Returns how far clocks lie apart.
    pub clocks: Arc<dyn Fn() -> ClockOffsets + Send + Sync>,
    /// The clock for the time at which callbacks are signed.
    pub wall: Arc<dyn WallClock>,
    /// Makes ids.
    pub entropy: Arc<dyn Entropy>,
    /// Refusals that share one log line.
    pub refused: Arc<Refused>,
}

/// Returns the routes of the operators' API.
pub fn admin(state: Admin) -> Router {
    let observed = context::Observed {
        wall: Arc::clone(&state.wall),
        entropy: Arc::clone(&state.entropy),
        metrics: state.metrics.clone(),
        spans: state.spans.clone(),
        refused: Arc::clone(&state.refused),
        trusted_proxies: Arc::default(),
        listener: "admin",
    };
    let guarded = Router::new()
        .route("/admin/v1/deliveries", get(deliveries::deliveries))
        .route("/admin/v1/deliveries/retry", post(deliveries::retry_many))
        .route("/admin/v1/deliveries/replay", post(replays::begin))
        .route("/admin/v1/deliveries/replay/{id}", get(replays::get))
        .route("/admin/v1/deliveries/replay/{id}/pause", post(replays::pause))
        .route("/admin/v1/deliveries/replay/{id}/resume", post(replays::resume))
        .route("/admin/v1/deliveries/replay/{id}/cancel", post(replays::cancel))
        .route("/admin/v1/deliveries/{id}", get(deliveries::delivery))
        .route("/admin/v1/deliveries/{id}/retry", post(deliveries::retry_one))
        .route("/admin/v1/frontends", get(frontends::frontends))
        .route("/admin/v1/frontends/{name}/pause", post(frontends::pause))
        .route("/admin/v1/frontends/{name}/resume", post(frontends::resume))
        .route("/admin/v1/frontends/{name}/ping", post(frontends::ping))
        .route("/admin/v1/conversations", get(search::search))
        .route("/admin/v1/conversations/{frontend}/{id}", get(conversations::conversation).delete(conversations::erase))
        .route("/admin/v1/conversations/{frontend}/{id}/bind", post(bind::bind))
        .route("/admin/v1/handoffs", get(handoffs::handoffs))
        .route("/admin/v1/report", get(report::report))
        .route("/admin/v1/quarantines", get(quarantines::quarantines))
        .route("/admin/v1/lanes", get(lanes::lanes))
        .route("/admin/v1/figures", get(figures::figures))
        .route("/admin/v1/configuration", get(figures::configuration))
        .route("/admin/v1/audit", get(audit::audit))
        .route("/admin/v1/operators/me", get(audit::me))
        .route("/admin/v1/budget", get(budget::budget))
        .route("/admin/v1/budget/permits", post(budget::permit))
        .route_layer(middleware::from_fn_with_state(state.clone(), operators::authorize));
    Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::encode_metrics))
        .merge(guarded)
        .merge(console::router())
        .fallback(super::not_found)
        .method_not_allowed_fallback(super::method_not_allowed)
        .layer(context::contained(state.metrics.clone()))
        .layer(middleware::from_fn_with_state(observed, context::observe))
        .layer(super::no_store())
        .with_state(state)
}

impl Admin {
    /// Returns for how long Fini has not been read although something needs it; `None` if nothing does, or if another
    /// process reads.
    fn sweep_age(&self) -> Option<Duration> {
        self.reader.age().unread_since.map(|since| self.clock.now().since(since))
    }

    fn frontend(&self, name: &str) -> Result<&FrontendName, Problem> {
        let found = self.frontends.iter().find(|frontend| frontend.as_str() == name);
        found.ok_or_else(|| Problem::new(Code::NotFound).detail("there is no such frontend"))
    }
}

/// Checks a request to a listener without a token. It trusts anyone who reaches it, which on loopback is every page in a
/// browser of that machine: so it answers only requests that name this host, and no page of another origin.
fn is_local(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_loopback = |authority: &str| {
        let host = authority.parse::<Authority>().map(|authority| authority.host().to_ascii_lowercase());
        host.is_ok_and(|host| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
        })
    };
    let is_own = |origin: &str| {
        origin.split_once("://").is_some_and(|(_, authority)| {
            is_loopback(authority) && text(header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority))
        })
    };
    text(header::HOST).is_none_or(is_loopback) && text(header::ORIGIN).is_none_or(is_own)
}

/// Refuses members of an act's body other than its reason, which goes into the audit.
fn only_reason(body: &[u8]) -> Result<(), Problem> {
    Form::read(body, &["reason"])?.finish()
}

/// Returns true if the operator asks for texts, too (`?content=true`).
fn wants_texts(query: Option<&str>) -> bool {
    let mut members = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    members.any(|(name, value)| name == "content" && value == "true")
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_origin_and_a_foreign_name_are_not_local() {
        let asked = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("valid"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("valid"));
            }
            is_local(&headers)
        };
        for host in ["127.0.0.1:9090", "127.9.9.9", "localhost:9090", "LOCALHOST", "[::1]:9090"] {
            assert!(asked(host, None), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:9090", "localhost.evil.example", "10.0.0.1:9090", ""] {
            assert!(!asked(host, None), "{host}");
        }
        assert!(asked("127.0.0.1:9090", Some("http://127.0.0.1:9090")));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "http://localhost:9090"] {
            assert!(!asked("127.0.0.1:9090", Some(origin)), "{origin}");
        }
    }
}
