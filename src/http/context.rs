//! What surrounds every request: its id, its log line, its figures, and the last touch on its errors.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use super::problem::Problem;
use crate::{
    domain::{Clock, Entropy},
    metrics::Metrics,
    telemetry,
};

/// The header that carries the request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the observing layer works with.
#[derive(Clone)]
pub struct Observed {
    /// The time, for new ids.
    pub clock: Arc<dyn Clock>,
    /// Makes new ids.
    pub entropy: Arc<dyn Entropy>,
    /// Counts.
    pub metrics: Metrics,
    /// Which listener.
    pub listener: &'static str,
}

/// Gives the request its id, renders a problem, logs one line, counts.
pub async fn observe(State(observed): State<Observed>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(|| format!("req_{}", observed.entropy.uuid_v7(observed.clock.now())), str::to_owned);
    let trace_id = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace_id);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());

    let span = tracing::info_span!("request", %request_id, trace_id, frontend = tracing::field::Empty, conversation_id = tracing::field::Empty);
    let mut response = next.run(request).instrument(span.clone()).await;
    let mut code = None;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        code = Some(problem.code().as_str());
        let inner = response;
        response = problem.render(&request_id);
        // What layers further in have added (CORS, Allow) belongs to the answer too.
        for (name, value) in inner.headers() {
            if !response.headers().contains_key(name) && name != axum::http::header::CONTENT_LENGTH {
                response.headers_mut().append(name, value.clone());
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    let (status, took) = (response.status().as_u16(), started.elapsed());
    observed.metrics.http_request(route.as_deref(), method.as_str(), status, took);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let route = route.as_deref().unwrap_or("other");
    span.in_scope(|| {
        let (listener, method) = (observed.listener, method.as_str());
        if status >= 500 {
            tracing::error!(target: telemetry::ACCESS, listener, method, route, status, code, duration_ms, "request");
        } else if observed.listener == "admin" && status < 400 {
            tracing::debug!(target: telemetry::ACCESS, listener, method, route, status, code, duration_ms, "request");
        } else {
            tracing::info!(target: telemetry::ACCESS, listener, method, route, status, code, duration_ms, "request");
        }
    });
    response
}

/// A caller's id is kept if it can stand in logs and headers as it is.
fn is_sane(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b))
}

/// The trace id of a `traceparent` header (W3C Trace Context, version 00), if it is one.
fn trace_id(header: &str) -> Option<String> {
    let mut parts = header.split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let valid = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16);
    (valid && trace.bytes().any(|b| b != b'0')).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_trace_id_of_a_valid_traceparent_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        for bad in ["", "00", "00-xyz-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
        assert_eq!(trace_id(&format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32))), None);
    }

    #[test]
    fn keeps_only_ids_that_are_safe_to_repeat() {
        assert!(is_sane("a1b2-c3_d4.e5"));
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(129)] {
            assert!(!is_sane(bad), "{bad}");
        }
    }
}
