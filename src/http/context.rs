//! Surrounds every request: gives it its id, its log line and its figures, and completes its errors.

use std::{any::Any, net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::{
    asked::TrustedProxies,
    problem::{Code, Problem},
    refused::Refused,
    server::Unreadable,
};
use crate::{
    domain::{
        Entropy, WallClock,
        correlation::{self, Correlation, RequestId, Span, TraceContext},
    },
    metrics::{Metrics, PanicPlace},
    telemetry::{
        self,
        spans::{FinishedSpan, SpanKind, Spans},
    },
};

/// The header that carries the request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static(correlation::REQUEST_ID);
/// The header that carries the trace a request is part of.
pub const TRACEPARENT: HeaderName = HeaderName::from_static(correlation::TRACEPARENT);

/// The services of the observing layer.
#[derive(Clone)]
pub struct Observed {
    /// The time, for new ids and spans.
    pub wall: Arc<dyn WallClock>,
    /// Makes new ids.
    pub entropy: Arc<dyn Entropy>,
    /// Counts requests and panics.
    pub metrics: Metrics,
    /// Takes the spans of finished requests.
    pub spans: Spans,
    /// Refusals that share one log line.
    pub refused: Arc<Refused>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// The listener's name in the log.
    pub listener: &'static str,
}

impl Observed {
    /// Makes a span of our own for a request, if spans are exported: below the caller's or, for the public API, as the
    /// beginning of a trace. Probes and scrapes are not traced.
    fn span_below(&self, parent: Option<TraceContext>) -> Option<Span> {
        if !self.spans.are_exported() || (parent.is_none() && self.listener == "admin") {
            return None;
        }
        let own = parent.map_or_else(|| TraceContext::begin(&*self.entropy), |parent| parent.child(&*self.entropy));
        Some(Span { parent, own })
    }
}

/// Contains a panic of a handler: counted, and answered as an error of ours.
pub fn contained(metrics: Metrics) -> CatchPanicLayer<impl Fn(Box<dyn Any + Send>) -> Response + Clone> {
    CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
        metrics.panicked(PanicPlace::Http);
        Problem::new(Code::Internal).into_response()
    })
}

/// Gives the request its id, renders a problem, logs one line, counts.
///
/// Handlers find the [`Correlation`] of the request among its extensions.
pub async fn observe(State(observed): State<Observed>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(RequestId::parse)
        .unwrap_or_else(|| RequestId::new(&*observed.entropy, observed.wall.now().point()));
    let trace = only(request.headers(), &TRACEPARENT).and_then(TraceContext::parse);
    // Without an export our span does not exist: the caller's own span is the parent of what follows.
    let own = observed.span_below(trace);
    let trace = own.map_or(trace, |span| Some(span.own));
    let correlation = Correlation { request: Some(request_id.clone()), trace };
    let method = request.method().clone();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let address = observed.trusted_proxies.address(peer, request.headers());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());

    let span = tracing::info_span!(
        "request",
        %request_id,
        trace_id = correlation.trace_id(),
        frontend = tracing::field::Empty,
        conversation_id = tracing::field::Empty,
        message_id = tracing::field::Empty
    );
    request.extensions_mut().insert(correlation);
    let unreadable = request.extensions().get::<Unreadable>().copied();
    let mut response = match unreadable {
        Some(unreadable) => Problem::from(unreadable).into_response(),
        None => next.run(request).instrument(span.clone()).await,
    };
    let mut code = None;
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| foreign(&response));
    if let Some(problem) = problem {
        code = Some(problem.code().as_str());
        let inner = response;
        response = problem.render(request_id.as_str());
        // Headers that inner layers have added (CORS, Allow) belong to the answer too.
        for (name, value) in inner.headers() {
            if !response.headers().contains_key(name) && name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE
            {
                response.headers_mut().append(name, value.clone());
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    let (status, took) = (response.status().as_u16(), started.elapsed());
    observed.metrics.http_request(route.as_deref(), method.as_str(), status, took);
    observed.spans.tell(own.as_ref(), |span| FinishedSpan {
        span,
        kind: SpanKind::Server,
        name: route.as_deref().map_or_else(|| method.to_string(), |route| format!("{method} {route}")),
        ended_at: observed.wall.now(),
        duration: took,
        attributes: vec![
            ("http.request.method", method.as_str().into()),
            ("http.route", route.as_deref().unwrap_or("other").into()),
            ("http.response.status_code", status.into()),
            ("fini_bridge.request_id", request_id.as_str().into()),
        ],
        error: code.filter(|_| status >= 500),
    });
    for untold in observed.refused.due(Instant::now()) {
        let (status, listener) = (untold.status, observed.listener);
        let (address, count) = (untold.address, untold.count);
        tracing::info!(target: telemetry::ACCESS, listener, %address, status, count, "further requests refused");
    }
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let route = route.as_deref().unwrap_or("other");
    span.in_scope(|| {
        let (listener, method) = (observed.listener, method.as_str());
        let is_anybodys = status == StatusCode::UNAUTHORIZED.as_u16() || unreadable.is_some();
        if is_anybodys && !observed.refused.is_told(address, status, Instant::now()) {
            return;
        }
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

/// Turns a refusal of the framework, in its own plain words, into a problem: its caller gets the shape of every other.
fn foreign(response: &Response) -> Option<Problem> {
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_ours = media_type.is_some_and(|media_type| media_type.contains("json"));
    if !response.status().is_client_error() || is_ours {
        return None;
    }
    let same_status = Code::ALL.iter().find(|code| code.status() == response.status());
    Some(Problem::new(same_status.copied().unwrap_or(Code::InvalidRequest)))
}

/// Returns the value of a header that was sent once: of several, it is undefined which one is meant.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}
